"""A site as people run it: a Prefect server that has the project's deployments, and workers for them."""

import json
import re
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import Page

from tests.browser import log_in, open_page
from tests.postgres import find_programs, postgres
from tests.small_run import ROOT, environment

READY_SECONDS = 180
RUN_SECONDS = 600
PATIENCE_SECONDS = 60
"""What an answer of the API may take on a busy machine."""

QUIET_SECONDS = 10
"""How long an automation waits for silence in a test: Prefect's least."""

PASSWORD = {"PREFECT_SERVER_API_AUTH_STRING": "team:of-two", "PREFECT_API_AUTH_STRING": "team:of-two"}
"""Settings of a Prefect server that asks for a user and a password, and of those who know them."""

BUSY = httpx.codes.SERVICE_UNAVAILABLE
"""What Prefect's server answers where SQLite has another writer: nothing was done, and asking again is safe."""

SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
}


@dataclass(frozen=True)
class Site:
    """A running Prefect server that has the project's deployments; its log is ``server.log`` in ``folder``."""

    folder: Path
    url: str
    settings: dict[str, str] = field(repr=False)

    @property
    def auth(self) -> tuple[str, str] | None:
        """The user and the password that the API asks for, if it asks for any."""
        user, _, password = self.settings.get("PREFECT_API_AUTH_STRING", "").partition(":")
        return (user, password) if user else None

    @contextmanager
    def page(self, path: str) -> Iterator[Page]:
        """Open a page of Prefect's in a browser, as somebody who knows the password if there is one."""
        url = f"{self.url}/v2/{path}"
        with open_page(url) as page:
            if password := self.settings.get("PREFECT_API_AUTH_STRING"):
                log_in(page, password)
                page.get_by_text("Logout").first.wait_for()
                page.goto(url)  # Prefect's own way back to the page that was asked for names its tab twice
            yield page

    def prefect(self, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run Prefect's command line to its end."""
        asked = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        return subprocess.run(
            asked, cwd=cwd, env=self.settings, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )

    def require(self, *arguments: str, cwd: Path = ROOT) -> None:
        """Run Prefect's command line to its end, which must be a good one."""
        done = self.prefect(*arguments, cwd=cwd)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, deployment: str, **given: Any) -> tuple[int, str]:
        """Run a deployment to its end; returns the exit status and the flow run's id."""
        options = [part for name, value in given.items() for part in ("-p", f"{name}={json.dumps(value)}")]
        done = self.prefect("deployment", "run", deployment, *options, "--watch")
        found = re.search(r"UUID: ([0-9a-f-]{36})", done.stdout)
        assert found, done.stdout + done.stderr
        return done.returncode, found[1]

    def read(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._ask("GET", path).json()
        return answer

    def send(self, path: str, content: Any) -> Any:
        """Post JSON to the API; returns what it answers."""
        return self._ask("POST", path, content).json()

    def tell(self, path: str, content: Any) -> None:
        """Post JSON to the API, which answers nothing."""
        self._ask("POST", path, content)

    def change(self, path: str, content: Any) -> None:
        """Put JSON to the API."""
        self._ask("PUT", path, content)

    def patch(self, path: str, content: Any) -> None:
        """Change a part of what the API has."""
        self._ask("PATCH", path, content)

    def _ask(self, method: str, path: str, content: Any = None) -> httpx.Response:
        """Ask as Prefect's own client does: again where the server says that its database is busy."""
        asked = {} if content is None else {"json": content}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = httpx.request(method, f"{self.url}/api/{path}", **asked, auth=self.auth, timeout=PATIENCE_SECONDS)
            if answer.status_code != BUSY or time.monotonic() > deadline:
                return answer.raise_for_status()
            time.sleep(0.5)

    def automate(self, alert_url: str = "") -> str:
        """Make the project's automations on the server; returns what was said of each."""
        asked, given = [sys.executable, "-m", "flows", "automate"], {"GAINLOOP_ALERT_URL": alert_url}
        done = subprocess.run(
            asked, cwd=ROOT, env=self.settings | given, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def automations(self) -> list[dict[str, Any]]:
        return list(self.send("automations/filter", {"limit": 200}))

    def switch_on(self, *names: str) -> None:
        """Switch automations on that wait for some seconds where the files say minutes."""
        for one in self.automations():
            if one["name"] in names:
                kept = {name: one[name] for name in ("name", "description", "trigger", "actions")}
                if kept["trigger"]["posture"] == "Proactive":
                    kept["trigger"] |= {"within": QUIET_SECONDS}
                self.change(f"automations/{one['id']}", kept | {"enabled": True})

    def worker(self) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        """Keep a worker of the project's pool running for the block."""
        return _running(self, "worker", "start", "--pool", "gainloop")


@contextmanager
def shared_database() -> Iterator[dict[str, str]]:
    """Keep a Postgres running for the block; gives the settings of a Prefect server that uses it.

    Where there is no Postgres, the server has its own database: SQLite, whose only writer the others wait for, on a
    busy machine for a minute and more.
    """
    if not find_programs():
        warnings.warn("no Postgres here: the Prefect server has its own database", stacklevel=2)
        yield {}
        return
    with postgres() as database:
        yield {"PREFECT_SERVER_DATABASE_CONNECTION_URL": database.url(scheme="postgresql+asyncpg")}


@contextmanager
def running_site(folder: Path, shared: Mapping[str, str] = MappingProxyType({})) -> Iterator[Site]:
    """Keep a server with the project's deployments running for the block.

    Args:
        shared: Settings for more than one person: of ``shared_database``, and ``PASSWORD``.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    site = Site(folder, url, environment(folder, f"{url}/api") | SETTINGS | shared)
    with _running(site, "server", "start", "--port", str(port)) as server:
        _wait_until_ready(site, server)
        site.require("work-pool", "create", "gainloop", "--type", "process")
        site.require("deploy", "--all")
        yield site


def wait_until(holds: Callable[[], Any], seconds: float) -> Any:
    """Wait until something holds, and return what it gave then."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.5)
    return found


def kill_family(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all it started at once, itself first: it can tell nobody."""
    own = psutil.Process(process.pid)
    for one in [own, *own.children(recursive=True)]:
        one.kill()
    process.wait()


@contextmanager
def _running(site: Site, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Keep a Prefect process running for the block; at its end it and all it started are gone."""
    asked = [sys.executable, "-m", "prefect", *arguments]
    with (site.folder / f"{arguments[0]}.log").open("ab") as log:
        process = subprocess.Popen(asked, cwd=ROOT, env=site.settings, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            own = psutil.Process(process.pid)
            family = [own, *own.children(recursive=True)]
            process.terminate()
            for one in psutil.wait_procs(family, timeout=15)[1]:
                one.kill()
        process.wait()


def _wait_until_ready(site: Site, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{site.url}/api/health", timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    pytest.fail(f"the Prefect server is not ready: {(site.folder / 'server.log').read_text()[-2000:]}")

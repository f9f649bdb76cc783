"""A Prefect server that stays up between runs, so that none waits for one of its own: ``gainloop up``."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import httpx
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_API_HOST,
    PREFECT_SERVER_API_PORT,
    update_current_profile,
)

from schemas.errors import ServerError
from schemas.masking import mask

STARTING_SECONDS = 60.0

PID: Final = "server.pid"
"""File in Prefect's folder with the process that `prefect server stop` ends; it outlives one that died."""

LOG: Final = "server.log"
"""File in Prefect's folder with what the server says. Prefect itself keeps no log of one in the background."""


def keep_server() -> str:
    """Have a Prefect server up, and runs of this user use it from now on; return what was done.

    Raises:
        ServerError: The one that PREFECT_API_URL names does not answer, or none can be started.
    """
    named = PREFECT_API_URL.value()
    url = named or f"http://{PREFECT_SERVER_API_HOST.value()}:{PREFECT_SERVER_API_PORT.value()}/api"
    if is_up(url):
        done = "was up already"
    elif named and not is_own(named):
        raise ServerError(
            f"looking for the Prefect server at {named}: it does not answer; the one that PREFECT_API_URL names must "
            "be up. Start it where it runs, or unset PREFECT_API_URL (`prefect config unset PREFECT_API_URL`)."
        )
    else:
        start(url)
        done = "is up"
    if not named:
        update_current_profile({"PREFECT_API_URL": url})
    return (
        f"Prefect server {done}, at {url.removesuffix('/api')}: runs use it from now on.{_log_line()} `prefect server "
        "stop` ends it, `prefect config unset PREFECT_API_URL` gives each run a server of its own again"
    )


def is_own(url: str) -> bool:
    """Tell whether a server at this address would be the one that is started here."""
    port = httpx.URL(url).port or 80
    return httpx.URL(url).host in ("127.0.0.1", "localhost") and port == PREFECT_SERVER_API_PORT.value()


def is_up(url: str) -> bool:
    """Tell whether a Prefect server answers."""
    try:
        return bool(httpx.get(f"{url}/health", timeout=2).json() is True)
    except (httpx.HTTPError, ValueError):
        return False


def start(url: str) -> None:
    """Start a Prefect server that outlives this process, and return when it answers.

    Raises:
        ServerError: It does not; the message ends with what Prefect says. Or another one of this user is up.
    """
    pid, log = Path(PREFECT_HOME.value(), PID), Path(PREFECT_HOME.value(), LOG)
    if is_running(pid):
        raise ServerError(
            f"starting a Prefect server at {url}: process {pid.read_text()} is a server already, which does not answer "
            "there; one is allowed. Run `prefect server stop` and try again."
        )
    pid.parent.mkdir(parents=True, exist_ok=True)
    asked = [sys.executable, "-m", "prefect", "--no-prompt", "server", "start"]
    with log.open("wb") as told:
        process = subprocess.Popen(asked, stdout=told, stderr=told, start_new_session=True)  # noqa: S603
    pid.write_text(str(process.pid))
    deadline = time.monotonic() + STARTING_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if is_up(url):
            return
        time.sleep(0.1)
    said = " ".join(log.read_text(errors="replace").split()) if process.poll() is not None else "it does not answer"
    raise ServerError(
        mask(
            f"starting a Prefect server at {url}: {said[-400:].rstrip('.')}; its port must be free and its database "
            f"sound. Read {log}, run `prefect server stop` and try again, or set PREFECT_SERVER_API_PORT to another."
        )
    )


def is_running(pid: Path) -> bool:
    """Tell whether the process that a file names is a Prefect server; its number may be another program's by now."""
    try:
        process = int(pid.read_text())
        os.kill(process, 0)
    except (OSError, ValueError):
        return False
    words = Path(f"/proc/{process}/cmdline")  # of Linux; elsewhere a process with that number is taken for one
    return not words.exists() or b"prefect" in words.read_bytes()


def _log_line() -> str:
    log = Path(PREFECT_HOME.value(), LOG)
    return f" Its log is {log}." if log.is_file() else ""

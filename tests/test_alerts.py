"""Alerts that are off until they are switched on: a Prefect server, and a webhook that writes down what it is told."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml

from tests.site import PASSWORD, QUIET_SECONDS, Site, running_site, shared_database, wait_until
from tests.small_run import ROOT

pytestmark = pytest.mark.server

TOLD_SECONDS = 240
REASON = 'training on batch 12: the gate holds it, "records" <repeat> each other'
TELLING = ("tell: held", "tell: failed", "tell: late")


@pytest.fixture(scope="module")
def heard() -> Iterator[tuple[str, list[str]]]:
    """A webhook of one's own: its url, and the texts that were posted to it."""
    texts: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/secret-path", texts
        server.shutdown()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("alerts")
    with shared_database() as database, running_site(folder, database | PASSWORD) as site:
        yield site


@pytest.fixture(scope="module")
def made(site: Site, heard: tuple[str, list[str]]) -> list[str]:
    """What `gainloop automate` said, asked without a url, with one, and once more."""
    return [site.automate(url) for url in ("", heard[0], "")]


def test_all_are_made_once_off_where_the_file_says_so_and_the_url_is_kept_as_a_secret(
    site: Site, made: list[str]
) -> None:
    first, second, third = made
    assert "left out, for GAINLOOP_ALERT_URL is not set: tell: held" in first
    assert "made, off: tell: held" in second
    assert "brought up to date, off: tell: held" in third
    told = [one for name in ("automations.yaml", "automations-off.yaml") for one in _told(name)]
    found = site.automations()
    assert sorted(one["name"] for one in found) == sorted(one["name"] for one in told)
    off = {one["name"] for one in _told("automations-off.yaml")}
    assert {one["name"] for one in found if not one["enabled"]} == off
    shown = json.dumps(found) + "".join(made) + json.dumps(site.send("block_documents/filter", {}))
    assert "secret-path" not in shown


def test_the_site_has_the_database_and_the_password_that_it_was_given(site: Site) -> None:
    assert httpx.get(f"{site.url}/api/admin/version").status_code == 401
    assert site.auth == ("team", "of-two")
    is_shared = "PREFECT_SERVER_DATABASE_CONNECTION_URL" in site.settings
    assert is_shared != bool(list(site.folder.rglob("prefect.db")))


def test_what_is_switched_on_tells_of_what_is_held_failed_and_late(
    site: Site, heard: tuple[str, list[str]], made: list[str]
) -> None:
    _, texts = heard
    _start(site, "FAILED", "Held", "before")
    site.switch_on(*TELLING)
    _start(site, "FAILED", "Held", REASON)
    _start(site, "FAILED", "Failed", "BadInput: profile 'nowhere' not found")
    _start(site, "SCHEDULED", "Scheduled", "", datetime.now(UTC) - timedelta(minutes=5))
    wait_until(lambda: len(texts) >= len(TELLING), TOLD_SECONDS)
    held, failed, late = (next(text for text in texts if f" is {name}." in text) for name in ("Held", "Failed", "Late"))
    assert held.startswith("report / ")
    assert REASON in held
    assert f"{site.url}/runs/flow-run/" in held
    assert "profile 'nowhere' not found" in failed
    assert late.startswith("report / ")
    assert not [text for text in texts if "before" in text]


def test_new_snapshots_of_the_nightly_refresh_start_one_cycle_once_they_are_over_and_those_of_a_cycle_none(
    site: Site, made: list[str]
) -> None:
    cycle = site.read("deployments/name/cycle/cycle-embedded")
    site.switch_on("a new snapshot starts a cycle")
    asked = {"deployments": {"id": {"any_": [cycle["id"]]}}}
    _say_snapshot(site, "cycle-embedded", 11)
    for snapshot in range(3):
        _say_snapshot(site, "nightly", snapshot)
        time.sleep(QUIET_SECONDS / 5)
    assert not site.send("flow_runs/filter", asked)  # as long as they go on
    wait_until(lambda: site.send("flow_runs/filter", asked), TOLD_SECONDS)
    time.sleep(2 * QUIET_SECONDS)
    (run,) = site.send("flow_runs/filter", asked)
    assert run["parameters"] == {"profile": "embedded", "plan": "small"}


def _say_snapshot(site: Site, deployment: str, snapshot: int) -> None:
    """Send the event that a refresh in a run of a deployment sends."""
    related = {"prefect.resource.id": f"prefect.deployment.{uuid4()}", "prefect.resource.role": "deployment"}
    event = {
        "id": str(uuid4()),
        "event": "gainloop.snapshot",
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": f"gainloop.snapshot.{snapshot}", "prefect.resource.name": "snapshot"},
        "related": [{**related, "prefect.resource.name": deployment}],
        "payload": {},
    }
    site.tell("events", [event])


def _told(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load(Path(ROOT / name).read_text())["automations"])


def _start(site: Site, kind: str, name: str, message: str, due: datetime | None = None) -> str:
    """Start a run that nobody works on, in a state."""
    deployment = site.read("deployments/name/report/step-8-report")
    state: dict[str, Any] = {"type": "SCHEDULED"}
    if due:
        state["state_details"] = {"scheduled_time": due.isoformat()}
    run = str(site.send(f"deployments/{deployment['id']}/create_flow_run", {"state": state})["id"])
    if not due:
        site.send(
            f"flow_runs/{run}/set_state", {"state": {"type": kind, "name": name, "message": message}, "force": True}
        )
    return run

"""A site, with Postgres and a password, that nobody looks at: the nightly refresh, and runs that die unnoticed.

All of it goes on at once, and takes as long as the longest: a healthy run of four minutes.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import yaml

from tests.browser import log_in, open_page, require_text
from tests.site import PASSWORD, Site, kill_family, postgres, running_site, wait_until
from tests.small_run import ROOT, write_corpus, write_profile

pytestmark = pytest.mark.server

START_SECONDS = 180
HEALTHY_SECONDS = 240
"""Twice what silence is borne for, and more than Prefect's own time between two heartbeats."""

DUE_SECONDS = 100
"""The scheduler looks once a minute."""

LIMIT_SECONDS = 600

FLOW = """
import time
from pathlib import Path

from prefect import flow


@flow
def stage(seconds: float) -> None:
    time.sleep(seconds)


@flow
def patient(seconds: float, begun: str) -> None:
    again = Path(begun).exists()
    Path(begun).touch()
    stage(0 if again else seconds)
"""
"""A flow that takes its time in a subflow, as `cycle` does, and is quick when it is run again."""

SECONDS = {"healthy": HEALTHY_SECONDS, "silent": HEALTHY_SECONDS, "mute": 0, "unborn": 0, "stranger": 0}
"""How long each run takes, if it is left to."""


@dataclass(frozen=True)
class Unattended:
    """A site after all that was to happen there did: the ids of its runs by name."""

    site: Site
    runs: dict[str, str]
    heartbeats_when_killed: int

    def states(self, name: str) -> list[str]:
        """Return what a run went through, in order."""
        return [state["name"] for state in _states(self.site, self.runs[name])]

    def messages(self, name: str) -> list[str]:
        return [state["message"] for state in _states(self.site, self.runs[name]) if state["message"]]

    def run(self, name: str) -> dict[str, Any]:
        return self.site.read(f"flow_runs/{self.runs[name]}")


@pytest.fixture(scope="module")
def unattended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unattended]:
    folder = tmp_path_factory.mktemp("unattended")
    with postgres() as database, running_site(folder, database | PASSWORD) as site:
        site.require("automation", "create", "--from-file", "automations.yaml")
        _deploy_patience(site)
        runs = {name: _start(site, name, state="RUNNING") for name in ("mute", "stranger")}
        for name, reached in (("unborn", partial(_is, kind="PENDING")), ("silent", _heartbeats)):
            with site.worker() as doomed:
                runs[name] = _start(site, name)
                wait_until(partial(reached, site, runs[name]), START_SECONDS)
                kill_family(doomed)
        heartbeats = _heartbeats(site, runs["silent"])
        with site.worker():
            runs["healthy"] = _start(site, "healthy")
            runs["scheduled"] = _schedule_refresh(site)
            for name in runs.keys() - {"stranger"}:
                wait_until(partial(_is, site, runs[name], "COMPLETED"), LIMIT_SECONDS)
            yield Unattended(site, runs, heartbeats)


def test_a_deployed_schedule_makes_runs_without_being_asked(unattended: Unattended) -> None:
    deployment = unattended.site.read("deployments/name/refresh/nightly")
    runs = _runs(unattended.site, {"deployments": {"id": {"any_": [deployment["id"]]}}})
    nightly = [run for run in runs if run["state"]["type"] == "SCHEDULED" and "T03:00:00" in run["expected_start_time"]]
    assert len(nightly) >= 3
    assert all(run["auto_scheduled"] for run in nightly)


def test_a_scheduled_refresh_starts_when_it_is_due_and_completes(unattended: Unattended) -> None:
    run = unattended.run("scheduled")
    assert run["auto_scheduled"]
    started, due = (datetime.fromisoformat(run[name]) for name in ("start_time", "expected_start_time"))
    assert started > due - timedelta(seconds=1)  # two clocks: the worker's process and the server's
    assert (run["run_count"], unattended.states("scheduled")[-1]) == (1, "Completed")
    assert (unattended.site.folder / "data" / "gainloop.duckdb").exists()


def test_a_refresh_that_found_documents_sends_an_event_that_names_its_snapshot_and_its_deployment(
    unattended: Unattended,
) -> None:
    (event,) = unattended.site.send("events/filter", {"filter": {"event": {"name": ["gainloop.snapshot"]}}})["events"]
    assert event["resource"]["prefect.resource.id"].startswith("gainloop.snapshot.")
    related = {one["prefect.resource.role"]: one.get("prefect.resource.name") for one in event["related"]}
    assert related["deployment"] == "nightly"
    assert event["payload"]["new"] == event["payload"]["anchors"] > 0


def test_a_healthy_run_of_four_minutes_is_left_alone(unattended: Unattended) -> None:
    run = unattended.run("healthy")
    assert run["total_run_time"] >= HEALTHY_SECONDS
    assert run["run_count"] == 1
    assert not {"Crashed", "Failed"} & set(unattended.states("healthy"))
    assert _heartbeats(unattended.site, run["id"]) >= HEALTHY_SECONDS / 30


def test_a_run_killed_with_its_worker_before_its_second_heartbeat_crashes_and_starts_again(
    unattended: Unattended,
) -> None:
    assert unattended.heartbeats_when_killed == 1
    assert unattended.run("silent")["run_count"] == 2
    states = unattended.states("silent")
    assert states.count("Crashed") == 1
    assert states.index("Running") < states.index("Crashed") < states.index("Completed") == len(states) - 1
    assert unattended.messages("silent")[-2:] == ["No heartbeat for two minutes.", "It starts again after a crash."]


def test_so_does_a_run_of_which_no_heartbeat_was_ever_heard(unattended: Unattended) -> None:
    states = unattended.states("mute")
    assert states[:3] == ["Running", "Crashed", "Scheduled"]
    assert states[-1] == "Completed"


def test_a_run_killed_with_its_worker_before_it_began_starts_again(unattended: Unattended) -> None:
    assert unattended.run("unborn")["run_count"] == 1
    assert unattended.states("unborn").count("Running") == 1
    assert unattended.messages("unborn")[-1] == "It starts again, for it had not begun after four minutes."


def test_a_run_of_another_project_is_left_alone(unattended: Unattended) -> None:
    assert unattended.states("stranger") == ["Running"]


def test_a_page_asks_for_the_password_and_starts_a_run_once_it_has_it(unattended: Unattended) -> None:
    site = unattended.site
    deployment = site.read("deployments/name/patient/healthy")["id"]
    url = f"{site.url}/v2/deployments/deployment/{deployment}"
    with open_page(url) as page:
        log_in(page, "team:of-one")
        require_text(page, "Invalid credentials", "password-wrong")
        log_in(page, site.settings["PREFECT_API_AUTH_STRING"])
        require_text(page, "Logout", "password-right")
        page.goto(url)  # Prefect's own way back to the page that was asked for names its tab twice
        page.get_by_role("button", name="Run", exact=True).first.click()
        page.get_by_role("menuitem", name="Quick run").click()
        page.get_by_role("dialog").get_by_role("button", name="Run", exact=True).click()
        require_text(page, "Flow run created", "password-press")
    runs = _runs(site, {"deployments": {"id": {"any_": [deployment]}}})
    (pressed,) = {run["id"] for run in runs} - {unattended.runs["healthy"]}
    wait_until(partial(_is, site, pressed, "COMPLETED"), START_SECONDS)


def test_no_other_run_is_left_running_nor_a_subflow(unattended: Unattended) -> None:
    left = _runs(unattended.site, {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING"]}}}})
    assert [run["id"] for run in left] == [unattended.runs["stranger"]]


def test_the_servers_log_has_no_error(unattended: Unattended) -> None:
    entries = re.split(r"\n(?=[\d:.]+ \| )", (unattended.site.folder / "server.log").read_text())
    errors = [entry for entry in entries if re.search(r"\| (ERROR|CRITICAL) |Traceback", entry)]
    # SQLite on a machine that is busy with much else: the server does these again.
    assert not [entry for entry in errors if "database is locked" not in entry]


def _deploy_patience(site: Site) -> None:
    """Deploy a flow as the project deploys its own, once a run: one at a time each, so slots are let go too."""
    own = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    (refresh,) = (one for one in own["deployments"] if one["entrypoint"].startswith("flows/refresh"))
    kept = {name: refresh[name] for name in ("concurrency_limit", "work_pool")}
    folder = site.folder / "patience"
    folder.mkdir()
    (folder / "patient.py").write_text(FLOW)
    made = [
        {
            "name": name,
            "entrypoint": "patient.py:patient",
            "parameters": {"seconds": seconds, "begun": str(folder / name)},
            **kept,
            "tags": ["another"] if name == "stranger" else refresh["tags"],
        }
        for name, seconds in SECONDS.items()
    ]
    (folder / "prefect.yaml").write_text(json.dumps({"name": "patience", "deployments": made}))
    site.require("deploy", "--all", cwd=folder)


def _start(site: Site, name: str, state: str = "SCHEDULED") -> str:
    """Start a run; one whose state is RUNNING from the beginning has no process."""
    deployment = site.read(f"deployments/name/patient/{name}")
    return str(site.send(f"deployments/{deployment['id']}/create_flow_run", {"state": {"type": state}})["id"])


def _schedule_refresh(site: Site) -> str:
    """Give the refresh a second schedule that is due soon; returns the run that the server made of it."""
    deployment = site.read("deployments/name/refresh/nightly")["id"]
    source = {"kind": "files", "paths": [str(write_corpus(site.folder / "corpus"))], "licence": "PSF-2.0"}
    due = datetime.now(UTC) + timedelta(seconds=DUE_SECONDS)
    schedule = {
        "schedule": {"interval": 86_400, "anchor_date": due.isoformat()},
        "parameters": {"source": source, "profile": str(write_profile(site.folder))},
        "slug": "soon",
    }
    site.send(f"deployments/{deployment}/schedules", [schedule])

    def made() -> list[dict[str, Any]]:
        runs = _runs(site, {"deployments": {"id": {"any_": [deployment]}}})
        return [run for run in runs if run["parameters"].get("source") == source and _is_due(run, due)]

    (run,) = wait_until(made, START_SECONDS)
    return str(run["id"])


def _is_due(run: dict[str, Any], due: datetime) -> bool:
    return abs(datetime.fromisoformat(run["expected_start_time"]) - due) < timedelta(seconds=1)


def _runs(site: Site, asked: dict[str, Any]) -> list[dict[str, Any]]:
    return list(site.send("flow_runs/filter", {**asked, "limit": 200}))


def _states(site: Site, run: str) -> list[dict[str, Any]]:
    found = site.read(f"flow_run_states/?flow_run_id={run}")
    return sorted(found, key=lambda state: state["timestamp"])


def _is(site: Site, run: str, kind: str) -> bool:
    return bool(site.read(f"flow_runs/{run}")["state"]["type"] == kind)


def _heartbeats(site: Site, run: str) -> int:
    asked = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    return int(site.send("events/filter", {"filter": asked})["total"])

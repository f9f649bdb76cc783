"""A site, with Postgres and a password, that nobody looks at: a file that changes, and runs that die unnoticed.

All of it goes on at once, and takes as long as the longest: a healthy run of four minutes.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pydoc_data.topics import topics
from typing import Any

import asyncpg
import httpx
import pytest
import yaml

from gainloop.methods import Making
from gainloop.methods.rephrase import Rephrase
from gainloop.sources.files import Files
from gainloop.store import open_store
from gainloop.store.batches import begin_batch
from gainloop.store.duck import now
from schemas.profile import load_profile
from schemas.report import Report
from tasks.refresh import refresh_snapshot
from tests.browser import log_in, open_page, require_text
from tests.site import PASSWORD, Site, kill_family, running_site, shared_database, wait_until
from tests.small_run import ROOT, parameters, write_corpus, write_profile

pytestmark = pytest.mark.server

START_SECONDS = 180
HEALTHY_SECONDS = 240
"""Twice what silence is borne for, and more than Prefect's own time between two heartbeats."""

DUE_SECONDS = 100
"""The scheduler looks once a minute."""

LIMIT_SECONDS = 600

STARTING = "a new snapshot starts a cycle"
CHANGED = "assert.md"
"""A file of the corpus, whose text becomes another."""

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
    changed_at: datetime

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
    with shared_database() as database, running_site(folder, database | PASSWORD) as site:
        print(site.automate())
        site.switch_on(STARTING)
        _deploy_patience(site)
        changed_at = _watch_folder(site)
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
            (cycle,) = wait_until(partial(_runs_of, site, "cycle/cycle-embedded"), START_SECONDS)
            runs["cycle"] = cycle["id"]
            wait_until(partial(_has_ended, site, runs["cycle"]), LIMIT_SECONDS)
            yield Unattended(site, runs, heartbeats, changed_at)


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
    assert 0 < event["payload"]["new"] < event["payload"]["anchors"]


def test_a_changed_file_leads_without_a_hand_to_a_report_that_names_it(unattended: Unattended) -> None:
    site, run = unattended.site, unattended.run("cycle")
    (event,) = site.send("events/filter", {"filter": {"event": {"name": ["gainloop.snapshot"]}}})["events"]
    times = {
        "the file is changed": unattended.changed_at,
        "the schedule starts a refresh": datetime.fromisoformat(unattended.run("scheduled")["start_time"]),
        "the refresh names a new snapshot": datetime.fromisoformat(event["occurred"]),
        "the automation starts a cycle": datetime.fromisoformat(run["expected_start_time"]),
        "the cycle runs": datetime.fromisoformat(run["start_time"]),
        "the report is there": datetime.fromisoformat(run["end_time"]),
    }
    print("\n".join(["", *(f"{time:%H:%M:%S}  {what}" for what, time in times.items())]))
    assert [*times.values()] == sorted(times.values())
    assert run["created_by"]["type"] == "AUTOMATION"
    assert (run["state"]["type"], run["run_count"]) == ("COMPLETED", 1), run["state"]["message"]
    (page,) = (site.folder / "data" / "batches").glob("*/report.html")
    report = Report.model_validate_json((page.parent / "report.json").read_text())
    assert (report.corpus.documents, report.corpus.named) == (1, [CHANGED])
    assert f"1 document: {CHANGED}" in page.read_text()
    assert {one.title for one in report.examples} <= {CHANGED.removesuffix(".md")}
    print(f"{run['state']['message']}; made of {', '.join(report.corpus.named)}")


def test_what_ran_stands_in_postgres_and_nobody_without_the_password_may_ask(unattended: Unattended) -> None:
    site = unattended.site
    statuses = [httpx.get(f"{site.url}/api/admin/version", auth=auth).status_code for auth in (None, ("team", "no"))]
    assert statuses == [401, 401]
    assert httpx.get(f"{site.url}/api/admin/version", auth=site.auth).status_code == 200
    url = site.settings.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "")
    if not url:
        pytest.skip("no Postgres here")

    async def read() -> list[tuple[str, str]]:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        rows = await connection.fetch(
            "select id::text, state_type::text from flow_run where parent_task_run_id is null"
        )
        await connection.close()
        return [(row[0], row[1]) for row in rows]

    states = dict(asyncio.run(read()))
    print({name: states[run] for name, run in unattended.runs.items()})
    assert {states[unattended.runs[name]] for name in ("scheduled", "healthy", "cycle")} == {"COMPLETED"}


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


def _watch_folder(site: Site) -> datetime:
    """Deploy a cycle of a folder, change a file of it, and return when; all else of it is in an accepted batch."""
    corpus, profile = write_corpus(site.folder / "corpus"), write_profile(site.folder)
    given = parameters(corpus, profile, {"only_new": True})
    store = open_store(load_profile(str(profile)))
    snapshot_id = refresh_snapshot(store, Files.model_validate(given["source"]), 0.05).snapshot_id
    batch_id = begin_batch(store, Making(method=Rephrase()).recipe(snapshot_id, "m", "r"), "raw")
    row = {"batch_id": batch_id, "decision_id": "d", "measurement_id": "m", "training_id": "t", "state": "accepted"}
    store.insert(decisions=[row | {"decision": "{}", "decided_at": now()}])
    cycle = site.read("deployments/name/cycle/cycle-embedded")
    site.patch(f"deployments/{cycle['id']}", {"parameters": given})
    (corpus / CHANGED).write_text(topics["with"][:3000])  # some pieces: so small a model leaves one or another empty
    return datetime.now(UTC)


def _schedule_refresh(site: Site) -> str:
    """Give the refresh a second schedule that is due soon; returns the run that the server made of it."""
    deployment = site.read("deployments/name/refresh/nightly")["id"]
    source = parameters(site.folder / "corpus", site.folder / "small.yaml")["source"]
    due = datetime.now(UTC) + timedelta(seconds=DUE_SECONDS)
    schedule = {
        "schedule": {"interval": 86_400, "anchor_date": due.isoformat()},
        "parameters": {"source": source, "profile": str(site.folder / "small.yaml")},
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


def _runs_of(site: Site, deployment: str) -> list[dict[str, Any]]:
    return _runs(site, {"deployments": {"id": {"any_": [site.read(f"deployments/name/{deployment}")["id"]]}}})


def _has_ended(site: Site, run: str) -> bool:
    return site.read(f"flow_runs/{run}")["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def _states(site: Site, run: str) -> list[dict[str, Any]]:
    found = site.read(f"flow_run_states/?flow_run_id={run}")
    return sorted(found, key=lambda state: state["timestamp"])


def _is(site: Site, run: str, kind: str) -> bool:
    return bool(site.read(f"flow_runs/{run}")["state"]["type"] == kind)


def _heartbeats(site: Site, run: str) -> int:
    asked = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    return int(site.send("events/filter", {"filter": asked})["total"])

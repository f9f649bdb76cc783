"""The project as people use it: a Prefect server, deployments, a worker, runs, and their pages in a browser."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from gainloop.methods import SmallMaking
from gainloop.methods.rephrase import Rephrase
from gainloop.sources.files import Files
from gainloop.store import open_store
from gainloop.store.batches import replies_folder, resolve_batch
from gainloop.store.replies import read_replies
from schemas.profile import load_profile
from schemas.report import Report
from tasks.refresh import refresh_snapshot
from tests.browser import open_page, require_text
from tests.serving.stub_server import StubOptions, stub_server
from tests.site import BUSY, PASSWORD, PATIENCE_SECONDS, RUN_SECONDS, Site, running_site, shared_database, wait_until
from tests.small_run import PLAN, ROOT, START, command, parameters, served, write_corpus, write_profile

pytestmark = pytest.mark.server

SCREEN = 1024
"""Pixels that a screen of 1280 has in height."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What docs/deploy.md sets up: the database, the password, the deployments, a worker."""
    folder = tmp_path_factory.mktemp("site")
    with shared_database() as database, running_site(folder, database | PASSWORD) as site, site.worker():
        yield site


@pytest.fixture(scope="module")
def finished(site: Site) -> tuple[str, Path]:
    """A small cycle that was run from its deployment: the flow run's id, and the folder of its batch."""
    given = parameters(write_corpus(site.folder / "corpus"), write_profile(site.folder))
    status, flow_run_id = site.run("cycle/cycle-embedded", **given)
    assert status == 0, site.read(f"flow_runs/{flow_run_id}")["state"]["message"]
    (batch,) = (site.folder / "data" / "batches").glob("*/")
    return flow_run_id, batch


def test_the_pages_of_a_cycle_show_its_headline(site: Site, finished: tuple[str, Path]) -> None:
    flow_run_id, batch = finished
    report = Report.model_validate_json((batch / "report.json").read_text())
    headline = f"Delta I = {report.delta_i.nats_per_record.number} nats/record"
    assert report.headline.startswith(headline)
    verdict = json.loads((batch / "decision.json").read_text())["headline"]
    assert site.read(f"flow_runs/{flow_run_id}")["state"]["message"] == f"Batch {batch.name} is {verdict}"
    (stages,) = (one for one in _artifacts(site, flow_run_id) if one["key"] == "stages")
    assert stages["data"] == 100
    assert stages["description"].startswith("7 of 7 stages in ")
    link = f"http://127.0.0.1:4280/batches/{batch.name}/report.html"
    assert stages["description"].endswith(f"{report.headline} {link}")
    with site.page(f"runs/flow-run/{flow_run_id}?tab=Artifacts") as page:
        require_text(page, headline, "cycle-artifacts")
        page.get_by_text(f"report-{report.batch}", exact=True).first.click()
        page.get_by_role("link", name=re.compile("^[0-9a-f]{8}$")).first.click()  # the newest version of it
        require_text(page, "The whole report, with examples", "cycle-report-artifact")
    with open_page((batch / "report.html").as_uri()) as page:
        require_text(page, headline, "report-page")


def test_list_names_the_runs_and_how_they_ended(site: Site, finished: tuple[str, Path]) -> None:
    asked = [sys.executable, "-m", "flows", "list", "runs"]
    done = subprocess.run(asked, cwd=ROOT, env=site.settings, capture_output=True, text=True, check=True)
    assert re.search(rf"{finished[0]} +cycle-\S+ +Completed", done.stdout)


def test_the_run_form_sends_the_kind_that_was_chosen_and_nothing_of_another(site: Site) -> None:
    deployment = site.read("deployments/name/cycle/cycle-embedded")
    with site.page(f"deployments/deployment/{deployment['id']}/run") as page:
        page.route("**/create_flow_run", lambda route: route.abort())
        page.get_by_role("tab", name="Custom").first.click()
        page.get_by_text("Rephrase", exact=True).click()
        require_text(page, "Styles of documents and chunks, with one record each at most.", "cycle-form")
        with page.expect_request("**/create_flow_run") as sent:
            page.get_by_role("button", name="Submit").click()
        text = sent.value.post_data_json["parameters"]["text"]
        assert text["method"].keys() == set(Rephrase.model_fields)
        assert (text.keys(), text["max_anchors"]) == (set(SmallMaking.model_fields), 400)


def test_the_form_of_a_cycle_fits_two_screens(site: Site) -> None:
    deployment = site.read("deployments/name/cycle/cycle-embedded")
    with site.page(f"deployments/deployment/{deployment['id']}/run") as page:
        require_text(page, "Profile that says where to run", "cycle-form-shut")
        end = page.locator("label", has_text="Enforce Parameter Schema").bounding_box()
    assert end is not None  # what comes after it is Prefect's own
    assert end["y"] < 2 * SCREEN


def test_a_run_with_an_unknown_profile_fails_and_its_page_says_which_there_are(site: Site) -> None:
    status, flow_run_id = site.run("report/step-8-report", profile="nowhere")
    assert status == 1
    state = site.read(f"flow_runs/{flow_run_id}")["state"]
    assert state["type"] == "FAILED"
    assert "profile 'nowhere' not found in profiles/: known are cluster, embedded, vllm" in state["message"]
    with site.page(f"runs/flow-run/{flow_run_id}") as page:
        require_text(page, "Set profile to one of them.", "unknown-profile")


def test_a_held_batch_ends_its_run_as_held_and_the_page_says_why_until_it_is_released(
    site: Site, finished: tuple[str, Path]
) -> None:
    _, batch = finished
    profile = write_profile(site.folder, gate={"accept_rate": 2})  # no share is as large
    given = {"batch_id": batch.name, "start": START, "plan": PLAN, "profile": str(profile)}
    status, flow_run_id = site.run("train/step-6-train", **given)
    state = site.read(f"flow_runs/{flow_run_id}")["state"]
    assert (status, state["type"], state["name"]) == (1, "FAILED", "Held")
    assert state["message"].startswith(f"training on batch {batch.name}: the gate holds it, most of it is thrown away")
    with site.page(f"runs/flow-run/{flow_run_id}?tab=Artifacts") as page:
        require_text(page, "held: most of it is thrown away", "held-artifacts")
    assert site.run("train/step-6-train", **given, release="to see")[0] == 0


def test_generation_takes_a_slot_of_a_limit_that_must_exist(site: Site, finished: tuple[str, Path]) -> None:
    with stub_server() as stub:
        serving = {"kind": "servers", "urls": [stub.url], "concurrency_limit": "gpu-servers"}
        profile = write_profile(site.folder, serving=serving)
        given = served(profile, 2)
        without = _generate(site, given)
        assert without.returncode == 1
        assert "prefect gcl create gpu-servers" in without.stderr
        assert not [request for request in stub.requests if request["max_tokens"] > 1]
        site.prefect("gcl", "create", "gpu-servers", "--limit", "1")
        assert _generate(site, given).returncode == 0
        sent = [request for request in stub.requests if request["max_tokens"] > 1]
        assert len(sent) == 2 * len(Rephrase().styles)


def test_a_second_press_of_run_waits_for_the_first_and_both_complete(site: Site, tmp_path: Path) -> None:
    given = parameters(write_corpus(tmp_path / "corpus", num_topics=3), write_profile(tmp_path))
    nightly = site.read("deployments/name/refresh/nightly")
    site.patch(f"deployments/{nightly['id']}", {"parameters": {name: given[name] for name in ("source", "profile")}})

    def pressed() -> list[dict[str, Any]]:
        asked = {"deployments": {"id": {"any_": [nightly["id"]]}}, "sort": "START_TIME_ASC"}
        return [run for run in site.send("flow_runs/filter", asked) if not run["auto_scheduled"]]

    for count in (1, 2):  # two people, each with a page of their own
        with site.page(f"deployments/deployment/{nightly['id']}") as page:
            wait_until(lambda page=page: _press_run(page) != BUSY, PATIENCE_SECONDS)  # a person presses again
            require_text(page, "Flow run created", f"press-{count}")
    assert len(pressed()) == 2
    wait_until(lambda: [run["state"]["type"] for run in pressed()] == ["COMPLETED"] * 2, RUN_SECONDS)
    first, second = pressed()
    assert first["end_time"] <= second["start_time"]


def test_a_run_is_cancelled_from_its_page_keeps_what_landed_and_goes_on_when_it_is_run_again(
    site: Site, tmp_path: Path
) -> None:
    with stub_server(StubOptions(latency_seconds=1)) as stub:
        serving = {"kind": "servers", "urls": [stub.url]}
        profile = write_profile(tmp_path, serving=serving, generation={"shard_anchors": 4, "max_in_flight": 2})
        store, corpus = open_store(load_profile(str(profile))), write_corpus(tmp_path / "corpus")
        refresh_snapshot(store, Files(paths=[str(corpus)], max_chars=400), 0.05)
        deployment = site.read("deployments/name/generate/step-1-generate")
        given = served(profile, 20)
        asked = {"parameters": given, "state": {"type": "SCHEDULED"}}
        run = site.send(f"deployments/{deployment['id']}/create_flow_run", asked)["id"]
        wait_until(lambda: store.query("from records limit 1").height > 0, RUN_SECONDS)
        with site.page(f"runs/flow-run/{run}") as page:
            require_text(page, "Running", "cancel-before")
            page.locator("button[aria-haspopup=menu]").last.click()
            page.get_by_role("menuitem", name="Cancel").click()
            page.get_by_role("alertdialog").get_by_role("button", name="Cancel Flow Run").click()
            wait_until(lambda: site.read(f"flow_runs/{run}")["state"]["type"] == "CANCELLED", PATIENCE_SECONDS)
        landed = read_replies(replies_folder(store, resolve_batch(store))).height
        before = len(stub.requests)
        assert 0 < landed < 20 * len(Rephrase().styles)
        assert site.run("generate/step-1-generate", **given)[0] == 0
        sent = [request for request in stub.requests[before:] if request["max_tokens"] > 1]
    assert store.query("from records").height == 20 * len(Rephrase().styles)
    assert len(sent) <= 20 * len(Rephrase().styles) - landed + 8  # the pre-flight's first ones


def _press_run(page: Page) -> int:
    """Press Run on a deployment's page; returns the status that the server answers with."""
    page.get_by_role("button", name="Run", exact=True).first.click()
    with page.expect_response("**/create_flow_run") as answer:
        page.get_by_role("menuitem", name="Quick run").click()
    return answer.value.status


def _artifacts(site: Site, flow_run_id: str) -> list[dict[str, Any]]:
    return list(site.send("artifacts/filter", {"flow_runs": {"id": {"any_": [flow_run_id]}}, "limit": 200}))


def _generate(site: Site, given: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    asked = command("generate", given)
    return subprocess.run(asked, cwd=ROOT, env=site.settings, capture_output=True, text=True, check=False)

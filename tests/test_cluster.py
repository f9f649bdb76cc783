"""A batch made by the workers of a Ray cluster is the batch that one process makes."""

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import psutil
import pytest
import yaml

from gainloop.sources.files import Files
from gainloop.store.replies import read_replies
from schemas.errors import BadInput
from schemas.profile import Profile, Ray
from tasks.generate import generate_shard
from tasks.refresh import refresh_snapshot
from tasks.runner import run_all
from tests.serving.stub_server import Stub, StubOptions, stub_server
from tests.small_run import SERVED, START, parameters, write_profile
from tests.store.places import SECRETS, ground, lake_server
from tests.test_bad_input import HOUSE_FORM
from tests.whole_run import Place, start

ANCHORS, SHARD_ANCHORS = 24, 6
METHODS: dict[str, dict[str, Any]] = {
    "entigraph": {"kind": "entigraph", "max_entities": 4, "max_pairs": 3, "max_triples": 1},
    "rephrase": {"kind": "rephrase"},
}
SAMPLING = {"max_tokens": 12}
CONTEXT_TOKENS = {"entigraph": 154, "rephrase": 118}
"""With 12 tokens for a reply: some requests are rejected and some replies cut off, always the same."""

SECONDS = 60
"""How long the end of processes may take, and until the server tells what happened."""

CLUSTER = {"kind": "ray", "workers": 2}


@dataclass(frozen=True)
class Made:
    """A batch made by a cluster and by threads, and the processes that the cluster's run had."""

    by_cluster: Place
    by_threads: Place
    family: list[psutil.Process]


@pytest.fixture(scope="module", params=METHODS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, corpus: Path, api_url: str) -> Made:
    method = METHODS[request.param]
    by_threads, by_cluster = (Place(tmp_path_factory.mktemp(name)) for name in ("threads", "cluster"))
    with stub_server(StubOptions(context_tokens=CONTEXT_TOKENS[request.param])) as stub:
        generate(by_threads, corpus, api_url, stub, method)
        family = generate(by_cluster, corpus, api_url, stub, method, runner=CLUSTER)
    return Made(by_cluster, by_threads, family)


def generate(
    place: Place,
    corpus: Path,
    api_url: str,
    stub: Stub,
    method: dict[str, Any],
    meanwhile: Callable[[], object] = lambda: None,
    **changes: Any,
) -> list[psutil.Process]:
    """Make a batch with the command line; return all processes that the run was seen to have.

    Args:
        meanwhile: Called again and again while the run goes on.
        changes: Sections of the profile that differ.
    """
    generation = {"shard_anchors": SHARD_ANCHORS, "max_in_flight": 8}
    serving = {"kind": "servers", "urls": [stub.url]}
    profile = write_profile(place.folder, serving=serving, generation=generation, **changes)
    refresh_snapshot(place.store, Files(paths=[str(corpus / "*.md")], max_chars=400), 0.05)
    text = {"method": method, "sampling": SAMPLING, "max_anchors": ANCHORS}
    given = {"text": text, "generator": SERVED, "profile": profile}
    run = start("generate", given, place.folder, api_url)
    seen: set[psutil.Process] = set()
    while run.process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            seen |= set(psutil.Process(run.process.pid).children(recursive=True))
        meanwhile()
        time.sleep(0.2)
    ended = run.wait()
    assert ended.status == 0, ended.err
    return list(seen)


def cycle(place: Place, corpus: Path, api_url: str, method: dict[str, Any]) -> dict[str, bytes]:
    """Run the whole cycle over a batch that was made; return the weights that it trained, by their path."""
    given = parameters(corpus / "*.md", place.folder / "small.yaml", {"method": method, "sampling": SAMPLING})
    given["source"].pop("licence")
    given["text"]["max_anchors"] = ANCHORS
    given["start"] = START | {"budget_tokens": 8192}
    given |= {"heldout_fraction": 0.05, "generator": SERVED}
    made = place.summary("generate")
    ended = start("cycle", given, place.folder, api_url).wait()
    assert ended.status == 0, ended.err
    assert place.summary("generate") == made, "what was generated is gone on with"
    weights = (place.folder / "data/checkpoints").glob("*/model.safetensors")
    return {path.parent.name: path.read_bytes() for path in weights}


def replies(place: Place) -> pl.DataFrame:
    return read_replies(str(place.batch / "replies")).drop("seconds", "server", "attempt")


@pytest.mark.server
def test_a_cluster_makes_the_records_drops_and_replies_of_one_process(made: Made) -> None:
    cluster, threads = (place.rows("created_at", "completed_at") for place in (made.by_cluster, made.by_threads))
    for table in ("batches", "batch_anchors", "records", "drops"):
        assert cluster[table].equals(threads[table]), table
    assert cluster["records"].height > ANCHORS
    assert {"rejected", "cut_off"} <= set(cluster["drops"]["reason"])
    assert replies(made.by_cluster).equals(replies(made.by_threads))
    summaries = [place.summary("generate") for place in (made.by_cluster, made.by_threads)]
    one, other = ({**told, "seconds": 0, "tokens_per_second": 0} for told in summaries)
    assert one == other


@pytest.mark.server
def test_its_task_runs_and_the_log_lines_of_its_workers_are_on_the_server(made: Made, api_url: str) -> None:
    profile = str(made.by_cluster.folder / "small.yaml")
    (run,) = [run for run in ask(api_url, "flow_runs") if run["parameters"].get("profile") == profile]
    assert run["state_name"] == "Completed"
    spans = {f"anchors {begin} to {begin + SHARD_ANCHORS}" for begin in range(0, ANCHORS, SHARD_ANCHORS)}

    def shards() -> dict[str, dict[str, Any]]:
        of_the_run = {"flow_runs": {"id": {"any_": [run["id"]]}}}
        return {one["name"]: one for one in ask(api_url, "task_runs", **of_the_run) if "anchors" in one["name"]}

    wait_until(lambda: {one["state_name"] for one in shards().values()} == {"Completed"})
    assert shards().keys() == {f"generate {span}" for span in spans}
    names = {one["id"]: name for name, one in shards().items()}

    def lines() -> dict[str, str]:
        told: dict[str, str] = defaultdict(str)
        for line in ask(api_url, "logs", logs={"flow_run_id": {"any_": [run["id"]]}}):
            told[names.get(line["task_run_id"], "")] += line["message"] + "\n"
        return told

    wait_until(lambda: all("Finished in state" in lines()[name] for name in names.values()))
    for span in spans:
        told = lines()[f"generate {span}"]
        assert "Finished in state Completed()" in told
        assert f"{span}: {SHARD_ANCHORS} of {SHARD_ANCHORS} anchors" in told


@pytest.mark.server
def test_no_process_of_the_cluster_outlives_its_run(made: Made) -> None:
    assert len(made.family) > CLUSTER["workers"]
    _, alive = psutil.wait_procs(made.family, timeout=SECONDS)
    assert not [process for process in alive if process.is_running()]


@pytest.mark.server
@pytest.mark.parametrize("made", ["rephrase"], indirect=True)
def test_a_cycle_on_a_ducklake_with_two_workers_and_refreshes_beside_it_is_the_cycle_of_one_process(
    made: Made, tmp_path: Path, corpus: Path, api_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    other, refreshed = tmp_path / "other", []
    other.mkdir()
    with (
        lake_server() as server,
        ground("ducklake", tmp_path / "lake", server) as lake,
        stub_server(StubOptions(context_tokens=CONTEXT_TOKENS["rephrase"])) as stub,
    ):
        place = Place(tmp_path / "lake")

        def refresh() -> None:
            if place.store.query("from batches").height:  # before, the run would take the other corpus for the latest
                (other / f"{len(refreshed)}.md").write_text(f"Text {len(refreshed)} of another corpus. " * 20)
                refreshed.append(refresh_snapshot(place.store, Files(paths=[str(other)]), 0.0).corpus.num_anchors)

        store = yaml.safe_load(lake.profile.read_text())["store"]
        generate(place, corpus, api_url, stub, METHODS["rephrase"], refresh, runner=CLUSTER, store=store)
        assert refreshed == list(range(1, len(refreshed) + 1)) != []
        write_profile(made.by_threads.folder, serving={"kind": "servers", "urls": [stub.url]})  # its own is gone
        by_lake, by_file = (cycle(one, corpus, api_url, METHODS["rephrase"]) for one in (place, made.by_threads))
        assert by_lake == by_file
        assert len(by_lake) == 3, "a start, a synthetic arm and a baseline"
        assert place.figures() == made.by_threads.figures()
        rows, expected = (one.rows("created_at", "completed_at") for one in (place, made.by_threads))
        for table in ("batches", "batch_anchors", "records", "drops", "quarantine"):
            assert rows[table].equals(expected[table]), table
        assert place.store.kept().equals(made.by_threads.store.kept())
        assert place.store.kept().height > ANCHORS
        assert replies(place).equals(replies(made.by_threads))
        assert list((tmp_path / "lake" / "data" / "lake").rglob("*.parquet"))
        assert not list(tmp_path.rglob("*.duckdb"))


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ({"folder": "data"}, "folder of profile 'test' is 'data'"),
        ({"store": {"url": "data/gainloop.duckdb"}}, "store.url of profile 'test' is 'data/gainloop.duckdb'"),
        (
            {"store": {"url": "ducklake:postgres:dbname=lake", "data_path": "data/lake"}},
            "store.data_path of profile 'test' is 'data/lake'",
        ),
    ],
)
def test_relative_paths_are_refused_on_a_cluster_of_several_machines(
    profile: Profile, place: dict[str, Any], found: str
) -> None:
    pytest.importorskip("ray")
    runner = Ray(address="ray://head:10001")
    there = Profile.model_validate(profile.model_dump() | {"runner": runner.model_dump()} | place)

    with pytest.raises(BadInput, match=found) as caught:
        list(run_all(there, generate_shard, [], nullcontext()))
    assert HOUSE_FORM.fullmatch(str(caught.value)), caught.value


def test_without_ray_the_error_says_how_to_install_it(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tasks.ray_runner", raising=False)
    monkeypatch.setitem(sys.modules, "prefect_ray", None)
    there = profile.model_copy(update={"runner": Ray()})

    with pytest.raises(BadInput, match=r"packages ray and prefect-ray are needed.*pip install -e '\.\[cluster\]'"):
        list(run_all(there, generate_shard, [], nullcontext()))


def ask(api_url: str, what: str, **about: Any) -> list[dict[str, Any]]:
    """Return what the Prefect server holds of a kind, all pages of it."""
    found: list[dict[str, Any]] = []
    while True:
        page = httpx.post(f"{api_url}/{what}/filter", json={**about, "limit": 200, "offset": len(found)})
        found += page.raise_for_status().json()
        if len(page.json()) < 200:
            return found


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once the server, which is told a little later, knows; or after some time all the same."""
    deadline = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.5)

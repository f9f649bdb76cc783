"""Runs that are killed in the middle of a stage, and started again."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from flows.__stopping__ import STOP_SECONDS
from gainloop.sources.files import Files
from gainloop.store.replies import read_replies
from tasks.preflight import FIRST_REQUESTS
from tasks.refresh import refresh_snapshot
from tests.serving.stub_server import StubOptions, stub_server
from tests.small_run import parameters, served, write_profile
from tests.whole_run import Place, start

pytestmark = pytest.mark.crash

TIMES = ("created_at", "completed_at", "read_at", "refreshed_at", "measured_at", "url", "source", "source_id")
IN_FLIGHT = 8
OF_A_SHARD = "batches/*/replies/part-*-00000000[13][26]-*.parquet"
"""Replies that landed after the pre-flight: shards are of 16 anchors."""


@dataclass(frozen=True)
class Instant:
    """A moment in the middle of a stage.

    Attributes:
        reached: Told from outside while the run goes on.
        passed: Whether the stage is complete, which it must not be once the run is dead.
        then: What is done to the place before the next run.
    """

    stage: str
    reached: Callable[[Place], bool]
    passed: Callable[[Place], bool]
    then: Callable[[Place], None] = lambda _place: None


def has_rows(table: str) -> Callable[[Place], bool]:
    return lambda place: place.store.query(f"from {table} limit 1").height > 0


def is_complete(stage: str) -> Callable[[Place], bool]:
    query = "from completions where stage = ?"
    return lambda place: place.store.query(query, stage).height > 0


def has_files(pattern: str, at_least: int = 1) -> Callable[[Place], bool]:
    return lambda place: len(list(place.folder.glob(f"data/{pattern}"))) >= at_least


def checkpoints(place: Place) -> list[Path]:
    return [path for path in place.folder.glob("data/checkpoints/*") if path.is_dir() and not path.suffix]


def is_training(number: int) -> Callable[[Place], bool]:
    """Tell whether the checkpoint after so many others can be resumed, which means it is under way."""
    saved = has_files("checkpoints/*.partial/checkpoint-*/trainer_state.json")
    return lambda place: len(checkpoints(place)) == number and saved(place)


def is_trained(number: int) -> Callable[[Place], bool]:
    return lambda place: len(checkpoints(place)) > number


def tear_a_state(place: Place) -> None:
    """Leave what a kill leaves that comes while a state is being saved: all of it but the end."""
    *_, whole = sorted(place.folder.glob("data/checkpoints/*.partial/checkpoint-*"))
    torn = whole.with_name("checkpoint-100000")
    shutil.copytree(whole, torn)
    (torn / "optimizer.pt").write_bytes((whole / "optimizer.pt").read_bytes()[:1000])
    (torn / "trainer_state.json").unlink()


def half_landed(replies: Path) -> frozenset[str]:
    """Return the requests in files that are whole but for their names: a kill in a rename shows late on some disks."""
    found: set[str] = set()
    for scrap in replies.glob("*.partial"):
        with contextlib.suppress(pl.exceptions.PolarsError):
            found |= set(pl.read_parquet(scrap, columns=["request_id"])["request_id"])
    return frozenset(found)


def says(line: str) -> Callable[[Place], bool]:
    return lambda place: line in (place.folder / "cycle.err").read_text()


INSTANTS = (
    Instant("refresh", has_rows("parts"), has_rows("snapshots")),
    Instant("start", is_training(0), is_trained(0), then=tear_a_state),
    Instant("synthesizer", is_training(1), is_trained(1)),
    Instant("generate", has_files(OF_A_SHARD), is_complete("generate")),
    Instant("validate", has_files("batches/*/validation/results/records.json"), is_complete("validate")),
    Instant("gate", has_files("scores/*.parquet"), has_rows("decisions")),
    Instant("synthetic", is_training(2), is_trained(2)),
    Instant("baseline", is_training(3), is_trained(3)),
    Instant("score", has_files("scores/*.parquet", 2), is_complete("train")),  # the gate has scored the first
    Instant("report", says("Task run 'score checkpoints' - Finished"), has_rows("decisions where training_id != ''")),
)


@dataclass(frozen=True)
class Crashed:
    """A place whose cycle was killed in every stage.

    Attributes:
        landed: Requests whose replies had landed when generation was killed.
        half: Requests whose replies lay in files that were just being renamed: they may have landed or not.
    """

    place: Place
    landed: frozenset[str]
    half: frozenset[str]
    num_sent: int


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory, corpus: Path, api_url: str) -> Crashed:
    place = Place(tmp_path_factory.mktemp("crashed"))
    generation = {"shard_anchors": 16, "max_in_flight": IN_FLIGHT}
    given = parameters(corpus, write_profile(place.folder, generation=generation, training={"save_seconds": 0.5}))
    landed = half = frozenset[str]()
    for instant in INSTANTS:
        run = start("cycle", given, place.folder, api_url)
        run.wait_until(partial(instant.reached, place))
        run.kill()
        assert instant.reached(place), instant.stage
        assert not instant.passed(place), instant.stage
        instant.then(place)
        if instant.stage == "generate":
            half = half_landed(place.batch / "replies")
            landed = frozenset(read_replies(str(place.batch / "replies"))["request_id"])
    ended = start("cycle", given, place.folder, api_url).wait()
    assert ended.status == 0, ended.err
    return Crashed(place, landed, half - landed, place.summary("generate")["requests_sent"])


def test_a_cycle_killed_in_every_stage_ends_with_the_same_rows(crashed: Crashed, undisturbed: Place) -> None:
    rows, expected = crashed.place.rows(*TIMES), undisturbed.rows(*TIMES)
    for table in ("parts", "anchors", "snapshots", "batches", "records", "drops", "quarantine"):
        assert rows[table].equals(expected[table]), table
    assert expected["records"].height > 16


def test_and_with_the_same_replies_once_each(crashed: Crashed, undisturbed: Place) -> None:
    def replies(place: Place) -> pl.DataFrame:
        return read_replies(str(place.batch / "replies")).drop("seconds")

    assert replies(crashed.place).equals(replies(undisturbed))
    assert not list(crashed.place.folder.glob("data/**/*.partial"))


def test_and_with_the_same_weights_to_the_bit(crashed: Crashed, undisturbed: Place) -> None:
    weights = [f"{path.name}/model.safetensors" for path in checkpoints(undisturbed)]
    assert len(weights) == 4
    for name in weights:
        one, other = (place.folder / "data" / "checkpoints" / name for place in (crashed.place, undisturbed))
        assert one.read_bytes() == other.read_bytes(), name


def test_and_says_the_same_of_how_they_were_trained(crashed: Crashed, undisturbed: Place) -> None:
    for path in checkpoints(undisturbed):
        ours = json.loads((crashed.place.folder / "data" / "checkpoints" / path.name / "lineage.json").read_text())
        expected = json.loads((path / "lineage.json").read_text())
        for made in (ours, expected):
            assert made["metrics"].pop("speed")["seconds"] > 0
        assert ours["metrics"].pop("train_loss_nats") == pytest.approx(expected["metrics"].pop("train_loss_nats"))
        assert ours == expected


def test_and_with_the_same_report(crashed: Crashed, undisturbed: Place) -> None:
    assert crashed.place.figures() == undisturbed.figures()


def first_requests(place: Place) -> set[str]:
    """Return the requests of the pre-flight that were answered: the first one of each of the first anchors."""
    anchors = place.store.query("select anchor_id from batch_anchors where position < ?", FIRST_REQUESTS)["anchor_id"]
    replies = read_replies(str(place.batch / "replies"), anchors)
    return set(replies.filter(replies["facet"] == "draw 0")["request_id"])


def test_and_asks_only_for_what_had_not_landed(crashed: Crashed, undisturbed: Place) -> None:
    num_requests = undisturbed.summary("generate")["requests"]
    tried_out = first_requests(undisturbed)
    assert 0 < len(tried_out) <= FIRST_REQUESTS
    assert tried_out < crashed.landed
    most = num_requests - len(crashed.landed)
    assert 0 < most - len(crashed.half) <= crashed.num_sent <= most
    assert undisturbed.summary("generate")["requests_sent"] == num_requests - len(tried_out)


def test_servers_are_asked_again_for_what_was_in_flight_and_a_seconds_replies(
    tmp_path: Path, corpus: Path, api_url: str
) -> None:
    latency = 0.25
    place = Place(tmp_path)
    with stub_server(StubOptions(latency_seconds=latency)) as stub:
        profile = write_profile(
            tmp_path,
            serving={"kind": "servers", "urls": [stub.url]},
            generation={"shard_anchors": 16, "max_in_flight": IN_FLIGHT},
        )
        refresh_snapshot(place.store, Files(paths=[str(corpus)], max_chars=400), 0.05)
        given = served(profile, 32)
        run = start("generate", given, tmp_path, api_url)
        run.wait_until(partial(has_files(OF_A_SHARD, 3), place))
        run.kill()
        num_half = len(half_landed(place.batch / "replies"))
        num_landed = read_replies(str(place.batch / "replies")).height
        assert start("generate", given, tmp_path, api_url).wait().status == 0
        num_sent = len([asked for asked in stub.requests if asked["max_tokens"] > 1])
    summary = place.summary("generate")
    assert summary["requests"] == summary["replies"] == summary["records"] > num_landed > 20
    most = summary["requests"] - num_landed
    assert most - num_half <= summary["requests_sent"] <= most
    assert num_sent - summary["requests"] <= IN_FLIGHT + IN_FLIGHT / latency


def test_ctrl_c_ends_a_run_and_its_temporary_server_with_one_line_and_the_next_run_goes_on(
    tmp_path: Path, corpus: Path, api_url: str, undisturbed: Place
) -> None:
    place = Place(tmp_path)
    given = parameters(corpus, write_profile(tmp_path, training={"save_seconds": 0.5}))
    run = start("cycle", given, tmp_path, None)
    run.wait_until(partial(is_training(0), place))
    begun = time.monotonic()
    os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
    ended = run.wait()
    assert time.monotonic() - begun < 2 * STOP_SECONDS
    assert (ended.status, ended.out) == (130, "")
    assert ended.err.splitlines()[-1] == "stopped: what was done so far is kept. Run the same again to go on."
    assert not re.search("Traceback|Error|Crash", ended.err)
    with pytest.raises(ProcessLookupError):
        os.killpg(run.process.pid, 0)
    assert is_training(0)(place)

    again = start("cycle", given, tmp_path, api_url)
    again.wait_until(partial(is_trained(0), place))
    again.kill()
    (made,) = checkpoints(place)
    expected = undisturbed.folder / "data" / "checkpoints" / made.name
    assert (made / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()


def test_a_full_disk_stops_a_run_with_one_error_and_it_goes_on_when_there_is_room(
    tmp_path: Path, small_disk: Path, corpus: Path, api_url: str, undisturbed: Place
) -> None:
    given = parameters(corpus, write_profile(small_disk, training={"save_seconds": 0.5}))
    ended = start("cycle", given, tmp_path, api_url).wait()
    assert ended.status == 1
    assert "Traceback" not in ended.err
    (error,) = (line for line in ended.err.splitlines() if "No space left on device" in line)
    assert re.match(r"error: filling .*/checkpoints/.*; the disk must have room\. Free", error)

    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    assert start("cycle", given, tmp_path, api_url).wait().status == 0
    assert Place(small_disk).figures() == undisturbed.figures()


@pytest.mark.parametrize("is_killed", [False, True])
def test_of_two_runs_of_one_recipe_at_once_the_second_waits_and_goes_on_with_what_the_first_made(
    tmp_path: Path, corpus: Path, api_url: str, is_killed: bool
) -> None:
    place, second = Place(tmp_path), tmp_path / "second"
    second.mkdir()
    with stub_server(StubOptions(latency_seconds=0.5)) as stub:
        profile = write_profile(
            tmp_path,
            serving={"kind": "servers", "urls": [stub.url]},
            generation={"shard_anchors": 16, "max_in_flight": 1},
        )
        refresh_snapshot(place.store, Files(paths=[str(corpus)], max_chars=400), 0.05)
        given = served(profile, 32)
        run = start("generate", given, tmp_path, api_url)
        run.wait_until(partial(has_files("batches/*/.lock"), place))
        waiting = start("generate", given, second, api_url)
        waiting.wait_until(lambda: "this one waits until that is done" in waiting.err.read_text())
        first = run.kill() if is_killed else run.wait()
        other = waiting.wait()
    assert (other.status, first.status) == (0, -signal.SIGKILL if is_killed else 0), other.err
    summary = place.summary("generate")
    assert summary["requests"] == summary["replies"] == summary["records"]
    if not is_killed:
        assert first.out == other.out
        assert len([asked for asked in stub.requests if asked["max_tokens"] > 1]) == summary["requests"]


def test_a_folder_that_was_moved_is_gone_on_with(
    tmp_path: Path, corpus: Path, api_url: str, undisturbed: Place
) -> None:
    before, moved = undisturbed.folder, Place(tmp_path / "moved")
    shutil.copytree(before, moved.folder)
    write_profile(moved.folder)
    for table, rows in moved.rows().items():
        assert str(before) not in repr(rows.to_dicts()), table
    files, away = moved.files(), before.with_name("away")
    before.rename(away)  # so that nothing is found where it was
    try:
        given = parameters(corpus, moved.folder / "small.yaml")
        for flow in (given, {"profile": given["profile"]}):
            name = "cycle" if "source" in flow else "report"
            ended = start(name, flow, tmp_path, api_url).wait()
            assert (ended.status, ended.out) == (0, f"report: {moved.batch}/report.html\n"), ended.err
        written = {name for name, time in moved.files().items() if files.get(name) != time}
        assert {Path(name).name for name in written} == {"report.html", "report.json", "decision.json"}
        page = (moved.batch / "report.html").read_text()
        assert str(moved.folder) in page  # where the model lies by now
        assert f"{before}/" not in page
        asked = tmp_path / "q.jsonl"
        rows = [
            {"question": f"What is {one.stem}?", "answer": "A topic", "document": one.name}
            for one in corpus.glob("*.md")
        ]
        asked.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        (first, *_) = moved.rows()["checkpoints"]["checkpoint_id"]
        exam = {"exam": {"kind": "files", "paths": [str(asked)]}, "checkpoints": [first], "profile": given["profile"]}
        ended = start("evaluate", exam, tmp_path, api_url).wait()
        assert ended.status == 0, ended.err
    finally:
        away.rename(before)

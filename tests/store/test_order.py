"""What is first and what is last is told by the store, not by a clock: that is set back, or stands still."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gainloop.sources.files import Files
from gainloop.store import Store, batches, checkpoints, exams, snapshots
from gainloop.store.batches import begin_batch, complete_stage, list_summaries, resolve_batch
from gainloop.store.exams import read_exam, save_exam
from gainloop.store.measurements import resolve_training
from gainloop.store.snapshots import read_snapshot
from schemas.errors import BadInput
from schemas.exam import Exam, Question
from schemas.recipe import Recipe, Sampling
from tasks.refresh import Refreshed, refresh_snapshot

WITH_CLOCKS = (batches, checkpoints, exams, snapshots)
TEXT = "A text of the corpus {} that is long enough to be an anchor of its own, and has more words than it would need."


@pytest.fixture(params=[timedelta(hours=-1), timedelta(0)], ids=["set back", "stands still"], autouse=True)
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [datetime(2026, 11, 28, tzinfo=UTC)]

    def tick() -> datetime:
        times.append(times[-1] + request.param)
        return times[-1]

    for module in WITH_CLOCKS:
        monkeypatch.setattr(module, "now", tick)


@pytest.fixture
def refresh(store: Store, tmp_path: Path) -> Callable[[str, str], Refreshed]:
    """A refresh of a corpus of one document that says something."""

    def of(corpus: str, word: str) -> Refreshed:
        folder = tmp_path / corpus
        folder.mkdir(exist_ok=True)
        (folder / "text.md").write_text(TEXT.format(word))
        return refresh_snapshot(store, Files(paths=[str(folder)]), 0.0)

    return of


def begun(store: Store, seed: int) -> str:
    method = {"kind": "rephrase"}
    recipe = Recipe(method=method, snapshot_id="s", model="m", revision="r", sampling=Sampling(), seed=seed)
    return begin_batch(store, recipe, "raw")


def test_latest_is_what_was_refreshed_last_also_when_it_returns_to_what_was(
    store: Store, refresh: Callable[[str, str], Refreshed]
) -> None:
    first, second = refresh("a", "one"), refresh("a", "two")
    assert read_snapshot(store)["snapshot_id"] == second.snapshot_id
    again = refresh("a", "one")
    assert (again.snapshot_id, again.changed) == (first.snapshot_id, True)
    assert read_snapshot(store)["snapshot_id"] == first.snapshot_id


def test_each_corpus_has_its_own_latest(
    store: Store, refresh: Callable[[str, str], Refreshed], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = refresh("a", "one"), refresh("b", "other")
    ids = [Files(paths=[str(tmp_path / name)]).source_id for name in "ab"]
    assert [read_snapshot(store, of)["snapshot_id"] for of in ids] == [one.snapshot_id, other.snapshot_id]

    again = refresh("a", "one")
    assert not again.changed
    caplog.clear()
    latest = read_snapshot(store)
    assert latest["snapshot_id"] == again.snapshot_id
    (said,) = caplog.messages
    assert f"is of the corpus files {tmp_path / 'a'} ({ids[0]}), which was refreshed last" in said
    assert f"the store has files {tmp_path / 'b'} ({ids[1]}) too" in said


def test_the_latest_batch_training_and_summary_are_the_last_ones(store: Store) -> None:
    ids = [begun(store, seed) for seed in (3, 1, 2)]
    assert resolve_batch(store) == ids[-1]
    assert store.batches()["batch_id"].to_list() == ids[::-1]
    for key in ("c", "a", "b"):
        complete_stage(store, ids[0], "train", {"key": key}, key)
    assert [key for key, _ in list_summaries(store, ids[0], "train")] == ["b", "a", "c"]
    assert resolve_training(store, ids[0]) == "b"


def test_the_latest_exam_is_the_last_one_about_the_corpus_that_is_asked_about(
    store: Store, refresh: Callable[[str, str], Refreshed]
) -> None:
    one, other = refresh("a", "one").snapshot_id, refresh("b", "other").snapshot_id

    def made(snapshot_id: str, text: str) -> str:
        exam = Exam(snapshot_id, (Question(text, "an answer", "a document"),))
        return save_exam(store, exam, "files", {}, {})

    early, late, _ = made(one, "Where?"), made(one, "When?"), made(other, "Who?")
    grown = refresh("a", "one and two").snapshot_id
    assert read_exam(store, "latest", one).exam_id == read_exam(store, "latest", grown).exam_id == late
    assert read_exam(store, early, other).exam_id == early
    third = refresh("c", "third").snapshot_id
    with pytest.raises(BadInput, match=f"finding exam 'latest' about snapshot {third}: .*; known are none"):
        read_exam(store, "latest", third)

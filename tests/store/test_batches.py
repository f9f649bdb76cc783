import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from gainloop.store import Store, files
from gainloop.store.batches import (
    begin_batch,
    complete_stage,
    count_settled,
    latest_summary,
    list_summaries,
    only_writer,
    open_anchors,
    read_recipe,
    stage_summary,
    used_anchors,
)
from gainloop.store.draws import draw_anchors, plan_batch
from gainloop.store.replies import Span
from gainloop.store.snapshots import PartWriter
from schemas.recipe import Recipe
from schemas.rows import Anchor
from tests.conftest import ROOT
from tests.store.test_snapshots import make_snapshot, write_part

RECIPE = Recipe(method={"kind": "rephrase", "styles": ["easy"]}, snapshot_id="s", model="m", max_anchors=3)

HOLD = """
import sys, time
from gainloop.store.batches import only_writer
from gainloop.store import Store
with only_writer(Store("", sys.argv[1]), "batch"):
    print("held", flush=True)
    time.sleep(600)
"""


def write_anchors(store: Store, *texts: str) -> list[str]:
    writer = PartWriter(store, "source")
    for text in texts:
        writer.add_anchor("part", Anchor(text, "Title"))
    writer.write()
    return [Anchor(text).anchor_id for text in texts]


def test_a_batch_begun_twice_is_there_once_with_its_recipe(store: Store) -> None:
    batch_id = begin_batch(store, RECIPE, "processed")

    assert begin_batch(store, RECIPE, "processed") == batch_id == RECIPE.batch_id
    assert read_recipe(store, batch_id) == RECIPE
    assert store.query("select logprob_semantics from batches").rows() == [("processed",)]


def test_a_stage_is_complete_once_its_mark_is_there_and_the_mark_stays(store: Store) -> None:
    assert stage_summary(store, "b", "generate") is None

    complete_stage(store, "b", "generate", {"records": 3, "seconds": 0.5})
    complete_stage(store, "b", "generate", {"records": 4})
    assert stage_summary(store, "b", "generate") == {"records": 3, "seconds": 0.5}
    assert stage_summary(store, "b", "validate") is None
    assert stage_summary(store, "c", "generate") is None


def test_a_stage_that_is_done_in_several_ways_has_a_summary_for_each_the_latest_first(store: Store) -> None:
    complete_stage(store, "b", "train", {"seconds": 1}, "first")
    complete_stage(store, "b", "train", {"seconds": 2}, "second")
    complete_stage(store, "b", "generate", {})

    assert stage_summary(store, "b", "train", "first") == {"seconds": 1}
    assert stage_summary(store, "b", "train") is None
    assert list_summaries(store, "b", "train") == [("second", {"seconds": 2}), ("first", {"seconds": 1})]
    assert latest_summary(store, "b", "train") == {"seconds": 2}
    assert latest_summary(store, "b", "score") is None


def test_the_rows_of_a_stage_are_there_if_and_only_if_it_is_complete(store: Store) -> None:
    refused = pl.DataFrame({"batch_id": ["b"], "record_id": ["r"], "reason": ["too_short"]})
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        complete_stage(store, "b", "validate", {}, quarantine=refused.drop("reason"))
    assert stage_summary(store, "b", "validate") is None
    complete_stage(store, "b", "validate", {}, quarantine=refused)
    assert store.query("select record_id from quarantine").rows() == [("r",)]


def test_used_anchors_are_those_with_a_record_or_a_drop_of_the_batch(store: Store) -> None:
    recorded, dropped, both, other, unused = write_anchors(store, "one", "two", "three", "four", "five")
    settle(store, "b", recorded=[recorded, both], dropped=[dropped, both])
    settle(store, "c", recorded=[other], dropped=[])

    used = used_anchors(store, "b")
    assert used["anchor_id"].to_list() == sorted([recorded, dropped, both])
    assert set(used["text"]) == {"one", "two", "three"}
    assert used.columns == ["anchor_id", "title", "text", "num_bytes"]
    assert unused not in used["anchor_id"]


def settle(store: Store, batch_id: str, *, recorded: list[str], dropped: list[str]) -> None:
    record = {"method": "m", "facet": "", "text": "t", "request_ids": ["q"], "num_bytes": 1, "turns": ""}
    record |= {"batch_id": batch_id}
    drop = {"facet": "", "reason": "empty", "request_id": "q", "batch_id": batch_id}
    store.insert(
        records=[record | {"anchor_id": owner, "record_id": owner} for owner in recorded],
        drops=[drop | {"anchor_id": owner} for owner in dropped],
    )


def test_a_planned_batch_keeps_its_anchors_and_their_order(store: Store) -> None:
    write_part(store, "a", "1", [f"text {n}" for n in range(20)])
    recipe = RECIPE.model_copy(update={"snapshot_id": make_snapshot(store, {"a": "1"}), "max_anchors": 7})
    assert plan_batch(store, recipe) == plan_batch(store, recipe) == 7

    drawn = draw_anchors(store, recipe.snapshot_id, recipe.seed, 7)
    rows = store.query("from batch_anchors order by position")
    assert rows.drop("batch_id").equals(drawn.drop("num_bytes"))
    assert set(rows["batch_id"]) == {recipe.batch_id}
    anchors = open_anchors(store, recipe.batch_id, Span(0, 7))
    assert [anchor.anchor_id for anchor in anchors] == drawn["anchor_id"].to_list()
    assert open_anchors(store, recipe.batch_id, Span(2, 5)) == anchors[2:5]
    assert open_anchors(store, recipe.batch_id, Span(5, 9)) == anchors[5:]
    assert anchors[0] == Anchor(anchors[0].text, "Title", anchors[0].uri, "CC0-1.0", "1")
    assert anchors[0].uri.startswith("a#")


def test_an_anchor_with_an_outcome_in_the_batch_is_settled_and_not_open(store: Store) -> None:
    write_part(store, "a", "1", [f"text {n}" for n in range(6)])
    recipe = RECIPE.model_copy(update={"snapshot_id": make_snapshot(store, {"a": "1"}), "max_anchors": None})
    assert count_settled(store, recipe.batch_id) == (0, 0)
    plan_batch(store, recipe)
    one, two, three, *rest = [anchor.anchor_id for anchor in open_anchors(store, recipe.batch_id, Span())]
    settle(store, recipe.batch_id, recorded=[one, two], dropped=[two, three])
    settle(store, "another", recorded=rest, dropped=rest)

    assert [anchor.anchor_id for anchor in open_anchors(store, recipe.batch_id, Span())] == rest
    assert open_anchors(store, recipe.batch_id, Span(0, 3)) == []
    assert count_settled(store, recipe.batch_id) == (6, 3)


@contextmanager
def another_writer(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that writes the batch for the block, or until it is killed."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_batch_that_another_process_works_on_is_waited_for_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(files, "WAIT_SECONDS", 0.2)
    with another_writer(tmp_path) as writer:
        with only_writer(Store("", str(tmp_path)), "another batch"):
            assert not caplog.messages
        threading.Timer(1.0, writer.kill).start()
        with only_writer(Store("", str(tmp_path)), "batch"):
            assert writer.wait() < 0
    assert "Another run works on batch batch; this one waits until that is done" in caplog.text


def test_a_writer_that_is_killed_frees_its_batch(tmp_path: Path) -> None:
    with another_writer(tmp_path) as writer:
        writer.send_signal(signal.SIGKILL)
        with only_writer(Store("", str(tmp_path)), "batch"):
            pass
        with only_writer(Store("", str(tmp_path)), "batch"):
            pass


def test_an_error_frees_the_batch_and_object_storage_has_no_locks(tmp_path: Path) -> None:
    for folder in (str(tmp_path), "memory://bucket"):
        with pytest.raises(KeyError), only_writer(Store("", folder), "batch"):
            raise KeyError
        with only_writer(Store("", folder), "batch"):
            pass

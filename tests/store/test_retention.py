"""What may be removed of a store, what stays, and that what is gone is known to be."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from gainloop.store import Store, retention
from gainloop.store.batches import replies_folder, resolve_batch
from gainloop.store.checkpoints import Lineage, checkpoint_folder, make_once
from gainloop.store.duck import now
from gainloop.store.retention import Prunable, find_leftovers, plan_prune, prune, size_of
from schemas.decision import Decision
from schemas.errors import BadInput
from schemas.profile import Profile
from schemas.recipe import Scoring
from tasks.generate import reopen_unanswered
from tasks.prune import prune_store
from tasks.report import measure_once, save_report
from tasks.score import plan_scores
from tests.evidence import make_evidence, save_evidence

EVIDENCE = replace(make_evidence(num_anchors=12), training_id="", scores={})
BATCH = EVIDENCE.batch_id
LATER = timedelta(days=40)


@pytest.fixture
def measured(store: Store, profile: Profile) -> Store:
    """A store with one batch that was validated, held by the gate and measured, and no training."""
    save_evidence(store, profile, EVIDENCE)
    store.take_back(("delete from completions where stage = 'train'", []))
    save_report(store, profile.gate, BATCH, "")
    return store


def make_weights(store: Store, role: str, parent: str = "", batches: tuple[str, ...] = ()) -> str:
    def write(folder: str) -> dict[str, Any]:
        Path(folder, "model.safetensors").write_bytes(b"w" * 1000)
        return {"num_tokens": 1}

    return make_once(store, Lineage(role, parent, {"of": role}, list(batches)), write)


def of_folder(store: Store) -> int:
    """Return the bytes of all that lies in the store's folder, but for the DuckDB file."""
    return size_of(store.folder) - sum(path.stat().st_size for path in Path(store.folder).glob("*.duckdb*"))


def asked(store: Store, *kinds: Any, **given: Any) -> list[Prunable]:
    return plan_prune(store, kinds, given.pop("older_than", timedelta()), (), now() + LATER)


def needed(store: Store, *kinds: Any) -> dict[str, str]:
    return {one.name: one.needed for one in asked(store, *kinds)}


def test_a_dry_run_touches_nothing_and_what_is_freed_is_what_was_said(measured: Store, profile: Profile) -> None:
    before, files = of_folder(measured), sorted(Path(measured.folder).rglob("*"))
    (state,) = measured.query("select arg_max(state, rowid) as state from decisions")["state"]
    given = (["replies", "batches"], "", [state])

    said, (one,) = prune_store(measured, profile.gate, *given, yes=False)  # the batch has its replies in it
    assert said == f"would free {one.num_bytes:,} bytes of 1 whole batch. Give --yes to do it"
    assert (sorted(Path(measured.folder).rglob("*")), of_folder(measured)) == (files, before)

    said, (one,) = prune_store(measured, profile.gate, ["replies"], "0h", [state], yes=True)
    assert said == f"freed {one.num_bytes:,} bytes of replies of 1 batch"
    assert before - of_folder(measured) == one.num_bytes > 0
    assert prune_store(measured, profile.gate, ["replies"], "0h", [state], yes=True)[0] == "freed 0 bytes of nothing"
    assert measured.query("select kind, name, why from pruned").rows() == [
        ("replies", BATCH, f"older than 0h, {state}")
    ]


def test_an_age_or_a_decision_is_needed_and_both_must_hold(measured: Store) -> None:
    with pytest.raises(BadInput, match="neither an age nor a decision says what"):
        plan_prune(measured, ["replies"], None, ())
    assert plan_prune(measured, ["replies"], timedelta(days=30), ()) == []
    assert len(plan_prune(measured, ["replies"], timedelta(days=30), (), now() + LATER)) == 1
    assert plan_prune(measured, ["replies"], timedelta(days=30), ["accepted"], now() + LATER) == []


def test_what_needs_pruned_replies_says_when_they_were_pruned_and_how_to_have_them_again(measured: Store) -> None:
    (one,) = asked(measured, "replies")
    assert prune(measured, one, "a test")
    told = rf"reading the replies of batch {BATCH}: they were pruned on \d{{4}}-\d\d-\d\d; .* If no model .*--ask-again"
    with pytest.raises(BadInput, match=told):
        plan_scores(measured, BATCH, Scoring())
    measure_once(measured, BATCH, "")  # is there
    measured.take_back(("delete from measurements", []))
    with pytest.raises(BadInput, match=told):
        measure_once(measured, BATCH, "")
    recipe: Any = type("Recipe", (), {"batch_id": BATCH})()
    assert reopen_unanswered(measured, recipe, ask_again=False) == ""  # a rerun of the recipe does not miss them


def test_a_whole_batch_takes_its_rows_along_and_is_known_by_name(measured: Store, profile: Profile) -> None:
    before = of_folder(measured)
    (one,) = asked(measured, "batches")
    assert prune(measured, one, "a test")
    assert before - of_folder(measured) == one.num_bytes
    for table in retention.OF_BATCH:
        assert measured.query(f"from {table} where batch_id = ?", BATCH).is_empty(), table
    with pytest.raises(
        BadInput, match=rf"finding batch '{BATCH}': it was pruned on \d{{4}}-\d\d-\d\d.*generate it again"
    ):
        resolve_batch(measured, BATCH)
    save_evidence(measured, profile, EVIDENCE)
    assert resolve_batch(measured, BATCH) == BATCH


def test_replies_stay_of_a_batch_that_is_not_measured_by_this_version(measured: Store) -> None:
    measured.take_back(("update measurements set measurement_id = 'of another version'", []))
    assert needed(measured, "replies") == {BATCH: "its report is not measured by this version: run the flow report"}
    measured.take_back(("delete from completions where stage = 'validate'", []))
    assert needed(measured, "replies") == {BATCH: "validate is not complete"}


def test_weights_stay_that_a_model_which_stays_continues_and_go_with_it(measured: Store) -> None:
    start = make_weights(measured, "start")
    child = make_weights(measured, "synthetic", start, (BATCH,))
    old = timedelta(seconds=1)
    measured.take_back(("update checkpoints set created_at = created_at - interval 9 day where parent = ''", []))
    assert [one.needed for one in plan_prune(measured, ["weights"], old, (), now())] == [
        f"checkpoint {child} continues it"
    ]
    assert needed(measured, "batches") == {BATCH: f"checkpoint {child} was trained on it"}
    assert needed(measured, "weights", "batches") == {start: "", child: "", BATCH: ""}

    for one in asked(measured, "weights"):
        assert prune(measured, one, "a test")
    with pytest.raises(
        BadInput, match=rf"checkpoint {start}: its weights were pruned on \d{{4}}-.* Name another checkpoint"
    ):
        checkpoint_folder(measured, start)
    assert make_weights(measured, "start") == start  # and so they are made again
    assert os.path.isdir(checkpoint_folder(measured, start))


def test_the_newest_accepted_batch_and_its_models_stay(measured: Store) -> None:
    start = make_weights(measured, "start")
    child = make_weights(measured, "synthetic", start, (BATCH,))
    summary = {"checkpoints": {"start": start, "synthetic": child}}
    done = {"batch_id": BATCH, "stage": "train", "key": "t", "summary": summary, "completed_at": now()}
    snapshot = {"source_id": "s", "source": "{}", "heldout_fraction": 0.0, "created_at": now(), "num_anchors": 1}
    snapshot |= {"snapshot_id": EVIDENCE.recipe["snapshot_id"], "num_heldout": 0, "num_bytes": 1}
    decision = measured.query("from decisions").row(0, named=True)
    accepted = decision | {"decision_id": "d", "training_id": "t", "state": "accepted"}
    measured.insert(completions=[done], snapshots=[snapshot], decisions=[accepted])
    assert Decision.model_validate_json(decision["decision"]).batch == BATCH
    assert needed(measured, "weights", "batches") == {
        BATCH: "it is the newest accepted batch of its corpus",
        start: "the newest accepted batch of its corpus rests on it",
        child: "the newest accepted batch of its corpus rests on it",
    }


def test_what_a_run_holds_a_lock_on_stays(measured: Store) -> None:
    start = make_weights(measured, "start")
    (replies,) = asked(measured, "replies")
    with FileLock(f"{measured.folder}/batches/{BATCH}/.lock"):
        assert needed(measured, "replies", "batches") == {BATCH: "a run works on it now"}
        assert not prune(measured, replies, "a run that began after it was planned")
    with FileLock(f"{measured.folder}/checkpoints/0123.lock"):
        assert needed(measured, "weights") == {start: "a run works on checkpoint 0123 now"}
    assert os.path.isdir(replies_folder(measured, BATCH))
    assert measured.query("from pruned").is_empty()


class Killed(BaseException):
    """Stands for the end of the process."""


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, is_after: bool) -> None:
    """End the next call of a function before it does anything, or after it is done."""
    function: Callable[..., Any] = getattr(owner, name)

    def killed(*args: Any, **named: Any) -> Any:
        if is_after:
            function(*args, **named)
        raise Killed

    monkeypatch.setattr(owner, name, killed)


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(os, "rename"), (Store, "take_back"), (Store, "insert"), (retention.shutil, "rmtree")],
    ids=["rename", "take_back", "insert", "rmtree"],
)
def test_a_prune_that_is_killed_and_run_again_ends_as_one_that_was_not(
    measured: Store, profile: Profile, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, is_after: bool
) -> None:
    (one,) = asked(measured, "batches")
    with monkeypatch.context() as patch:
        kill_at(patch, owner, name, is_after)
        with pytest.raises(Killed):
            prune(measured, one, "a test")
    for left in [*find_leftovers(measured), *asked(measured, "batches")]:
        assert prune(measured, left, "a test")
    assert sorted(path.name for path in Path(measured.folder, "batches").iterdir()) == ["index.html", "index.json"]
    assert measured.query("select kind, name, num_bytes, why from pruned").rows() == [
        ("batches", BATCH, one.num_bytes, "a test")
    ]
    assert measured.query("from records").is_empty()
    assert measured.query("from batches").is_empty()
    assert find_leftovers(measured) == []


def test_a_batch_that_was_made_again_after_a_kill_keeps_its_rows(
    measured: Store, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = asked(measured, "batches")
    with monkeypatch.context() as patch:
        kill_at(patch, os, "rename", is_after=True)
        with pytest.raises(Killed):
            prune(measured, one, "a test")
    save_evidence(measured, profile, EVIDENCE)
    for left in find_leftovers(measured):
        prune(measured, left, "a test")
    assert measured.query("from records").height == EVIDENCE.records.height
    assert list(Path(replies_folder(measured, BATCH)).glob("*.parquet"))

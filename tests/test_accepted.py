"""The loop of new documents: what is accepted is gone on from, and text is made of what is new since."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.generate import find_since
from gainloop.methods import Making
from gainloop.methods.rephrase import Rephrase
from gainloop.sources.files import Files
from gainloop.store import Store
from gainloop.store.batches import begin_batch, complete_stage
from gainloop.store.draws import draw_anchors
from gainloop.store.duck import now
from gainloop.store.measurements import latest_accepted
from gainloop.store.snapshots import read_texts
from schemas.errors import NothingNew
from schemas.plan import Accepted, Checkpoint
from tasks.refresh import refresh_snapshot
from tasks.train import resolve_start
from tests.small_run import RELEASE, parameters, write_corpus, write_profile
from tests.whole_run import Place, start

TEXT = "The mill at {} grinds rye for the seven towns along the river, and has done so for longer than anybody knows."


@pytest.fixture
def refresh(store: Store, tmp_path: Path) -> Callable[..., str]:
    """A refresh of a corpus of some places, which returns its snapshot."""

    def of(corpus: str, *places: str) -> str:
        (folder := tmp_path / corpus).mkdir(exist_ok=True)
        for number, place in enumerate(places):
            (folder / f"{number}.md").write_text(TEXT.format(place))
        return refresh_snapshot(store, Files(paths=[str(folder)]), 0.0).snapshot_id

    return of


def judged(store: Store, snapshot_id: str, training_id: str, state: str, seed: int = 0) -> str:
    """Insert a batch of a snapshot, a training of it, and a decision on that; return the batch's id."""
    recipe = Making(method=Rephrase(), seed=seed).recipe(snapshot_id, "m", "r")
    batch_id = begin_batch(store, recipe, "raw")
    checkpoint = f"{batch_id}-{training_id}"
    complete_stage(store, batch_id, "train", {"checkpoints": {"synthetic": checkpoint}}, training_id)
    row = {"checkpoint_id": checkpoint, "parent": "", "role": "synthetic", "batch_ids": [batch_id], "url": checkpoint}
    decision = {"batch_id": batch_id, "decision_id": f"{now()}", "measurement_id": "m", "training_id": training_id}
    store.insert(
        checkpoints=[row | {"plan": "{}", "metrics": "{}", "created_at": now()}],
        decisions=[decision | {"state": state, "decision": "{}", "decided_at": now()}],
    )
    return batch_id


def test_the_latest_accepted_batch_is_of_the_same_corpus_and_by_the_latest_decision_on_each_training(
    store: Store, refresh: Callable[..., str], tmp_path: Path
) -> None:
    of_a, of_b = refresh("a", "Aarhus"), refresh("b", "Bergen")
    source_a, source_b = (Files(paths=[str(tmp_path / name)]).source_id for name in "ab")
    assert latest_accepted(store, source_a) is None

    first = judged(store, of_a, "t", "accepted")
    second = judged(store, of_a, "t", "accepted", seed=1)
    judged(store, of_a, "t", "undecided", seed=2)
    judged(store, of_a, "", "accepted", seed=3)  # nothing was trained
    other = judged(store, of_b, "t", "accepted")
    assert latest_accepted(store, source_a) == {"batch_id": second, "training_id": "t", "snapshot_id": of_a}
    assert latest_accepted(store, source_b) == {"batch_id": other, "training_id": "t", "snapshot_id": of_b}

    judged(store, of_a, "t", "rejected", seed=1)  # by other thresholds, later
    assert latest_accepted(store, source_a) == {"batch_id": first, "training_id": "t", "snapshot_id": of_a}


def test_text_is_made_only_of_anchors_that_are_new_or_changed_since_the_accepted_batch(
    store: Store, refresh: Callable[..., str]
) -> None:
    making = Making(method=Rephrase(), only_new=True)
    before = refresh("a", "Aarhus", "Arendal", "Alta")
    assert find_since(store, before, making) == ""
    batch_id = judged(store, before, "t", "accepted")

    with pytest.raises(NothingNew, match=f"nothing is new or changed since batch {batch_id}, which is accepted. Set"):
        find_since(store, before, making)
    assert find_since(store, before, Making(method=Rephrase())) == ""

    after = refresh("a", "Aarhus", "Arendal on Sea", "Alta", "Askim")
    since = find_since(store, after, making)
    assert since == before
    drawn = draw_anchors(store, after, 0, None, since)
    texts = sorted(anchor.text for anchor in read_texts(store, drawn["anchor_id"].to_list()))
    assert texts == [TEXT.format("Arendal on Sea"), TEXT.format("Askim")]
    assert drawn["position"].to_list() == [0, 1]

    whole, rest = (making.recipe(after, "m", "r", of) for of in ("", since))
    assert whole.batch_id != rest.batch_id
    assert whole.batch_id == Making(method=Rephrase()).recipe(after, "m", "r").batch_id


def test_a_start_that_is_accepted_is_the_model_of_that_batch_and_the_first_one_until_there_is_one(
    store: Store, refresh: Callable[..., str]
) -> None:
    snapshot_id, wanted = refresh("a", "Aarhus"), Accepted(first="a-model")
    judged(store, snapshot_id, "t", "undecided")
    assert resolve_start(store, snapshot_id, wanted) == Checkpoint(model="a-model")

    batch_id = judged(store, snapshot_id, "t", "accepted", seed=1)
    assert resolve_start(store, snapshot_id, wanted) == Checkpoint(model=f"{batch_id}-t")
    assert resolve_start(store, refresh("b", "Bergen"), wanted) == Checkpoint(model="a-model")


@pytest.mark.crash
def test_cycles_go_on_from_what_was_accepted_make_text_of_what_is_new_and_end_when_nothing_is(
    tmp_path: Path, undisturbed: Place, api_url: str
) -> None:
    place, corpus = Place(tmp_path), write_corpus(tmp_path / "corpus")
    first = next(undisturbed.folder.glob("data/checkpoints/*/lineage.json")).parent
    loop = {"kind": "accepted", "first": str(first)}
    given = parameters(corpus, write_profile(tmp_path), {"only_new": True}, start=loop, release=RELEASE)

    def run_cycle() -> str:
        ended = start("cycle", given, tmp_path, api_url).wait()
        assert ended.status == 0, ended.err
        return ended.out.splitlines()[-1] + "\n" + ended.err

    def accept(page: str) -> str:
        """Stand in for the exam that a batch is accepted by: so small a model learns nothing."""
        batch_id = page.split("/")[-2]
        row = place.store.query("from decisions where batch_id = ? order by rowid desc limit 1", batch_id).row(
            0, named=True
        )
        place.store.insert(decisions=[row | {"state": "accepted", "decision_id": f"{batch_id}-accepted"}])
        return batch_id

    accept(run_cycle().splitlines()[0])
    (corpus / "new.md").write_text(TEXT.format("Aarhus") + " " + TEXT.format("Bergen"))
    page = run_cycle().splitlines()[0]
    second = accept(page)
    anchors = place.store.query(
        "select text from batch_anchors join anchors using (anchor_id) where batch_id = ?", second
    )
    assert anchors["text"].to_list() == [TEXT.format("Aarhus") + " " + TEXT.format("Bergen")]
    roles = place.store.query("select checkpoint_id, parent, role, batch_ids from checkpoints where role != 'start'")
    parents = {row["batch_ids"][0]: row for row in roles.filter(role="synthetic").to_dicts()}
    assert parents[second]["parent"] in roles.filter(role="synthetic")["checkpoint_id"].to_list()

    rows = place.rows()
    said = run_cycle()
    assert said.startswith(page)
    assert f"nothing is new or changed since batch {second}" in " ".join(said.split())
    assert {name: frame.height for name, frame in place.rows().items()} == {
        name: frame.height for name, frame in rows.items()
    }

from schemas.recipe import Recipe
from schemas.rows import Anchor
from tasks.store import Store
from tasks.store.batches import begin_batch, complete_stage, stage_summary, used_anchors
from tasks.store.parts import PartWriter
from tasks.store.records import read_recipe

RECIPE = Recipe(method={"kind": "rephrase", "styles": ["easy"]}, snapshot_id="s", model="m", max_anchors=3)


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


def test_used_anchors_are_those_with_a_record_or_a_drop_of_the_batch(store: Store) -> None:
    recorded, dropped, both, other, unused = write_anchors(store, "one", "two", "three", "four", "five")
    record = {"record_id": "r", "method": "m", "facet": "", "text": "t", "request_ids": ["q"], "num_bytes": 1}
    drop = {"facet": "", "reason": "empty", "request_id": "q"}
    owners = [("b", recorded), ("b", both), ("c", other)]
    store.insert(
        records=[record | {"batch_id": batch, "anchor_id": owner, "record_id": owner} for batch, owner in owners],
        drops=[drop | {"batch_id": "b", "anchor_id": owner} for owner in (dropped, both)],
    )

    used = used_anchors(store, "b")
    assert used["anchor_id"].to_list() == sorted([recorded, dropped, both])
    assert set(used["text"]) == {"one", "two", "three"}
    assert used.columns == ["anchor_id", "title", "text", "num_bytes"]
    assert unused not in used["anchor_id"]

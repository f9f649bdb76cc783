"""What a store holds, looked up: loops beside batches, and ids by their beginnings."""

from pathlib import Path

import pytest

from gainloop.store import Store, open_store
from gainloop.store.batches import begin_batch, complete_stage, resolve_batch
from gainloop.store.catalogue import describe, find_row, list_rows, loop_of
from gainloop.store.duck import now
from schemas.errors import BadInput
from schemas.profile import load_profile
from schemas.recipe import Recipe
from tests.small_run import write_profile


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(load_profile(str(write_profile(tmp_path))))


def begin(store: Store, model: str) -> str:
    recipe = Recipe(method={"kind": "rephrase"}, snapshot_id="s", model=model, revision="r")
    begin_batch(store, recipe, "raw")
    return recipe.batch_id


def test_a_loop_is_listed_with_its_rounds_and_found_by_a_batch_of_it(store: Store) -> None:
    refused, other = begin(store, "in the loop"), begin(store, "beside it")
    assert list_rows(store, "loops").is_empty()
    complete_stage(store, "loop0123", "round", {"round": {"recipes": [{"batches": [refused]}]}}, "1")
    (row,) = list_rows(store, "loops").iter_rows(named=True)
    assert (row["id"], row["rounds"], row["says"], row["page"]) == ("loop0123", 1, "it is not over", "")

    complete_stage(store, "loop0123", "round", {"round": {"recipes": []}}, "2")
    complete_stage(store, "loop0123", "improve", {"headline": "It knows more."}, "told")
    page = Path(store.folder, "improvements", "loop0123", "report.html")
    page.parent.mkdir(parents=True)
    page.write_text("<p>")
    what, row = find_row(store, "loop01")
    assert (what, row["rounds"], row["says"]) == ("loops", 2, "It knows more.")
    assert describe(store, what, row)["page"] == str(page)
    assert (loop_of(store, refused) or {})["id"] == "loop0123"
    assert loop_of(store, other) is None


def test_a_model_half_way_through_its_training_is_told_from_the_whole_one(store: Store) -> None:
    row = {"parent": "", "role": "synthetic", "batch_ids": [], "url": "checkpoints/x", "metrics": "{}"}
    for name, plan in (("half", '{"fraction": 0.5}'), ("whole", "{}")):
        store.insert(checkpoints=[row | {"checkpoint_id": name, "plan": plan, "created_at": now()}])
    assert dict(list_rows(store, "models").select("id", "of_its_run").rows()) == {"half": "0.5", "whole": ""}
    assert describe(store, *find_row(store, "half"))["of_its_run"] == "0.5"
    assert "of_its_run" not in describe(store, *find_row(store, "whole"))


def test_a_batch_is_named_by_the_beginning_of_its_id_if_no_other_begins_so(store: Store) -> None:
    names = [begin(store, f"model {number}") for number in range(20)]  # more than there are first characters
    assert resolve_batch(store, names[3][:12]) == names[3]
    twice = next(one[0] for one in names if sum(other.startswith(one[0]) for other in names) > 1)
    for words in (twice, "", "no such"):
        with pytest.raises(BadInput, match=f"finding batch '{words}'"):
            resolve_batch(store, words)

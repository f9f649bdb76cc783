from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from schemas.errors import LedgerError
from schemas.profile import Generation, Profile, Servers
from schemas.recipe import Recipe, Sampling
from tasks.generate import choose_anchors, finish_batch, generate_records, replies_folder, shards_of
from tasks.serving.driver import Progress
from tasks.store import Store, open_store, replies
from tasks.store.batches import stage_summary
from tasks.store.files import list_files
from tasks.store.replies import read_replies
from tests.serving.stub_server import Stub, StubOptions, stub_server
from tests.store.test_snapshots import make_snapshot, write_part
from tests.tiny_model import PLAN, TEXTS, save_tiny_model

METHODS = {
    "rephrase": {"kind": "rephrase", "styles": ["easy", "hard"]},
    "entigraph": {"kind": "entigraph", "max_pairs": 3, "max_triples": 1},
    "sbp": {"kind": "sbp", "draws": 2},
}


@pytest.fixture(autouse=True)
def _quick_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "COMMIT_SECONDS", 0.02)


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with stub_server() as running:
        yield running


@pytest.fixture
def snapshot_id(store: Store) -> str:
    return write_corpus(store)


def write_corpus(store: Store) -> str:
    write_part(store, "a", "1", TEXTS[:14])
    return make_snapshot(store, {"a": "1"}, heldout_fraction=0.25)


def recipe_on(snapshot_id: str, method: str = "rephrase", **changes: Any) -> Recipe:
    about = {"model": "stub", "revision": "/models/stub", "sampling": Sampling(max_tokens=64)} | changes
    return Recipe(method=METHODS[method], snapshot_id=snapshot_id, **about)


def on_servers(profile: Profile, stub: Stub, **bounds: Any) -> Profile:
    return profile.model_copy(
        update={"serving": Servers(urls=[stub.url]), "generation": Generation(shard_anchors=6, **bounds)}
    )


def elsewhere(place: Profile, folder: Path, **bounds: int) -> Profile:
    """Return a place with other bounds whose store has the same corpus and nothing else."""
    store = place.store.model_copy(update={"url": str(folder / "x.duckdb")})
    there = {"folder": str(folder), "store": store, "generation": Generation(**bounds)}
    write_corpus(open_store(place.model_copy(update=there)))
    return place.model_copy(update=there)


def generate(place: Profile, recipe: Recipe, folder: str | None = None) -> list[Progress]:
    store = open_store(place)
    num_shards = len(shards_of(choose_anchors(store, recipe), place.generation.shard_anchors))
    return [
        generate_records(store, place, recipe, folder, shard, lambda _progress: None) for shard in range(num_shards)
    ]


def made(store: Store, table: str, recipe: Recipe) -> pl.DataFrame:
    return store.query(f"select * from {table} where batch_id = ? order by all", recipe.batch_id)


def test_a_seed_chooses_the_anchors_and_a_larger_limit_only_adds(store: Store, snapshot_id: str) -> None:
    whole = choose_anchors(store, recipe_on(snapshot_id))
    few, more, other = (
        choose_anchors(store, recipe_on(snapshot_id, max_anchors=limit, seed=seed))
        for limit, seed in ((5, 0), (9, 0), (9, 1))
    )
    assert whole[:5] == few
    assert whole[:9] == more != other
    assert {anchor.text for anchor in whole} < set(TEXTS[:14])


def test_held_out_anchors_are_never_generated_from(store: Store, snapshot_id: str) -> None:
    heldout = store.query("select text from anchors where heldout_draw < 0.25")["text"].to_list()

    assert heldout
    assert not {anchor.text for anchor in choose_anchors(store, recipe_on(snapshot_id))} & set(heldout)


@pytest.mark.parametrize("size", [1, 5, 100])
def test_shards_hold_every_anchor_once_in_order(store: Store, snapshot_id: str, size: int) -> None:
    anchors = choose_anchors(store, recipe_on(snapshot_id))
    shards = shards_of(anchors, size)

    assert [anchor for shard in shards for anchor in shard] == anchors
    assert max(map(len, shards)) <= size
    assert shards_of([], size) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_finished_batch_is_counted_and_marked_complete(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub, method: str
) -> None:
    place, recipe = on_servers(profile, stub), recipe_on(snapshot_id, method)
    sent = sum(progress.requests_sent for progress in generate(place, recipe))
    assert stage_summary(store, recipe.batch_id, "generate") is None
    folder = replies_folder(place, recipe.batch_id)
    assert len(list_files(folder, ".parquet")) > 1

    summary = finish_batch(store, place, recipe, sent, seconds=1.5)
    assert summary == stage_summary(store, recipe.batch_id, "generate")
    anchors, records = len(choose_anchors(store, recipe)), made(store, "records", recipe)
    assert (summary["anchors"], summary["drops"], summary["seconds"]) == (anchors, 0, 1.5)
    assert summary["requests"] == summary["replies"] == summary["requests_sent"] == sent
    assert summary["records"] == records.height == sent - (anchors if method == "entigraph" else 0)
    assert summary["completion_tokens"] > summary["records"]
    assert len(list_files(folder, ".parquet")) == 1


def test_a_rerun_sends_nothing_and_changes_nothing(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub
) -> None:
    place, recipe = on_servers(profile, stub), recipe_on(snapshot_id, "entigraph")
    generate(place, recipe)
    before = made(store, "records", recipe)

    assert [progress.requests_sent for progress in generate(place, recipe)] == [0] * 2
    assert made(store, "records", recipe).equals(before)
    finish_batch(store, place, recipe, 0, 1.0)
    assert [progress.requests_sent for progress in generate(place, recipe)] == [0] * 2


@pytest.mark.parametrize("changes", [{"max_in_flight": 1}, {"max_in_flight": 3, "shard_anchors": 2}])
def test_a_profile_changes_no_record(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub, tmp_path: Path, changes: dict[str, int]
) -> None:
    place, recipe = on_servers(profile, stub), recipe_on(snapshot_id, "rephrase", max_anchors=6)
    generate(place, recipe)
    there = elsewhere(place, tmp_path / "there", **changes)
    generate(there, recipe)

    assert made(open_store(there), "records", recipe).equals(made(store, "records", recipe))


def test_the_embedded_engine_makes_the_same_records_in_shards_of_any_size(
    profile: Profile, store: Store, snapshot_id: str, tmp_path: Path
) -> None:
    folder = save_tiny_model(tmp_path / "model", PLAN.model_copy(update={"context_tokens": 512}))
    recipe = recipe_on(snapshot_id, "sbp", max_anchors=6, model="start", sampling=Sampling(max_tokens=12))
    there = elsewhere(profile, tmp_path / "there", shard_anchors=1)
    generate(profile, recipe, folder)
    generate(there, recipe, folder)

    here, again = (read_replies(replies_folder(place, recipe.batch_id)).drop("seconds") for place in (profile, there))
    assert here.height == 12
    assert here.equals(again)


def test_a_batch_with_an_anchor_unaccounted_for_is_never_complete(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub
) -> None:
    place, recipe = on_servers(profile, stub), recipe_on(snapshot_id)
    generate_records(store, place, recipe, None, 0, lambda _progress: None)

    with pytest.raises(LedgerError, match=rf"finishing batch {recipe.batch_id}: 6 of \d+ anchors have"):
        finish_batch(store, place, recipe, 12, 1.0)
    assert stage_summary(store, recipe.batch_id, "generate") is None


def test_every_request_is_a_reply_or_a_drop_in_the_count(profile: Profile, store: Store, snapshot_id: str) -> None:
    recipe = recipe_on(snapshot_id)
    with stub_server(StubOptions(faults={"empty": 0.3}, context_tokens=80)) as stub:
        place = on_servers(profile, stub)
        generate(place, recipe)
    summary = finish_batch(store, place, recipe, 0, 1.0)

    reasons = made(store, "drops", recipe)["reason"].to_list()
    assert set(reasons) == {"rejected", "empty"}
    assert summary["requests"] == 2 * summary["anchors"] == summary["records"] + len(reasons)
    assert summary["replies"] == summary["records"] + reasons.count("empty")


def test_a_rerun_counts_no_request_both_as_a_record_and_as_a_drop(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub
) -> None:
    recipe = recipe_on(snapshot_id)
    with stub_server(StubOptions(context_tokens=80)) as short:
        generate(on_servers(profile, short), recipe)
    assert made(store, "drops", recipe).height > 0

    place = on_servers(profile, stub)
    generate(place, recipe)
    summary = finish_batch(store, place, recipe, 0, 1.0)
    assert summary["records"] + summary["drops"] == summary["requests"]

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gainloop.serving.driver import Progress
from gainloop.serving.engine import Stopped, engine
from gainloop.store import Store, group_commit, open_store
from gainloop.store.batches import open_anchors, replies_folder, stage_summary
from gainloop.store.draws import plan_batch
from gainloop.store.duck import now
from gainloop.store.files import list_files
from gainloop.store.replies import Span, read_replies
from gainloop.store.snapshots import read_anchors
from schemas.errors import BadInput, LedgerError, ServerError
from schemas.profile import Generation, Prices, Profile, Servers
from schemas.recipe import Recipe, Sampling
from schemas.rows import Anchor
from tasks.generate import (
    RunTotals,
    completed_summary,
    finish_batch,
    generate_records,
    reopen_unanswered,
    spans_of,
)
from tests.serving.stub_server import Stub, StubOptions, stub_server
from tests.store.test_snapshots import make_snapshot, write_part
from tests.tiny_model import PLAN, TEXTS, save_tiny_model

METHODS = {
    "rephrase": {"kind": "rephrase", "styles": ["easy", "hard"], "max_chunks": 1},
    "entigraph": {"kind": "entigraph", "max_pairs": 3, "max_triples": 1},
    "sbp": {"kind": "sbp", "draws": 2},
}


@pytest.fixture(autouse=True)
def _quick_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "COMMIT_SECONDS", 0.02)


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


def on_servers(profile: Profile, stub: Stub | str, **bounds: Any) -> Profile:
    url = stub if isinstance(stub, str) else stub.url
    return profile.model_copy(
        update={"serving": Servers(urls=[url]), "generation": Generation(shard_anchors=6, **bounds)}
    )


def elsewhere(place: Profile, folder: Path, **bounds: int) -> Profile:
    """Return a place with other bounds whose store has the same corpus and nothing else."""
    store = place.store.model_copy(update={"url": str(folder / "x.duckdb")})
    there = {"folder": str(folder), "store": store, "generation": Generation(**bounds)}
    write_corpus(open_store(place.model_copy(update=there)))
    return place.model_copy(update=there)


def shards(place: Profile, recipe: Recipe) -> list[Span]:
    """Plan a batch, and return its shards."""
    return spans_of(plan_batch(open_store(place), recipe), place.generation.shard_anchors)


def generate(place: Profile, recipe: Recipe, folder: str | None = None) -> list[Progress]:
    store = open_store(place)
    return [generate_records(store, place, recipe, folder, span, {}) for span in shards(place, recipe)]


def finish(place: Profile, recipe: Recipe, progress: Sequence[Progress] = (), **run: Any) -> dict[str, Any]:
    made = RunTotals(reduce(Progress.add, progress, Progress()), **run)
    return finish_batch(open_store(place), place.prices, recipe, made)


def made(store: Store, table: str, recipe: Recipe) -> pl.DataFrame:
    return store.query(f"select * from {table} where batch_id = ? order by all", recipe.batch_id)


def planned(store: Store, recipe: Recipe) -> list[Anchor]:
    """Return the anchors of a batch, none of which has an outcome yet."""
    plan_batch(store, recipe)
    return open_anchors(store, recipe.batch_id, Span())


def test_a_seed_chooses_the_anchors_and_a_larger_limit_only_adds(store: Store, snapshot_id: str) -> None:
    whole = planned(store, recipe_on(snapshot_id))
    few, more, other = (
        planned(store, recipe_on(snapshot_id, max_anchors=limit, seed=seed)) for limit, seed in ((5, 0), (9, 0), (9, 1))
    )
    assert whole[:5] == few
    assert whole[:9] == more != other
    assert {anchor.text for anchor in whole} < set(TEXTS[:14])


def test_held_out_anchors_are_never_generated_from(store: Store, snapshot_id: str) -> None:
    heldout = read_anchors(store, snapshot_id, heldout=True)["text"].to_list()

    assert heldout
    assert not {anchor.text for anchor in planned(store, recipe_on(snapshot_id))} & set(heldout)


@pytest.mark.parametrize("size", [1, 5, 100])
def test_shards_hold_every_anchor_once_in_order(store: Store, snapshot_id: str, size: int) -> None:
    recipe = recipe_on(snapshot_id)
    anchors = planned(store, recipe)
    held = [open_anchors(store, recipe.batch_id, span) for span in spans_of(len(anchors), size)]

    assert [anchor for shard in held for anchor in shard] == anchors
    assert max(map(len, held)) <= size
    assert spans_of(0, size) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_finished_batch_is_counted_and_marked_complete(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub, method: str
) -> None:
    place, recipe = on_servers(profile, stub), recipe_on(snapshot_id, method)
    place = place.model_copy(update={"prices": Prices(prompt=2.0, completion=4.0, currency="EUR")})
    progress = generate(place, recipe)
    sent = sum(one.requests_sent for one in progress)
    assert stage_summary(store, recipe.batch_id, "generate") is None
    folder = replies_folder(store, recipe.batch_id)
    assert len(list_files(folder, ".parquet")) > 1

    summary = finish(place, recipe, progress, seconds=1.5, cache_hit_rate=0.25)
    assert summary == stage_summary(store, recipe.batch_id, "generate")
    records, answered = made(store, "records", recipe), read_replies(folder)
    anchors = store.query("from batch_anchors where batch_id = ?", recipe.batch_id).height
    assert (summary["anchors"], summary["drops"], summary["seconds"]) == (anchors, 0, 1.5)
    assert summary["requests"] == summary["replies"] == summary["requests_sent"] == sent == answered.height
    assert summary["records"] == records.height == sent
    prompt, completion = answered["prompt_tokens"].sum(), answered["completion_tokens"].sum()
    assert (summary["prompt_tokens"], summary["completion_tokens"]) == (prompt, completion)
    assert completion == answered["token_ids"].list.len().sum() > summary["records"]
    assert (summary["cost"], summary["currency"]) == (pytest.approx((2 * prompt + 4 * completion) / 1e6), "EUR")
    assert summary["tokens_per_second"] == completion / 1.5
    assert summary["cache_hit_rate"] == 0.25
    assert {summary[name] for name in ("retries", "refusals", "hedges", "retried_replies")} == {0}
    assert len(list_files(folder, ".parquet")) == 1


def test_a_rerun_sends_nothing_and_changes_nothing(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub
) -> None:
    place, recipe = on_servers(profile, stub), recipe_on(snapshot_id, "entigraph")
    generate(place, recipe)
    before = made(store, "records", recipe)

    assert [progress.requests_sent for progress in generate(place, recipe)] == [0] * 2
    assert made(store, "records", recipe).equals(before)
    finish(place, recipe)
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

    here, again = (read_replies(replies_folder(store, recipe.batch_id)).drop("seconds") for place in (profile, there))
    assert here.height == 12
    assert here.equals(again)


def test_a_batch_with_an_anchor_unaccounted_for_is_never_complete(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub
) -> None:
    place, recipe = on_servers(profile, stub), recipe_on(snapshot_id)
    first, *_ = shards(place, recipe)
    progress = generate_records(store, place, recipe, None, first, {})

    with pytest.raises(LedgerError, match=rf"finishing batch {recipe.batch_id}: 6 of \d+ anchors have"):
        finish(place, recipe, [progress])
    assert stage_summary(store, recipe.batch_id, "generate") is None


def test_every_request_is_a_reply_or_a_drop_in_the_count(profile: Profile, store: Store, snapshot_id: str) -> None:
    recipe = recipe_on(snapshot_id)
    with stub_server(StubOptions(faults={"empty": 0.3}, context_tokens=110)) as stub:
        place = on_servers(profile, stub)
        generate(place, recipe)
    summary = finish(place, recipe)

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
    summary = finish(place, recipe)
    assert summary["records"] + summary["drops"] == summary["requests"]


def test_a_shards_progress_is_seen_while_it_runs(profile: Profile, store: Store, snapshot_id: str, stub: Stub) -> None:
    place, recipe = on_servers(profile, stub), recipe_on(snapshot_id)
    first, other = shards(place, recipe)
    live: dict[Span, Progress] = {other: Progress()}
    progress = generate_records(store, place, recipe, None, first, live)

    assert live == {first: progress, other: Progress()}
    assert (progress.anchors_done, progress.anchors_total, progress.records) == (6, 6, 12)


def test_shards_of_one_process_share_one_engine_and_its_bound(profile: Profile, store: Store, snapshot_id: str) -> None:
    recipe = recipe_on(snapshot_id)
    with stub_server(StubOptions(latency_seconds=0.05)) as stub:
        place = on_servers(profile, stub, max_in_flight=5)
        with engine(place, recipe, None), ThreadPoolExecutor(2) as threads:
            done = list(
                threads.map(lambda span: generate_records(store, place, recipe, None, span, {}), shards(place, recipe))
            )
        assert stub.most_open == 5
        assert len([asked for asked in stub.requests if asked["max_tokens"] == 1]) == 2
    assert made(store, "records", recipe).height == sum(progress.records for progress in done)
    assert finish(place, recipe, done)["requests_sent"] == 2 * sum(progress.anchors_done for progress in done)


def test_a_failure_ends_the_shards_beside_it_and_what_landed_is_kept(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub
) -> None:
    recipe = recipe_on(snapshot_id)
    with stub_server(StubOptions(latency_seconds=0.3)) as slow, ThreadPoolExecutor(2) as threads:
        place = on_servers(profile, slow, max_in_flight=2)
        first, other = shards(place, recipe)
        with suppress(KeyError), engine(place, recipe, None, for_all=True):
            waiting = threads.submit(generate_records, store, place, recipe, None, first, {})
            while not read_replies(replies_folder(store, recipe.batch_id)).height:
                time.sleep(0.02)
            raise KeyError
        with pytest.raises(Stopped, match="what landed is kept"):
            waiting.result(timeout=5)
    landed = read_replies(replies_folder(store, recipe.batch_id)).height
    assert 0 < landed < 12
    assert made(store, "records", recipe).is_empty()

    place = on_servers(profile, stub)
    assert generate_records(store, place, recipe, None, first, {}).replies_reused == landed
    assert generate_records(store, place, recipe, None, other, {}).replies_reused == 0


def test_an_engine_that_cannot_be_opened_tells_every_shard(profile: Profile, store: Store, snapshot_id: str) -> None:
    place, recipe = on_servers(profile, "http://127.0.0.1:9/v1"), recipe_on(snapshot_id)
    with engine(place, recipe, None):
        for span in shards(place, recipe):
            with pytest.raises(ServerError, match=r"asking http://127\.0\.0\.1:9/v1 for its models: no connection"):
                generate_records(store, place, recipe, None, span, {})
    assert store.query("from batches").is_empty()


def test_a_shard_that_takes_too_long_is_an_error_and_what_landed_is_kept(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub
) -> None:
    recipe = recipe_on(snapshot_id)
    with stub_server(StubOptions(latency_seconds=0.2)) as slow:
        place = on_servers(profile, slow, max_in_flight=2, shard_seconds=0.6)
        span, *_ = shards(place, recipe)
        with pytest.raises(
            ServerError,
            match=rf"generating batch {recipe.batch_id}: anchors 0 to 6 are not done after 0.6 s, \d of 6 are",
        ):
            generate_records(store, place, recipe, None, span, {})
    landed = read_replies(replies_folder(store, recipe.batch_id)).height
    assert 0 < landed < 12
    assert generate_records(store, on_servers(profile, stub), recipe, None, span, {}).replies_reused == landed


def test_a_batch_whose_records_have_lost_their_replies_is_never_complete(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub
) -> None:
    place, recipe = on_servers(profile, stub), recipe_on(snapshot_id)
    generate(place, recipe)
    part, *_ = list_files(replies_folder(store, recipe.batch_id), ".parquet")
    Path(part).write_bytes(Path(part).read_bytes()[:-100])

    with pytest.raises(
        LedgerError, match=r"[1-9]\d* replies that records were made of are not in .*set aside as \.torn"
    ):
        finish_batch(store, place.prices, recipe, RunTotals())
    assert stage_summary(store, recipe.batch_id, "generate") is None


@pytest.mark.parametrize("method", ["rephrase", "entigraph"])
@pytest.mark.parametrize("is_complete", [True, False])
def test_replies_that_are_gone_are_asked_for_again_and_the_same_batch_comes_of_it(
    method: str, is_complete: bool, profile: Profile, store: Store, snapshot_id: str, stub: Stub
) -> None:
    place, recipe = on_servers(profile, stub), recipe_on(snapshot_id, method)
    progress = generate(place, recipe)
    before = finish(place, recipe, progress) if is_complete else {}
    whole = {table: made(store, table, recipe) for table in ("records", "drops")}
    replies = read_replies(replies_folder(store, recipe.batch_id))
    parts, lost = (
        list_files(replies_folder(store, recipe.batch_id), ".parquet"),
        set(whole["records"]["request_ids"][0]),
    )
    part = next(Path(one) for one in parts if lost & set(pl.read_parquet(one)["request_id"]))
    part.write_bytes(part.read_bytes()[:-100])

    assert "replies are gone" in reopen_unanswered(store, recipe, ask_again=False)
    assert reopen_unanswered(store, recipe, ask_again=False) == ""
    assert stage_summary(store, recipe.batch_id, "generate") is None
    again = generate(place, recipe)
    after = finish(place, recipe, again)
    assert all(made(store, table, recipe).equals(rows) for table, rows in whole.items())
    assert (
        read_replies(replies_folder(store, recipe.batch_id))
        .drop("seconds", "attempt")
        .equals(replies.drop("seconds", "attempt"))
    )
    for name in ("anchors", "requests", "replies", "records", "drops"):
        assert after[name] == before.get(name, after[name])


def test_a_batch_that_has_all_its_replies_stays_as_it_is(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub
) -> None:
    place, recipe = on_servers(profile, stub), recipe_on(snapshot_id)
    finish(place, recipe, generate(place, recipe))
    for ask_again in (False, True):
        assert reopen_unanswered(store, recipe, ask_again) == ""
    assert "Nothing is left to ask for" in completed_summary(place, recipe)


def test_what_a_batch_lost_to_its_servers_can_be_asked_for_again_until_something_is_trained_on_it(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub
) -> None:
    def withhold_some(body: dict[str, Any]) -> None:
        choice = body["choices"][0]
        if "message" in choice and len(choice["message"]["content"]) % 3 == 0:
            choice["finish_reason"] = "content_filter"

    recipe = recipe_on(snapshot_id)
    with stub_server(StubOptions(edits=withhold_some)) as moody:
        lost = finish(on_servers(profile, moody), recipe, generate(on_servers(profile, moody), recipe))
    assert lost["drops"] > 0
    place = on_servers(profile, stub)
    assert reopen_unanswered(store, recipe, ask_again=False) == ""
    assert "requests without a reply, which are sent now" in reopen_unanswered(store, recipe, ask_again=True)
    mended = finish(place, recipe, generate(place, recipe))
    assert (mended["drops"], mended["requests"], mended["anchors"]) == (0, lost["requests"], lost["anchors"])
    assert mended["records"] == lost["records"] + lost["drops"]

    row = {"checkpoint_id": "c", "parent": "", "role": "synthetic", "batch_ids": [recipe.batch_id], "url": "c"}
    store.insert(checkpoints=[row | {"plan": "{}", "metrics": "{}", "created_at": now()}])
    for part in list_files(replies_folder(store, recipe.batch_id), ".parquet"):
        Path(part).unlink()
    with pytest.raises(BadInput, match="checkpoint c was trained on it; only a batch that nothing was trained on"):
        reopen_unanswered(store, recipe, ask_again=False)

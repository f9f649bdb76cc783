"""Generation: a batch's recipe becomes records and drops, shard by shard."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency

from schemas.errors import BadInput, LedgerError
from schemas.identity import content_hash
from schemas.profile import Profile
from schemas.recipe import Recipe
from schemas.rows import Anchor
from tasks.methods import read_method
from tasks.progress import Bar
from tasks.serving.driver import Driver, Progress, outcome_rows
from tasks.serving.opening import open_generator, served_revision
from tasks.store import Store, open_store
from tasks.store.batches import begin_batch, complete_stage, stage_summary, used_anchors
from tasks.store.replies import ReplyLog, compact_replies, read_replies
from tasks.store.snapshots import read_anchors


def choose_anchors(store: Store, recipe: Recipe) -> list[Anchor]:
    """Return the training anchors that a recipe uses, in an order that the seed alone decides.

    With ``max_anchors`` they are the first of that order, so a larger limit only adds anchors.
    """
    frame = read_anchors(store, recipe.snapshot_id, heldout=False)
    order = sorted(frame["anchor_id"].to_list(), key=lambda anchor_id: content_hash(recipe.seed, anchor_id))
    rows = {row["anchor_id"]: row for row in frame.iter_rows(named=True)}
    chosen = [rows[anchor_id] for anchor_id in order[: recipe.max_anchors]]
    return [Anchor(row["text"], row["title"], row["uri"], row["licence"], row["revision"]) for row in chosen]


def shards_of(anchors: list[Anchor], shard_anchors: int) -> list[list[Anchor]]:
    """Cut anchors into shards, one Prefect task run each."""
    return [anchors[at : at + shard_anchors] for at in range(0, len(anchors), shard_anchors)]


def generate_records(
    store: Store,
    place: Profile,
    recipe: Recipe,
    folder: str | None,
    shard: int,
    on_progress: Callable[[Progress], None],
) -> Progress:
    """Make the records of one shard; after a crash only what had not landed is asked for again.

    Args:
        folder: The generator's weights; None for a model that servers have.
        shard: Which shard, from 0.
    """
    # An anchor's outcome is written once: made again after a crash, a passing drop could stand beside a record.
    settled = set(used_anchors(store, recipe.batch_id)["anchor_id"])
    chosen = shards_of(choose_anchors(store, recipe), place.generation.shard_anchors)[shard]
    anchors = [anchor for anchor in chosen if anchor.anchor_id not in settled]
    if not anchors:
        return Progress(0)
    driver, outcomes = asyncio.run(_drive(store, place, recipe, folder, anchors, on_progress))
    records, drops = outcome_rows(recipe.batch_id, outcomes)
    store.insert(records=records, drops=drops)
    return driver.progress


async def _drive(
    store: Store,
    place: Profile,
    recipe: Recipe,
    folder: str | None,
    anchors: list[Anchor],
    on_progress: Callable[[Progress], None],
) -> tuple[Driver, dict[str, Any]]:
    replies = ReplyLog.open(replies_folder(place, recipe.batch_id), [anchor.anchor_id for anchor in anchors])
    async with open_generator(place, recipe, folder) as generator:
        begin_batch(store, recipe, generator.logprob_semantics)
        method = read_method(recipe.method)
        driver = Driver(method, generator, recipe.sampling, recipe.seed, place.generation, replies, on_progress)
        return driver, await driver.run(anchors)


def finish_batch(store: Store, place: Profile, recipe: Recipe, sent: int, seconds: float) -> dict[str, Any]:
    """Compact the replies, count what came of the batch, and mark it complete.

    Returns:
        ``anchors requests replies records drops`` counts, tokens, and this run's seconds.

    Raises:
        LedgerError: An anchor has neither a record nor a drop.
    """
    folder = replies_folder(place, recipe.batch_id)
    compact_replies(folder)
    replies = read_replies(folder)
    num_anchors = len(choose_anchors(store, recipe))
    if (used := used_anchors(store, recipe.batch_id).height) != num_anchors:
        raise LedgerError(
            f"finishing batch {recipe.batch_id}: {used:,} of {num_anchors:,} anchors have a record or a drop; "
            "each must have one. Run the same again: what landed is kept."
        )
    counts = {table: _count(store, table, recipe.batch_id) for table in ("records", "drops")}
    summary = {
        "anchors": num_anchors,
        "requests": replies.height + _count_unanswered(store, recipe.batch_id, replies["request_id"].to_list()),
        "replies": replies.height,
        **counts,
        "prompt_tokens": int(replies["prompt_tokens"].sum()),
        "completion_tokens": int(replies["token_logprobs"].list.len().sum()),
        "requests_sent": sent,
        "seconds": seconds,
    }
    complete_stage(store, recipe.batch_id, "generate", summary)
    return summary


def replies_folder(place: Profile, batch_id: str) -> str:
    return f"{place.folder}/batches/{batch_id}/replies"


def is_generated(place: Profile, recipe: Recipe) -> bool:
    """Tell whether a recipe's batch is complete."""
    return stage_summary(open_store(place), recipe.batch_id, "generate") is not None


def count_shards(place: Profile, recipe: Recipe) -> int:
    """Return how many task runs a recipe's anchors are cut into on this profile."""
    anchors = choose_anchors(open_store(place), recipe)
    return len(shards_of(anchors, place.generation.shard_anchors))


@task(cache_policy=NO_CACHE, task_run_name="ask servers for {model}")
def find_revision(place: Profile, model: str, revision: str) -> str:
    """Return what tells the model the servers have under this name from another of the same name."""
    return asyncio.run(served_revision(place, model, revision))


@task(cache_policy=NO_CACHE, task_run_name="generate shard {shard}", tags=["generation"])
def generate_shard(place: Profile, recipe: Recipe, folder: str | None, shard: int) -> int:
    """Return how many requests were sent."""
    limit = getattr(place.serving, "concurrency_limit", None)
    with _taken(limit), Bar(f"generate shard {shard}", "anchors") as bar:
        progress = generate_records(open_store(place), place, recipe, folder, shard, lambda p: bar(*_shown(p)))
    return progress.requests_sent


@task(cache_policy=NO_CACHE, task_run_name="count batch")
def count_batch(place: Profile, recipe: Recipe, sent: int, seconds: float) -> dict[str, Any]:
    return finish_batch(open_store(place), place, recipe, sent, seconds)


@contextlib.contextmanager
def _taken(limit: str | None) -> Iterator[None]:
    """Hold one slot of a Prefect concurrency limit; a limit that does not exist is an error, not no limit."""
    if not limit:
        yield
        return
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(concurrency(limit, strict=True))
        except ConcurrencySlotAcquisitionError as error:
            raise BadInput(
                f"taking a slot of the concurrency limit {limit!r}: the Prefect server has none of that name; "
                f"one that exists is needed. Run `prefect gcl create {limit} --limit 4`, or take concurrency_limit "
                "out of the profile."
            ) from error
        yield


def _shown(progress: Progress) -> tuple[int, int, str]:
    note = f"{progress.records:,} records, {progress.drops:,} drops, {progress.requests_sent:,} requests sent"
    if progress.replies_reused:
        note += f", {progress.replies_reused:,} replies found"
    return progress.anchors_done, progress.anchors_total, note


def _count(store: Store, table: str, batch_id: str) -> int:
    return int(store.query(f"select count(*) from {table} where batch_id = ?", batch_id).item())


def _count_unanswered(store: Store, batch_id: str, answered: list[str]) -> int:
    """Count the requests that ended as a drop without a reply."""
    dropped = store.query("select distinct request_id from drops where batch_id = ? and request_id != ''", batch_id)
    return len(set(dropped["request_id"].to_list()) - set(answered))

"""One shard from its anchors to its rows: a part of a batch, made and written down as a whole."""

import asyncio
from collections.abc import Callable

from schemas.errors import ServerError
from schemas.recipe import Recipe
from schemas.rows import Outcome
from tasks.methods.pipeline import read_pipeline
from tasks.serving.driver import Driver, Progress, outcome_rows
from tasks.serving.pool import Pool
from tasks.store import Store
from tasks.store.batches import open_anchors
from tasks.store.replies import Span, compact_replies
from tasks.store.reply_log import ReplyLog


async def run_shard(
    store: Store,
    replies: str,
    recipe: Recipe,
    pool: Pool,
    span: Span,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> Progress:
    """Make the records of one shard; after a crash only what had not landed is asked for again.

    Args:
        replies: The folder of the batch's replies.
        span: The shard's anchors in the order of the batch.

    Raises:
        ServerError: No request can be answered, or the shard took longer than ``shard_seconds``; what landed stays.
        StoreError: Replies or rows cannot be written.
    """
    anchors = await asyncio.to_thread(open_anchors, store, recipe.batch_id, span)
    if not anchors:
        return Progress()
    log = await asyncio.to_thread(ReplyLog.open, replies, span, [anchor.anchor_id for anchor in anchors])
    driver = Driver(read_pipeline(recipe), pool, recipe.sampling, recipe.seed, log, on_progress)
    try:
        async with asyncio.timeout(pool.bounds.shard_seconds):
            outcomes = await driver.run(anchors)
    except TimeoutError:
        raise ServerError(
            f"generating batch {recipe.batch_id}: anchors {span.begin} to {span.end} are not done after "
            f"{pool.bounds.shard_seconds:g} s, {driver.progress.anchors_done} of {len(anchors)} are; a shard has that "
            "long. Raise generation.shard_seconds or lower shard_anchors, and run the same again: what landed is kept."
        ) from None
    await asyncio.to_thread(compact_replies, replies, span)
    await asyncio.to_thread(insert_outcomes, store, recipe.batch_id, outcomes)
    return driver.progress


def insert_outcomes(store: Store, batch_id: str, outcomes: dict[str, Outcome]) -> None:
    """Write down what came of some anchors, in one transaction."""
    records, drops = outcome_rows(batch_id, outcomes)
    store.insert(**({"records": records} if records else {}), **({"drops": drops} if drops else {}))

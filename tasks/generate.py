"""Generation: a batch's recipe becomes records and drops, shard by shard."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.serving.calls import is_interrupted
from gainloop.serving.driver import Progress, replay, run_shard
from gainloop.serving.engine import Stopped, engine
from gainloop.serving.opening import count_cached, served_revision
from gainloop.store import Store, open_store
from gainloop.store.batches import (
    begin_batch,
    complete_stage,
    count_settled,
    reopen_batch,
    replies_folder,
    settled_anchors,
    settled_positions,
    stage_summary,
)
from gainloop.store.draws import plan_batch
from gainloop.store.pruned import pruned_on
from gainloop.store.replies import Span, compact_replies, read_answers, read_replies, spans_of
from schemas.errors import LedgerError
from schemas.profile import Prices, Profile, Ray, Servers
from schemas.recipe import Recipe
from schemas.rows import VERIFY
from tasks.progress import Bar, Shown
from tasks.runner import run_all, slot

ANCHORS_REPLAYED = 256
"""Anchors whose replies are in memory at once while lost ones are looked for."""

Cached = tuple[float, float] | None
"""Prompt tokens found in the servers' prefix caches, and those looked for; None where servers do not tell."""


@dataclass
class RunTotals:
    """What one run has done for a batch: ``progress`` of complete shards, ``live`` of those that run here.

    ``state`` tells how the servers do while it runs; ``is_stopped``, that no further shard may begin.
    """

    progress: Progress = field(default_factory=Progress)
    seconds: float = 0.0
    cache_hit_rate: float | None = None
    live: dict[Span, Progress] = field(default_factory=dict)
    is_stopped: bool = False
    state: Callable[[], str] | None = None

    def shown(self, settled: int, num_anchors: int) -> Shown:
        """Return how far the batch is, for a bar.

        Args:
            settled: Anchors that had an outcome before.
        """
        done = self.progress
        for progress in list(self.live.values()):
            done = done.add(progress)
        num_drops = sum(done.drops.values())
        note = f"{done.records:,} records, {num_drops:,} drops"
        if num_drops:
            note += f" ({', '.join(f'{count:,} {reason}' for reason, count in sorted(done.drops.items()))})"
        note += f", {done.requests_sent:,} requests sent"
        others = {"replies from before": done.replies_reused, "retries": done.retries, "refused": done.refusals}
        note += "".join(f", {count:,} {name}" for name, count in others.items() if count)
        num_done = settled + done.anchors_done
        state = self.state() if self.state else done.state
        if state and num_done < num_anchors:
            note += f", {state}"
        return num_done, num_anchors, note


_TOTALS: dict[str, RunTotals] = {}


def begin_totals(batch_id: str) -> RunTotals:
    """Return where the shards of this process put what they do for a batch, until ``end_totals``."""
    _TOTALS[batch_id] = RunTotals()
    return _TOTALS[batch_id]


def find_totals(batch_id: str) -> RunTotals | None:
    """Return the totals of a batch whose flow runs in this process; None in the process of a worker."""
    return _TOTALS.get(batch_id)


def end_totals(batch_id: str) -> None:
    _TOTALS.pop(batch_id, None)


def generate_records(
    store: Store,
    profile: Profile,
    recipe: Recipe,
    folder: str | None,
    span: Span,
    live: dict[Span, Progress],
    settled: Collection[int] | None = None,
) -> Progress:
    """Make the records of one shard; after a crash only requests without a reply are sent again.

    Args:
        folder: The generator's weights; None for a model that servers have.
        span: The shard's anchors, in the order of the batch.
        live: Where the shard's progress can be seen while it runs.
        settled: Places in the order of anchors that have an outcome. Default: they are looked for.
    """
    replies = replies_folder(store, recipe.batch_id)
    with engine(profile, recipe, folder) as lent:
        begin_batch(store, recipe, lent.logprob_semantics)
        return lent.run(
            lambda pool: run_shard(
                *(store, replies, recipe, pool, span, lambda progress: live.update({span: progress})),
                *(profile.tools, settled),
            )
        )


def finish_batch(store: Store, prices: Prices, recipe: Recipe, made: RunTotals) -> dict[str, Any]:
    """Compact the replies, count what came of the batch, and mark it complete.

    Returns:
        Counts of ``anchors requests replies records drops``, tokens and what they cost; and of the run that
        finished it what it sent, its seconds, its completion tokens per second and its share of cached prompt tokens.

    Raises:
        LedgerError: An anchor has neither a record nor a drop, or a record has no reply on disk.
    """
    folder = replies_folder(store, recipe.batch_id)
    compact_replies(folder)
    replies = read_replies(folder, columns=["request_id", "prompt_tokens", "completion_tokens", "attempt"])
    num_anchors, settled = count_settled(store, recipe.batch_id)
    if settled != num_anchors:
        raise LedgerError(
            f"finishing batch {recipe.batch_id}: {settled:,} of {num_anchors:,} anchors have a record or a drop; "
            "each must have one. Run the same again: what landed is kept."
        )
    _require_replies(store, recipe.batch_id, set(replies["request_id"]), folder)
    tokens = {name: int(replies[name].sum()) for name in ("prompt_tokens", "completion_tokens")}
    done = made.progress
    summary = {
        "anchors": num_anchors,
        "requests": replies.height + _count_unanswered(store, recipe.batch_id, replies["request_id"].to_list()),
        "replies": replies.height,
        "records": _count(store, "records", recipe.batch_id),
        "drops": _count(store, "drops", recipe.batch_id),
        "retried_replies": int((replies["attempt"] > 1).sum()),
        **tokens,
        "lost_tokens": done.lost_tokens,
        "cost": 0.0 if recipe.players else prices.cost(**tokens),  # prices are of one model
        "currency": prices.currency,
        "requests_sent": done.requests_sent,
        "retries": done.retries,
        "refusals": done.refusals,
        "hedges": done.hedges,
        "seconds": made.seconds,
        "tokens_per_second": done.completion_tokens / made.seconds if made.seconds else 0.0,
        "cache_hit_rate": made.cache_hit_rate,
    }
    complete_stage(store, recipe.batch_id, "generate", summary)
    return summary


def reopen_unanswered(store: Store, recipe: Recipe, ask_again: bool) -> str:
    """Take back what came of anchors whose replies are gone since, and return that in words; nothing if none is.

    The run that follows asks for what is missing. What was never answered stays a drop, unless asked for. Replies that
    were pruned are not missed, unless asked for.

    Args:
        ask_again: Whether anchors count too that were given up without a reply to all their requests.

    Raises:
        BadInput: A model was trained on the batch.
    """
    batch_id, folder = recipe.batch_id, replies_folder(store, recipe.batch_id)
    landed = set(read_replies(folder, columns=["request_id"])["request_id"])
    if not ask_again and not landed and pruned_on(store, "replies", batch_id):
        return ""
    made = stage_summary(store, batch_id, "generate") or {}
    lost = max(made.get("replies", 0) - len(landed), len(_made_of(store, batch_id) - landed))
    anchor_ids = find_unanswered(store, recipe) if lost or ask_again else []
    if not anchor_ids:
        return ""
    reopen_batch(store, batch_id, anchor_ids)
    gone = f"{lost:,} replies are gone, and " if lost else ""
    return (
        f"Batch {batch_id} is open again: {gone}{len(anchor_ids):,} anchors have requests without a reply, which are "
        "sent now. What was concluded from the batch must be concluded again."
    )


def find_unanswered(store: Store, recipe: Recipe) -> list[str]:
    """Return the anchors that have an outcome, and a request without a reply: it is gone, or never came.

    A call of a tool that was interrupted is none: it is never made again, so no reply of it will come. Nor is a
    verdict that is gone: what was concluded from it stands.
    """
    found, num_anchors = list[str](), count_settled(store, recipe.batch_id)[0]
    folder, settled = replies_folder(store, recipe.batch_id), settled_positions(store, recipe.batch_id)
    for span in spans_of(num_anchors, ANCHORS_REPLAYED):
        anchors = settled_anchors(store, recipe.batch_id, span, settled)
        replies = read_answers(folder, [one.anchor_id for one in anchors], span)
        for one in anchors:
            asked = {name: request for name, request in replay(recipe, one, replies).items() if request.role != VERIFY}
            if any(name not in replies and not is_interrupted(asked[name], name, folder) for name in asked):
                found.append(one.anchor_id)
    return found


def completed_summary(profile: Profile, recipe: Recipe) -> str:
    """Return that a recipe's batch is complete, with its counts; nothing if it is not."""
    made = stage_summary(open_store(profile), recipe.batch_id, "generate")
    if made is None:
        return ""
    return (
        f"Batch {recipe.batch_id} is complete: {made['records']:,} records and {made['drops']:,} drops of "
        f"{made['anchors']:,} anchors, {made['requests']:,} requests. Nothing is left to ask for."
    )


def generate_shards(profile: Profile, recipe: Recipe, folder: str | None) -> RunTotals:
    """Run every shard of a batch on the profile's runner, and show how far they are together.

    Raises:
        ServerError: No request can be answered any more; what landed is kept.
        StoreError: Nothing can be written.
    """
    store, batch_id = open_store(profile), recipe.batch_id
    num_anchors = plan_batch(store, recipe)
    # Looked for once: no other run works on the batch, and by itself each shard would read through all of it.
    settled = settled_positions(store, batch_id)
    spans = spans_of(num_anchors, profile.generation.shard_anchors)
    of_all = {"profile": _part_of(profile), "recipe": recipe, "folder": folder}
    shards = [of_all | {"span": span, "settled": _settled_of(profile, span, settled)} for span in spans]
    made, before = begin_totals(batch_id), cached_tokens(profile, recipe)
    try:
        with Bar(f"generate {batch_id}", "anchors", lambda: made.shown(len(settled), num_anchors)) as bar:
            for number, progress in run_all(
                profile, generate_shard, shards, _engine_kept(profile, recipe, folder, made)
            ):
                made.live.pop(spans[number], None)
                made.progress = made.progress.add(progress)
            made.seconds = bar.seconds
    finally:
        end_totals(batch_id)
    made.cache_hit_rate = _hit_rate(before, cached_tokens(profile, recipe))
    return made


def _settled_of(profile: Profile, span: Span, settled: Collection[int]) -> tuple[int, ...] | None:
    """Return the places of a span that have an outcome; None on Ray, which may run a shard a second time."""
    if isinstance(profile.runner, Ray):
        return None
    return tuple(one for one in range(span.begin, span.end) if one in settled)


@task(cache_policy=NO_CACHE, task_run_name="ask servers for {model}")
def find_revision(profile: Profile, model: str, revision: str) -> str:
    """Return the revision of the model that the servers have under this name."""
    return asyncio.run(served_revision(profile, model, revision))


@task(cache_policy=NO_CACHE, task_run_name="generate anchors {span.begin} to {span.end}", tags=["generation"])
def generate_shard(
    profile: Profile, recipe: Recipe, folder: str | None, span: Span, settled: tuple[int, ...] | None = None
) -> Progress:
    """Return what was done for one shard; in a process without the flow, with a bar of its own."""
    shared = find_totals(recipe.batch_id)
    made = shared or RunTotals()
    bar = Bar(f"anchors {span.begin} to {span.end}", "anchors", lambda: made.shown(0, span.end - span.begin))
    with slot(profile), contextlib.nullcontext() if shared else bar:
        if made.is_stopped:
            raise Stopped(f"generating anchors {span.begin} to {span.end}: the run was stopped; run the same again.")
        return generate_records(open_store(profile), profile, recipe, folder, span, made.live, settled)


@task(cache_policy=NO_CACHE, task_run_name="look for lost replies")
def find_lost(profile: Profile, recipe: Recipe, ask_again: bool) -> str:
    return reopen_unanswered(open_store(profile), recipe, ask_again)


@task(cache_policy=NO_CACHE, task_run_name="count batch")
def count_batch(profile: Profile, recipe: Recipe, made: RunTotals) -> dict[str, Any]:
    return finish_batch(open_store(profile), profile.prices, recipe, made)


def cached_tokens(profile: Profile, recipe: Recipe) -> Cached:
    """Return what the prefix caches of the profile's servers have counted so far."""
    return asyncio.run(count_cached(profile.serving, recipe.model)) if isinstance(profile.serving, Servers) else None


def _hit_rate(before: Cached, after: Cached) -> float | None:
    if before is None or after is None or after[1] <= before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])


@contextlib.contextmanager
def _engine_kept(profile: Profile, recipe: Recipe, folder: str | None, made: RunTotals) -> Iterator[None]:
    """Hold the engine of this process while threads run shards; when one fails, all requests end at once."""
    if isinstance(profile.runner, Ray):
        yield
        return
    with engine(profile, recipe, folder, for_all=True) as lent:
        made.state = lambda: lent.state
        try:
            yield
        except BaseException:
            made.is_stopped = True
            raise
        finally:
            made.state = None


def _part_of(profile: Profile) -> Profile:
    """Return the profile as one worker sees it: of several, each has its part of what may be in flight."""
    if not isinstance(profile.runner, Ray):
        return profile
    part = -(-profile.generation.max_in_flight // profile.runner.workers)
    return profile.model_copy(update={"generation": profile.generation.model_copy(update={"max_in_flight": part})})


def _require_replies(store: Store, batch_id: str, landed: set[str], folder: str) -> None:
    lost = len(_made_of(store, batch_id) - landed)
    if lost:
        raise LedgerError(
            f"finishing batch {batch_id}: {lost:,} replies that records were made of are not in {folder}; each must be "
            "there. A damaged part is set aside as .torn. Run the same again: what is missing is asked for."
        )


def _made_of(store: Store, batch_id: str) -> set[str]:
    """Return the requests that records of a batch were made of."""
    made_of = store.query("select unnest(request_ids) as request_id from records where batch_id = ?", batch_id)
    return set(made_of["request_id"])


def _count(store: Store, table: str, batch_id: str) -> int:
    return int(store.query(f"select count(*) from {table} where batch_id = ?", batch_id).item())


def _count_unanswered(store: Store, batch_id: str, answered: list[str]) -> int:
    """Count the requests that ended as a drop without a reply."""
    dropped = store.query("select distinct request_id from drops where batch_id = ? and request_id != ''", batch_id)
    return len(set(dropped["request_id"].to_list()) - set(answered))

"""Judging: a language model other than the generator says whether records are true and about their anchors."""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from typing import Any, NamedTuple

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.evaluation.judge import QUESTIONS_ID, UNREADABLE, VERDICTS, Inquiry, Judged, parroted
from gainloop.serving.driver import Driver, Progress
from gainloop.serving.engine import engine
from gainloop.serving.opening import served_revision
from gainloop.serving.pool import Pool
from gainloop.store import Store, open_store
from gainloop.store.batches import complete_stage, read_records, stage_summary, used_anchors
from gainloop.store.checkpoints import checkpoint_folder
from gainloop.store.replies import ReplyLog, Span, compact_replies, read_replies
from gainloop.store.scores import judgements_folder, write_verdicts
from gainloop.store.snapshots import read_texts
from schemas.errors import BadInput, ServerError
from schemas.plan import Checkpoint
from schemas.profile import Profile, Servers
from schemas.recipe import VERDICT_SAMPLING, Judge, Judging
from schemas.rows import Outcome
from tasks.progress import Bar
from tasks.runner import slot
from tasks.train import make_start, require_chat

logger = logging.getLogger("gainloop.judge")


class FoundJudge(NamedTuple):
    """A judge that is there: name and revision of its model, and the folder of its weights if it is ours."""

    model: str
    revision: str
    folder: str | None


def resolve_judge(store: Store, profile: Profile, judge: Judge) -> FoundJudge:
    """Return the judge of a name: a model of the profile's servers; on any other profile a checkpoint.

    A folder or a hub id is copied into the store.

    Raises:
        BadInput: There is no such checkpoint.
        ServerError: The servers do not have it, or are down.
    """
    if isinstance(profile.serving, Servers):
        revision = asyncio.run(served_revision(profile, judge.model, judge.revision))
        return FoundJudge(judge.model, revision, None)
    named = Checkpoint(model=judge.model, revision=judge.revision)
    found = make_start(store, profile.training, "", named, Bar("copy the judge", "steps"))
    require_chat(store, found)
    return FoundJudge("judge", found, checkpoint_folder(store, found))


def plan_judging(found: FoundJudge, judge: Judge) -> Judging:
    """Return the judging: judge, questions and sample, which have an id."""
    texts = {"sample": judge.sample, "anchors": judge.anchors}
    return Judging(model=found.model, revision=found.revision, questions=QUESTIONS_ID, **texts)


def draw_texts(store: Store, batch_id: str, judging: Judging) -> Inquiry:
    """Return the questions about a batch: of its first records and anchors by id, which is a hash, kept or not.

    A larger sample only adds to a smaller one.

    Raises:
        BadInput: The batch is not generated, or has no record.
    """
    records = read_records(store, batch_id).head(judging.sample)
    if stage_summary(store, batch_id, "generate") is None or records.is_empty():
        found = "it has no record" if records.is_empty() else "it is not generated to its end"
        raise BadInput(
            f"judging batch {batch_id}: {found}; a complete batch with records is needed. Run the flow generate until "
            "it is complete, or name another batch."
        )
    by_anchor: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for record_id, anchor_id, text in records.select("record_id", "anchor_id", "text").iter_rows():
        by_anchor[anchor_id][text].append(record_id)
    return Inquiry(by_anchor, frozenset(used_anchors(store, batch_id)["anchor_id"].head(judging.anchors)))


def judge_texts(
    store: Store, profile: Profile, batch_id: str, judging: Judging, folder: str | None, bar: Bar
) -> dict[str, Any]:
    """Ask about what is not answered yet, write the verdicts down, mark the judging as complete; return its summary.

    Returns:
        Its ``judging model revision records anchors``, the number of each verdict by question, unreadable ones by
        reason, tokens and what they cost, the seconds, and where the verdicts are (``url``).

    Raises:
        ServerError: The judge cannot be asked, or none of its verdicts can be read; replies that landed stay.
        StoreError: They cannot be written down.
    """
    begun, inquiry = time.monotonic(), draw_texts(store, batch_id, judging)
    judgements, anchor_ids = judgements_folder(store, batch_id), sorted({*inquiry.records, *inquiry.alone})
    anchors = read_texts(store, anchor_ids)
    log = ReplyLog.open(f"{judgements}/replies", Span(), anchor_ids)

    def show(progress: Progress) -> None:
        bar(progress.anchors_done, progress.anchors_total, progress.sent)

    async def ask_all(pool: Pool) -> tuple[dict[str, Outcome], int]:
        driver = Driver(inquiry, pool, VERDICT_SAMPLING, 0, log, show)
        return await driver.run(anchors), driver.progress.requests_sent

    with engine(profile, judging.by, folder) as lent:
        outcomes, num_sent = lent.run(ask_all)
    compact_replies(f"{judgements}/replies")
    found = [one for outcome in outcomes.values() if isinstance(outcome, Judged) for one in outcome.verdicts]
    url = f"{judgements}/{judging.judging_id}.parquet"
    verdicts = write_verdicts(url, found)
    _require_readable(batch_id, judging, verdicts)
    summary = {
        "judging": judging.judging_id,
        "model": judging.model,
        "revision": judging.revision,
        "records": sum(len(ids) for texts in inquiry.records.values() for ids in texts.values()),
        "anchors": len(inquiry.alone),
        "verdicts": _count(verdicts),
        "parroted": {
            question: alike for question in VERDICTS if (alike := parroted(verdicts.filter(question=question)))
        },
        "unreadable": dict(Counter(verdicts.filter(verdict=UNREADABLE)["reason"])),
        **_tokens(profile, verdicts, f"{judgements}/replies", anchor_ids),
        "requests_sent": num_sent,
        "seconds": time.monotonic() - begun,
        "url": store.keep(url),
    }
    complete_stage(store, batch_id, "judge", summary, judging.judging_id)
    return summary


def completed_summary(profile: Profile, batch_id: str, judging: Judging) -> str:
    """Return what a judging that is complete has found; nothing if it is not."""
    found = stage_summary(open_store(profile), batch_id, "judge", judging.judging_id)
    return "" if found is None else judging_summary(found)


def judging_summary(summary: dict[str, Any]) -> str:
    """Return what a judge found, and what it cost."""
    counts = "; ".join(
        f"{question}: {', '.join(f'{count:,} {verdict}' for verdict, count in counts.items())}"
        for question, counts in summary["verdicts"].items()
    )
    for question, alike in summary.get("parroted", {}).items():
        counts += f" ({question} counts for nothing: all {alike:,} replies are alike, reason and all)"
    tokens = summary["prompt_tokens"] + summary["completion_tokens"]
    price = f", {summary['cost']:,.2f} {summary['currency']}" if summary["cost"] else ""
    return (
        f"{summary['records']:,} records and {summary['anchors']:,} anchors judged by {summary['model']}: {counts}. "
        f"{tokens:,} tokens{price}."
    )


@task(cache_policy=NO_CACHE, task_run_name="find judge {judge.model}")
def find_judge(profile: Profile, judge: Judge) -> FoundJudge:
    return resolve_judge(open_store(profile), profile, judge)


@task(cache_policy=NO_CACHE, task_run_name="judge {batch_id}")
def ask_judge(profile: Profile, batch_id: str, judging: Judging, folder: str | None) -> str:
    with slot(profile), Bar(f"judge {batch_id}", "anchors") as bar:
        return judging_summary(judge_texts(open_store(profile), profile, batch_id, judging, folder, bar))


def _require_readable(batch_id: str, judging: Judging, verdicts: pl.DataFrame) -> None:
    unreadable = verdicts.filter(verdict=UNREADABLE)
    if unreadable.height < verdicts.height:
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(unreadable["reason"]).most_common())
    raise ServerError(
        f"judging batch {batch_id} by {judging.model!r}: none of {verdicts.height} verdicts can be read ({reasons}); "
        "one at least must. Choose a model that follows instructions, with a context that holds a source and a text, "
        "on a server with structured outputs, as vLLM has."
    )


def _count(verdicts: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Return how often each verdict was given, by question, the most common first."""
    counts = {question: Counter(verdicts.filter(question=question)["verdict"]) for question in VERDICTS}
    return {question: dict(counted.most_common()) for question, counted in counts.items() if counted}


def _tokens(profile: Profile, verdicts: pl.DataFrame, folder: str, anchor_ids: list[str]) -> dict[str, Any]:
    """Return the tokens of this judging's own replies and their price, whichever run asked for them."""
    columns = ["request_id", "anchor_id", "prompt_tokens", "completion_tokens"]
    own = read_replies(folder, anchor_ids, columns=columns).join(verdicts, on="request_id", how="semi")
    tokens = {name: int(own[name].sum()) for name in ("prompt_tokens", "completion_tokens")}
    return tokens | {"cost": profile.prices.cost(**tokens), "currency": profile.prices.currency}

"""Pre-flight: what can be known of a batch before it costs anything: does it work, and how much will it be?"""

import logging
import math
from collections import Counter
from dataclasses import dataclass, replace
from math import ceil

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.asking.chunks import needed_tokens
from gainloop.asking.conversation import reason_to_drop
from gainloop.asking.structured import holds_placeholder, read_object
from gainloop.methods.method import Method
from gainloop.methods.pipeline import read_pipeline
from gainloop.serving.allowance import OVER_BUDGET
from gainloop.serving.calls import calling
from gainloop.serving.driver import Driver, Trial
from gainloop.serving.engine import engine
from gainloop.serving.pool import Pool
from gainloop.store import Store, open_store
from gainloop.store.batches import replies_folder, with_missing
from gainloop.store.draws import draw_for
from gainloop.store.replies import ReplyLog, Span, landed_tokens, read_replies
from gainloop.store.snapshots import read_texts
from schemas.advice import ADVICE
from schemas.errors import BadInput, TooFewTokens, Unusable
from schemas.profile import Profile
from schemas.recipe import Recipe
from schemas.rows import Anchor, Answer, Outcome, Reply, Request
from tasks.artifacts import create_markdown_artifact
from tasks.runner import slot

FIRST_REQUESTS = 8
"""First requests that are sent; their replies are kept, so that the run does not ask for them again."""

WHOLE = 2
"""Anchors among them that are worked on to their end: what later rounds ask and get is known from nothing else."""

STEP_TOKENS = 64
"""Token limits are advised in steps of so many."""

FOLLOWING = {"repeat", "unfinished", "unsolved", "over_limit"}
"""Reasons of drops that only follow from another drop, or say nothing of the generator."""

LOGPROBS = {
    "raw": "the model's own (raw)",
    "processed": "those of the words as they were drawn (processed)",
    "unknown": "of a kind that is not known",
}
"""What a reply's log-probabilities are of, in words."""

WORTH_SAYING = 0.1
"""Share of the tried replies from which on a reason is advised on."""

logger = logging.getLogger("gainloop.preflight")


@dataclass(frozen=True)
class Lengths:
    """How many of the tried replies reached the token limit, and the limit that nearly all would keep.

    ``enough_tokens`` is the 95 % quantile of the lengths, if replies end with one probability at each token: those cut
    off are counted as longer than they are. ``asked_tokens`` is what the longest of them was asked to have.
    """

    num_replies: int
    num_cut_off: int
    max_tokens: int
    enough_tokens: int
    asked_tokens: int = 0

    @classmethod
    def of(cls, replies: pl.DataFrame, max_tokens: int, asked_tokens: int) -> "Lengths":
        cut_off = replies.filter(finish_reason="length").height
        ended, tokens = replies.height - cut_off, int(replies["completion_tokens"].sum())
        enough = -math.log(0.05) * tokens / ended if ended else 4 * max_tokens
        bounded = min(max(enough, 1.25 * max_tokens), 4 * max_tokens)
        return cls(replies.height, cut_off, max_tokens, STEP_TOKENS * ceil(bounded / STEP_TOKENS), asked_tokens)

    def __str__(self) -> str:
        of_all = f"{self.num_cut_off} of {self.num_replies} replies are cut off at {self.max_tokens:,} tokens"
        share = self.num_cut_off / max(self.num_replies, 1)
        if self.num_cut_off:
            enough = max(self.enough_tokens, STEP_TOKENS * ceil(self.asked_tokens / STEP_TOKENS))
            return f"{of_all} ({share:.0%}): raise text.sampling.max_tokens to about {enough:,}"
        if self.asked_tokens > self.max_tokens:
            return (
                f"{of_all}, but some are asked for that may take {self.asked_tokens:,}: text.sampling.max_tokens of as "
                "many is safe"
            )
        return of_all


@dataclass(frozen=True)
class Budget:
    """What a batch will take, estimated from the first anchors, and what it can take at most.

    ``cost`` is that of the estimate, ``max_cost`` that of as many requests as the method allows with replies that are
    all as long as they may be, and prompts as long as the estimated ones. ``lost_tokens`` may have been taken already,
    by attempts without a reply.
    """

    batch_id: str
    num_anchors: int
    requests: int
    max_requests: int
    prompt_tokens: int
    completion_tokens: int
    max_completion_tokens: int
    cost: float
    max_cost: float
    currency: str
    num_usable: int
    num_tried: int
    num_whole: int
    whole_records: int
    whole_drops: int
    logprob_semantics: str
    state: str
    lengths: "Lengths"
    dropped: dict[str, int]
    lost_tokens: int = 0

    @property
    def summary(self) -> str:
        return (
            f"Batch {self.batch_id}: {self.num_anchors:,} anchors, about {self.requests:,} requests (at most "
            f"{self.max_requests:,}), {self.prompt_tokens:,} prompt tokens and {self.completion_tokens:,} completion "
            f"tokens (at most {self.max_completion_tokens:,}), {self.price}: estimated from {self.num_whole} whole "
            f"anchors ({self.whole_records:,} records, {self.whole_drops:,} drops); {self.state}; log-probabilities "
            f"are {LOGPROBS.get(self.logprob_semantics, self.logprob_semantics)}; "
            f"{self.num_usable} of {self.num_tried} first replies can be used; {self.lengths}; dropped: {self.losses}"
        )

    @property
    def losses(self) -> str:
        """Why tried replies were dropped, the commonest reason first, and what to do where it is common."""
        if not self.dropped:
            return "none"
        total = max(self.lengths.num_replies, 1)
        counts = sorted(self.dropped.items(), key=lambda one: (-one[1], one[0]))
        told = ", ".join(f"{count} {reason} ({count / total:.0%})" for reason, count in counts)
        common = [reason for reason, count in counts if reason in ADVICE and count >= WORTH_SAYING * total]
        advice = dict.fromkeys(ADVICE[reason] for reason in common if reason != "cut_off")  # which has its own line
        return ". ".join([f"{told} of {total} replies", *advice])

    @property
    def price(self) -> str:
        if not self.max_cost:
            return "no price set"
        return (
            f"about {self.cost:,.2f} {self.currency} (some {self.max_cost:,.2f} if all is asked and replies are long)"
        )

    def as_markdown(self) -> str:
        """Return it as the table that the run's page shows."""
        rows = {
            "anchors": f"{self.num_anchors:,}",
            "requests, about": f"{self.requests:,}",
            "requests, at most": f"{self.max_requests:,}",
            "prompt tokens, about": f"{self.prompt_tokens:,}",
            "completion tokens, about": f"{self.completion_tokens:,}",
            "completion tokens, at most": f"{self.max_completion_tokens:,}",
            "cost": self.price,
            "estimated from whole anchors": f"{self.num_whole}",
            "their records and drops": f"{self.whole_records:,} and {self.whole_drops:,}",
            "servers": self.state,
            "log-probabilities": self.logprob_semantics,
            "first replies that can be used": f"{self.num_usable} of {self.num_tried}",
            "replies that are cut off": f"{self.lengths}",
            "replies that are dropped": self.losses,
        }
        table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
        return f"| pre-flight of batch {self.batch_id} | |\n|---|---:|\n{table}\n"


def try_out(store: Store, profile: Profile, recipe: Recipe, folder: str | None) -> Budget:
    """Find out whether a recipe works, with its first few anchors, and what it will take as a whole.

    The first request of each is sent, and a few of those that were answered are worked on to their end meanwhile.

    Args:
        folder: The generator's weights; None for a model that servers have.

    Raises:
        BadInput: There is no anchor to generate from.
        TooFewTokens: The recipe's token budget does not pay for the first requests.
        ServerError: Servers are down, lack the model or its log-probabilities, or no first reply can be used.
    """
    drawn = draw_for(store, recipe)
    anchors = with_missing(store, recipe.aim_id, read_texts(store, drawn["anchor_id"].head(FIRST_REQUESTS).to_list()))
    if not anchors:
        raise BadInput(
            f"trying out {recipe.method['kind']}: snapshot {recipe.snapshot_id} has no anchor to generate from, all "
            "are held out; one at least is needed. Refresh with a smaller heldout_fraction or a larger source."
        )
    pipeline, replies = read_pipeline(recipe).tried_on(anchors), replies_folder(store, recipe.batch_id)

    async def ask(pool: Pool) -> tuple[Trial, str, int]:
        log = ReplyLog.open(replies, Span(0, len(anchors)), [anchor.anchor_id for anchor in anchors])
        limit = recipe.budget_tokens
        allowance = None if limit is None else pool.allowance(recipe.batch_id, limit, sum(landed_tokens(replies)))
        trying = Driver(pipeline, pool, recipe.sampling, recipe.seed, log, allowance=allowance)
        async with calling(pipeline.method, profile.tools, pool.bounds.tool_seconds) as trying.calls:
            trial = await trying.try_out(anchors, WHOLE, lambda *one: not reason_not_usable(pipeline.method, *one))
        return trial, pool.state, trying.progress.lost_tokens

    with engine(profile, recipe, folder) as lent:
        (answers, outcomes), state, lost, semantics = (*lent.run(ask), lent.logprob_semantics)
    faults = [reason_not_usable(pipeline.method, anchor, *one) for anchor, one in zip(anchors, answers, strict=True)]
    whole = [anchor for anchor in anchors if anchor.anchor_id in outcomes]
    try:
        _require_usable(recipe, Counter(fault for fault in faults if fault), len(faults))
        _require_records(recipe, list(outcomes.values()))
    except (Unusable, TooFewTokens) as refusal:
        refusal.lost_tokens = lost
        raise
    first = {answer.request_id for _, answer in answers if isinstance(answer, Reply)}
    asked = [next(pipeline.rounds(anchor, recipe.seed)) for anchor in anchors]
    taken = read_replies(replies, [anchor.anchor_id for anchor in anchors])
    sample = _Sample(anchors, whole, first, sum(map(len, asked)) / len(asked), outcomes, taken)
    longest = max(needed_tokens(request) for requests in asked for request in requests)
    lengths = Lengths.of(taken, recipe.sampling.max_tokens, longest)
    estimate = _estimate(profile, recipe, drawn, sample, faults, semantics, state, lengths)
    return replace(estimate, lost_tokens=lost)


@dataclass(frozen=True)
class _Sample:
    """Replies to the first requests of some anchors, and to all further ones of those that were worked on whole.

    ``at_once`` is how many requests an anchor's first round has: they are asked whether its first reply is good or not.
    """

    anchors: list[Anchor]
    whole: list[Anchor]
    first: set[str]
    at_once: float
    outcomes: dict[str, Outcome]
    replies: pl.DataFrame

    def further(self, go_on: float) -> float:
        """Return the part of a whole anchor's further requests that any anchor has, if only so many go on."""
        later = self.further_requests
        return (self.at_once - 1 + go_on * (later - self.at_once + 1)) / later if later else 0.0

    def per_anchor(self, column: str) -> tuple[float, float]:
        """Return the mean of a column over first replies, and its sum over the further replies of a whole anchor."""
        first, later = self._split()
        return float(first[column].sum()) / max(1, first.height), float(later[column].sum()) / len(self.whole)

    def per_byte(self, column: str) -> tuple[float, float]:
        """Return the same by the bytes of the anchors: prompts grow with them."""
        first, later = self._split()
        answered = set(first["anchor_id"])
        return (
            float(first[column].sum()) / max(1, _num_bytes([one for one in self.anchors if one.anchor_id in answered])),
            float(later[column].sum()) / _num_bytes(self.whole),
        )

    @property
    def further_requests(self) -> float:
        """Requests of an anchor after its first, mean over the whole ones."""
        return self._split()[1].height / len(self.whole)

    def _split(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        is_first, ids = pl.col("request_id").is_in(list(self.first)), [anchor.anchor_id for anchor in self.whole]
        return self.replies.filter(is_first), self.replies.filter(~is_first & pl.col("anchor_id").is_in(ids))


def _num_bytes(anchors: list[Anchor]) -> int:
    return sum(len(anchor.text.encode()) for anchor in anchors)


def _estimate(
    profile: Profile,
    recipe: Recipe,
    drawn: pl.DataFrame,
    sample: _Sample,
    faults: list[str],
    semantics: str,
    state: str,
    lengths: Lengths,
) -> Budget:
    further = sample.further(faults.count("") / len(faults))
    num_anchors, num_bytes = drawn.height, int(drawn["num_bytes"].sum())
    requests = num_anchors * (1 + further * sample.further_requests)
    prompt, later_prompt = sample.per_byte("prompt_tokens")
    completion, later_completion = sample.per_anchor("completion_tokens")
    prompt_tokens = round(num_bytes * (prompt + further * later_prompt))
    completion_tokens = round(num_anchors * (completion + further * later_completion))
    max_requests = num_anchors * read_pipeline(recipe).max_requests
    max_completion_tokens = max_requests * recipe.sampling.max_tokens
    return Budget(
        batch_id=recipe.batch_id,
        num_anchors=num_anchors,
        requests=round(requests),
        max_requests=max_requests,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        max_completion_tokens=max_completion_tokens,
        cost=profile.prices.cost(prompt_tokens, completion_tokens),
        max_cost=profile.prices.cost(round(prompt_tokens * max_requests / requests), max_completion_tokens),
        currency=profile.prices.currency,
        num_usable=faults.count(""),
        num_tried=len(faults),
        num_whole=len(sample.whole),
        whole_records=sum(len(outcome.records) for outcome in sample.outcomes.values()),
        whole_drops=sum(len(outcome.drops) for outcome in sample.outcomes.values()),
        logprob_semantics=semantics,
        state=state.rpartition(",")[0],
        lengths=lengths,
        dropped=dict(Counter(fault for fault in faults if fault) + _drops(sample.outcomes)),
    )


def _drops(outcomes: dict[str, Outcome]) -> Counter[str]:
    """Return how many replies of the whole anchors were dropped, by reason."""
    return Counter(drop.reason for outcome in outcomes.values() for drop in outcome.drops if drop.request_id)


@task(cache_policy=NO_CACHE, task_run_name="pre-flight")
def preflight(profile: Profile, recipe: Recipe, folder: str | None) -> Budget:
    with slot(profile):
        budget = try_out(open_store(profile), profile, recipe, folder)
    create_markdown_artifact(key=f"preflight-{budget.batch_id}", markdown=budget.as_markdown())
    logger.info(budget.summary)
    return budget


def reason_not_usable(method: Method, anchor: Anchor, request: Request, answer: Answer) -> str:
    """Return why a first reply leads no further: the reason of its drop, or malformed; nothing if it does."""
    if drop := reason_to_drop(anchor, request, method.said(answer) if isinstance(answer, Reply) else answer):
        return drop.reason
    if request.json_schema and isinstance(answer, Reply):
        if read_object(answer.text) is None:
            return "malformed"
        if holds_placeholder(answer.text, every=True):
            return "placeholder"
    return ""


def _require_records(recipe: Recipe, outcomes: list[Outcome]) -> None:
    """Refuse a recipe whose whole anchors gave no record, not one reply of them for what it says: nobody can judge."""
    drops = Counter(drop.reason for outcome in outcomes for drop in outcome.drops)
    if any(outcome.records for outcome in outcomes):
        return
    _require_tokens(recipe, drops)
    failures = {"unjudged", "no_critique", *ADVICE}
    if drops.keys() - failures - FOLLOWING:
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in drops.most_common())
    raise Unusable(
        f"trying out {recipe.method['kind']} on {recipe.model!r}: {len(outcomes)} anchors worked on to their end gave "
        f"no record ({reasons}); one at least must. Choose a model that follows instructions, on a server with "
        "structured outputs as vLLM has and a context that holds a document and two texts, or leave out the critic and "
        "the filters that ask; raise text.sampling.max_tokens if replies are cut off."
    )


def _require_tokens(recipe: Recipe, drops: Counter[str]) -> None:
    """Refuse a budget that ends before a first reply could be used: of the model it says nothing."""
    if drops[OVER_BUDGET] and not drops.keys() - FOLLOWING - {OVER_BUDGET}:
        raise TooFewTokens(
            f"trying out {recipe.method['kind']} on {recipe.model!r} with text.budget_tokens {recipe.budget_tokens:,}: "
            f"{drops[OVER_BUDGET]} of the first requests may take more than is left of it, and no other gave a record; "
            "they must be paid for. Raise text.budget_tokens or text.day_tokens, or lower text.sampling.max_tokens."
        )


def _require_usable(recipe: Recipe, faults: Counter[str], num_tried: int) -> None:
    if faults.total() < num_tried:
        return
    _require_tokens(recipe, faults)
    reasons = ", ".join(f"{count} {reason}" for reason, count in faults.most_common())
    advice = ADVICE.get(faults.most_common(1)[0][0], "Read the server's log")
    raise Unusable(
        f"trying out {recipe.method['kind']} on {recipe.model!r}: none of the first {num_tried} replies can be used "
        f"({reasons}); one at least must. {advice}."
    )

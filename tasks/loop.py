"""A loop: what it is asked to do, the rounds that are done, and what its batches took and may still take."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gainloop.curation.suite import is_missed, read_result
from gainloop.evaluation.arms import Comparison
from gainloop.methods import Making
from gainloop.steering.budget import Purse
from gainloop.steering.probe import probe_plan
from gainloop.steering.rounds import recipes_left
from gainloop.store import Store
from gainloop.store.batches import list_summaries, replies_folder, stage_summary
from gainloop.store.replies import landed_tokens
from schemas.curation import Curation
from schemas.exam import Asking
from schemas.improvement import IMPROVEMENT_FORMAT, Round
from schemas.plan import TrainingPlan
from schemas.profile import Prices, Profile
from schemas.recipe import Player
from schemas.rows import content_hash
from schemas.steering import Spending
from tasks.validate import records_folder

ROUND: Final = "round"
"""Stage of a round that is done."""

PROBE_SHARE: Final = 0.25
"""Updates of a probe run, as a part of a full run's."""

PILOT_ANCHORS: Final = 2
"""Anchors of a recipe's first batch: what an anchor takes is known after it."""

ENOUGH_ANCHORS: Final = 8
"""Anchors that give nothing at all, after which a recipe is left out."""

BYTES_PER_TOKEN, LONG_PROMPT = 5, 400
"""Bytes of a token, rather too many, and tokens of a prompt before one was sent."""


@dataclass(frozen=True)
class Loop:
    """What a loop is asked to do; its hash names it.

    Attributes:
        snapshot_id: Documents that text is made of.
        start_id: Checkpoint that every round starts from.
        exam_id: Exam whose dev part steers, and whose final part judges.
        makings: How text is made, by recipe.
        model: Generator's name, and ``revision`` its revision; ``folder`` has its weights, None where servers have it.
        players: Models that play a part in the generator's place, by role.
    """

    snapshot_id: str
    start_id: str
    exam_id: str
    asking: Asking
    plan: TrainingPlan
    general_id: str
    spending: Spending
    curation: Curation
    makings: Mapping[str, Making] = field(hash=False)
    model: str = ""
    revision: str = ""
    folder: str | None = None
    players: Mapping[str, Player] = field(default_factory=dict, hash=False)

    @property
    def loop_id(self) -> str:
        return content_hash("improvement", IMPROVEMENT_FORMAT, self.asked)

    @property
    def asked(self) -> dict[str, Any]:
        """What it is asked to do, as JSON; what shows what steering was worth is no part of it."""
        played = {"players": {role: one.model_dump() for role, one in self.players.items()}} if self.players else {}
        return played | {
            "snapshot": self.snapshot_id,
            "start": self.start_id,
            "exam": self.exam_id,
            "asking": self.asking.model_dump(mode="json"),
            "plan": self.plan.identity(),
            "general": self.general_id,
            "spending": self.spending.model_dump(mode="json", exclude={"even"}),
            # The budget of a day is none of a loop's, which has its own.
            "recipes": {
                name: one.model_dump(mode="json", exclude={"day_tokens"}) for name, one in self.makings.items()
            },
            "generator": [self.model, self.revision],
            "curation": self.curation.identity(),
        }

    @property
    def arms(self) -> TrainingPlan:
        """The plan of a round's training: the arm of its text and repeating, asked at their ends."""
        return self.plan.model_copy(update={"arms": ["synthetic", "baseline"], "points": 1})

    @property
    def probes_apart(self) -> bool:
        """Whether probe runs are shorter than the training, so that their weights are no round's."""
        return probe_plan(self.arms, PROBE_SHARE).budget_tokens < self.arms.budget_tokens

    def comparison(self, batches: Sequence[str], share: float = 1.0) -> Comparison:
        """Return a training of some batches beside the anchors of all documents.

        Args:
            share: Part of the updates; below 1 it is a probe run.
        """
        *others, last = batches
        plan = self.arms if share == 1 else probe_plan(self.arms, share)
        return Comparison(last, self.start_id, plan, self.general_id, tuple(others), of_all=True)


@dataclass(frozen=True)
class Made:
    """What a recipe's batches of one round took and gave.

    ``refused`` are the batches that validation refuses, each with the reason: their tokens are spent, and they are not
    trained on; ``given_up`` are those that ended with their pre-flight, likewise. ``held`` is the reason why no batch
    of the recipe is trained on; empty if the usable ones may be. ``ended_tokens`` are those of ``tokens`` that
    pre-flights took after which there was no batch.
    """

    batches: list[str]
    tokens: int
    ended_tokens: int
    anchors: int
    records: int
    cost: float
    refused: Mapping[str, str] = field(default_factory=dict)
    given_up: Mapping[str, str] = field(default_factory=dict)
    held: str = ""

    @property
    def usable(self) -> list[str]:
        """Batches that validation does not refuse."""
        return [one for one in self.batches if one not in self.refused]

    @property
    def per_anchor(self) -> float | None:
        """Tokens that an anchor of a batch took; None before the first batch."""
        return (self.tokens - self.ended_tokens) / self.anchors if self.anchors else None


def is_validated(store: Store, batch_id: str) -> bool:
    return stage_summary(store, batch_id, "validate") is not None


def read_rounds(store: Store, loop_id: str) -> list[dict[str, Any]]:
    """Return the summaries of the rounds that are done, in order."""
    found = {int(key): summary for key, summary in list_summaries(store, loop_id, ROUND)}
    return [found[number] for number in sorted(found)]


def rounds_of(summaries: Sequence[Mapping[str, Any]]) -> list[Round]:
    return [Round.model_validate(one["round"]) for one in summaries]


def purse_of(profile: Profile, spending: Spending, rounds: Sequence[Round]) -> Purse:
    """Return what may be spent and what has been."""
    dearest = max(profile.prices.prompt, profile.prices.completion) / 1e6
    spent = [one for each in rounds for one in each.recipes]
    money = sum(one.money.amount for one in spent if one.money)
    return Purse(spending.tokens, spending.money, dearest, sum(one.tokens for one in spent), money)


@dataclass
class Filling:
    """Batches of a recipe that are being made in a round.

    ``unpaid`` is the batch whose pre-flight the budget ended, if one was; ``lost`` are tokens that attempts without a
    reply may have taken in pre-flights that ended so, or were given up.
    """

    store: Store
    prices: Prices
    batches: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    unpaid: str = ""
    lost: int = 0

    @property
    def made(self) -> Made:
        """What the batches took and gave so far."""
        made = [stage_summary(self.store, batch_id, "generate") or {} for batch_id in self.batches]
        without_end = [*self.given_up, *([self.unpaid] if self.unpaid else [])]
        ended = [landed_tokens(replies_folder(self.store, batch_id)) for batch_id in without_end]
        ended_tokens = sum(map(sum, ended)) + self.lost
        return Made(
            batches=list(self.batches),
            tokens=sum(one["prompt_tokens"] + one["completion_tokens"] + one.get("lost_tokens", 0) for one in made)
            + ended_tokens,
            ended_tokens=ended_tokens,
            anchors=sum(one["anchors"] for one in made),
            records=sum(one["records"] for one in made),
            cost=sum(one["cost"] for one in made) + sum(self.prices.cost(*tokens) for tokens in ended),
            refused=dict(self.refused),
            given_up=dict(self.given_up),
        )


def is_proved(store: Store, batches: Iterable[str], given_up: int) -> bool:
    """Tell whether a recipe's batches prove that it is to leave the loop.

    They do by what their records miss, or by anchors that gave nothing at all. A first batch is of two anchors: what a
    few records miss, others may meet.

    Args:
        batches: All batches of the recipe that validation has judged, of earlier rounds too.
        given_up: Batches that ended with their pre-flight.
    """
    made = {batch_id: stage_summary(store, batch_id, "generate") or {} for batch_id in batches}
    empty = sum(one["anchors"] for one in made.values() if not one["records"])
    judged = [
        (found, one["anchors"]) for name, one in made.items() if (found := read_result(records_folder(store, name)))
    ]
    return empty + PILOT_ANCHORS * given_up >= ENOUGH_ANCHORS or is_missed(judged)


def tokens_per_anchor(rounds: Sequence[Round], recipe: str) -> float | None:
    """Return what a recipe has taken of tokens for an anchor; None before its first batch."""
    own = [one for each in rounds for one in each.recipes if one.recipe == recipe and one.anchors]
    return sum(one.tokens for one in own) / sum(one.anchors for one in own) if own else None


def most_of_request(store: Store, loop: Loop, recipe: str, batches: Sequence[str] = ()) -> int:
    """Return what one more request of a recipe may take, about: a token for each byte of a prompt, the longest reply.

    Args:
        batches: Batches of the recipe that say how long its prompts are, beside those of the rounds that are done.
    """
    rounds = rounds_of(read_rounds(store, loop.loop_id))
    own = [batch_id for each in rounds for one in each.recipes if one.recipe == recipe for batch_id in one.batches]
    made = [stage_summary(store, batch_id, "generate") or {} for batch_id in [*own, *batches]]
    requests = sum(one["requests"] for one in made)
    prompt = sum(one["prompt_tokens"] for one in made) / requests if requests else LONG_PROMPT
    return loop.makings[recipe].sampling.max_tokens + int(BYTES_PER_TOKEN * prompt)


def can_pay(store: Store, loop: Loop, rounds: Sequence[Round], left: int) -> bool:
    """Tell whether what is left pays for an anchor of a recipe that is still in."""
    names = recipes_left(list(loop.makings), rounds)
    return any(left >= least_for(store, loop, name, tokens_per_anchor(rounds, name)) for name in names)


def least_for(store: Store, loop: Loop, recipe: str, per_anchor: float | None) -> int:
    """Return the fewest tokens that pay for an anchor of a recipe, and for the most that its last request may take."""
    most = most_of_request(store, loop, recipe)
    return int(per_anchor or most) + most + 1

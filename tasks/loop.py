"""A loop: what it is asked to do, the rounds that are done, and what its batches took and may still take."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from gainloop.curation.suite import is_missed, read_result
from gainloop.evaluation.arms import Comparison
from gainloop.methods import Making
from gainloop.steering.budget import Purse
from gainloop.steering.probe import probe_plan
from gainloop.steering.rounds import recipes_left
from gainloop.store import Store
from gainloop.store.batches import list_summaries, replies_folder, stage_summary
from gainloop.store.replies import read_replies
from schemas.exam import Asking
from schemas.improvement import Round
from schemas.profile import Profile
from schemas.recipe import Curation, TrainingPlan
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

    @property
    def loop_id(self) -> str:
        return content_hash("improvement", self.asked)

    @property
    def asked(self) -> dict[str, Any]:
        """What it is asked to do, as JSON; what shows what steering was worth is no part of it."""
        return {
            "snapshot": self.snapshot_id,
            "start": self.start_id,
            "exam": self.exam_id,
            "asking": self.asking.model_dump(mode="json"),
            "plan": self.plan.identity(),
            "general": self.general_id,
            "spending": self.spending.model_dump(mode="json", exclude={"even"}),
            "recipes": {name: one.model_dump(mode="json") for name, one in self.makings.items()},
            "generator": [self.model, self.revision],
            "curation": self.curation.model_dump(mode="json"),
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

    ``refused`` is why validation refuses a batch, by batch: its tokens are spent, and it is not trained on. ``held`` is
    why none of them may be; empty if the others may.
    """

    batches: list[str]
    tokens: int
    anchors: int
    records: int
    cost: float
    refused: Mapping[str, str] = field(default_factory=dict)
    held: str = ""

    @property
    def usable(self) -> list[str]:
        """Batches that validation does not refuse."""
        return [one for one in self.batches if one not in self.refused]


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


def made_of(
    profile: Profile,
    store: Store,
    batches: Sequence[str] = (),
    refused: Mapping[str, str] = MappingProxyType({}),
    given_up: Sequence[str] = (),
) -> Made:
    """Return what batches took and gave.

    Args:
        refused: Why validation refuses a batch, by batch.
        given_up: Batches that their pre-flight gave up: they have no row, and what their replies took is counted.
    """
    made = [stage_summary(store, batch_id, "generate") or {} for batch_id in batches]
    lost = [_landed(store, batch_id) for batch_id in given_up]
    return Made(
        batches=list(batches),
        tokens=sum(one["prompt_tokens"] + one["completion_tokens"] + one.get("lost_tokens", 0) for one in made)
        + sum(map(sum, lost)),
        anchors=sum(one["anchors"] for one in made),
        records=sum(one["records"] for one in made),
        cost=sum(one["cost"] for one in made) + sum(profile.prices.cost(*tokens) for tokens in lost),
        refused=dict(refused),
    )


def _landed(store: Store, batch_id: str) -> tuple[int, int]:
    """Return the tokens of prompts and replies of a batch that have landed."""
    columns = ["prompt_tokens", "completion_tokens"]
    landed = read_replies(replies_folder(store, batch_id), columns=["request_id", *columns])
    return int(landed[columns[0]].sum()), int(landed[columns[1]].sum())


def is_held_for_certain(store: Store, refused: Iterable[str], given_up: Sequence[str]) -> bool:
    """Tell whether what validation refused, and what gave nothing at all, says enough to leave a recipe out.

    A first batch is of two anchors: what a few records miss, others may meet.
    """
    results = [one for batch_id in refused if (one := read_result(records_folder(store, batch_id)))]
    empty = len(given_up) + sum(one.summary["records"] == 0 for one in results)
    return PILOT_ANCHORS * empty >= ENOUGH_ANCHORS or is_missed(results)


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

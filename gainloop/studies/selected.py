"""Whether a small set suffices: a model that learns to add, on selected sums, as many random ones, and all of them.

Every seed has a pool of its own, a model that knows easy sums and some of the hard, a training of that model by reward
on the pool, and then one training for each set, all from the same model and for the same steps. What is asked are hard
sums that nobody was trained on.
"""

import copy
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal, get_args

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from gainloop.curation.selection import Candidate, Selection, select_rows
from gainloop.curation.selection.chance import RandomRows
from gainloop.curation.selection.limr import Limr
from gainloop.curation.selection.s1 import S1
from gainloop.measures.estimate import Estimate, over_seeds
from gainloop.models.rewarding import RewardPlan, train_by_reward
from gainloop.studies.sums import (
    Kind,
    Sum,
    answer_of,
    answered,
    draw_hard,
    each_seed,
    heldout_sums,
    learn,
    make_adder,
    make_pool,
)

Arm = Literal["full", "random", "s1", "limr"]

ARMS: Final[tuple[Arm, ...]] = get_args(Arm)

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

ANY_SCORE: Final = -1e6
"""Threshold that every question passes: sets are compared at one size."""


@dataclass(frozen=True, slots=True)
class Design:
    """Sizes of the study: sums of each kind in a pool, steps of each training, and the seeds.

    Attributes:
        base_hard: Hard sums, all right, that the model has seen before.
        size: Sums of each small set; ``limr`` takes those with the highest scores, whatever they are.
    """

    seeds: int = 8
    num_easy: int = 300
    num_hard: int = 400
    num_wrong: int = 100
    size: int = 200
    base_hard: int = 600
    base_steps: int = 900
    steps: int = 200
    learning_rate: float = 1e-3
    base_learning_rate: float = 3e-3
    reward: RewardPlan = field(
        default_factory=lambda: RewardPlan(
            epochs=8, answers=4, questions_at_once=50, max_tokens=4, learning_rate=3e-4, temperature=1.0
        )
    )


@dataclass(frozen=True, slots=True)
class SeedOutcome:
    """What one seed came to.

    Attributes:
        before: Held-out sums that the model has right that all sets start from.
        right: Of each arm the held-out sums that are right in the end.
        sets: Of each arm the sums of each kind in its set.
        rewards: Mean reward of each epoch of the training by reward.
    """

    before: list[bool]
    right: dict[Arm, list[bool]]
    sets: dict[Arm, dict[Kind, int]]
    rewards: list[float]


@dataclass(frozen=True, slots=True)
class ArmOutcome:
    """One arm over all seeds: held-out sums right, and by how much more than the random set and than the full one."""

    arm: Arm
    size: float
    kinds: dict[Kind, float]
    right: Estimate
    over_random: Estimate | None
    over_full: Estimate | None


@dataclass(frozen=True, slots=True)
class SelectedStudy:
    """The arms in their order, and what all of them started from."""

    before: Estimate
    arms: list[ArmOutcome]
    rewards: list[float]


def run_study(design: Design, on_progress: Callable[[int, int], None] = lambda *_: None) -> SelectedStudy:
    """Run every seed of a design and return what came of it.

    Args:
        on_progress: Called with the seeds done, and all of them.
    """
    return describe(each_seed(design.seeds, lambda seed: run_seed(design, seed), on_progress))


def run_seed(design: Design, seed: int) -> SeedOutcome:
    """Return what one seed comes to; it depends on nothing but the design and the seed."""
    pool, heldout = make_pool(seed, design.num_easy, design.num_hard, design.num_wrong), heldout_sums()
    model, tokenizer = _pretrained(design, seed)
    rewards, means = _rewards(design, seed, model, tokenizer, pool)
    weak = dict(zip([row.row_id for row in pool], answered(model, tokenizer, pool), strict=True))
    candidates = [_candidate(row, weak[row.row_id], rewards[row.row_id]) for row in pool]
    sets = dict(_sets(design, seed, candidates))
    right, kinds = dict[Arm, list[bool]](), dict[Arm, dict[Kind, int]]()
    for arm in ARMS:
        rows = [row for row in pool if row.row_id in sets[arm]]
        own = copy.deepcopy(model)
        learn(own, tokenizer, rows, design.steps, design.learning_rate, seed)
        right[arm] = answered(own, tokenizer, heldout)
        counted = Counter(row.kind for row in rows)
        kinds[arm] = {kind: counted[kind] for kind in KINDS}
    return SeedOutcome(answered(model, tokenizer, heldout), right, kinds, means)


def describe(outcomes: Sequence[SeedOutcome]) -> SelectedStudy:
    """Return shares and differences with 95 % intervals over held-out sums and seeds."""
    tables = {arm: np.array([one.right[arm] for one in outcomes], dtype=float) for arm in ARMS}
    sums = np.arange(tables["full"].shape[1])

    def more(arm: Arm, than: Arm) -> Estimate | None:
        return None if arm == than else over_seeds(tables[arm] - tables[than], sums, "share")

    arms = [
        ArmOutcome(
            arm=arm,
            size=float(np.mean([sum(one.sets[arm].values()) for one in outcomes])),
            kinds={kind: float(np.mean([one.sets[arm][kind] for one in outcomes])) for kind in KINDS},
            right=over_seeds(tables[arm], sums, "share", is_share=True),
            over_random=more(arm, "random"),
            over_full=more(arm, "full"),
        )
        for arm in ARMS
    ]
    before = over_seeds(np.array([one.before for one in outcomes], dtype=float), sums, "share", is_share=True)
    return SelectedStudy(before, arms, np.mean([one.rewards for one in outcomes], axis=0).tolist())


def _pretrained(design: Design, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return a model that has learnt all easy sums and some hard ones."""
    model, tokenizer = make_adder(seed)
    hard = draw_hard(Random(f"{seed}/base"), design.base_hard)  # noqa: S311
    easy = [(a, b) for a in range(10) for b in range(10)] * 2
    rows = [Sum(f"{a}+{b}", a, b, answer_of(a, b), "easy") for a, b in [*easy, *hard]]
    learn(model, tokenizer, rows, design.base_steps, design.base_learning_rate, seed)
    return model, tokenizer


def _rewards(
    design: Design, seed: int, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, pool: Sequence[Sum]
) -> tuple[dict[str, list[float | None]], list[float]]:
    """Return each sum's share of answers that are as it is taught, by epoch, and the means of all sums."""
    taught = {row.row_id: row.answer for row in pool}
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        plan = design.reward.model_copy(update={"seed": seed})
        questions = {row.row_id: row.question for row in pool}
        table = train_by_reward(questions, lambda name, said: float(said == taught[name]), folder, plan)
    return table.by_question, table.means


def _candidate(row: Sum, weak: bool, rewards: list[float | None]) -> Candidate:
    domain = "two digits" if row.left > 9 else "one digit"
    return Candidate(row.row_id, row.answer, row.question, "", domain, {"weak": weak, "rewards": rewards})


def _sets(design: Design, seed: int, pool: Sequence[Candidate]) -> Iterator[tuple[Arm, set[str]]]:
    """Yield the ids of each arm's set."""
    small: dict[Arm, Selection] = {
        "random": RandomRows(size=design.size, seed=seed),
        # The length of a sum's answer says nothing of how well it is thought through.
        "s1": S1(size=design.size, right_fields=("weak",), favours="none", seed=seed),
        "limr": Limr(size=design.size, least=ANY_SCORE, seed=seed),
    }
    yield "full", {row.row_id for row in pool}
    for arm, selection in small.items():
        yield arm, set(select_rows(pool, selection).ids)

"""Whether several answers a problem and verifying them pay: a model that learns to add from a teacher that slips.

A problem takes two steps: the sum of three numbers of one digit. The teacher is code: it gives the final number at once
or behind a thought, the sum of the first two, and a known share of its answers is wrong. Every arm continues the same
model on as many tokens of answers; what is asked are sums that nobody was trained on, and an answer is right where its
final number is. A seed has problems, answers and a model of its own.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, get_args

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from gainloop.measures.estimate import Estimate, over_seeds
from gainloop.studies.sums import each_seed, learn, make_adder
from schemas.rows import unit_draw

Arm = Literal["one", "one_right", "four", "four_right", "shortest_right"]

ARMS: Final[tuple[Arm, ...]] = get_args(Arm)

SIGNS: Final = "+=;"
MOST_TOKENS: Final = 7
"""Tokens of a model's answer: the longest of the teacher has six."""

HELDOUT_SHARE: Final = 0.25
"""Part of the thousand problems that no model is trained on."""

SLIPS: Final = (-2, -1, 1, 2)
"""By what a step that goes wrong is off."""

Digits = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Design:
    """Sizes of the study.

    Attributes:
        problems: Problems that the teacher answers.
        wrong: Share of the teacher's answers that are wrong.
        base_problems: Other problems, with right answers, that the start has seen.
        tokens: Tokens of answers of one step, at least.
    """

    seeds: int = 5
    problems: int = 200
    answers: int = 4
    wrong: float = 0.4
    base_problems: int = 40
    base_steps: int = 150
    steps: int = 200
    tokens: int = 120
    learning_rate: float = 2e-3


@dataclass(frozen=True, slots=True)
class Trace:
    """One answer of the teacher: perhaps a thought and ``;``, then the final number."""

    digits: Digits
    answer: str

    @property
    def question(self) -> str:
        return "+".join(map(str, self.digits)) + "="

    @property
    def is_right(self) -> bool:
        return final_number(self.answer) == str(sum(self.digits))


@dataclass(frozen=True, slots=True)
class SeedOutcome:
    """What one seed came to: by arm the held-out sums right in the end, its rows, their share wrong, and its tokens."""

    before: list[bool]
    right: dict[Arm, list[bool]]
    rows: dict[Arm, int]
    wrong: dict[Arm, float]
    tokens: dict[Arm, int]


@dataclass(frozen=True, slots=True)
class ArmOutcome:
    """One arm over all seeds: held-out sums right, and by how much more than one unverified answer, and than four."""

    arm: Arm
    rows: float
    wrong: float
    tokens: float
    right: Estimate
    over_one: Estimate | None
    over_four: Estimate | None


@dataclass(frozen=True, slots=True)
class ReasonedStudy:
    """The arms in their order, and what all of them started from."""

    before: Estimate
    arms: list[ArmOutcome]


def run_study(design: Design, on_progress: Callable[[int, int], None] = lambda *_: None) -> ReasonedStudy:
    """Run every seed of a design and return what came of it.

    Args:
        on_progress: Called with the seeds done, and all of them.
    """
    return describe(each_seed(design.seeds, lambda seed: run_seed(design, seed), on_progress))


def run_seed(design: Design, seed: int) -> SeedOutcome:
    """Return what one seed comes to; it depends on nothing but the design and the seed."""
    rng = Random(f"{seed}/teacher")  # noqa: S311
    drawn = rng.sample(problems(heldout=False), design.base_problems + design.problems)
    base, asked = drawn[: design.base_problems], drawn[design.base_problems :]
    sets = arm_sets([[teach(rng, one, design.wrong) for _ in range(design.answers)] for one in asked])
    model, tokenizer = make_adder(seed, SIGNS)
    seen = [teach(rng, one, 0.0) for one in base]
    learn(model, tokenizer, seen, design.base_steps, design.learning_rate, seed, at_once_tokens=design.tokens)
    right, tokens = dict[Arm, list[bool]](), dict[Arm, int]()
    for arm in ARMS:
        own = copy.deepcopy(model)
        tokens[arm] = learn(
            own, tokenizer, sets[arm], design.steps, design.learning_rate, seed, at_once_tokens=design.tokens
        )
        right[arm] = solved(own, tokenizer)
    rows = {arm: len(sets[arm]) for arm in ARMS}
    wrong = {arm: float(np.mean([not one.is_right for one in sets[arm]])) for arm in ARMS}
    return SeedOutcome(solved(model, tokenizer), right, rows, wrong, tokens)


def problems(heldout: bool) -> list[Digits]:
    """Return the problems that are held out, the same for every seed, or all others."""
    every = ((a, b, c) for a in range(10) for b in range(10) for c in range(10))
    return [one for one in every if (unit_draw("heldout problem", *one) < HELDOUT_SHARE) == heldout]


def teach(rng: Random, digits: Digits, wrong: float) -> Trace:
    """Return an answer of the teacher, with a thought or without; a wrong one slips in its first step or its second.

    >>> [teach(Random(seed), (4, 7, 8), 0.0).answer for seed in (0, 1)]
    ['19', '11;19']
    >>> [teach(Random(seed), (4, 7, 8), 1.0).answer for seed in (1, 3)]
    ['11;20', '13;21']
    """
    thinks, slips, slips_first = rng.random() < 0.5, rng.random() < wrong, rng.random() < 0.5
    by = rng.choice(SLIPS) if slips else 0
    thought = f"{abs(digits[0] + digits[1] + by * slips_first)};" if thinks else ""
    total = sum(digits) + by
    return Trace(digits, f"{thought}{total if total >= 0 else sum(digits) - by}")


def final_number(answer: str) -> str:
    """Return the digits of an answer behind its thought.

    >>> final_number("11;19"), final_number("19")
    ('19', '19')
    """
    return answer.rpartition(";")[2]


def arm_sets(answers: Sequence[Sequence[Trace]]) -> dict[Arm, list[Trace]]:
    """Return what each arm reads of the teacher's answers.

    Args:
        answers: Of each problem its answers, the first of which is the one that arms of one answer have.
    """
    right = [[one for one in some if one.is_right] for some in answers]
    return {
        "one": [some[0] for some in answers],
        "one_right": [some[0] for some in answers if some[0].is_right],
        "four": [one for some in answers for one in some],
        "four_right": [one for some in right for one in some],
        "shortest_right": [min(some, key=lambda one: len(one.answer)) for some in right if some],
    }


@torch.inference_mode()
def solved(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> list[bool]:
    """Return of each held-out problem whether the model's likeliest answer ends in its number."""
    model.eval()
    asked = [Trace(one, str(sum(one))) for one in problems(heldout=True)]
    ids = torch.tensor([tokenizer(one.question)["input_ids"] for one in asked])  # all of one length
    end = int(tokenizer.eos_token_id)
    said = model.generate(  # type: ignore[operator]
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=MOST_TOKENS,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=end,
    )
    texts = tokenizer.batch_decode(said[:, ids.shape[1] :], skip_special_tokens=True)
    return [final_number(text) == one.answer for text, one in zip(texts, asked, strict=True)]


def describe(outcomes: Sequence[SeedOutcome]) -> ReasonedStudy:
    """Return shares and differences with 95 % intervals over held-out sums and seeds."""
    tables = {arm: np.array([one.right[arm] for one in outcomes], dtype=float) for arm in ARMS}
    sums = np.arange(tables["one"].shape[1])

    def more(arm: Arm, than: Arm) -> Estimate | None:
        return None if arm == than else over_seeds(tables[arm] - tables[than], sums, "share")

    arms = [
        ArmOutcome(
            arm=arm,
            rows=float(np.mean([one.rows[arm] for one in outcomes])),
            wrong=float(np.mean([one.wrong[arm] for one in outcomes])),
            tokens=float(np.mean([one.tokens[arm] for one in outcomes])),
            right=over_seeds(tables[arm], sums, "share", is_share=True),
            over_one=more(arm, "one"),
            over_four=more(arm, "four"),
        )
        for arm in ARMS
    ]
    before = over_seeds(np.array([one.before for one in outcomes], dtype=float), sums, "share", is_share=True)
    return ReasonedStudy(before, arms)

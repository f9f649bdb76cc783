"""The loop in rounds: what each spent and taught, why it ended, and what the part of the exam says that nothing saw."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from schemas.curve import Curve
from schemas.figure import Figure, ReportPart, figure
from schemas.report import Money
from schemas.steering import ProbeVerdict

IMPROVEMENT_FORMAT = 2
"""Raised when the fields or the arithmetic change."""

Ending = Literal["rounds", "budget", "no gain", "worse", "nothing new", "no recipe"]
"""Why a loop ended: all rounds are done; nothing more can be paid; two rounds in a row gained nothing that could be
told; general text got worse; the text repeats itself; no recipe is left."""


class RecipeRound(ReportPart):
    """One recipe in one round.

    ``held`` is the reason why none of its text is trained on, or empty; ``refused`` are single batches that are left
    out, and ``given_up`` those that ended with their pre-flight, each with its reason.

    ``dropped`` are replies that no record was made of, by reason.

    ``tokens`` are prompts and replies, and what attempts without a reply may have taken; ``planned`` is its share.
    """

    recipe: str
    share: float
    planned: int
    tokens: int
    money: Money | None
    anchors: int
    records: int
    kept: int
    dropped: dict[str, int] = Field(default_factory=dict)
    batches: list[str]
    refused: dict[str, str]
    given_up: dict[str, str]
    verdict: ProbeVerdict
    held: str
    gain: Figure = figure(
        "Gain of a recipe's text",
        "Known after a probe run on the recipe's text of the round less known after one on the documents, by "
        "the questions that may steer.",
        "points",
        healthy="higher",
        is_early=False,
    )

    @property
    def usable(self) -> list[str]:
        """Batches that validation does not refuse."""
        return [one for one in self.batches if one not in self.refused]


class GapRow(ReportPart):
    """One document: what the model does not know of it, and its share of the next round's draws.

    ``asked`` is how many questions that rests on; ``is_stuck``, that text was made of it and its gap did not close.
    """

    document: str
    title: str
    missing: float
    share: float
    asked: int
    is_stuck: bool = False


class Round(ReportPart):
    """One turn of the loop.

    ``gaps`` are the documents with most missing before it, ``missing`` the mean of all. ``checkpoints`` are its models,
    one a seed.
    """

    number: int
    recipes: list[RecipeRound]
    gaps: list[GapRow]
    missing: float
    tokens: int
    synthetic_tokens: int
    money: Money | None
    seconds: float
    checkpoints: list[str]
    batches: list[str]
    training: str
    right: Figure = figure(
        "Known after the round", "Questions that may steer, answered rightly from memory.", "%", healthy="higher"
    )
    gain: Figure = figure(
        "Gain over the round before", "By the questions that may steer, question by question.", "points"
    )
    over_repeating: Figure = figure(
        "Gain over repeating",
        "Over as many tokens of the documents, by the questions that may steer.",
        "points",
    )
    forgotten: Figure = figure(
        "Forgotten", "How much more general text costs than at the start.", "bits/byte", healthy="lower"
    )
    repeating_forgotten: Figure = figure(
        "Forgotten by repeating", "The same after as many tokens of the documents.", "bits/byte", healthy="lower"
    )
    worse: Figure = figure(
        "Forgotten in the round", "How much more general text costs than after the round before.", "bits/byte"
    )
    new: Figure = figure(
        "New text", "Word 5-grams of the round's kept records that no earlier record has.", "share", healthy="higher"
    )


class FinalRow(ReportPart):
    """One model by the questions that nothing steered by, and what its text cost."""

    name: str
    tokens: int
    checkpoints: list[str]
    right: Figure = figure("Known", "Questions that nothing steered by, answered rightly from memory.", "%")
    over_start: Figure = figure("Over the start", "Question by question.", "points")


class Improvement(ReportPart):
    """The whole loop; ``asked`` is what it was asked to do, ``stopped`` why it ended and ``why`` the same in words.

    ``gaps`` are the documents with most missing in the end, and ``missing`` is the mean of all then.
    """

    format: int
    improvement: str
    created: datetime
    headline: str
    steps: list[str]
    corpus: str
    snapshot: str
    exam: str
    asked: dict[str, Any]
    tokens: int
    budget_tokens: int
    money: Money | None
    budget_money: float | None
    stopped: Ending
    why: str
    rounds: list[Round]
    gaps: list[GapRow]
    missing: float
    final: list[FinalRow]
    curve: Curve
    over_repeating: Figure = figure(
        "The loop over repeating",
        "The last round's model against as many training tokens of the documents themselves, by the questions that "
        "nothing steered by.",
        "points",
        healthy="higher",
        is_early=False,
    )
    over_even: Figure = figure(
        "The loop over even shares",
        "The last round's model against one whose text cost as much and was shared out evenly, by the questions that "
        "nothing steered by: what steering was worth.",
        "points",
        healthy="higher",
        is_early=False,
    )
    even_tokens: int = 0

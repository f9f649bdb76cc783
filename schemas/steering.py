"""Steering: the short run that asks whether a batch is worth a long one, and what it found."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.figure import Figure, ReportPart, figure
from schemas.recipe import BASIC, Parameters
from schemas.rows import content_hash

ProbeVerdict = Literal["go", "hold", "cannot tell", "not run"]
"""Go: the interval of the gain lies above 0. Hold: it lies below 0. Cannot tell: it holds 0."""


class Probed(ReportPart):
    """What a probe run found, by the questions of the exam that may steer. ``status`` is "ok", or why there was none.

    ``tokens`` were read by both arms and all seeds of it, ``full_tokens`` are what the full training reads.
    """

    status: str
    verdict: ProbeVerdict
    share: float
    seeds: int
    questions: int
    tokens: int
    full_tokens: int
    seconds: float
    gain: Figure = figure(
        "Knowledge gained in the probe run",
        "Known after a short training on the batch less known after as short a one on its own documents, by the "
        "questions that may steer. Below 0 it holds the batch.",
        "points",
        healthy="higher",
        predicts="rises",
    )
    nats_gain: Figure = figure(
        "Surprise saved in the probe run",
        "Surprise at the right answers after a short training on the batch's own documents less that after as short a "
        "one on the batch.",
        "nats/token",
        healthy="higher",
        predicts="rises",
    )

    @property
    def decides(self) -> Figure:
        """The gain that decides: points right, or the surprise saved where no answer is graded."""
        return self.gain if self.gain.value is not None else self.nats_gain


class Aim(Parameters):
    """The documents that text is made of, each with its share of the draws, and what of it is missing."""

    weights: Annotated[dict[str, float], Field(description="Share of each document in the draws.")]
    missing: Annotated[
        dict[str, tuple[str, ...]],
        Field(default_factory=dict, description="Texts of a document that the model does not know."),
    ]

    @property
    def aim_id(self) -> str:
        return content_hash("aim", self.model_dump(mode="json"))


class Spending(Parameters):
    """What the loop may spend, and how a round's tokens are shared out over its recipes."""

    tokens: Annotated[
        int,
        BASIC,
        Field(ge=1_000, description="Tokens that all rounds' requests may take, prompts and replies together."),
    ]
    money: Annotated[
        float | None,
        BASIC,
        Field(gt=0, description="Money that they may take, at the profile's prices, or none for no limit."),
    ] = None
    rounds: Annotated[int, BASIC, Field(ge=1, le=50, description="Rounds, at most.")] = 3
    floor: Annotated[float, Field(ge=0, le=0.5, description="Share of a round's tokens that every recipe has.")] = 0.1
    growth: Annotated[
        float, Field(ge=1, description="Times that the share of a recipe grows from one round to the next, at most.")
    ] = 2.0
    even: Annotated[
        bool,
        Field(
            description="True to make text beside it by even shares over recipes and documents, for as many tokens: "
            "what steering was worth. It costs as much again."
        ),
    ] = False
    least_new: Annotated[
        float, Field(ge=0, le=1, description="Share of new word 5-grams in a round's text below which the loop stops.")
    ] = 0.2


class EvenShares(Parameters):
    """What even shares over recipes and documents made, for as many tokens as the loop spent."""

    batches: list[str]
    tokens: int
    checkpoints: list[str]

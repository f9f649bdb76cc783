"""Verifications, of which figures predict the gain of a training, and the simulation of Gan & Liu 2024."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from schemas.choice import by_kind, choice
from schemas.collapse import Collapse
from schemas.figure import Figure, ReportPart
from schemas.recipe import Parameters
from schemas.steered import Steered

VERIFICATION_FORMAT = 6
"""Raised when the fields or the arithmetic change, so that a verification is run anew."""

Direction = Literal["rises", "falls"]


class InventedWorld(Parameters):
    """Small trainings in an invented world, where every likelihood and every fact is known."""

    kind: Literal["world"] = "world"
    batches: Annotated[
        int, Field(ge=2, description="Batches, five of them controls; 24 take 10 minutes on two cores, steering aside.")
    ] = 24
    seeds: Annotated[int, Field(ge=1, le=100, description="Full trainings of each batch.")] = 3
    updates: Annotated[int, Field(ge=4, description="Steps of a full training; a probe run takes a quarter.")] = 200
    base_updates: Annotated[int, Field(ge=1, description="Optimiser steps of the base model.")] = 1500
    anchors: Annotated[
        int, Field(ge=4, le=64, description="Documents of the corpus, 50 of them for the distance from it.")
    ] = 56
    batch_tokens: Annotated[int, Field(ge=100, description="Words of each batch.")] = 6000
    seed: Annotated[int, Field(description="Seed of the world.")] = 0
    steering_seeds: Annotated[
        int,
        Field(
            ge=0,
            le=100,
            description="Worlds, a seed each, in which steering is set beside none; 16 take 19 minutes more. 0: none.",
        ),
    ] = 16


class OwnBatches(Parameters):
    """The store's own batches: all trainings that have a report."""

    kind: Literal["batches"] = "batches"
    questions: Annotated[
        str | None,
        Field(description="File of questions, .jsonl with prompt and answer, for every model. Default: none."),
    ] = None
    target: Annotated[
        Literal["exam", "text"] | None,
        Field(
            description="Gain to be foretold: exam (over repeating), or text (held out). Default: exam if there is one."
        ),
    ] = None

    @model_validator(mode="after")
    def _ask_one(self) -> Self:
        if self.questions and self.target:
            raise ValueError("questions is a target of its own; leave out target or questions")
        return self


_Subjects = InventedWorld | OwnBatches

AnySubject = Annotated[
    _Subjects, Field(discriminator="kind"), choice("subject", by_kind(_Subjects), "schemas/studies.py")
]


class Predictor(ReportPart):
    """A figure that may foretell the verdict.

    ``expected``: what the verdict does where the figure is higher. ``is_early``: it is known before a full training.
    """

    key: str
    name: str
    meaning: str
    expected: Direction
    is_early: bool = True


class BatchOutcome(ReportPart):
    """One batch: its predictors and its verdict. A predictor that could not be measured has a null value."""

    name: str
    method: str
    predictors: dict[str, Figure]
    verdict: Figure
    by_seed: list[float]


class Worth(ReportPart):
    """How well one predictor foretells the verdict.

    ``correlation`` is Spearman's with the verdict, ``chance`` the share of shuffles that give as strong a one,
    ``adjusted`` that share by Holm's rule for all predictors that were looked at, ``within`` the correlation among
    batches of one method, and ``regret`` the loss of the batch that it likes best.
    """

    predictor: str
    correlation: Figure
    chance: Figure
    adjusted: Figure
    within: Figure
    regret: Figure
    finding: Literal["predicts", "predicts the opposite", "not shown", "too few batches", "not measured"]


class Verification(ReportPart):
    """``reliability`` is how far the verdict agrees with itself between seeds; no predictor can be expected to agree
    more. ``random_regret`` is what is lost by taking any batch; the oracle loses nothing. ``steered`` is what steering
    is worth, ``collapse`` what becomes of loops that train on their own text; both of the invented world alone."""

    format: int
    verification: str
    headline: str
    subject: dict[str, Any]
    verdict: str
    primary: str
    predictors: list[Predictor]
    batches: list[BatchOutcome]
    reliability: Figure
    random_regret: Figure
    worth: list[Worth]
    steered: Steered | None = None
    collapse: Collapse | None = None


class Trained(ReportPart):
    """One finished training in the invented world. Lists are by fact or text, in nats.

    ``gate``, ``verdict`` and ``reworded`` are log-probabilities of right values, ``heldout`` losses of documents;
    ``gate_right`` and ``verdict_right`` say whether the right value is the likeliest of those that the relation has.
    ``figures`` are of the batch and the trainee; only probe runs have them.
    """

    batch: str
    seed: int
    updates: int
    gate: list[float]
    verdict: list[float]
    gate_right: list[bool]
    verdict_right: list[bool]
    reworded: list[float]
    heldout: list[float]
    heldout_bytes: list[int]
    figures: dict[str, Figure]


SIMULATION_FORMAT = 2
"""Raised when the fields or the arithmetic change, so that a simulation is run anew."""

Letter = Literal["k", "j", "l"]
Kind = Literal["published", "reverse", "forward"]
TrendDirection = Literal["rises", "falls", "shows no trend"]


class Point(ReportPart):
    """The KL Gap of one cell: ``count`` components of one letter, two of each other."""

    letter: Letter
    count: int
    kind: Kind
    gap: Figure
    median: float


class Trend(ReportPart):
    """The trend of the gap with a letter, as a rank correlation over all settings of its cells."""

    letter: Letter
    kind: Kind
    correlation: Figure
    direction: TrendDirection
    published_direction: TrendDirection


class Simulation(ReportPart):
    """The whole simulation; ``itself`` is each kind of divergence of a mixture from itself: it must be 0."""

    format: int
    simulation: str
    headline: str
    seed: int
    settings: int
    repeats: int
    points: list[Point]
    trends: list[Trend]
    itself: dict[Kind, Figure]

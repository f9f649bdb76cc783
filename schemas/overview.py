"""What is said over all batches of a store. The JSON of ``Overview`` is the truth; the page only shows it."""

from datetime import datetime
from typing import Literal

from schemas.figure import Figure, Part
from schemas.report import Verdict

FORMAT = 1
"""Raised when the fields or the arithmetic change."""

Quadrant = Literal["healthy", "prompt ignored", "noisy", "collapsed", "not known"]


class Standing(Part):
    """One batch that was measured, by its newest report; ``number`` is its place in time, and in the plots.

    ``gain`` is over the matched baseline, ``batch_gain`` over the start, ``per_thousand`` the gain per 1,000 accepted
    tokens; ``page`` is where its report lies, relative to the overview.
    """

    number: int
    batch: str
    training: str
    page: str
    begun: datetime
    recipe: str
    verdict: Verdict
    gain: Figure
    batch_gain: Figure
    per_thousand: Figure
    delta_i: Figure
    dependence: Figure
    novelty: Figure
    accept_rate: Figure
    accepted_tokens: int | None
    quadrant: Quadrant


class Unmeasured(Part):
    """One batch that was begun and has no report that can be read, and why."""

    batch: str
    begun: datetime
    recipe: str
    why: str


class Ranked(Part):
    """What batches of one recipe gained, whatever their snapshot, seed and size.

    ``batches`` are those measured, ``trained`` how many of them were trained on and rest in the figures.
    """

    recipe: str
    batches: list[str]
    trained: int
    accepted_tokens: int | None
    per_thousand: Figure
    gain: Figure


class Lost(Part):
    """How often one reason lost a request its record (drop), or a record its place in training (quarantine)."""

    kind: Literal["drop", "quarantine"]
    reason: str
    count: int
    batches: int
    share: Figure


class Lines(Part):
    """What parts the plane of I/log P and Delta I per byte into quadrants; null where the gate's threshold is."""

    ignored: float | None
    noise: Figure
    collapsed: Figure


class Foretold(Part):
    """How closely one figure goes with the gain over the matched baseline, over all batches that have both."""

    predictor: Literal["delta_i", "dependence", "novelty", "batch_gain"]
    correlation: Figure


class Overview(Part):
    format: int
    headline: str
    standings: list[Standing]
    unmeasured: list[Unmeasured]
    ranking: list[Ranked]
    lost: list[Lost]
    lines: Lines
    foretold: list[Foretold]

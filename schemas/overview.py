"""The overview of all batches of a store. Its JSON is the truth; the page only shows it."""

from datetime import datetime
from typing import Literal

from schemas.figure import Figure, ReportPart, figure
from schemas.report import DELTA_I, DEPENDENCE, GAIN
from schemas.sections import GainVerdict

FORMAT = 3
"""Raised when the fields or the arithmetic change."""

Quadrant = Literal["healthy", "prompt ignored", "noisy", "collapsed", "not known"]


class Standing(ReportPart):
    """One batch that was measured, by its newest report; ``number`` is its place in time, and in the plots.

    ``page`` is where its report lies, relative to the overview; ``figures`` are those of the report that the overview
    shows, and all that might foretell a gain, by their path in the report. ``cost_tokens`` are those that were read and
    written for it: prompts, replies, scores and verdicts.
    """

    number: int
    batch: str
    training: str
    page: str
    begun: datetime
    recipe: str
    verdict: GainVerdict
    figures: dict[str, Figure]
    accepted_tokens: int | None
    cost_tokens: int
    quadrant: Quadrant

    @property
    def gain(self) -> Figure:
        """The gain over the matched baseline."""
        return self.figures[GAIN]

    @property
    def delta_i(self) -> Figure:
        """Delta I per byte."""
        return self.figures[DELTA_I]

    @property
    def dependence(self) -> Figure:
        """I(p; Y) by log P."""
        return self.figures[DEPENDENCE]


class Unmeasured(ReportPart):
    """One batch without a report that can be read, and the reason."""

    batch: str
    begun: datetime
    recipe: str
    why: str


class Ranked(ReportPart):
    """The gain of one recipe's batches, whatever their snapshot, seed and size.

    ``batches`` are those measured, ``trained`` is the number of them that were trained on; figures rest on these.
    ``cost_tokens`` are those that a batch took in the mean, ``adjusted`` is the interval of the gain that allows for
    the number of recipes that were compared: all such intervals together hold the truth in 95 of 100 cases.
    """

    recipe: str
    batches: list[str]
    trained: int
    accepted_tokens: int | None
    cost_tokens: int
    gain: Figure = figure(
        "Gain over the matched baseline",
        "The mean gain of the recipe's batches, whatever their size. Healthy: the interval lies above 0.",
        "bits/byte",
        healthy="higher",
    )
    adjusted: tuple[float, float] | None


class Lost(ReportPart):
    """The number of requests without a record (drop), or of records not trained on (quarantine), by one reason."""

    kind: Literal["drop", "quarantine"]
    reason: str
    count: int
    batches: int
    share: Figure


class Lines(ReportPart):
    """Lines between the quadrants of I/log P and Delta I per byte; null where the gate's threshold is null."""

    ignored: float | None
    noise: Figure
    collapsed: Figure


class Foretold(ReportPart):
    """Rank correlation of one figure with the gain over the matched baseline, over all batches that have both.

    ``predictor`` is the figure's path in the report; ``chance`` is the share of shuffles that give as strong a
    correlation, by Holm's rule for all figures that were looked at.
    """

    predictor: str
    correlation: Figure
    chance: Figure
    finding: Literal["predicts", "predicts the opposite", "not shown", "too few batches", "not measured"]


class Overview(ReportPart):
    format: int
    headline: str
    standings: list[Standing]
    unmeasured: list[Unmeasured]
    ranking: list[Ranked]
    lost: list[Lost]
    lines: Lines
    foretold: list[Foretold]

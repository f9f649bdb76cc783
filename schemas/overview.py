"""The overview of all batches of a store. Its JSON is the truth; the page only shows it."""

from datetime import datetime
from typing import Literal

from schemas.figure import Figure, ReportPart
from schemas.knowledge import Graded
from schemas.report import DELTA_I, DEPENDENCE, GAIN
from schemas.sections import GainVerdict

FORMAT = 6
"""Raised when the fields or the arithmetic change."""

Quadrant = Literal["healthy", "not judged", "prompt ignored", "noisy", "collapsed", "not known"]


class Standing(ReportPart):
    """One batch that was measured, by its newest report; ``number`` is its place in time, and in the plots.

    ``page`` is where its report lies, relative to the overview; ``figures`` are those of the report that the overview
    shows, and all that might foretell a gain, by their path in the report. ``cost_tokens`` are those that were read and
    written for it: prompts, replies, scores and verdicts. ``exam`` is the exam that says what its training taught, and
    ``graded`` how; both are empty where none does.
    """

    number: int
    batch: str
    training: str
    page: str
    begun: datetime
    recipe: str
    exam: str
    graded: Graded
    verdict: GainVerdict
    figures: dict[str, Figure]
    accepted_tokens: int | None
    cost_tokens: int
    quadrant: Quadrant

    @property
    def gain(self) -> Figure:
        """The gain over the matched baseline on held-out text."""
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
    """One batch without a report that can be read, and the reason; ``page`` shows it, if validation refused it."""

    batch: str
    begun: datetime
    recipe: str
    why: str
    page: str


class Ranked(ReportPart):
    """The gain of one recipe's batches, whatever their snapshot, seed and size.

    ``batches`` are those measured, ``trained`` is the number of them that were trained on; figures rest on these.
    ``cost_tokens`` are those that a batch took in the mean, ``adjusted`` is the interval of the gain that allows for
    the number of recipes that were compared: all such intervals together hold the truth in 95 of 100 cases. ``gain`` is
    the mean over batches, whatever their size, of the figure that the ranking names.
    """

    recipe: str
    batches: list[str]
    trained: int
    accepted_tokens: int | None
    cost_tokens: int
    gain: Figure
    adjusted: tuple[float, float] | None


class Ranking(ReportPart):
    """The recipes of batches that one yardstick measures: an exam graded in one way, or held-out text.

    Gains by different exams are not compared. ``figure`` is the path in the report of the gain that ranks. Held-out
    text ranks only where no batch of the store has an exam; elsewhere batches without one stand in a ranking of their
    own, with ``exam`` empty, and have no gain.
    """

    exam: str
    graded: Graded
    figure: str
    recipes: list[Ranked]

    def holds(self, standing: Standing) -> bool:
        """Tell whether a batch is one of those that are ranked here."""
        return (standing.exam, standing.graded) == (self.exam, self.graded)


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
    """Rank correlation of one figure with the gain that the first ranking is by, over its batches that have both.

    ``predictor`` is the figure's path in the report; ``chance`` is the share of shuffles that give as strong a
    correlation, by Holm's rule for all figures that were looked at.
    """

    predictor: str
    correlation: Figure
    chance: Figure
    finding: Literal["predicts", "predicts the opposite", "not shown", "too few batches", "not measured"]


class LoopLine(ReportPart):
    """One loop of the store: its newest paragraph, and the path of its page from the overview's."""

    improvement: str
    headline: str
    page: str


class Overview(ReportPart):
    format: int
    headline: str
    loops: list[LoopLine]
    standings: list[Standing]
    unmeasured: list[Unmeasured]
    rankings: list[Ranking]
    lost: list[Lost]
    lines: Lines
    foretold: list[Foretold]

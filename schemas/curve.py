"""How knowledge grows with synthetic text: a curve through trainings on more and more of it, and what it foretells."""

import math
from typing import Final

from schemas.figure import Figure, ReportPart, figure

DOUBLING: Final = math.log(2)
NO_PLATEAU: Final = "plateau not identified"
CANNOT_TELL: Final = "cannot tell"


class CurvePoint(ReportPart):
    """What models know that were trained on this many tokens of synthetic text; 0 is the start."""

    tokens: int
    right: Figure = figure(
        "Known by synthetic tokens",
        "Questions answered rightly from memory after training on so many tokens of synthetic text.",
        "%",
        healthy="higher",
        is_early=False,
    )


class LinePoint(ReportPart):
    """One place on the fitted curve and its 95 % interval, in per cent; null without an interval."""

    tokens: float
    right: float
    low: float | None
    high: float | None


class Curve(ReportPart):
    """Questions answered rightly against tokens of synthetic text. ``status`` is "ok", or says why there is no curve.

    Each point is a training of its own, on the beginning of one stream of shuffled documents. ``num_terms`` is the
    number of exponentials of the fitted curve; 0 is a line in the log of the tokens. ``line`` runs from the first point
    to twice the tokens of the last.
    """

    status: str
    num_terms: int
    points: list[CurvePoint]
    line: list[LinePoint]

    slope: Figure = figure(
        "Knowledge by the log of the tokens",
        "Points gained each time that the synthetic text grows e-fold; each doubling gains 0.69 of it. Healthy: the "
        "interval lies above 0.",
        "points/e-fold",
        healthy="higher",
        is_early=False,
    )
    one_more: Figure = figure(
        "Tokens for one more point",
        "Tokens of synthetic text, beyond those of the last training, that raise the questions known by one in a "
        "hundred. No number where more text is not shown to help.",
        "tokens",
        healthy="lower",
        is_early=False,
    )
    plateau: Figure = figure(
        "Plateau",
        "What no amount of such text would exceed. No number where the trainings do not bound it, as is usual: growth "
        "that is slowing down fits many ends.",
        "%",
        healthy="higher",
        is_early=False,
    )
    forecast: Figure = figure(
        "Foretold at twice the tokens",
        "Questions that a training on twice the synthetic text would have right. The interval covers the documents, "
        "and how trainings differ where there are several seeds; not that the curve may bend.",
        "%",
        healthy="higher",
        is_early=False,
    )

    @property
    def sentence(self) -> str:
        """The curve in plain words."""
        if self.status != "ok":
            return f"There is no curve of knowledge: {self.status.removeprefix('not measured: ')}."
        note = "" if self.slope.status == "ok" else f" {self.slope.status[:1].upper()}{self.slope.status[1:]}."
        return f"{self._growth}; {self._one_more}{self._forecast}; {self._plateau}.{note}"

    @property
    def _growth(self) -> str:
        doubling = _points(self.slope)
        if self._is_undecided:
            return f"We cannot tell whether more synthetic text adds anything: each doubling adds {doubling}"
        return f"Each doubling of the synthetic text {'added' if self.num_terms else 'adds'} {doubling}"

    @property
    def _is_undecided(self) -> bool:
        low, high = self.slope.low, self.slope.high
        return low is None or high is None or low <= 0 <= high

    @property
    def _one_more(self) -> str:
        if self.one_more.value is None:
            why = self.one_more.status.removeprefix("not measured: ")
            return "" if self._is_undecided else f"tokens for one more point: {why}; "
        ends = [in_words(end) for end in (self.one_more.low, self.one_more.high) if end is not None]
        within = f" [{', '.join(ends)}]" if ends else ""
        return f"one more point takes about {in_words(self.one_more.value)} tokens{within}; "

    @property
    def _forecast(self) -> str:
        last = max(point.tokens for point in self.points)
        return f"{last:,} more, doubling it, would reach {_share(self.forecast)}"

    @property
    def _plateau(self) -> str:
        if self.plateau.value is None:
            return f"a {NO_PLATEAU.replace(' not', ' is not')}"
        return f"it levels off at {_share(self.plateau)}"


def _points(slope: Figure) -> str:
    """Return points of each doubling, with a decimal, or two where one would say 0."""
    ends = [end * DOUBLING for end in (slope.value, slope.low, slope.high) if end is not None]
    decimals = 2 if max(ends) - min(ends) < 0.2 else 1
    value, *within = (f"{end:z.{decimals}f}" for end in ends)
    return f"{value} points" + (f" [{', '.join(within)}]" if within else "")


def _share(share: Figure) -> str:
    within = "" if share.low is None or share.high is None else f" [{share.low:.0f}, {share.high:.0f}]"
    return f"{share.value:.0f} %{within}"


def in_words(tokens: float) -> str:
    """Return a number of tokens to two digits.

    >>> in_words(91_433), in_words(1_250_000), in_words(7.2)
    ('91,000', '1,200,000', '7')
    """
    digits = 1 - math.floor(math.log10(max(tokens, 1)))
    return f"{round(tokens, min(digits, 0)):,.0f}"

"""The HTML page of a verification."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from gainloop.measures.prediction import MIN_FOR_A_FINDING
from gainloop.reports.page import Drawing, drawn, open_template
from gainloop.reports.plots import COLOURS, FONT_SIZE, open_axes
from gainloop.studies.collapse_page import show_collapse
from gainloop.studies.steered_page import show_steered
from schemas.figure import Figure
from schemas.report import DELTA_I
from schemas.studies import Predictor, Verification, Worth

MARKS: Final = (("o", "synthetic"), ("s", "baseline"), ("^", "delta"), ("D", "ink"))
"""A form and colour for each method; the controls, and what comes after four, are crosses."""

CONTROL: Final = "control"

CAPTIONS: Final = {
    "worth": (
        "How closely each predictor goes with the verdict, with 95 % intervals over batches. Blue: the one hypothesis. "
        "Orange: its interval lies on the expected side of 0. The grey line is the most that can be expected."
    ),
    "regret": (
        "What is lost by training on the batch that a predictor likes best, with 95 % intervals over batches. 0 is the "
        "choice of someone who knows the verdict."
    ),
    "primary": "Every batch by the one hypothesis and its verdict: what was foretold, and what came.",
    "delta_i": "Every batch by Delta I per byte and its verdict: high Delta I can be insight, or noise.",
}

TITLES: Final = {
    "worth": "What goes with the verdict",
    "regret": "What is lost by each choice",
    "primary": "The hypothesis and the verdict",
    "delta_i": "Delta I and the verdict",
}

FINDINGS: Final = {
    "predicts": "The interval of the rank correlation lies on the expected side of 0.",
    "predicts the opposite": "It lies on the other side.",
    "not shown": "It holds 0, or chance gives as much among so many figures: on these batches the figure is no guide.",
    "too few batches": f"It takes {MIN_FOR_A_FINDING} batches that have it before a word is said.",
    "not measured": "There are too few batches that have it, or all are alike.",
}


def draw_worth(verification: Verification) -> Canvas | None:
    """Draw each predictor's rank correlation with the verdict, the strongest first, and the verdict's with itself."""
    names = {predictor.key: predictor.name for predictor in verification.predictors}
    measured = [worth for worth in verification.worth if worth.correlation.value is not None]
    if not measured:
        return None
    measured.sort(key=lambda worth: -abs(worth.correlation.value or 0.0))
    itself = verification.reliability
    rows = [("verdict, between seeds", itself, "start")] if itself.value is not None else []
    rows += [(names[worth.predictor], worth.correlation, _colour(worth, verification.primary)) for worth in measured]
    canvas, axes = open_axes(0.8 + 0.27 * len(rows))
    _draw_rows(axes, rows)
    axes.axvline(0, color=COLOURS["muted"], linewidth=1)
    axes.set(xlabel="rank correlation", xlim=(-1.05, 1.05))
    return canvas


def draw_regret(verification: Verification) -> Canvas | None:
    """Draw the regret of the batch that each predictor likes best, the least first, and of any batch."""
    names = {predictor.key: predictor.name for predictor in verification.predictors}
    measured = [worth for worth in verification.worth if worth.regret.value is not None]
    if not measured:
        return None
    measured.sort(key=lambda worth: worth.regret.value or 0.0)
    rows = [(names[worth.predictor], worth.regret, _colour(worth, verification.primary)) for worth in measured]
    rows.append(("any batch", verification.random_regret, "start"))
    canvas, axes = open_axes(0.8 + 0.27 * len(rows))
    _draw_rows(axes, rows)
    axes.axvline(0, color=COLOURS["muted"], linewidth=1)
    axes.set(xlabel=f"lost, {verification.random_regret.unit}")
    return canvas


def draw_batches(verification: Verification, predictor: Predictor) -> Canvas | None:
    """Draw every batch by one predictor and its verdict, with the intervals of both."""
    pairs = [(batch.predictors.get(predictor.key), batch.verdict, batch.method) for batch in verification.batches]
    known = [(x, y, method) for x, y, method in pairs if x is not None and None not in (x.value, y.value)]
    if not known:
        return None
    canvas, axes = open_axes(3.4)
    methods = sorted({method for _, _, method in known}, key=lambda method: (method == CONTROL, method))
    for place, method in enumerate(methods):
        mark, colour = ("X", "start") if method == CONTROL or place >= len(MARKS) else MARKS[place]
        own = [(x, y) for x, y, of in known if of == method]
        _draw_points(axes, own, mark, COLOURS[colour], method)
    axes.axhline(0, color=COLOURS["muted"], linewidth=1)
    axes.set(xlabel=f"{predictor.name}, {known[0][0].unit}", ylabel=f"verdict, {known[0][1].unit}")
    axes.tick_params(axis="y", colors=COLOURS["muted"])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid()
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=4,
        frameon=False,
        fontsize=FONT_SIZE,
        columnspacing=1.0,
        handletextpad=0.2,
    )
    return canvas


def _draw_points(axes: Axes, own: list[tuple[Figure, Figure]], mark: str, colour: str, label: str) -> None:
    x, y = (np.array([figure.value for figure in column], dtype=float) for column in zip(*own, strict=True))
    for column, draw, beside in ((0, axes.hlines, y), (1, axes.vlines, x)):
        ends = [(pair[column].low, pair[column].high, at) for pair, at in zip(own, beside, strict=True)]
        for low, high, at in ends:
            if low is not None and high is not None:
                draw(at, low, high, color=colour, linewidth=1.2, alpha=0.4)
    axes.plot(x, y, mark, color=colour, markersize=6, label=label)


def _draw_rows(axes: Axes, rows: list[tuple[str, Figure, str]]) -> None:
    """Draw one dot with its interval per row, top to bottom."""
    for place, (_, figure, colour) in enumerate(rows):
        assert figure.value is not None
        if figure.low is not None and figure.high is not None:
            axes.hlines(place, figure.low, figure.high, color=COLOURS[colour], linewidth=3, alpha=0.4)
        axes.plot([figure.value], [place], "o", color=COLOURS[colour], markersize=6)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x")


def _colour(worth: Worth, primary: str) -> str:
    return "synthetic" if worth.predictor == primary else "baseline" if worth.finding == "predicts" else "delta"


@dataclass(frozen=True, slots=True)
class Line:
    """One predictor as the page shows it."""

    name: str
    meaning: str
    expected: str
    is_primary: bool
    worth: Worth

    @property
    def p(self) -> str:
        """The share of shuffles with as strong a correlation."""
        p = self.worth.adjusted.value
        return "" if p is None else f"{p:.4f}"


def list_worth(verification: Verification) -> list[Line]:
    """Return the lines of the table: the primary predictor first, then the strongest."""
    about = {predictor.key: predictor for predictor in verification.predictors}
    lines = []
    for worth in verification.worth:
        predictor = about[worth.predictor]
        is_primary = predictor.key == verification.primary
        lines.append(Line(predictor.name, predictor.meaning, predictor.expected, is_primary, worth))
    return sorted(lines, key=lambda line: (not line.is_primary, -abs(line.worth.correlation.value or 0.0)))


def render_verification(verification: Verification) -> str:
    """Return the page as HTML. All text from outside is escaped; nothing is loaded from anywhere."""
    return open_template("verification.html.j2", Path(__file__).parent).render(
        verification=verification,
        lines=list_worth(verification),
        drawings=_draw(verification),
        batches=sorted(verification.batches, key=lambda batch: -(batch.verdict.value or 0.0)),
        readings={name: FINDINGS[name] for name in FINDINGS if name in {worth.finding for worth in verification.worth}},
        delta_i=DELTA_I if any(each.key == DELTA_I for each in verification.predictors) else "",
        names={predictor.key: predictor.name for predictor in verification.predictors},
        collapse=show_collapse(verification.collapse) if verification.collapse else None,
        steered=show_steered(verification.steered) if verification.steered else None,
    )


def _draw(verification: Verification) -> list[Drawing]:
    about = {predictor.key: predictor for predictor in verification.predictors}
    canvases = {"worth": draw_worth(verification), "regret": draw_regret(verification)}
    for name, key in (("primary", verification.primary), ("delta_i", DELTA_I)):
        if key in about:
            canvases[name] = draw_batches(verification, about[key])
    return [drawn(canvas, TITLES[name], CAPTIONS[name]) for name, canvas in canvases.items() if canvas]

"""The HTML page over all batches of a store."""

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from gainloop.measures.prediction import MIN_BATCHES, MIN_FOR_A_FINDING
from gainloop.reports.overview import COLUMNS
from gainloop.reports.page import Drawing, drawn, open_template
from gainloop.reports.plots import COLOURS, FONT_SIZE, open_axes
from gainloop.reports.ranking import name_yardstick
from schemas.figure import Figure, Words
from schemas.overview import Foretold, Overview, Ranking, Standing
from schemas.report import DELTA_I, DEPENDENCE, GAIN, KNOWLEDGE, WORDS

MAX_NUMBERED: Final = 40
"""With more points than this, their numbers would hide each other."""

OF_BATCHES: Final = {path: WORDS[path] for path in COLUMNS}

TRENDS: Final = {
    KNOWLEDGE: "synthetic",
    GAIN: "synthetic",
    DELTA_I: "delta",
    DEPENDENCE: "delta",
    "curation.accept_rate": "start",
}
"""Figures that are drawn over time, with their colours."""

NUM_PLOTTED: Final = 4
"""Number of predictors that are drawn: those that go most closely with the gain."""

QUADRANTS: Final = (
    "Every batch by what replies tell of their prompts and what the generator added, with 95 % intervals both ways. "
    "Right of the upright line and between the others, at the gate's thresholds, lies what is healthy if a judge finds "
    "it true. Where a batch lies describes it; only an exam accepts it."
)


def draw_trend(standings: Sequence[Standing], path: str, colour: str) -> Canvas | None:
    """Draw a figure of every batch with its interval, in order of time; None if fewer than two have it."""
    points = [(one.number, figure) for one in standings if (figure := one.figures[path]).value is not None]
    if len(points) < 2:
        return None
    canvas, axes = open_axes(2.2)
    _draw_crosses(axes, [((number, None), (figure.value or 0.0, figure)) for number, figure in points], COLOURS[colour])
    if any(end < 0 for _, figure in points for end in (figure.value or 0.0, *_ends(figure))):
        axes.axhline(0, color=COLOURS["muted"], linewidth=1)
    axes.set(xlabel="batch, in order of time", ylabel=WORDS[path].unit, xlim=(0.5, standings[-1].number + 0.5))
    axes.set_title(WORDS[path].title, loc="left", fontsize=FONT_SIZE, pad=8)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    _finish(axes)
    return canvas


def draw_quadrants(overview: Overview) -> Canvas | None:
    """Draw Delta I per byte over I / log P, a cross a batch, with the quadrants and their names."""
    points = [one for one in overview.standings if None not in (one.delta_i.value, one.dependence.value)]
    if not points:
        return None
    lines = overview.lines
    canvas, axes = open_axes(3.6)
    crosses: list[Cross] = [
        ((one.dependence.value or 0.0, one.dependence), (one.delta_i.value or 0.0, one.delta_i)) for one in points
    ]
    _draw_crosses(axes, crosses, COLOURS["delta"])
    _number(axes, [(one.dependence.value, one.delta_i.value, one.number) for one in points])
    left = min(0.0, *(one.dependence.low or 0.0 for one in points))
    right = max(1.0, *(one.dependence.high or 0.0 for one in points))
    known = [one.delta_i.high or one.delta_i.value or 0.0 for one in points]
    top = 1.18 * max(*known, lines.noise.value or 0.0)
    axes.set(xlim=(left - 0.03, right + 0.05), ylim=(0, top), xlabel=WORDS[DEPENDENCE].title, ylabel=_label(DELTA_I))
    bottom, ceiling = lines.collapsed.value or 0.0, lines.noise.value or top
    if lines.ignored is not None:
        axes.plot([lines.ignored] * 2, [bottom, ceiling], "--", color=COLOURS["muted"], linewidth=1)
        _name(axes, 0.01, ceiling, "prompt ignored", "top", "left")
    for end, name, above in ((lines.noise.value, "noisy", True), (lines.collapsed.value, "collapsed", False)):
        if end is not None:
            axes.axhline(end, color=COLOURS["muted"], linewidth=1, linestyle="--")
            _name(axes, 0.99, end, name, "bottom" if above else "top", "right")
    _name(axes, 0.99, ceiling, "none of these", "top", "right")
    _finish(axes)
    return canvas


def draw_foretold(standings: Sequence[Standing], foretold: Foretold, ranking: Ranking) -> Canvas | None:
    """Draw the gain that a ranking is by over one predictor; None if too few of its batches have both."""
    found = foretold.correlation
    if found.value is None:
        return None
    canvas, axes = open_axes(3.0)
    own = [one for one in standings if ranking.holds(one)]
    pairs = [(one.figures[foretold.predictor], one.figures[ranking.figure], one.number) for one in own]
    points = [(x, y, number) for x, y, number in pairs if x.value is not None and y.value is not None]
    crosses: list[Cross] = [((x.value or 0.0, x), (y.value or 0.0, y)) for x, y, _ in points]
    _draw_crosses(axes, crosses, COLOURS["synthetic"])
    _number(axes, [(x.value, y.value, number) for x, y, number in points])
    axes.axhline(0, color=COLOURS["muted"], linewidth=1)
    axes.set(xlabel=_label(foretold.predictor), ylabel=f"gain over the baseline, {WORDS[ranking.figure].unit}")
    axes.margins(x=0.08, y=0.1)
    title = f"rank correlation {found.signed} {found.interval}, {found.n} batches"
    axes.set_title(title, loc="left", fontsize=FONT_SIZE, pad=8)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    _finish(axes)
    return canvas


def _label(path: str) -> str:
    return f"{WORDS[path].name}, {WORDS[path].unit}"


Cross = tuple[tuple[float, Figure | None], tuple[float, Figure | None]]
"""A point, across and along: its place, and the figure whose interval is drawn."""


def _draw_crosses(axes: Axes, crosses: Sequence[Cross], colour: str) -> None:
    """Draw points with their intervals in both directions, as far as they have them: a thousand as one drawing."""
    upright = [(x, *ends) for (x, _), (_, of_y) in crosses if (ends := _ends(of_y))]
    level = [(y, *ends) for (_, of_x), (y, _) in crosses if (ends := _ends(of_x))]
    for lines, draw in ((upright, axes.vlines), (level, axes.hlines)):
        if lines:
            places, lows, highs = zip(*lines, strict=True)
            draw(places, lows, highs, colors=colour, linewidth=2.5, alpha=0.4, capstyle="round")
    axes.plot([x for (x, _), _ in crosses], [y for _, (y, _) in crosses], "o", color=colour, markersize=5)


def _ends(figure: Figure | None) -> list[float]:
    """Return an interval's two ends; none if there is no interval."""
    return [] if figure is None or figure.low is None or figure.high is None else [figure.low, figure.high]


def _number(axes: Axes, points: Sequence[tuple[float | None, float | None, int]]) -> None:
    if len(points) > MAX_NUMBERED:
        return
    for x, y, number in points:
        place = (x or 0.0, y or 0.0)
        axes.annotate(str(number), place, (4, 3), textcoords="offset points", color=COLOURS["ink"], fontsize=FONT_SIZE)


def _name(axes: Axes, across: float, y: float, name: str, vertical: str, horizontal: str) -> None:
    """Write a quadrant's name beside one of its lines."""
    axes.annotate(
        name,
        (across, y),
        (0, -3 if vertical == "top" else 3),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        ha=horizontal,
        va=vertical,
        color=COLOURS["muted"],
        fontstyle="italic",
    )


def _finish(axes: Axes) -> None:
    axes.tick_params(axis="y", colors=COLOURS["muted"])
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y")


def render_overview(overview: Overview) -> str:
    """Return the page as HTML. All text from outside is escaped; nothing is loaded from anywhere."""
    known = list_foretold(overview)
    return open_template("overview.html.j2").render(
        overview=overview,
        words=WORDS,
        of_batches=OF_BATCHES,
        yardsticks=[name_yardstick(ranking) for ranking in overview.rankings],
        trends=_draw_trends(overview),
        quadrants=_draw_quadrants(overview),
        foretold=known,
        drawn_foretold=_draw_foretold(overview, known[:NUM_PLOTTED]),
        not_foretold=list_not_foretold(overview),
        min_batches=MIN_BATCHES,
        min_for_a_finding=MIN_FOR_A_FINDING,
        why_no_interval=why_no_interval,
        definitions=_define(overview),
    )


def list_foretold(overview: Overview) -> list[Foretold]:
    """Return the predictors that have a correlation with the gain, the closest first."""
    known = [one for one in overview.foretold if one.correlation.value is not None]
    return sorted(known, key=lambda one: (-abs(one.correlation.value or 0.0), one.predictor))


def list_not_foretold(overview: Overview) -> dict[str, list[str]]:
    """Return the titles of the predictors without a correlation, by the reason."""
    found: dict[str, list[str]] = {}
    for one in overview.foretold:
        if one.correlation.value is None:
            found.setdefault(one.correlation.status, []).append(WORDS[one.predictor].title)
    return found


def why_no_interval(figure: Figure) -> str:
    """Return the words that stand in place of an interval."""
    if figure.clusters < 2:
        return "no interval: one group of rows"
    return f"no interval: {figure.why_no_interval or 'it is of these very rows'}"


def _draw_trends(overview: Overview) -> list[Drawing]:
    """Draw the trends; what an exam found is drawn for the batches of one exam, that of the first ranking."""
    found = []
    for path, colour in TRENDS.items():
        standings, caption = overview.standings, WORDS[path].meaning
        if path.startswith("knowledge.") and overview.rankings:
            first = overview.rankings[0]
            standings = [one for one in standings if first.holds(one)]
            caption = f"{caption} By {name_yardstick(first)}."
        if canvas := draw_trend(standings, path, colour):
            found.append(drawn(canvas, WORDS[path].title, caption))
    return found


def _draw_quadrants(overview: Overview) -> list[Drawing]:
    canvas = draw_quadrants(overview)
    return [drawn(canvas, "Delta I and I(p; Y) of every batch", QUADRANTS)] if canvas else []


def _draw_foretold(overview: Overview, foretold: Sequence[Foretold]) -> list[Drawing]:
    canvases = [
        (draw_foretold(overview.standings, one, overview.rankings[0]), WORDS[one.predictor]) for one in foretold
    ]
    return [drawn(canvas, f"{words.title} and the gain", _caption(words)) for canvas, words in canvases if canvas]


def _caption(words: Words) -> str:
    return words.meaning if words.is_early else f"{words.meaning} It is known only after training, and is no forecast."


def _define(overview: Overview) -> list[tuple[str, str]]:
    """Return title and definition of each figure."""
    found = [
        (f"{WORDS[ranking.figure].title}, of a recipe", ranking.recipes[0].gain.definition)
        for ranking in overview.rankings[:1]
    ]
    for one in overview.standings[:1]:
        found += [(words.title, one.figures[path].definition) for path, words in OF_BATCHES.items()]
    found += [("Noise line", overview.lines.noise.definition), ("Collapsed line", overview.lines.collapsed.definition)]
    found += [("Share of drops and quarantine", lost.share.definition) for lost in overview.lost[:1]]
    return found + [("Rank correlation", one.correlation.definition) for one in overview.foretold[:1]]

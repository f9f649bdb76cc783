"""The plots over all batches: one point a batch, numbered in order of time."""

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from schemas.figure import Figure
from schemas.overview import Foretold, Overview, Standing
from tasks.pages.plots import COLOURS, FONT_SIZE, open_axes

MAX_NUMBERED: Final = 40
"""With more points than this, their numbers would hide each other."""


def draw_trend(standings: Sequence[Standing], name: str, label: str, colour: str) -> Canvas | None:
    """Draw a figure of every batch with its interval, in order of time; nothing if fewer than two have it."""
    points = [(one.number, figure) for one in standings if (figure := getattr(one, name)).value is not None]
    if len(points) < 2:
        return None
    canvas, axes = open_axes(2.2)
    for number, figure in points:
        _draw_cross(axes, (number, None), (figure.value or 0.0, figure), COLOURS[colour])
    if any(end < 0 for _, figure in points for end in (figure.value or 0.0, *_ends(figure))):
        axes.axhline(0, color=COLOURS["muted"], linewidth=1)
    axes.set(xlabel="batch, in order of time", ylabel=label, xlim=(0.5, len(standings) + 0.5))
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
    for one in points:
        place = (one.dependence.value or 0.0, one.delta_i.value or 0.0)
        _draw_cross(axes, (place[0], one.dependence), (place[1], one.delta_i), COLOURS["delta"])
    _number(axes, [(one.dependence.value, one.delta_i.value, one.number) for one in points])
    left = min(0.0, *(one.dependence.low or 0.0 for one in points))
    right = max(1.0, *(one.dependence.high or 0.0 for one in points))
    known = [one.delta_i.high or one.delta_i.value or 0.0 for one in points]
    top = 1.18 * max(*known, lines.noise.value or 0.0)
    axes.set(xlim=(left - 0.03, right + 0.05), ylim=(0, top), xlabel="I(p; Y) / log P", ylabel="Delta I, bits/byte")
    bottom, ceiling = lines.collapsed.value or 0.0, lines.noise.value or top
    if lines.ignored is not None:
        axes.plot([lines.ignored] * 2, [bottom, ceiling], "--", color=COLOURS["muted"], linewidth=1)
        _name(axes, 0.01, ceiling, "prompt ignored", "top", "left")
    for end, name, above in ((lines.noise.value, "noisy", True), (lines.collapsed.value, "collapsed", False)):
        if end is not None:
            axes.axhline(end, color=COLOURS["muted"], linewidth=1, linestyle="--")
            _name(axes, 0.99, end, name, "bottom" if above else "top", "right")
    _name(axes, 0.99, ceiling, "healthy", "top", "right")
    _finish(axes)
    return canvas


def draw_foretold(standings: Sequence[Standing], foretold: Foretold, label: str) -> Canvas | None:
    """Draw the gain over the matched baseline over what might foretell it; nothing if too few batches have both."""
    found = foretold.correlation
    if found.value is None:
        return None
    canvas, axes = open_axes(3.0)
    pairs = [(getattr(one, foretold.predictor), one.gain, one.number) for one in standings]
    points = [(x, y, number) for x, y, number in pairs if x.value is not None and y.value is not None]
    for x, y, _ in points:
        _draw_cross(axes, (x.value or 0.0, x), (y.value or 0.0, y), COLOURS["synthetic"])
    _number(axes, [(x.value, y.value, number) for x, y, number in points])
    axes.axhline(0, color=COLOURS["muted"], linewidth=1)
    axes.set(xlabel=label, ylabel="gain over the baseline, bits/byte")
    axes.margins(x=0.08, y=0.1)
    title = f"rank correlation {found.signed} {found.interval}, {found.n} batches"
    axes.set_title(title, loc="left", fontsize=FONT_SIZE, pad=8)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    _finish(axes)
    return canvas


def _draw_cross(
    axes: Axes, across: tuple[float, Figure | None], along: tuple[float, Figure | None], colour: str
) -> None:
    """Draw a point with its interval in both directions, as far as it has them."""
    (x, of_x), (y, of_y) = across, along
    for xs, ys in (([x, x], _ends(of_y)), (_ends(of_x), [y, y])):
        if xs and ys:
            axes.plot(xs, ys, color=colour, linewidth=2.5, alpha=0.4, solid_capstyle="round")
    axes.plot([x], [y], "o", color=colour, markersize=5)


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

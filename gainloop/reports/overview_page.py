"""The HTML page over all batches of a store."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from gainloop.measures.prediction import MIN_BATCHES
from gainloop.reports.page import drawn, open_template
from gainloop.reports.plots import COLOURS, FONT_SIZE, open_axes
from schemas.figure import Figure
from schemas.overview import Foretold, Overview, Standing

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


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of every row of a table: its field, what it is called, and what it means and what is healthy."""

    field: str
    name: str
    unit: str
    meaning: str


OF_BATCHES: Final = (
    Column(
        "gain",
        "Gain over the baseline",
        "bits/byte",
        "How many bits each byte of unseen real text costs less after training on the batch than after training on as "
        "many tokens of repeated real text. Healthy: the interval lies above 0; below 0, repeated real text is better.",
    ),
    Column(
        "delta_i",
        "Delta I",
        "bits/byte",
        "What the generator added beyond its prompts, by length. Healthy: near that of earlier batches; near 0 the "
        "generator has collapsed, half above the anchors' own entropy it is noise.",
    ),
    Column(
        "dependence",
        "I(p; Y) / log P",
        "share",
        "How much of a prompt can be told from the reply to it. Healthy: near 1; below 0.5 prompts are ignored.",
    ),
    Column(
        "accept_rate",
        "Accepted",
        "share",
        "Part of the replies that became a kept record. Healthy: above 0.3; below, most of the work is thrown away.",
    ),
    Column(
        "novelty",
        "New wording",
        "share",
        "Part of the words in runs of five that no anchor has. Healthy: well between 0, where nothing new is said, and "
        "what a batch has that ignores its anchors, near 1.",
    ),
)

OF_RECIPES: Final = (
    Column(
        "per_thousand",
        "Gain per 1,000 accepted tokens",
        "millibits/byte per 1,000 tokens",
        "The gain over the matched baseline by thousand tokens of kept records, in thousandths of a bit: what text of "
        "this recipe is worth. Healthy: the interval lies above 0. It favours small batches, since gains level off.",
    ),
    Column(
        "gain",
        "Gain as it is",
        "bits/byte",
        "The same without regard to size. Healthy: the interval lies above 0.",
    ),
)

TRENDS: Final = {
    "gain": ("gain, bits/byte", "synthetic", "Gain over the matched baseline. Above 0, synthetic text was worth it."),
    "delta_i": (
        "Delta I, bits/byte",
        "delta",
        "Delta I per byte. A fall far below earlier batches is a collapsed generator.",
    ),
    "dependence": ("I(p; Y) / log P", "delta", "What replies tell of their prompts. Near 0 prompts are ignored."),
    "accept_rate": ("accepted, share", "start", "Part of the replies that were kept. Below 0.3 most are thrown away."),
}

QUADRANTS: Final = (
    "Every batch by what replies tell of their prompts and what the generator added, with 95 % intervals both ways. "
    "Healthy is right of the upright line and between the others, at the gate's thresholds. Where a batch lies "
    "describes it; only gain accepts it."
)

PREDICTORS: Final = {
    "delta_i": (
        "Delta I, bits/byte",
        "What the generator added, against what training on it gained. If more Delta I meant more gain, points would "
        "rise to the right.",
    ),
    "dependence": (
        "I(p; Y) / log P",
        "What replies tell of their prompts, against what training on them gained.",
    ),
    "novelty": ("new wording, share", "New wording, against what training on it gained."),
    "batch_gain": (
        "gain over the start, bits/byte",
        "The batch's gain over the model it started from, against its gain over the matched baseline. Both are of one "
        "training, so this is no forecast: it says whether the baseline could be spared.",
    ),
}


def render_overview(overview: Overview) -> str:
    """Return the page as HTML. All text from outside is escaped; nothing is loaded from anywhere."""
    return open_template("overview.html.j2").render(
        overview=overview,
        of_batches=OF_BATCHES,
        of_recipes=OF_RECIPES,
        trends=_draw_trends(overview),
        quadrants=_draw_quadrants(overview),
        foretold=_draw_foretold(overview),
        not_foretold=[
            (PREDICTORS[one.predictor][0], one.correlation.status)
            for one in overview.foretold
            if one.correlation.value is None
        ],
        min_batches=MIN_BATCHES,
        why_no_interval=why_no_interval,
        definitions=_define(overview),
    )


def why_no_interval(figure: Figure) -> str:
    """Return what stands where a value has no interval."""
    return "no interval: one group of rows" if figure.clusters < 2 else "no interval: it is of these very rows"


def _draw_trends(overview: Overview) -> list[tuple[Markup, str]]:
    canvases = [
        (draw_trend(overview.standings, name, label, colour), caption)
        for name, (label, colour, caption) in TRENDS.items()
    ]
    return [drawn(canvas, caption) for canvas, caption in canvases if canvas]


def _draw_quadrants(overview: Overview) -> list[tuple[Markup, str]]:
    canvas = draw_quadrants(overview)
    return [drawn(canvas, QUADRANTS)] if canvas else []


def _draw_foretold(overview: Overview) -> list[tuple[Markup, str]]:
    canvases = [
        (draw_foretold(overview.standings, one, PREDICTORS[one.predictor][0]), PREDICTORS[one.predictor][1])
        for one in overview.foretold
    ]
    return [drawn(canvas, caption) for canvas, caption in canvases if canvas]


def _define(overview: Overview) -> list[tuple[str, str]]:
    """Return how each figure is computed."""
    first: Sequence[tuple[Sequence[Column], object]] = [
        (OF_RECIPES[:1], overview.ranking[0] if overview.ranking else None),
        (OF_BATCHES, overview.standings[0] if overview.standings else None),
    ]
    found = [
        (column.name, getattr(row, column.field).definition) for columns, row in first if row for column in columns
    ]
    found += [("Noise line", overview.lines.noise.definition), ("Collapsed line", overview.lines.collapsed.definition)]
    found += [("Share of drops and quarantine", lost.share.definition) for lost in overview.lost[:1]]
    return found + [("Rank correlation", one.correlation.definition) for one in overview.foretold[:1]]

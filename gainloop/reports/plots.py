"""The report's plots, drawn once and shown twice: as SVG that follows the page's colours, and as PNG."""

import base64
import io
import math
import re
from collections.abc import Sequence
from html import escape
from typing import Any, Final, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from schemas.curve import Curve
from schemas.figure import Figure
from schemas.information import DeltaI, Dependence, Entropy
from schemas.knowledge import FrontierPoint, Knowledge
from schemas.report import Counts
from schemas.sections import Gain, Trainee

# On the page each colour is a CSS variable, so that one drawing serves light, dark and print.
COLOURS: Final = {
    "ink": "#1f2a37",
    "muted": "#67727e",
    "line": "#d8dde3",
    "start": "#8792a0",
    "synthetic": "#2467b5",
    "baseline": "#c2600c",
    "delta": "#5b4bb3",
}
# 324 points wide: at 10 points text stays legible on a phone, where a point is about a pixel.
INCHES_WIDE: Final = 4.5
FONT_SIZE: Final = 10
STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gainloop",
    "font.family": "sans-serif",
    "font.size": FONT_SIZE,
    "text.parse_math": False,
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.edgecolor": COLOURS["line"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.7,
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["ink"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
Row = tuple[str, Figure, str]
Along = Literal["forgetting", "tokens"]


ARMS: Final = {
    "replay_control": ("unrelated text", "start"),
    "baseline": ("repeating", "baseline"),
    "synthetic": ("synthetic text", "synthetic"),
}
"""By arm: its name in plots, and its colour."""


def draw_knowledge(knowledge: Knowledge) -> Canvas | None:
    """Draw what the model knew before, after each arm, and with the document in front, beside a blind choice."""
    is_ungraded = knowledge.graded == "nats"
    names = ("nats_before", "nats_control", "nats_repeating", "nats_after", "nats_open_book", "")
    if not is_ungraded:
        names = ("before", "control", "repeating", "after", "open_book", "retrieved")
    labels = ["known before", *(label for label, _ in ARMS.values()), "open book", "with a search"]
    colours = ["ink", *(colour for _, colour in ARMS.values()), "delta", "delta"]
    rows = [
        (label, getattr(knowledge, name), colour)
        for label, name, colour in zip(labels, names, colours, strict=True)
        if name
    ]
    label = "nats a token of the right answers" if is_ungraded else "% of the questions right"
    canvas = draw_intervals(rows, label, whole=not is_ungraded)
    if canvas and not is_ungraded:
        axes = canvas.axes[0]
        axes.set_xlim(0, max(axes.get_xlim()[1], 50))
        if knowledge.guess.value is not None:
            axes.axvline(knowledge.guess.value, color=COLOURS["muted"], linewidth=1, linestyle="--")
            axes.set_title("dashed: a blind choice", loc="left", fontsize=FONT_SIZE, color=COLOURS["muted"], pad=8)
    return canvas


def draw_frontier(knowledge: Knowledge, of: Literal["right", "nats"]) -> Canvas | None:
    """Draw what each arm knows against what it forgets, moment by moment: seeds thin, their mean thick."""
    return _draw_moments(knowledge, of, "forgetting", "forgotten: bits/byte of general text")


def draw_curve(knowledge: Knowledge, of: Literal["right", "nats"]) -> Canvas | None:
    """Draw what each arm knows against the tokens that it has read, where there are moments on the way."""
    if len({one.fraction for one in knowledge.frontier if one.arm != "start"}) < 2:
        return None
    return _draw_moments(knowledge, of, "tokens", "thousand tokens read")


def _draw_moments(knowledge: Knowledge, of: str, along: Along, label: str) -> Canvas | None:
    """Draw knowledge along something that grows with training: a thick line for each arm, a thin one for each seed."""
    whole = [one for one in knowledge.frontier if _place(one, of, along)]
    starts = [one for one in whole if one.arm == "start" and not one.training]
    if not starts or len({one.arm for one in whole}) < 2:
        return None
    canvas, axes = open_axes(3.2)
    for arm, (name, colour) in ARMS.items():
        for training in sorted({one.training for one in whole if one.arm == arm}):
            points = [*starts, *(one for one in whole if one.arm == arm and one.training == training)]
            _draw_paths(axes, points, of, along, COLOURS[colour], "" if training else name)
    x, y = _place(starts[0], of, along) or (0, 0)
    axes.plot([x], [y], "D", color=COLOURS["ink"], markersize=6, label="start", zorder=4)
    axes.set(xlabel=label, ylabel="% right" if of == "right" else "nats a token")
    if of == "nats":
        axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(axis="y", colors=COLOURS["muted"])
    axes.grid()
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=FONT_SIZE)
    return canvas


def _draw_paths(axes: Axes, points: Sequence[FrontierPoint], of: str, along: Along, colour: str, label: str) -> None:
    """Draw one training of an arm from the start on; one without a label is the batch's other one, and dotted."""
    style = "-" if label else ":"
    points = sorted(points, key=lambda one: one.fraction)
    for seed in sorted({one.seed for one in points if one.arm != "start"}):
        own = _places([one for one in points if one.arm == "start" or one.seed == seed], of, along)
        axes.plot(*zip(*own, strict=True), style, color=colour, linewidth=0.8, alpha=0.45)
    moments = sorted({one.fraction for one in points})
    means = [np.mean(_places([one for one in points if one.fraction == at], of, along), axis=0) for at in moments]
    axes.plot(*zip(*means, strict=True), f"o{style}", color=colour, markersize=5, linewidth=2, label=label or None)


def _places(points: Sequence[FrontierPoint], of: str, along: Along) -> list[tuple[float, float]]:
    return [place for one in points if (place := _place(one, of, along))]


def _place(point: FrontierPoint, of: str, along: Along) -> tuple[float, float] | None:
    """Return where a moment stands, or None if it was not measured there."""
    tokens = 0 if point.arm == "start" else point.tokens
    x = point.forgetting.value if along == "forgetting" else None if tokens is None else tokens / 1000
    y = getattr(point, of).value
    return None if x is None or y is None else (x, y)


def draw_growth(curve: Curve) -> Canvas | None:
    """Draw what models know against the synthetic tokens they were trained on, and what twice as many foretell."""
    if len(curve.points) < 2 or not (trained := [point for point in curve.points if point.tokens]):
        return None
    canvas, axes = open_axes(3.2)
    first, last = trained[0].tokens, trained[-1].tokens
    start = first / max(2.0, (last / first) ** 0.25)  # the start has no place on a log scale: one step before the first
    for point in curve.points:
        is_start = not point.tokens
        _draw_upright(axes, point.tokens or start, point.right, "start" if is_start else "synthetic", "D" * is_start)
    if curve.line:
        _draw_foretold(axes, curve, last)
    axes.set_xscale("log")
    axes.minorticks_off()
    places = {start: "none"} if not curve.points[0].tokens else {}
    places |= {tokens: _in_short(tokens) for tokens in _apart([*(p.tokens for p in trained), 2 * last])}
    axes.set_xticks(list(places), list(places.values()))
    axes.set(xlabel="tokens of synthetic text", ylabel="% of the questions right")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(axis="y", colors=COLOURS["muted"])
    axes.grid(axis="y")
    return canvas


def _draw_foretold(axes: Axes, curve: Curve, last: int) -> None:
    """Draw the fitted curve with its band up to twice the last tokens, and what is foretold there."""
    tokens, right = ([getattr(place, name) for place in curve.line] for name in ("tokens", "right"))
    axes.plot(tokens, right, color=COLOURS["ink"], linewidth=1.4)
    if all(place.low is not None for place in curve.line):
        lows, highs = ([getattr(place, end) for place in curve.line] for end in ("low", "high"))
        axes.fill_between(tokens, lows, highs, color=COLOURS["ink"], alpha=0.1, linewidth=0)
    axes.axvspan(last, 2.12 * last, color=COLOURS["delta"], alpha=0.1, linewidth=0)
    _draw_upright(axes, 2 * last, curve.forecast, "delta", "o")
    shaded = "shaded: foretold at twice the text"
    axes.set_title(shaded, loc="left", fontsize=FONT_SIZE, color=COLOURS["muted"], pad=8)


def _draw_upright(axes: Axes, x: float, figure: Figure, colour: str, marker: str) -> None:
    """Draw a dot with its interval, upright."""
    value = figure.value or 0.0
    low, high = (value if end is None else end for end in (figure.low, figure.high))
    axes.plot([x, x], [low, high], color=COLOURS[colour], linewidth=3, alpha=0.4, solid_capstyle="round")
    axes.plot([x], [value], marker or "o", color=COLOURS[colour], markersize=6, zorder=4)


def _apart(tokens: Sequence[int]) -> list[int]:
    """Return the numbers of tokens that can stand beside each other on a log scale, the last among them."""
    room = math.log(tokens[-1] / tokens[0]) / 6
    found = [tokens[-1]]
    for one in reversed(tokens[:-1]):
        if math.log(found[-1] / one) >= room:
            found.append(one)
    return found[::-1]


def _in_short(tokens: int) -> str:
    """Return a number of tokens as an axis has room for it.

    >>> [_in_short(tokens) for tokens in (950, 25_000, 1_250_000)]
    ['950', '25k', '1.25M']
    """
    size, unit = next((s, u) for s, u in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k"), (1, "")) if tokens >= s)
    return f"{tokens / size:.3g}{unit}"


def draw_gain(gain: Gain) -> Canvas | None:
    """Draw what both arms saved and their difference, all paired by text, around 0."""
    rows = [
        ("synthetic", gain.synthetic, "synthetic"),
        ("repeating", gain.baseline, "baseline"),
        ("difference", gain.advantage, "ink"),
    ]
    return draw_intervals(rows, "bits/byte saved on held-out text", signed=True)


def draw_heldout(trainee: Trainee) -> Canvas | None:
    """Draw the held-out loss of the three models."""
    rows = [
        ("start", trainee.heldout_start, "start"),
        ("synthetic", trainee.heldout_synthetic, "synthetic"),
        ("repeating", trainee.heldout_baseline, "baseline"),
    ]
    return draw_intervals(rows, "bits/byte on held-out text")


def draw_entropy(entropy: Entropy, delta_i: Figure) -> Canvas | None:
    """Draw the information per byte of anchors, of records, and of what the generator added."""
    rows = [
        ("anchors", entropy.anchors, "start"),
        ("kept records", entropy.records, "synthetic"),
        ("Delta I of replies", delta_i, "delta"),
    ]
    canvas = draw_intervals(rows, "bits/byte")
    if canvas:
        canvas.axes[0].set_xlim(left=0)
    return canvas


def draw_delta_i(delta_i: DeltaI) -> Canvas | None:
    """Draw how the nats of single replies are spread, with their mean and its interval."""
    histogram, mean = delta_i.histogram, delta_i.nats_per_record
    if not histogram.counts:
        return None
    canvas, axes = open_axes(2.6)
    axes.stairs(histogram.counts, histogram.edges, fill=True, color=COLOURS["delta"], alpha=0.55)
    if mean.value is not None:
        axes.axvline(mean.value, color=COLOURS["ink"], linewidth=1.4)
        axes.set_title(f"mean {mean.number} {mean.interval}", loc="left", fontsize=FONT_SIZE, pad=8)
    axes.set(xlabel=histogram.unit, ylabel="replies")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.tick_params(axis="y", colors=COLOURS["muted"])
    axes.grid(axis="y")
    return canvas


def draw_dependence(dependence: Dependence) -> Canvas | None:
    """Draw both bounds of I(p; Y) over the prompts scored, with their caps."""
    points = [point for point in dependence.curve if point.incl.value is not None and point.fpc.value is not None]
    if not points or dependence.cap_log_p is None:
        return None
    canvas, axes = open_axes(2.6)
    prompts = [point.prompts for point in points]
    for name, colour, label in (("fpc", "delta", "fpc, a little high"), ("incl", "synthetic", "incl, a little low")):
        figures: list[Figure] = [getattr(point, name) for point in points]
        if all(figure.low is not None for figure in figures):
            lows, highs = ([getattr(figure, end) for figure in figures] for end in ("low", "high"))
            axes.fill_between(prompts, lows, highs, color=COLOURS[colour], alpha=0.15, linewidth=0)
        values = [figure.value or 0.0 for figure in figures]
        axes.plot(prompts, values, "o-", color=COLOURS[colour], markersize=4, label=label)
    axes.axhline(dependence.cap_log_p, color=COLOURS["muted"], linewidth=1, linestyle="--", label="cap of fpc")
    axes.plot(prompts, [math.log(m) for m in prompts], ":", color=COLOURS["muted"], label="cap of incl")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.set(xlabel="prompts that each reply was scored under", ylabel="nats/record")
    axes.tick_params(axis="y", colors=COLOURS["muted"])
    axes.grid(axis="y")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=FONT_SIZE)
    return canvas


def draw_absorbed(trainee: Trainee) -> Canvas | None:
    """Draw the loss on synthetic text while it was learnt from, above what the same text costs in the end."""
    if len(trainee.curve) < 2:
        return None
    canvas, axes = open_axes(2.6)
    tokens = [point.tokens for point in trainee.curve]
    online, final = ([getattr(point, name) for point in trainee.curve] for name in ("online", "final"))
    axes.fill_between(tokens, final, online, color=COLOURS["synthetic"], alpha=0.18, linewidth=0, label="absorbed")
    axes.plot(tokens, online, color=COLOURS["synthetic"], linewidth=1.6, label="while it is read")
    axes.plot(tokens, final, color=COLOURS["ink"], linewidth=1.2, label="in the end")
    if trainee.records_in.value is not None and trainee.records_out.value is not None:
        left = float(np.mean(final)) + trainee.records_out.value - trainee.records_in.value
        axes.axhline(left, color=COLOURS["baseline"], linestyle="--", label="had it been held out")
    axes.set(xlabel="tokens of synthetic text read", ylabel="bits/byte")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.tick_params(axis="y", colors=COLOURS["muted"])
    axes.grid(axis="y")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=FONT_SIZE)
    return canvas


def draw_losses(counts: Counts) -> Canvas | None:
    """Draw why replies and records are not trained on."""
    reasons = [(f"{reason} (dropped)", number, "start") for reason, number in counts.drops_by_reason.items()]
    reasons += [(f"{reason} (quarantined)", n, "delta") for reason, n in counts.quarantined_by_reason.items()]
    if not reasons:
        return None
    labels, numbers, colours = zip(*sorted(reasons, key=lambda row: row[1]), strict=True)
    canvas, axes = open_axes(0.7 + 0.3 * len(reasons))
    bars = axes.barh(range(len(reasons)), numbers, height=0.6, color=[COLOURS[c] for c in colours])
    axes.bar_label(bars, fmt="{:,.0f}", padding=4, color=COLOURS["ink"])
    axes.set_yticks(range(len(reasons)), labels)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="x")
    axes.margins(x=0.12)
    return canvas


def as_svg(canvas: Canvas, title: str) -> str:
    """Return inline SVG that fills its column and takes the page's colours and font."""
    file = io.StringIO()
    with rc_context(STYLE):
        canvas.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[\w.]+?_\d+"| (?:width|height)="[\d.]+pt"|font-family:[^;"]*;? ?', "", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)


def as_png_uri(canvas: Canvas, title: str) -> str:
    """Return a data URI of the figure on white below its title, for places that show no SVG."""
    file = io.BytesIO()
    with rc_context(STYLE):
        canvas.suptitle(title, x=0.02, ha="left", fontsize=FONT_SIZE + 1, fontweight="bold")
        canvas.savefig(file, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def draw_intervals(rows: Sequence[Row], label: str, signed: bool = False, whole: bool = False) -> Canvas | None:
    """Draw one dot with its interval per figure, top to bottom; nothing if none was measured."""
    measured = [(name, figure, colour) for name, figure, colour in rows if figure.value is not None]
    if not measured:
        return None
    canvas, axes = open_axes(0.75 + 0.54 * len(measured))
    for place, (_, figure, colour) in enumerate(measured):
        shown = f"{figure.value:.0f}" if whole else figure.signed if signed else figure.number
        _draw_interval(axes, place, figure, COLOURS[colour], shown)
    axes.set_yticks(range(len(measured)), [name for name, _, _ in measured])
    axes.set(xlabel=label, ylim=(len(measured) - 0.5, -0.7))
    if signed:
        axes.axvline(0, color=COLOURS["muted"], linewidth=1)
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x")
    return canvas


def _draw_interval(axes: Axes, place: int, figure: Figure, colour: str, text: str) -> None:
    value = figure.value or 0.0
    low, high = (value if end is None else end for end in (figure.low, figure.high))
    axes.plot([low, high], [place, place], color=colour, linewidth=3, alpha=0.4, solid_capstyle="round")
    axes.plot([value], [place], "o", color=colour, markersize=7)
    axes.annotate(text, (value, place), (0, 7), textcoords="offset points", ha="center", va="bottom", color=colour)


def open_axes(inches_high: float) -> tuple[Canvas, Axes]:
    """Return an empty figure as wide as all others, and its axes."""
    with rc_context(STYLE):
        canvas = Canvas(figsize=(INCHES_WIDE, inches_high), layout="constrained")
        return canvas, canvas.subplots()

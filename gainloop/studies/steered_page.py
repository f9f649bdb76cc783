"""What the page of a verification shows of steering."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator, PercentFormatter

from gainloop.reports.page import Drawing, drawn
from gainloop.reports.plots import COLOURS, FONT_SIZE, open_axes
from schemas.steered import Steered, SteeredWay, Steering, WayOutcome

NAMES: Final[dict[Steering, str]] = {"budget": "Budget", "gaps": "Draws"}

MEANINGS: Final[dict[tuple[Steering, SteeredWay], str]] = {
    ("budget", "uniform"): "Every recipe has a quarter of each round's words.",
    ("budget", "by gain"): (
        "After each round a probe run on each recipe's text. A recipe has its chance of gaining most for its words, "
        "but a tenth of the round at least, and at most twice the share that it had."
    ),
    ("budget", "by Delta I"): "The same rule, with Delta I for a word in the place of the gain.",
    ("gaps", "uniform"): "Prompts are even over the entities.",
    ("gaps", "gap-directed"): (
        "Prompts are in proportion to what the model lacks of each entity: by the gate's questions of half of them, by "
        "the loss of the other half's facts in another wording; a fifth is even. Measured again before each round."
    ),
}

TITLES: Final = {"right": "What steering is worth", "shares": "Where the words went"}

CAPTIONS: Final = {
    "right": (
        "Right answers to questions that no steering saw, after as many generated words; with 95 % intervals over "
        "entities and seeds. Grey: the even split."
    ),
    "shares": (
        "Each round's words by recipe, mean over seeds. The first two recipes are good, the others poor; the even "
        "split stays as it is in the first round."
    ),
}

PALETTE: Final = ("synthetic", "delta", "baseline", "start")
"""Colours of the recipes, in their order."""


@dataclass(frozen=True, slots=True)
class ShownWay:
    """One way as the page's table has it."""

    name: str
    meaning: str
    outcome: WayOutcome


@dataclass(frozen=True, slots=True)
class ShownSteering:
    """The section as its template takes it."""

    drawings: list[Drawing]
    ways: list[ShownWay]


def show_steered(steered: Steered) -> ShownSteering:
    """Return plots and lines of the section."""
    drawings = [
        drawn(draw_right(steered), TITLES["right"], CAPTIONS["right"]),
        drawn(draw_shares(steered), TITLES["shares"], CAPTIONS["shares"]),
    ]
    ways = [ShownWay(f"{NAMES[one.steering]}: {one.way}", MEANINGS[one.steering, one.way], one) for one in steered.ways]
    return ShownSteering(drawings, ways)


def draw_right(steered: Steered) -> Canvas:
    """Draw the share of right answers of each way, with what the start of each question had."""
    canvas, axes = open_axes(0.9 + 0.3 * len(steered.ways))
    for place, one in enumerate(steered.ways):
        colour = COLOURS["start" if one.way == "uniform" else "synthetic"]
        if one.right.low is not None and one.right.high is not None:
            axes.hlines(place, one.right.low, one.right.high, color=colour, linewidth=3, alpha=0.4)
        axes.plot([float(one.right.value or 0)], [place], "o", color=colour, markersize=6)
    axes.set_yticks(range(len(steered.ways)), [f"{one.steering}: {one.way}" for one in steered.ways])
    axes.set_ylim(len(steered.ways) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x")
    axes.set(xlabel="share of right answers")
    return canvas


def draw_shares(steered: Steered) -> Canvas:
    """Draw the shares of each round's words by recipe, of each way that steers a budget."""
    rows = [
        (f"{one.way}, round {number}", shares)
        for one in steered.ways
        if one.steering == "budget" and one.way != "uniform"
        for number, shares in enumerate(one.shares, start=1)
    ]
    canvas, axes = open_axes(1.2 + 0.27 * len(rows))
    left = np.zeros(len(rows))
    for colour, arm in zip(PALETTE, steered.arms, strict=True):
        width = np.array([shares[arm] for _, shares in rows])
        axes.barh(range(len(rows)), width, left=left, color=COLOURS[colour], height=0.7, label=arm)
        left += width
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlabel="share of the round's words")
    _add_legend(axes)
    return canvas


def _add_legend(axes: Axes) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.4, 1.0),
        ncols=4,
        frameon=False,
        fontsize=FONT_SIZE,
        columnspacing=0.9,
        handlelength=1.0,
        handletextpad=0.4,
    )

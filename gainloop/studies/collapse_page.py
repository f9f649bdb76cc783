"""What the page of a verification shows of loops that train on their own text."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from gainloop.reports.page import Drawing, drawn
from gainloop.reports.plots import COLOURS, FONT_SIZE, open_axes
from schemas.collapse import Collapse, CollapsePoint, Setting, Way

TITLES: Final[dict[Setting, str]] = {
    "regression": "Linear regression",
    "verifier": "Linear regression with a verifier",
    "spread": "Gaussian fitting: the spread that is left",
    "centre": "Gaussian fitting: error of the mean",
}

CAPTIONS: Final[dict[Setting, str]] = {
    "regression": "On the last round's rows alone the error grows by as much each round; on all rows it stays.",
    "verifier": (
        "A right verifier lowers the error and keeps it low; one that is as wrong as a fit to the real data helps for "
        "a few rounds, then brings the loop to its own centre."
    ),
    "spread": "On the last round's points alone the spread is lost; on all points it stays.",
    "centre": "On the last round's points alone the mean walks away; on all points it soon stands still.",
}

AXES: Final[dict[Setting, str]] = {
    "regression": "error, first round = 1",
    "verifier": "error, first round = 1",
    "spread": "variance, true = 1",
    "centre": "squared error, variances",
}

TABLED: Final[dict[Setting, tuple[int, ...]]] = {
    "regression": (1, 2, 5, 10, 20),
    "verifier": (1, 2, 5, 10, 20),
    "spread": (1, 10, 50, 100),
    "centre": (1, 10, 50, 100),
}
"""Rounds that tables show; the JSON has more."""

COLOUR_OF: Final[dict[Way, str]] = {
    "replace": "baseline",
    "accumulate": "synthetic",
    "subsample": "delta",
    "right verifier": "start",
    "wrong verifier": "delta",
    "wrong verifier, accumulate": "synthetic",
}

MEANINGS: Final[dict[Way, str]] = {
    "replace": "Each round is trained on the last round's text alone.",
    "accumulate": "Each round is trained on all text so far, the real text always in.",
    "subsample": "Each round is trained on as much text as a round has, drawn from all so far.",
    "right verifier": "The last round's text alone, of which a verifier passes what is near the truth.",
    "wrong verifier": "The same, and the verifier's truth is as far from the right one as a fit to the real data.",
    "wrong verifier, accumulate": "The same verifier, and all text so far: it leads there too, slowly.",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One round in a table; ``known`` is in as many digits as the value, empty where nothing can be derived."""

    generation: int
    value: str
    interval: str
    known: str
    is_held: bool


@dataclass(frozen=True, slots=True)
class Table:
    """One setting: its rounds, and by way what came of them."""

    title: str
    unit: str
    rounds: tuple[int, ...]
    rows: dict[Way, list[Cell]]


@dataclass(frozen=True, slots=True)
class Shown:
    """The section as its template takes it."""

    drawings: list[Drawing]
    tables: list[Table]
    meanings: dict[Way, str]
    definitions: dict[str, str]
    num_held: int
    num_known: int


def show_collapse(collapse: Collapse) -> Shown:
    """Return plots, tables and words of the section."""
    of = {setting: [point for point in collapse.points if point.setting == setting] for setting in TITLES}
    return Shown(
        drawings=[drawn(draw_setting(of[one], AXES[one]), TITLES[one], CAPTIONS[one]) for one in TITLES],
        tables=[list_rounds(of[one], one) for one in TITLES],
        meanings=MEANINGS,
        definitions={TITLES[one]: of[one][0].value.definition for one in TITLES},
        num_held=sum(point.is_held is True for point in collapse.points),
        num_known=sum(point.known is not None for point in collapse.points),
    )


def list_rounds(points: list[CollapsePoint], setting: Setting) -> Table:
    """Return the table of a setting, a row for each way."""
    rows: dict[Way, list[Cell]] = {}
    for point in points:
        if point.generation in TABLED[setting]:
            known = point.value.model_copy(update={"value": point.known}).number if point.known is not None else ""
            cell = Cell(point.generation, point.value.number, point.value.interval, known, point.is_held is not False)
            rows.setdefault(point.way, []).append(cell)
    return Table(TITLES[setting], points[0].value.unit, TABLED[setting], rows)


def draw_setting(points: list[CollapsePoint], label: str) -> Canvas:
    """Draw each way by its rounds: what came as dots with intervals, what is known as a dashed line."""
    canvas, axes = open_axes(3.0)
    for way in dict.fromkeys(point.way for point in points):
        own, colour = [point for point in points if point.way == way], COLOURS[COLOUR_OF[way]]
        rounds = [point.generation for point in own]
        values, lows, highs = (
            np.array([getattr(point.value, end) for point in own], dtype=float) for end in ("value", "low", "high")
        )
        axes.vlines(rounds, lows, highs, color=colour, alpha=0.5)
        axes.plot(rounds, values, "o", color=colour, markersize=4.5, label=way)
        if own[0].known is not None:
            known = np.array([point.known for point in own], dtype=float)
            axes.plot(rounds, known, "--", color=colour, linewidth=1.2)
    axes.set(xlabel="rounds", ylabel=label)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(axis="y", colors=COLOURS["muted"])
    axes.grid(axis="y")
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.05, 1.0),
        ncols=3 if len(axes.get_legend_handles_labels()[1]) < 4 else 2,
        frameon=False,
        fontsize=FONT_SIZE,
        columnspacing=1.0,
        handletextpad=0.2,
    )
    return canvas

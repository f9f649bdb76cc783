"""The HTML page of a simulation."""

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Ellipse
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gainloop.reports.page import drawn, open_template
from gainloop.reports.plots import COLOURS, FONT_SIZE, open_axes
from gainloop.studies.figure_4 import NAMES, World
from gainloop.studies.mixtures import Mixtures
from schemas.studies import Kind, Letter, Point, Simulation

LINES: Final[dict[Letter, str]] = {"k": "start", "j": "synthetic", "l": "baseline"}
LINEAR_NATS: Final = 2.0
"""Exact gaps are of many sizes: the scale is linear up to here, then logarithmic."""


def draw_setting(world: World) -> Canvas:
    """Draw the paper's Figure 2: anchors, the generator's components as ellipses of two standard deviations, and what
    it makes."""
    canvas, axes = open_axes(4.2)
    axes.plot(*world.synthetic[0].T, "x", color=COLOURS["synthetic"], markersize=4, alpha=0.7, label="synthetic")
    axes.plot(*world.anchors[0].T, "o", color=COLOURS["start"], markersize=4, alpha=0.8, label="anchors")
    num_anchored = world.of_anchors.num_components
    num_known = world.truth.num_components
    for component in range(world.generator.num_components):
        dash = "-" if component < num_anchored else "--" if component < num_known else ":"
        _draw_ellipse(axes, world.generator, component, dash)
    for dash, label in (("-", "estimated from anchors"), ("--", "known to be true"), (":", "its own invention")):
        axes.plot([], [], dash, color=COLOURS["ink"], label=label)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False, fontsize=FONT_SIZE)
    axes.set_aspect("equal", adjustable="datalim")
    return canvas


def draw_gaps(points: list[Point], kind: Kind) -> Canvas:
    """Draw the paper's Figure 4 by one kind of divergence: a line each for K, J and L."""
    canvas, axes = open_axes(2.9)
    for place, (letter, colour) in enumerate(LINES.items()):
        own = [point for point in points if (point.letter, point.kind) == (letter, kind)]
        counts = np.array([point.count for point in own]) + 0.12 * (place - 1)
        means, lows, highs = (
            np.array([getattr(point.gap, end) for point in own], dtype=float) for end in ("value", "low", "high")
        )
        axes.vlines(counts, lows, highs, color=COLOURS[colour], linewidth=2, alpha=0.45)
        axes.plot(
            counts, means, "o-", color=COLOURS[colour], markersize=4, linewidth=1.2, label=f"over {letter.upper()}"
        )
    if kind != "published":
        axes.set_yscale("symlog", linthresh=LINEAR_NATS)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda nats, _: f"{nats:,g}"))
    axes.axhline(0, color=COLOURS["muted"], linewidth=1)
    axes.set(xlabel="components K, J or L, the other two being 2", ylabel="KL Gap, nats")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.tick_params(axis="y", colors=COLOURS["muted"])
    axes.grid(axis="y")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=FONT_SIZE)
    return canvas


def _draw_ellipse(axes: Axes, mixtures: Mixtures, component: int, dash: str) -> None:
    values, vectors = np.linalg.eigh(mixtures.covariances[0, component])
    width, height = 4 * np.sqrt(values)
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    x, y = mixtures.means[0, component]
    axes.add_patch(Ellipse((x, y), width, height, angle=angle, fill=False, color=COLOURS["ink"], linestyle=dash))


CAPTIONS: Final[dict[Kind, str]] = {
    "published": "Two histograms whose bins lie in different places, compared bin by bin.",
    "reverse": "What the trainee says that is not in the truth. Above 0, synthetic text has helped.",
    "forward": "The trainee's excess loss on new text. Above 0, synthetic text has helped.",
}

SETTING: Final = (
    "One setting with K = J = L = 2: the anchors, the generator's components (two standard deviations), and what it "
    "makes of them."
)

LETTERS: Final = {
    "k": "K, components of the truth that there are anchors of",
    "j": "J, further ones of the truth that the generator knows",
    "l": "L, components that the generator invents",
}


def render_simulation(simulation: Simulation, world: World) -> str:
    """Return the page as HTML.

    Args:
        world: Its first setting is drawn.
    """
    drawings = [drawn(draw_setting(world), SETTING)]
    drawings += [
        drawn(draw_gaps(simulation.points, kind), f"{NAMES[kind]}. {caption}") for kind, caption in CAPTIONS.items()
    ]
    return open_template("simulation.html.j2", Path(__file__).parent).render(
        simulation=simulation, drawings=drawings, letters=LETTERS, names=NAMES
    )

"""The simulation of Gan & Liu 2024, Figure 4: how much nearer to the truth a trainee of synthetic text comes than one
of the anchors alone (the KL Gap); and its page."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Ellipse
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.special import ndtri
from scipy.stats import spearmanr

from gainloop.measures.estimate import Estimate, Floats, as_figure, mean_of
from gainloop.reports.page import drawn, open_template
from gainloop.reports.plots import COLOURS, FONT_SIZE, open_axes
from gainloop.studies.mixtures import (
    RIDGE,
    Mixtures,
    divergence,
    equal_weights,
    fit,
    published_divergence,
    random_mixtures,
)
from schemas.figure import Figure
from schemas.studies import SIMULATION_FORMAT, Kind, Letter, Point, Simulation, Trend, TrendDirection

ANCHORS_PER_COMPONENT, SYNTHETIC_POINTS = 50, 200
KINDS: Final[tuple[Kind, ...]] = ("published", "reverse", "forward")
"""The released code's estimator; KL(pi || G); and KL(G || pi), the excess loss on new text."""

LETTERS: Final[tuple[Letter, ...]] = ("k", "j", "l")

PRINTED: Final[dict[Letter, TrendDirection]] = {"k": "falls", "j": "rises", "l": "falls"}
"""Trends of the paper's Figure 4."""

NAMES: Final[dict[Kind, str]] = {
    "published": "As published",
    "reverse": "Exact KL(pi || G)",
    "forward": "Exact KL(G || pi)",
}
"""Names of the kinds of divergence in plots, tables and headline."""

DEFINITIONS: Final[dict[Kind, str]] = {
    "published": "the released code's two histograms, each on bins of its own, compared bin by bin",
    "reverse": "KL(pi || G), exact up to quasi-Monte Carlo: what the trainee says that is not in the truth",
    "forward": "KL(G || pi), exact up to quasi-Monte Carlo: the trainee's excess loss on new text",
}

GAP: Final = "KL of the anchors' trainee less that of the synthetic text's, over independent settings, by {}"

LETTER_COLOURS: Final[dict[Letter, str]] = {"k": "start", "j": "synthetic", "l": "baseline"}
LINEAR_NATS: Final = 2.0
"""Exact gaps are of many sizes: the scale is linear up to here, then logarithmic."""

CAPTIONS: Final[dict[Kind, str]] = {
    "published": "Two histograms whose bins lie in different places, compared bin by bin.",
    "reverse": "What the trainee says that is not in the truth. Above 0, synthetic text has helped.",
    "forward": "The trainee's excess loss on new text. Above 0, synthetic text has helped.",
}

SETTING: Final = (
    "One setting with K = J = L = 2: the anchors, the generator's components (two standard deviations), and what it "
    "makes of them."
)

LETTER_MEANINGS: Final = {
    "k": "K, components of the truth that there are anchors of",
    "j": "J, further ones of the truth that the generator knows",
    "l": "L, components that the generator invents",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of Figure 4.

    Attributes:
        k: Components of the truth that anchors were drawn from.
        j: Further components of the truth, which the generator knows.
        l: Components that the generator invents; they are not in the truth.
    """

    k: int = 2
    j: int = 2
    l: int = 2  # noqa: E741 - the paper's letter


@dataclass(frozen=True)
class Settings:
    """Independent settings of one cell; every field has one entry per setting.

    Attributes:
        truth: G, of K + J components.
        anchors: 50 points of each of the first K.
        generator: M: K components estimated from the anchors, J of the truth, L of its own.
        synthetic: 200 points of it.
        of_anchors: pi of S_anchor, K components fitted to the anchors.
        of_synthetic: pi of S_gen, K + J + L components fitted to the synthetic points.
    """

    truth: Mixtures
    anchors: Floats
    generator: Mixtures
    synthetic: Floats
    of_anchors: Mixtures
    of_synthetic: Mixtures


def make_settings(rng: np.random.Generator, cell: Cell, num_settings: int) -> Settings:
    """Return independent settings of a cell, this many, as section 4.4 and the released code make them."""
    truth = random_mixtures(rng, num_settings, cell.k + cell.j)
    owners = np.repeat(np.arange(cell.k), ANCHORS_PER_COMPONENT)
    owner = np.broadcast_to(owners, (num_settings, len(owners)))
    anchors = truth.place(rng.standard_normal((*owner.shape, 2)), owner)
    known, own = _estimate(anchors, cell.k), random_mixtures(rng, num_settings, cell.l)
    generator = equal_weights(
        np.concatenate([known.means, truth.means[:, cell.k :], own.means], axis=1),
        np.concatenate([known.covariances, truth.covariances[:, cell.k :], own.covariances], axis=1),
    )
    synthetic, _ = generator.draw(rng, SYNTHETIC_POINTS)
    num_components = cell.k + cell.j + cell.l
    return Settings(
        truth, anchors, generator, synthetic, fit(rng, anchors, cell.k), fit(rng, synthetic, num_components)
    )


def kl_gaps(rng: np.random.Generator, settings: Settings, num_repeats: int) -> dict[Kind, Floats]:
    """Return KL(anchors' trainee, truth) - KL(synthetic's trainee, truth) per setting, in nats, by each of ``KINDS``.

    Above 0 the synthetic text has helped.
    """
    return {
        "published": published_divergence(rng, settings.of_anchors, settings.truth, num_repeats)
        - published_divergence(rng, settings.of_synthetic, settings.truth, num_repeats),
        "reverse": divergence(settings.of_anchors, settings.truth) - divergence(settings.of_synthetic, settings.truth),
        "forward": divergence(settings.truth, settings.of_anchors) - divergence(settings.truth, settings.of_synthetic),
    }


def measure_gaps(
    seed: int,
    counts: range,
    num_settings: int,
    num_repeats: int,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> dict[Cell, dict[Kind, Floats]]:
    """Return the gaps of every cell: K, J and L each go through ``counts`` while the others are 2.

    Cells do not depend on each other or on how many run at once: each draws from a seed of its own.
    """
    cells = list(dict.fromkeys(Cell(**{letter: count}) for letter in ("k", "j", "l") for count in counts))

    def measure(cell: Cell) -> dict[Kind, Floats]:
        rng = np.random.default_rng([seed, cell.k, cell.j, cell.l])
        return kl_gaps(rng, make_settings(rng, cell, num_settings), num_repeats)

    gaps: dict[Cell, dict[Kind, Floats]] = {}
    with ThreadPoolExecutor(2) as threads:
        for cell, found in zip(cells, threads.map(measure, cells), strict=True):
            gaps[cell] = found
            on_progress(len(gaps), len(cells))
    return gaps


def _estimate(anchors: Floats, num_components: int) -> Mixtures:
    """Return the components that labelled anchors have: means and sample covariances."""
    groups = anchors.reshape(len(anchors), num_components, -1, 2)
    means = groups.mean(axis=2)
    centred = groups - means[:, :, None]
    covariances = centred.swapaxes(2, 3) @ centred / (groups.shape[2] - 1)
    return equal_weights(means, covariances + RIDGE * np.eye(2))


def describe(
    gaps: dict[Cell, dict[Kind, Floats]], simulation_id: str, seed: int, num_settings: int, num_repeats: int
) -> Simulation:
    """Return the findings of a simulation; ``gaps`` is what ``measure_gaps`` returns."""
    trends = [_trend(gaps, letter, kind) for kind in KINDS for letter in LETTERS]
    return Simulation(
        format=SIMULATION_FORMAT,
        simulation=simulation_id,
        headline=_headline(trends),
        seed=seed,
        settings=num_settings,
        repeats=num_repeats,
        points=[
            Point(
                letter=letter,
                count=count,
                kind=kind,
                gap=mean_gap(found[kind], kind),
                median=float(np.median(found[kind])),
            )
            for letter in LETTERS
            for count, found in cells_of(gaps, letter)
            for kind in KINDS
        ],
        trends=trends,
        itself=_of_itself(seed, num_settings, num_repeats),
    )


def cells_of(gaps: dict[Cell, dict[Kind, Floats]], letter: Letter) -> list[tuple[int, dict[Kind, Floats]]]:
    """Return the cells in which one letter goes through all counts and the others are 2."""
    own = [(getattr(cell, letter), cell, found) for cell, found in gaps.items()]
    return sorted(((count, found) for count, cell, found in own if cell == Cell(**{letter: count})), key=lambda c: c[0])


def mean_gap(values: Floats, kind: Kind) -> Figure:
    """Return the mean gap over settings with a 95 % t interval."""
    return as_figure(_over_settings(values), GAP.format(DEFINITIONS[kind]))


def rank_trend(counts: Floats, values: Floats) -> Estimate:
    """Return Spearman's correlation of counts and values with a 95 % interval.

    Ranks, because gaps have heavy tails: one setting in a hundred can be a hundred times the median.

    Source: Bonett & Wright 2000: Fisher's z with variance (1 + r^2 / 2) / (n - 3).
    """
    n = len(values)
    if n < 4 or np.ptp(counts) == 0 or np.ptp(values) == 0:
        return Estimate(None, None, None, n, "rank correlation", "not measured: too few settings, or all alike")
    correlation = float(spearmanr(counts, values).statistic)
    centre = np.arctanh(np.clip(correlation, -1 + 1e-12, 1 - 1e-12))
    half = float(ndtri(0.975)) * np.sqrt((1 + correlation**2 / 2) / (n - 3))
    low, high = float(np.tanh(centre - half)), float(np.tanh(centre + half))
    return Estimate(correlation, low, high, n, "rank correlation", num_clusters=n)


def _trend(gaps: dict[Cell, dict[Kind, Floats]], letter: Letter, kind: Kind) -> Trend:
    cells = cells_of(gaps, letter)
    counts = np.concatenate([np.full(len(found[kind]), float(count)) for count, found in cells])
    found = rank_trend(counts, np.concatenate([found[kind] for _, found in cells]))
    return Trend(
        letter=letter,
        kind=kind,
        correlation=as_figure(found, f"Spearman's, of {letter.upper()} and the gap: {GAP.format(DEFINITIONS[kind])}"),
        direction=_direction(found),
        published_direction=PRINTED[letter],
    )


def _direction(trend: Estimate) -> TrendDirection:
    if trend.low is not None and trend.low > 0:
        return "rises"
    return "falls" if trend.high is not None and trend.high < 0 else "shows no trend"


def _headline(trends: list[Trend]) -> str:
    """Return the trends that the paper prints and those by each kind of divergence, in few words."""
    said = {NAMES[kind]: [trend.direction for trend in trends if trend.kind == kind] for kind in KINDS}
    said = {"Printed": [PRINTED[letter] for letter in LETTERS], **said}
    return "The KL Gap with K, J, L. " + " ".join(f"{name}: {', '.join(words)}." for name, words in said.items())


def _of_itself(seed: int, num_settings: int, num_repeats: int) -> dict[Kind, Figure]:
    """Return what each kind of divergence says of random mixtures of four components and themselves."""
    rng = np.random.default_rng([seed])
    truth = random_mixtures(rng, num_settings, 4)
    exact = divergence(truth, truth)
    found: dict[Kind, Floats] = {
        "published": published_divergence(rng, truth, truth, num_repeats),
        "reverse": exact,
        "forward": exact,
    }
    rule = "divergence of a mixture of four components from itself, over settings, by {}"
    return {kind: as_figure(_over_settings(values), rule.format(DEFINITIONS[kind])) for kind, values in found.items()}


def _over_settings(values: Floats) -> Estimate:
    return mean_of(values, np.arange(len(values)), "nats")


def draw_setting(settings: Settings) -> Canvas:
    """Draw the paper's Figure 2: anchors, the generator's components as ellipses of two standard deviations, and what
    it makes."""
    canvas, axes = open_axes(4.2)
    axes.plot(*settings.synthetic[0].T, "x", color=COLOURS["synthetic"], markersize=4, alpha=0.7, label="synthetic")
    axes.plot(*settings.anchors[0].T, "o", color=COLOURS["start"], markersize=4, alpha=0.8, label="anchors")
    num_anchored = settings.of_anchors.num_components
    num_known = settings.truth.num_components
    for component in range(settings.generator.num_components):
        dash = "-" if component < num_anchored else "--" if component < num_known else ":"
        _draw_ellipse(axes, settings.generator, component, dash)
    for dash, label in (("-", "estimated from anchors"), ("--", "known to be true"), (":", "its own invention")):
        axes.plot([], [], dash, color=COLOURS["ink"], label=label)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False, fontsize=FONT_SIZE)
    axes.set_aspect("equal", adjustable="datalim")
    return canvas


def draw_gaps(points: list[Point], kind: Kind) -> Canvas:
    """Draw the paper's Figure 4 by one kind of divergence: a line each for K, J and L."""
    canvas, axes = open_axes(2.9)
    for place, (letter, colour) in enumerate(LETTER_COLOURS.items()):
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


def render_simulation(simulation: Simulation, settings: Settings) -> str:
    """Return the page as HTML.

    Args:
        settings: Settings of a cell, of which the first is drawn.
    """
    drawings = [drawn(draw_setting(settings), "A setting of the simulation", SETTING)]
    drawings += [drawn(draw_gaps(simulation.points, kind), NAMES[kind], caption) for kind, caption in CAPTIONS.items()]
    return open_template("simulation.html.j2", Path(__file__).parent).render(
        simulation=simulation, drawings=drawings, letters=LETTER_MEANINGS, names=NAMES
    )

"""What the gaps of Figure 4 say: means with intervals, trends, and whether they are as printed."""

from typing import Final

import numpy as np
from scipy.special import ndtri
from scipy.stats import spearmanr

from schemas.figure import Figure
from schemas.simulation import FORMAT, Direction, Kind, Letter, Point, Simulation, Trend
from tasks.measures.estimate import Estimate, as_figure, mean_of
from tasks.study.divergence import divergence, published_divergence
from tasks.study.kl_gap import KINDS, Cell
from tasks.study.mixtures import Floats, random_mixtures

LETTERS: Final[tuple[Letter, ...]] = ("k", "j", "l")

PRINTED: Final[dict[Letter, Direction]] = {"k": "falls", "j": "rises", "l": "falls"}
"""What the paper's Figure 4 shows."""

NAMES: Final[dict[Kind, str]] = {
    "published": "As published",
    "reverse": "Exact KL(pi || G)",
    "forward": "Exact KL(G || pi)",
}
"""What each kind of divergence is called in plots, tables and headline."""

DEFINITIONS: Final[dict[Kind, str]] = {
    "published": "the released code's two histograms, each on bins of its own, compared bin by bin",
    "reverse": "KL(pi || G), exact up to quasi-Monte Carlo: what the trainee says that is not in the truth",
    "forward": "KL(G || pi), exact up to quasi-Monte Carlo: the trainee's excess loss on new text",
}

GAP: Final = "KL of the anchors' trainee less that of the synthetic text's, over independent settings, by {}"


def describe(
    gaps: dict[Cell, dict[Kind, Floats]], simulation_id: str, seed: int, num_settings: int, num_repeats: int
) -> Simulation:
    """Return the findings of a simulation; ``gaps`` is what ``figure_4`` returns."""
    trends = [_trend(gaps, letter, kind) for kind in KINDS for letter in LETTERS]
    return Simulation(
        format=FORMAT,
        simulation=simulation_id,
        headline=_headline(trends),
        seed=seed,
        settings=num_settings,
        repeats=num_repeats,
        points=[
            Point(letter=letter, count=count, kind=kind, gap=mean_gap(found[kind], kind))
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


def _direction(trend: Estimate) -> Direction:
    if trend.low is not None and trend.low > 0:
        return "rises"
    return "falls" if trend.high is not None and trend.high < 0 else "shows no trend"


def _headline(trends: list[Trend]) -> str:
    """Return what the paper prints and what each kind of divergence says, in few words."""
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

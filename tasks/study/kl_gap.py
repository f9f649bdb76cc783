"""The KL Gap: how much nearer to the truth a trainee of synthetic text comes than one of the anchors alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from schemas.simulation import Kind
from tasks.study.divergence import divergence, published_divergence
from tasks.study.em import fit
from tasks.study.mixtures import RIDGE, Floats, Mixtures, equal_weights, random_mixtures

ANCHORS_PER_COMPONENT, SYNTHETIC_POINTS = 50, 200
KINDS: Final[tuple[Kind, ...]] = ("published", "reverse", "forward")
"""The released code's estimator; KL(pi || G); and KL(G || pi), the excess loss on new text."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of Figure 4: how many components the anchors have, the generator knows more of, and invents.

    Attributes:
        k: Components of the truth that anchors were drawn from.
        j: Further ones of the truth, which the generator knows.
        l: Further ones of the generator's own, which are not in the truth.
    """

    k: int = 2
    j: int = 2
    l: int = 2  # noqa: E741 - the paper's letter


@dataclass(frozen=True)
class World:
    """What one cell's settings are made of; every field holds one entry per setting.

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


def make_world(rng: np.random.Generator, cell: Cell, num_settings: int) -> World:
    """Return that many independent settings of a cell, as section 4.4 and the released code make them."""
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
    return World(truth, anchors, generator, synthetic, fit(rng, anchors, cell.k), fit(rng, synthetic, num_components))


def kl_gaps(rng: np.random.Generator, world: World, num_repeats: int) -> dict[Kind, Floats]:
    """Return KL(anchors' trainee, truth) - KL(synthetic's trainee, truth) per setting, in nats, by each of ``KINDS``.

    Above 0 the synthetic text has helped.
    """
    return {
        "published": published_divergence(rng, world.of_anchors, world.truth, num_repeats)
        - published_divergence(rng, world.of_synthetic, world.truth, num_repeats),
        "reverse": divergence(world.of_anchors, world.truth) - divergence(world.of_synthetic, world.truth),
        "forward": divergence(world.truth, world.of_anchors) - divergence(world.truth, world.of_synthetic),
    }


def figure_4(
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
        return kl_gaps(rng, make_world(rng, cell, num_settings), num_repeats)

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

"""Kullback-Leibler divergences between mixtures: exact, and as the paper's released code estimates them."""

from functools import lru_cache

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from tasks.study.mixtures import Floats, Mixtures

POINTS_PER_COMPONENT = 128

BINS, SAMPLES, FLOOR = 50, 1000, 1e-10
"""Of the released code: bins an axis, points a histogram, and the density that an empty bin is given."""


def divergence(first: Mixtures, second: Mixtures) -> Floats:
    """Return KL(first || second) per setting, in nats, by stratified quasi-Monte Carlo.

    Each component of the first is met by the same 128 Sobol points, so sampling adds nothing between components. The
    divergence of a mixture from itself is 0 to the last digit.
    """
    normal = _sobol(POINTS_PER_COMPONENT)
    component = np.repeat(np.arange(first.num_components), len(normal))
    shape = (first.num_settings, len(component))
    points = first.place(
        np.broadcast_to(np.tile(normal, (first.num_components, 1)), (*shape, 2)), np.broadcast_to(component, shape)
    )
    logs = first.log_density(points) - second.log_density(points)
    by_component = logs.reshape(first.num_settings, first.num_components, -1).mean(axis=2)
    return np.asarray((first.weights * by_component).sum(axis=1))


def published_divergence(rng: np.random.Generator, first: Mixtures, second: Mixtures, num_repeats: int) -> Floats:
    """Return the released code's estimate of KL(first || second) per setting: not a divergence, see below.

    1,000 points of each are counted in 50 x 50 bins, each histogram between *its own* smallest and largest values, and
    bin is compared with bin although they lie in different places. Nine in ten bins are empty on one side, where
    1e-10 stands for the density. It gives about 8 nats for a mixture and itself.

    Args:
        num_repeats: Draws that are averaged; the released code averages 100.
    """
    estimates = [
        _histogram_divergence(first.draw(rng, SAMPLES)[0], second.draw(rng, SAMPLES)[0]) for _ in range(num_repeats)
    ]
    return np.asarray(np.mean(estimates, axis=0))


def _histogram_divergence(first: Floats, second: Floats) -> Floats:
    p, q = (_histogram(points) for points in (first, second))
    return np.asarray((p * np.log(p / q)).sum(axis=1))


def _histogram(points: Floats) -> Floats:
    """Return [settings, bins^2] densities of points between their own smallest and largest, clipped and normalised."""
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    place = np.minimum((BINS * (points - low) / (high - low)).astype(np.intp), BINS - 1)
    flat = place[..., 0] * BINS + place[..., 1] + BINS**2 * np.arange(len(points))[:, None]
    counts = np.bincount(flat.ravel(), minlength=len(points) * BINS**2).reshape(len(points), BINS**2)
    area = np.prod((high - low) / BINS, axis=2)
    density = np.maximum(counts / (points.shape[1] * area), FLOOR)
    return np.asarray(density / density.sum(axis=1, keepdims=True))


@lru_cache(maxsize=4)
def _sobol(num_points: int) -> Floats:
    """Return points of the standard normal distribution, spread more evenly than by chance; always the same."""
    uniform = qmc.Sobol(2, seed=0).random(num_points)
    return np.asarray(ndtri(uniform))

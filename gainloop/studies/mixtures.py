"""Gaussian mixtures in the plane, one per setting, all settings at once."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import qmc

from gainloop.measures.estimate import Floats

RIDGE = 1e-6
"""Added to every variance: the released code's, and scikit-learn's default."""

TOLERANCE = 1e-3
"""Growth of the mean log-likelihood in a step below which a fit ends, in nats: scikit-learn's default."""

MAX_STEPS, MAX_STEPS_OF_CENTRES = 100, 30

POINTS_PER_COMPONENT = 128

BINS, SAMPLES, FLOOR = 50, 1000, 1e-10
"""The released code's bins an axis, points a histogram, and density of an empty bin."""


@dataclass(frozen=True)
class Mixtures:
    """As many mixtures as settings.

    Attributes:
        weights: [settings, components], adding up to 1.
        means: [settings, components, 2].
        covariances: [settings, components, 2, 2], positive definite.
    """

    weights: Floats
    means: Floats
    covariances: Floats

    @property
    def num_settings(self) -> int:
        return len(self.weights)

    @property
    def num_components(self) -> int:
        return int(self.weights.shape[1])

    @cached_property
    def roots(self) -> Floats:
        """Lower triangular L with L L^T the covariances."""
        return np.asarray(np.linalg.cholesky(self.covariances))

    def log_density(self, points: Floats) -> Floats:
        """Return [settings, points] log densities of points [settings, points, 2]."""
        joint = self.log_joint(features(points))
        largest = joint.max(axis=2)
        return np.asarray(largest + np.log(np.exp(joint - largest[..., None]).sum(axis=2)))

    def log_joint(self, known: Floats) -> Floats:
        """Return log(weight * density), [settings, points, components], of points given by their ``features``."""
        precisions = np.linalg.inv(self.covariances)
        a, b, d = precisions[..., 0, 0], precisions[..., 0, 1], precisions[..., 1, 1]
        x, y = self.means[..., 0], self.means[..., 1]
        with np.errstate(divide="ignore"):
            constant = np.log(self.weights) - np.log(2 * np.pi) + 0.5 * np.log(a * d - b * b)
        constant = constant - 0.5 * (a * x * x + 2 * b * x * y + d * y * y)
        rows = [constant, a * x + b * y, b * x + d * y, -0.5 * a, -b, -0.5 * d]
        return np.asarray(known @ np.stack(rows, axis=1))

    def draw(self, rng: np.random.Generator, num_points: int) -> tuple[Floats, NDArray[np.intp]]:
        """Return points [settings, num_points, 2] and the component of each, component by component."""
        counts = rng.multinomial(num_points, self.weights)
        labels = np.tile(np.arange(self.num_components), self.num_settings)
        component = labels.repeat(counts.ravel()).reshape(self.num_settings, num_points)
        return self.place(rng.standard_normal((*component.shape, 2)), component), component

    def place(self, normal: Floats, component: NDArray[np.intp]) -> Floats:
        """Return standard normal points as points of the components that they belong to."""
        row = np.arange(self.num_settings)[:, None]
        means, roots = self.means[row, component], self.roots[row, component]
        x, y = normal[..., 0], normal[..., 1]
        across = means[..., 0] + roots[..., 0, 0] * x
        return np.stack([across, means[..., 1] + roots[..., 1, 0] * x + roots[..., 1, 1] * y], axis=-1)


def equal_weights(means: Floats, covariances: Floats) -> Mixtures:
    """Return mixtures of equally likely components."""
    return Mixtures(np.full(means.shape[:2], 1 / means.shape[1]), means, covariances)


def random_mixtures(rng: np.random.Generator, num_settings: int, num_components: int) -> Mixtures:
    """Return mixtures as the paper's released code draws them: means in a square of 10, equal weights.

    Its "covariances" are C = A B^T with independent uniform A and B, which are neither symmetric nor positive. What
    it samples from them, by numpy's multivariate_normal, has the covariance (C^T C)^(1/2): that is what these are.
    """
    means = 10 * rng.random((num_settings, num_components, 2))
    a, b = rng.random((2, num_settings, num_components, 2, 2))
    _, scales, axes = np.linalg.svd(a @ b.swapaxes(-1, -2))
    covariances = axes.swapaxes(-1, -2) @ (scales[..., None] * axes)
    return equal_weights(means, covariances + RIDGE * np.eye(2))


def features(points: Floats) -> Floats:
    """Return 1, x, y, x^2, xy, y^2 of points: any Gaussian's log density is linear in them."""
    x, y = points[..., 0], points[..., 1]
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def fit(rng: np.random.Generator, points: Floats, num_components: int) -> Mixtures:
    """Return mixtures fitted to points [settings, points, 2], begun from k-means.

    Like scikit-learn's GaussianMixture with its defaults, but for k-means++, which is the plain one here.
    """
    shares = _nearest(points, _centres(rng, points, num_components))
    return improve(points, _likeliest(*_centred(points), shares))


def improve(points: Floats, mixtures: Mixtures) -> Mixtures:
    """Return mixtures after as many steps as their likelihood grows; each setting ends on its own."""
    weights, means, covariances = (each.copy() for each in (mixtures.weights, mixtures.means, mixtures.covariances))
    known, (centred, centre) = features(points), _centred(points)
    last = np.full(len(points), -np.inf)
    going = np.arange(len(points))
    for _ in range(MAX_STEPS):
        now = Mixtures(weights[going], means[going], covariances[going])
        joint = now.log_joint(known[going])
        largest = joint.max(axis=2, keepdims=True)
        shares = np.exp(joint - largest)
        total = shares.sum(axis=2, keepdims=True)
        likelihood = (np.log(total) + largest).mean(axis=(1, 2))
        new = _likeliest(centred[going], centre[going], shares / total)
        weights[going], means[going], covariances[going] = new.weights, new.means, new.covariances
        grows = np.abs(likelihood - last[going]) >= TOLERANCE
        last[going] = likelihood
        going = going[grows]
        if not going.size:
            break
    return Mixtures(weights, means, covariances)


def _centred(points: Floats) -> tuple[Floats, Floats]:
    """Return the features of points from their mean, and the mean: squares of what is far from 0 would cancel."""
    centre = points.mean(axis=1, keepdims=True)
    return features(points - centre), centre


def _likeliest(centred: Floats, centre: Floats, shares: Floats) -> Mixtures:
    """Return the likeliest mixtures if each point belongs to components by these shares: the M step."""
    sums = shares.swapaxes(1, 2) @ centred
    counts = sums[..., 0] + 10 * np.finfo(float).eps
    x, y, xx, xy, yy = (sums[..., place] / counts for place in range(1, 6))
    covariances = np.stack([xx - x * x, xy - x * y, xy - x * y, yy - y * y], axis=-1).reshape(*x.shape, 2, 2)
    return Mixtures(
        counts / counts.sum(axis=1, keepdims=True),
        np.stack([x, y], axis=-1) + centre,
        covariances + RIDGE * np.eye(2),
    )


def _centres(rng: np.random.Generator, points: Floats, num_centres: int) -> Floats:
    """Return k-means centres [settings, num_centres, 2], begun by k-means++."""
    rows = np.arange(len(points))
    chosen = points[rows, rng.integers(points.shape[1], size=len(points))][:, None]
    nearest = ((points - chosen) ** 2).sum(axis=2)
    for _ in range(num_centres - 1):
        sums = nearest.cumsum(axis=1)
        drawn = (sums < rng.random((len(points), 1)) * sums[:, -1:]).sum(axis=1)
        new = points[rows, np.minimum(drawn, points.shape[1] - 1)][:, None]
        chosen = np.concatenate([chosen, new], axis=1)
        nearest = np.minimum(nearest, ((points - new) ** 2).sum(axis=2))
    for _ in range(MAX_STEPS_OF_CENTRES):
        shares = _nearest(points, chosen)
        counts = shares.sum(axis=1)[..., None]
        moved = np.where(counts > 0, shares.swapaxes(1, 2) @ points / np.maximum(counts, 1), chosen)
        if np.abs(moved - chosen).max() < 1e-9:
            break
        chosen = moved
    return chosen


def _nearest(points: Floats, centres: Floats) -> Floats:
    """Return 1 for each point's nearest centre and 0 for the others, [settings, points, centres]."""
    distance = (centres**2).sum(axis=2)[:, None] - 2 * points @ centres.swapaxes(1, 2)
    return np.asarray(distance.argmin(axis=2)[..., None] == np.arange(centres.shape[1]), dtype=float)


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

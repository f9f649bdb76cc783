"""Gaussian mixtures in the plane, one per setting, all settings at once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RIDGE = 1e-6
"""Added to every variance: the released code's, and scikit-learn's default."""


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

    def of(self, components: slice) -> "Mixtures":
        """Return the mixtures of some components, as likely as each other."""
        return equal_weights(self.means[:, components], self.covariances[:, components])

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

"""Expectation maximisation of many Gaussian mixtures at once, as scikit-learn fits one."""

import numpy as np

from tasks.study.mixtures import RIDGE, Floats, Mixtures, features

TOLERANCE = 1e-3
"""Of the mean log-likelihood between two steps, in nats: scikit-learn's default."""

MAX_STEPS, MAX_STEPS_OF_CENTRES = 100, 30


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

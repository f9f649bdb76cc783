"""Mixtures against scipy and scikit-learn, one setting at a time."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from gainloop.studies.mixtures import Mixtures, fit, improve, random_mixtures


@pytest.fixture
def mixtures() -> Mixtures:
    plain = random_mixtures(np.random.default_rng(1), 5, 3)
    weights = np.random.default_rng(2).dirichlet(np.ones(3), 5)
    return Mixtures(weights, plain.means, plain.covariances + 0.05 * np.eye(2))


def test_densities_are_those_of_scipy(mixtures: Mixtures) -> None:
    points = np.random.default_rng(3).uniform(0, 10, (5, 40, 2))
    found = mixtures.log_density(points)
    for setting in range(5):
        parts = [
            weight * multivariate_normal(mean, covariance).pdf(points[setting])
            for weight, mean, covariance in zip(
                mixtures.weights[setting], mixtures.means[setting], mixtures.covariances[setting], strict=True
            )
        ]
        expected = np.log(np.maximum(np.sum(parts, axis=0), 1e-300))
        near = expected > -200
        assert np.allclose(found[setting][near], expected[near], atol=1e-8)


def test_draws_have_the_weights_means_and_covariances(mixtures: Mixtures) -> None:
    points, component = mixtures.draw(np.random.default_rng(4), 200_000)
    for setting in range(5):
        for part in range(3):
            own = points[setting][component[setting] == part]
            assert len(own) / 200_000 == pytest.approx(mixtures.weights[setting, part], abs=0.005)
            assert np.allclose(own.mean(axis=0), mixtures.means[setting, part], atol=0.05)
            assert np.allclose(np.cov(own.T), mixtures.covariances[setting, part], atol=0.05)


def test_random_covariances_are_what_numpy_draws_from_the_released_codes() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.random((2, 2, 2))
    with pytest.warns(RuntimeWarning, match="symmetric"):
        drawn = np.random.RandomState(6).multivariate_normal([0, 0], a @ b.T, 400_000)
    _, scales, axes = np.linalg.svd(a @ b.T)
    assert np.allclose(np.cov(drawn.T), axes.T @ np.diag(scales) @ axes, atol=0.01)
    made = random_mixtures(rng, 50, 4).covariances
    assert np.allclose(made, made.swapaxes(-1, -2))
    assert (np.linalg.eigvalsh(made) > 0).all()


def test_steps_are_those_of_scikit_learn(mixtures: Mixtures) -> None:
    points, _ = mixtures.draw(np.random.default_rng(7), 300)
    begun = Mixtures(mixtures.weights, mixtures.means + 0.3, mixtures.covariances + 0.5 * np.eye(2))
    found = improve(points, begun)
    for setting in range(5):
        peer = GaussianMixture(
            3,
            weights_init=begun.weights[setting],
            means_init=begun.means[setting],
            precisions_init=np.linalg.inv(begun.covariances[setting]),
        ).fit(points[setting])
        assert np.allclose(found.means[setting], peer.means_, atol=0.02)
        assert np.allclose(found.covariances[setting], peer.covariances_, atol=0.02)
        assert np.allclose(found.weights[setting], peer.weights_, atol=0.01)


def test_a_setting_does_not_depend_on_its_neighbours(mixtures: Mixtures) -> None:
    points, _ = mixtures.draw(np.random.default_rng(8), 100)
    whole = improve(points, mixtures)
    alone = improve(points[2:3], Mixtures(mixtures.weights[2:3], mixtures.means[2:3], mixtures.covariances[2:3]))
    assert np.allclose(whole.means[2], alone.means[0], atol=1e-9)


def test_fits_are_as_likely_as_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(9)
    points, _ = random_mixtures(rng, 12, 5).draw(rng, 250)
    own = fit(rng, points, 5).log_density(points).mean(axis=1)
    peer = [GaussianMixture(5, random_state=0).fit(one).score(one) for one in points]
    assert np.mean(own - np.array(peer)) > -0.1


def test_fewer_distinct_points_than_components_still_give_a_mixture() -> None:
    points = np.repeat(np.array([[[1.0, 2.0], [3.0, 4.0]]]), 20, axis=1)
    found = fit(np.random.default_rng(0), points, 5)
    assert np.isfinite(found.log_density(points)).all()
    assert found.weights.sum() == pytest.approx(1)

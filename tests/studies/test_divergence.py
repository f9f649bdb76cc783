"""What lies between mixtures: known answers for the exact divergence, and what is wrong with the published one."""

import numpy as np
import pytest

from gainloop.studies.mixtures import Mixtures, divergence, equal_weights, published_divergence, random_mixtures


def gaussian(mean: float, scale: float) -> Mixtures:
    return equal_weights(np.array([[[mean, 0.0]]]), scale**2 * np.eye(2)[None, None])


def test_nothing_lies_between_a_mixture_and_itself_and_the_published_estimator_says_eight_nats() -> None:
    rng = np.random.default_rng(0)
    truth = random_mixtures(rng, 100, 4)
    assert np.abs(divergence(truth, truth)).max() == 0
    found = published_divergence(rng, truth, truth, 2)
    assert found.min() > 1
    assert 5 < found.mean() < 11


@pytest.mark.parametrize(("mean", "scale"), [(1.0, 1.0), (0.0, 2.0), (2.0, 0.5)])
def test_the_divergence_of_two_gaussians_is_the_textbooks(mean: float, scale: float) -> None:
    exact = (1 / scale**2) - 1 + mean**2 / (2 * scale**2) + 2 * np.log(scale)
    (found,) = divergence(gaussian(0, 1), gaussian(mean, scale))
    assert found == pytest.approx(exact, rel=0.02)


def test_it_agrees_with_many_draws() -> None:
    rng = np.random.default_rng(1)
    first, second = (
        Mixtures(one.weights, one.means / 3, one.covariances + 0.2 * np.eye(2))
        for one in (random_mixtures(rng, 4, 3), random_mixtures(rng, 4, 5))
    )
    points, _ = first.draw(rng, 200_000)
    drawn = (first.log_density(points) - second.log_density(points)).mean(axis=1)
    assert np.allclose(divergence(first, second), drawn, rtol=0.03)


def test_the_published_histograms_are_numpys() -> None:
    rng = np.random.default_rng(2)
    first, second = random_mixtures(rng, 1, 2), random_mixtures(rng, 1, 3)
    own = np.random.default_rng(3)
    (found,) = published_divergence(own, first, second, 1)
    again = np.random.default_rng(3)
    p, q = (
        np.histogramdd(each.draw(again, 1000)[0][0], bins=50, density=True)[0].ravel().clip(1e-10)
        for each in (first, second)
    )
    p, q = p / p.sum(), q / q.sum()
    assert found == pytest.approx((p * np.log(p / q)).sum(), rel=1e-6)

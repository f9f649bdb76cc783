"""Texts drawn from distributions whose distance is a sum: bounds lie below it, and not far below."""

import numpy as np
import pytest

from gainloop.measures.two_sample import compare_texts

WORDS = np.array([f"word{number}" for number in range(30)])


def texts(rng: np.random.Generator, weights: np.ndarray, number: int) -> list[str]:
    return [str(word) for word in rng.choice(WORDS, number, p=weights)]


def distributions(seed: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.random.default_rng(seed).dirichlet(np.full(len(WORDS), sharpness), 2)
    mixed = np.full(len(WORDS), 1 / len(WORDS))
    return 0.9 * first + 0.1 * mixed, 0.9 * second + 0.1 * mixed


@pytest.mark.parametrize(("seed", "sharpness"), [(0, 5.0), (1, 1.0), (2, 0.5)])
def test_bounds_lie_below_the_exact_distances_and_near_them(seed: int, sharpness: float) -> None:
    first, second = distributions(seed, sharpness)
    exact_variation = np.abs(first - second).sum() / 2
    exact_divergence = (first * np.log(first / second)).sum()
    rng = np.random.default_rng(seed)
    found = compare_texts(texts(rng, first, 4000), texts(rng, second, 3000))
    assert found.total_variation.low <= exact_variation
    assert found.total_variation.value == pytest.approx(exact_variation, abs=0.04)
    assert found.divergence.low <= exact_divergence
    assert found.divergence.value == pytest.approx(exact_divergence, abs=0.1 + 0.15 * exact_divergence)


def test_texts_of_one_distribution_are_not_told_apart() -> None:
    first, _ = distributions(1, 1.0)
    held = []
    for run in range(10):
        rng = np.random.default_rng(run)
        found = compare_texts(texts(rng, first, 400), texts(rng, first, 400))
        held.append((found.total_variation.low <= 0.02, found.divergence.low <= 0.02))
    assert np.mean(held, axis=0).min() >= 0.9


def test_copies_within_a_cluster_are_not_taken_for_evidence() -> None:
    rng = np.random.default_rng(3)
    lines = [" ".join(rng.choice(WORDS, 12)) for _ in range(120)]
    ours, theirs = [line for line in lines[:60] for _ in range(10)], [line for line in lines[60:] for _ in range(10)]
    by_cluster = compare_texts(ours, theirs, np.repeat(np.arange(60), 10), 60 + np.repeat(np.arange(60), 10))
    assert by_cluster.total_variation.low <= 0.05
    assert by_cluster.total_variation.num_clusters == 120
    blind = compare_texts(ours, theirs)
    assert blind.total_variation.low > 0.5


def test_the_same_texts_give_the_same_figures() -> None:
    first, second = distributions(1, 1.0)
    rng = np.random.default_rng(4)
    ours, theirs = texts(rng, first, 200), texts(rng, second, 200)
    assert compare_texts(ours, theirs) == compare_texts(ours, theirs)


def test_too_few_texts_are_not_compared() -> None:
    found = compare_texts(["a"] * 49, ["b"] * 500)
    assert found.total_variation.status == "not measured: 49 and 500 texts; 50 of each are needed"
    assert found.divergence.value is None

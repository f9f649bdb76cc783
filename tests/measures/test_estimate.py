"""Intervals over clusters: made-up rows whose mean is known, equal and unequal clusters, seeds, shares and ratios."""

import math

import numpy as np
import pytest
from scipy.special import stdtrit

from benchmarks.coverage import SIZES, draw_rows, measure_coverage
from gainloop.measures.estimate import (
    ALL_ALIKE,
    ONE_SEED,
    Estimate,
    mean_of,
    over_seeds,
    paired_ratio,
    ratio_of_sums,
    share_of,
    weighted_sum,
)
from gainloop.measures.intervals import degrees_of_freedom, exact_interval

DRAWS = 150


def covers(found: list[Estimate], truth: float) -> float:
    """Return how often intervals hold the truth; one that is not given for too few clusters holds it."""
    assert all(one.status.startswith("too few") for one in found if one.low is None)
    return float(np.mean([one.low is None or one.low <= truth <= one.high for one in found]))


def test_equal_clusters_have_the_plain_cluster_robust_interval() -> None:
    rng = np.random.default_rng(0)
    rows, names = rng.gamma(2, 3, 96), np.repeat(np.arange(12), 8)
    found, means = mean_of(rows, names, "nats"), rows.reshape(12, 8).mean(axis=1)
    half = stdtrit(11, 0.975) * means.std(ddof=1) / math.sqrt(12)
    assert found.value == pytest.approx(means.mean())
    assert (found.low, found.high) == pytest.approx((means.mean() - half, means.mean() + half))


def test_degrees_of_freedom_are_those_of_the_whole_matrix() -> None:
    for sizes in SIZES.values():
        weights = np.array(sizes) / sum(sizes)
        matrix = (np.diag(weights) - np.outer(weights, weights)) / (1 - weights)[:, None] ** 2
        assert degrees_of_freedom(weights) == pytest.approx(np.trace(matrix) ** 2 / np.trace(matrix @ matrix))
    assert degrees_of_freedom(np.full(7, 1 / 7)) == pytest.approx(6)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("shared", [0.0, 0.3, 1.0])
def test_the_mean_over_unequal_clusters_is_held_or_they_are_too_few(sizes: str, shared: float) -> None:
    rng = np.random.default_rng(1)
    drawn = [draw_rows(rng, sizes, shared) for _ in range(DRAWS)]
    assert covers([mean_of(rows, names, "nats") for rows, names in drawn], 0.0) >= 0.90


@pytest.mark.parametrize("sizes", ["Zipf, 50 clusters", "equal, 32 of 8", "one of 500 rows, 199 of 2"])
def test_heavy_tails_of_rows_are_held(sizes: str) -> None:
    rng = np.random.default_rng(2)
    drawn = [draw_rows(rng, sizes, 0.3) for _ in range(600)]
    assert covers([mean_of(np.exp(rows), names, "nats") for rows, names in drawn], math.exp(0.5)) >= 0.90


def test_ratios_of_sums_and_shares_near_0_and_1_are_held() -> None:
    lines = [line for line in measure_coverage(60) if line.measure.startswith(("ratio", "share", "recovered"))]
    assert len(lines) == 4 * len(SIZES) + 1
    assert np.mean([line.covered for line in lines if line.covered is not None]) >= 0.93
    assert not [line for line in lines if line.covered is not None and line.covered < 0.85]  # 60 draws: 0.95 +- 0.06
    assert any(line.covered is None for line in lines)


def test_one_cluster_that_carries_the_mean_leaves_no_interval() -> None:
    rows, names = np.random.default_rng(0).normal(size=131), [0] * 100 + list(range(1, 32))
    found = mean_of(rows, names, "nats")
    assert found.value == pytest.approx(rows.mean())
    assert (found.low, found.high, found.num_clusters) == (None, None, 32)
    assert found.status == "too few: one of 32 groups of rows holds 76% of the weight; no interval from it"
    assert weighted_sum([(2, found), (1, mean_of(rows, np.arange(131), "nats"))], "nats").status == found.status


def test_shares_of_none_and_all_have_the_exact_interval_over_clusters() -> None:
    none, all_of_them = (share_of(np.full(40, flag), np.repeat(np.arange(10), 4)) for flag in (0.0, 1.0))
    assert (none.value, none.low, none.high) == (0, 0, pytest.approx(1 - 0.025**0.1))
    assert (all_of_them.value, all_of_them.low, all_of_them.high) == (1, pytest.approx(0.025**0.1), 1)
    assert exact_interval(3, 20) == pytest.approx((0.03207, 0.37893), abs=1e-5)  # Clopper & Pearson's own tables


def test_shares_of_words_are_ratios_of_sums() -> None:
    found = share_of([5, 0, 10], ["a", "b", "c"], sizes=[10, 10, 20])
    assert (found.value, found.n, found.unit) == (15 / 40, 3, "share")
    assert 0 <= found.low < found.value < found.high <= 1


def seeds_of(rng: np.random.Generator, num_seeds: int, apart: float) -> tuple[np.ndarray, np.ndarray]:
    rows, names = draw_rows(rng, "1 to 8 rows, 32 clusters", 0.5)
    return rows + rng.normal(0, apart, (num_seeds, 1)) + rng.normal(0, 0.5, (num_seeds, len(rows))), names


@pytest.mark.parametrize("apart", [0.0, 0.3, 1.0])
def test_the_interval_over_three_seeds_holds_what_more_seeds_and_documents_would_give(apart: float) -> None:
    rng = np.random.default_rng(3)
    drawn = [seeds_of(rng, 3, apart) for _ in range(DRAWS)]
    assert covers([over_seeds(values, names, "nats") for values, names in drawn], 0.0) >= 0.90
    if apart == 1:
        assert covers([mean_of(values.mean(axis=0), names, "nats") for values, names in drawn], 0.0) < 0.6


def test_one_seed_covers_documents_alone_and_says_so() -> None:
    values, names = seeds_of(np.random.default_rng(4), 1, 0.3)
    found, plain = over_seeds(values, names, "nats"), mean_of(values[0], names, "nats")
    assert (found.low, found.high) == (plain.low, plain.high)
    assert (found.status, found.num_seeds) == (ONE_SEED, 1)
    assert over_seeds(np.vstack([values, values]), names, "nats").status == "ok"


def test_differences_that_are_all_nothing_have_no_interval_and_say_why() -> None:
    found = over_seeds(np.zeros((2, 8)), np.arange(8), "points")
    assert (found.value, found.low, found.high, found.status) == (0, None, None, ALL_ALIKE)
    moved = np.zeros((2, 8))
    moved[0, 3] = 1
    assert over_seeds(moved, np.arange(8), "points").low is not None


def test_documents_that_all_moved_alike_have_no_interval_of_no_width() -> None:
    """Two documents, in each of which one answer is gained and another lost, or two gained by every training."""
    names = np.repeat([0, 1], 8)
    for moves, value in (([1, -1, 0, 0, 0, 0, 0, 0], 0), ([1, 1, 0, 0, 0, 0, 0, 0], 0.25), ([0.1] * 8, 0.1)):
        found = over_seeds(np.tile(moves, 2)[None], names, "points")
        assert (found.low, found.high, found.status, found.num_clusters) == (None, None, ALL_ALIKE, 2)
        assert found.value == pytest.approx(value)
        nearly = np.tile(moves, 2)[None] + np.where(names == 1, 1e-3, 0)
        assert over_seeds(nearly, names, "points").low is not None
    right = over_seeds(np.tile([1, 1, 0, 0], 4)[None], names, "share", is_share=True)
    assert right.low is not None
    assert right.high is not None
    assert right.low < 0.3 < 0.7 < right.high, "a share has the interval of as many coins"
    most = np.tile([1.0, 1, 1, 0, 1, 1, 1, 0], 4)
    most[:2] = 0
    found = paired_ratio(np.zeros(32), most / 2, most, np.repeat(np.arange(4), 8))
    assert (found.value, found.low, found.high, found.status) == (0.5, None, None, ALL_ALIKE)
    gained = np.where(np.arange(32) < 3, 1.0, 0.0)
    found = paired_ratio(np.zeros(32), gained, np.ones(32), np.repeat(np.arange(4), 8))
    assert found.value == pytest.approx(3 / 32)
    assert found.low < 3 / 32 < found.high
    assert paired_ratio(np.zeros(32), gained, np.zeros(32), np.repeat(np.arange(4), 8)).value is None


def test_seeds_of_a_ratio_are_weighed_and_shares_stay_within_their_ends() -> None:
    rng = np.random.default_rng(5)
    names, num_bytes = np.arange(30), rng.integers(50, 500, 30)
    nats = num_bytes * rng.normal(1, 0.2, (3, 30))
    found = over_seeds(nats, names, "nats/byte", weights=num_bytes)
    assert found.value == pytest.approx(ratio_of_sums(nats.mean(axis=0), num_bytes, names, "nats/byte").value)
    right = over_seeds(np.ones((3, 30)), names, "share", is_share=True)
    assert (right.high, right.low) == (1, pytest.approx(0.025 ** (1 / 30)))
    with pytest.raises(ValueError, match="values of shape"):
        over_seeds(np.ones(3), names, "share")
    missing = nats.copy()
    missing[1, 4] = math.nan
    assert over_seeds(missing, names, "nats/byte").status.startswith("invalid: 1 of 30")


def exam(rng: np.random.Generator, num_seeds: int = 3) -> tuple[np.ndarray, ...]:
    """Return right or not of a start, of trainings that recover a half, and with the document, of 24 documents."""
    names = np.repeat(np.arange(24), 6)
    before = rng.beta(2, 4, 24)[names]
    most = before + 0.7 * (1 - before)
    after = (before + most) / 2 + rng.normal(0, 0.03, (num_seeds, 1))
    return *((rng.random(np.shape(one)) < one).astype(float) for one in (before, after, most)), names


def test_what_was_recovered_is_held_by_its_interval() -> None:
    rng = np.random.default_rng(6)
    found = [paired_ratio(*exam(rng)) for _ in range(60)]
    assert np.mean([one.value for one in found]) == pytest.approx(0.5, abs=0.03)
    assert covers(found, 0.5) >= 0.90
    assert np.mean([one.high - one.low for one in found]) < 0.8
    assert {one.num_seeds for one in found} == {3}


def test_nothing_is_recovered_of_what_may_be_nothing() -> None:
    before, after, _, names = exam(np.random.default_rng(7))
    found = paired_ratio(before, after, before[::-1], names)
    assert (found.value, found.low) == (None, None)
    assert "its interval holds 0" in found.status
    assert paired_ratio([1.0], [1.0], [1.0], ["a"]).status.startswith("too few")

"""Rank correlations over few batches."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from tasks.measures.ranking import MIN_BATCHES, rank_correlation


def test_it_is_spearmans_correlation_also_where_values_are_tied() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 5, 30), rng.normal(size=30)
    assert rank_correlation(x, y).value == pytest.approx(spearmanr(x, y).statistic)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(4), 0
    for _ in range(60):
        x = rng.normal(size=24)
        found = rank_correlation(x, rng.normal(size=24))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0 <= found.high
    assert held >= 51  # 95 % of 60 is 57; fewer than 51 has a chance of 2 in 1,000


def test_a_batch_without_one_of_the_two_is_left_out_and_too_few_say_nothing() -> None:
    x = [1.0, 2.0, 3.0, 4.0, float("nan")]
    found = rank_correlation(x, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.value, found.n) == (None, 4)
    assert found.status == f"cannot tell: batches that have both figures: 4; it takes {MIN_BATCHES}"


def test_batches_that_are_all_alike_have_no_order() -> None:
    assert rank_correlation([1.0] * 6, range(6)).status == "not measured: all batches are alike"


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one value of each a batch is needed"):
        rank_correlation([1.0], [1.0, 2.0])

"""Whether a figure foretells another: known answers, and chance."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from gainloop.measures.prediction import (
    MIN_BATCHES,
    MIN_FOR_A_FINDING,
    chance,
    find,
    holm,
    random_regret,
    rank_correlation,
    regret,
    reliability,
    within_correlation,
)

UP = np.arange(12.0)


def test_the_rank_correlation_is_spearmans_and_lies_in_its_interval() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        x, y = rng.integers(6, size=24).astype(float), rng.normal(size=24)
        found = rank_correlation(x, y)
        assert found.value == pytest.approx(spearmanr(x, y).statistic)
        assert found.low <= found.value <= found.high
        assert found.n == 24


def test_what_rises_together_correlates_fully_whatever_the_scale() -> None:
    assert rank_correlation(UP, np.exp(UP)).value == pytest.approx(1)
    assert rank_correlation(UP, -(UP**3)).value == pytest.approx(-1)
    assert chance(UP, UP**2).value == pytest.approx(1e-4)


def test_p_is_small_by_chance_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    found = [chance(rng.normal(size=12), rng.normal(size=12)).value for _ in range(200)]
    assert 0.02 < np.mean(np.array(found) < 0.1) < 0.2


def test_the_interval_covers_the_true_correlation() -> None:
    rng = np.random.default_rng(2)
    truth, held = 6 / math.pi * math.asin(0.6 / 2), 0
    for _ in range(100):
        x = rng.normal(size=24)
        found = rank_correlation(x, 0.6 * x + 0.8 * rng.normal(size=24))
        held += found.low <= truth <= found.high
    assert held >= 88


def test_a_correlation_that_is_the_methods_alone_is_none_within_methods() -> None:
    groups = np.repeat([0, 1, 2], 8)
    rng = np.random.default_rng(3)
    x, y = 10 * groups + rng.normal(size=24), 10 * groups + rng.normal(size=24)
    assert rank_correlation(x, y).value > 0.8
    within = within_correlation(x, y, groups)
    assert within.low < 0 < within.high


def test_a_correlation_within_methods_is_seen_through_their_differences() -> None:
    groups = np.repeat([0, 1, 2], 8)
    x = np.tile(np.arange(8.0), 3) + 10 * groups
    assert within_correlation(x, np.tile(np.arange(8.0), 3) - 10 * groups, groups).value > 0.95


def test_methods_with_one_batch_add_nothing() -> None:
    found = within_correlation(UP, UP, [0] * 10 + [1, 2])
    assert found.n == 10


def test_regret_is_what_the_choice_loses() -> None:
    target = np.array([1.0, 5.0, 2.0, 4.0, 3.0])
    assert regret(target, target, "u").value == 0
    assert regret(-target, target, "u").value == 4
    assert regret([0, 1, 0, 1, 0], target, "u").value == pytest.approx(0.5)  # of two alike, the mean
    assert random_regret(target, "u").value == 2
    assert random_regret(target, "u").unit == "u"


def test_the_verdict_is_as_reliable_as_its_seeds_agree() -> None:
    assert reliability([[value, value + 100] for value in UP]).value == pytest.approx(1)
    noise = np.random.default_rng(4).normal(size=(40, 2))
    found = reliability(list(noise))
    assert found.low < 0 < found.high
    alone = reliability([[value] for value in UP])
    assert alone.value is None
    assert "two seeds" in alone.status


def test_too_few_batches_tell_nothing_and_say_how_many_there_are() -> None:
    for found in (rank_correlation(UP[:4], UP[:4]), chance(UP[:4], UP[:4]), regret(UP[:4], UP[:4], "u")):
        assert found.value is None
        assert found.status == f"cannot tell: 4 batches have it; at least {MIN_BATCHES} are needed"
    assert rank_correlation(UP[:1], UP[:1]).status.startswith("cannot tell: 1 batch has it; ")
    assert rank_correlation(UP[:0], UP[:0]).status.startswith("cannot tell: no batch has it; ")


def test_a_batch_without_the_figure_is_left_out() -> None:
    x = UP.copy()
    x[3] = np.nan
    assert rank_correlation(x, UP).n == 11


def test_batches_that_are_all_alike_have_no_order() -> None:
    assert rank_correlation(np.ones(12), UP).status == "not measured: all batches are alike"


def test_it_says_the_same_twice() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 20))
    assert rank_correlation(x, y) == rank_correlation(x, y)
    assert chance(x, y) == chance(x, y)


def test_columns_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shapes \(12,\) and \(11,\)"):
        rank_correlation(UP, UP[:11])


def look(rng: np.random.Generator, num_batches: int, num_figures: int = 17) -> list[str]:
    """Return what is said of figures that have nothing to do with the target."""
    target, figures = rng.normal(size=num_batches), rng.normal(size=(num_figures, num_batches))
    adjusted = holm([chance(one, target).value for one in figures])
    return [find(rank_correlation(one, target), p, True) for one, p in zip(figures, adjusted, strict=True)]


def test_of_seventeen_figures_that_tell_nothing_one_is_called_in_few_looks() -> None:
    rng = np.random.default_rng(6)
    looks = [look(rng, MIN_FOR_A_FINDING) for _ in range(40)]
    assert sum(any(one.startswith("predicts") for one in found) for found in looks) <= 6
    assert set(look(rng, MIN_FOR_A_FINDING - 1)) == {"too few batches"}
    assert set(look(rng, MIN_BATCHES - 1)) == {"not measured"}


def test_one_that_goes_with_the_target_is_found_among_many() -> None:
    x = np.arange(24.0)
    adjusted = holm([chance(x, x).value, *[0.5] * 16])[0]
    assert find(rank_correlation(x, x), adjusted, True) == "predicts"
    assert find(rank_correlation(-x, x), adjusted, True) == "predicts the opposite"
    assert find(rank_correlation(-x, x), adjusted, False) == "predicts"
    assert find(rank_correlation(x, x), 0.06, True) == "not shown"

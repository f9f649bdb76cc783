"""Whether one figure predicts another over a few dozen batches: rank correlation, chance, and the regret of a choice.

Everything is deterministic: resamples and shuffles come from a fixed seed.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from gainloop.measures.estimate import Estimate, Floats, Ids, Measured

MIN_BATCHES = 5
"""With fewer, 120 orders and less, nearly any correlation is chance."""

MIN_FOR_A_FINDING = 12
"""With fewer, an interval clear of 0 comes by chance in one of eight cases, not in one of twenty."""

RARE = 0.05
"""Chance that is left of a finding, whatever the number of figures that were looked at."""

Finding = Literal["predicts", "predicts the opposite", "not shown", "too few batches", "not measured"]

RESAMPLES = 2_000
SHUFFLES = 9_999

Statistic = Callable[[NDArray[np.intp]], Floats]
"""Given places of batches [resamples, n], the statistic of each resample; NaN where it has none."""


def rank_correlation(predictor: ArrayLike, target: ArrayLike) -> Estimate:
    """Return Spearman's correlation over batches with a 95 % bootstrap interval (percentiles).

    Args:
        predictor: [n] Predictor of each batch; a batch without a finite one is left out.
        target: [n] Target of each batch, likewise.

    Source: Spearman 1904; Efron 1979 for the interval. With two dozen batches it is some 0.3 to 0.8 wide.
    """
    x, y, why = _usable(predictor, target)
    return _bootstrapped(
        lambda chosen: _correlate(_ranks(x[chosen]), _ranks(y[chosen])), len(x), "rank correlation", why
    )


def chance(predictor: ArrayLike, target: ArrayLike) -> Estimate:
    """Return the share of random orders in which the rank correlation is as far from 0: a two-sided permutation p.

    Source: Phipson & Smyth 2010: the order that was seen counts too, so it is never 0.
    """
    x, y, why = _usable(predictor, target)
    if why:
        return Estimate(None, None, None, len(x), "p", why)
    first, second = _ranks(x[None]), _ranks(y)
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(np.tile(second, (SHUFFLES, 1)), axis=1)
    found = np.abs(_correlate(np.broadcast_to(first, shuffled.shape), shuffled))
    seen = float(np.abs(_correlate(first, second[None]))[0])
    return Estimate(float((1 + (found >= seen - 1e-9).sum()) / (1 + SHUFFLES)), None, None, len(x), "p")


def holm(shares: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for how many there are; None stays None.

    Of figures that all tell nothing, one is at most 0.05 in at most one of twenty looks at all of them.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]

    Source: Holm 1979, step-down Bonferroni.
    """
    known = sorted((share, place) for place, share in enumerate(shares) if share is not None)
    found: list[float | None] = [None] * len(shares)
    least = 0.0
    for rank, (share, place) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * share))
        found[place] = least
    return found


def find(correlation: Measured, adjusted: float | None, is_expected_to_rise: bool) -> Finding:
    """Return what may be said of a predictor.

    Args:
        correlation: Its rank correlation with the target.
        adjusted: Its chance, adjusted for all figures that were looked at beside it.
        is_expected_to_rise: True if the target ought to rise with it.
    """
    if correlation.value is None or correlation.low is None or correlation.high is None:
        return "not measured"
    if correlation.n < MIN_FOR_A_FINDING:
        return "too few batches"
    if correlation.low <= 0 <= correlation.high or adjusted is None or adjusted > RARE:
        return "not shown"
    return "predicts" if (correlation.low > 0) == is_expected_to_rise else "predicts the opposite"


def within_correlation(predictor: ArrayLike, target: ArrayLike, groups: Ids) -> Estimate:
    """Return the correlation of ranks within groups: what is left when the group is known. Groups of one add nothing.

    Ranks are over all batches, less their group's mean; the interval is a bootstrap over batches.
    """
    x, y, names = (np.asarray(column) for column in (predictor, target, groups))
    finite = np.isfinite(x.astype(float)) & np.isfinite(y.astype(float))
    _, numbers, sizes = np.unique(names[finite], return_inverse=True, return_counts=True)
    shared = sizes[numbers] > 1
    x, y, why = _usable(x[finite][shared], y[finite][shared])
    numbers = numbers[shared]

    def statistic(chosen: NDArray[np.intp]) -> Floats:
        of = numbers[chosen]
        return _correlate(_less_mean(_ranks(x[chosen]), of), _less_mean(_ranks(y[chosen]), of))

    return _bootstrapped(statistic, len(x), "rank correlation", why)


def regret(predictor: ArrayLike, target: ArrayLike, unit: str) -> Estimate:
    """Return the loss of taking the batch whose predictor is highest: the best target less that batch's.

    Of equally high ones the mean is taken. The interval is a bootstrap over batches.
    """
    x, y, why = _usable(predictor, target)

    def statistic(chosen: NDArray[np.intp]) -> Floats:
        found, likes = y[chosen], x[chosen]
        is_top = likes == likes.max(axis=1, keepdims=True)
        return np.asarray(found.max(axis=1) - (found * is_top).sum(axis=1) / is_top.sum(axis=1))

    return _bootstrapped(statistic, len(x), unit, why)


def random_regret(target: ArrayLike, unit: str) -> Estimate:
    """Return the mean loss of taking any batch."""
    y = np.asarray(target, dtype=float)
    y = y[np.isfinite(y)]
    why = _too_few(len(y))
    return _bootstrapped(lambda chosen: np.asarray(y[chosen].max(axis=1) - y[chosen].mean(axis=1)), len(y), unit, why)


def reliability(by_seed: Sequence[ArrayLike]) -> Estimate:
    """Return how far the target agrees with itself: the mean rank correlation between two seeds.

    Args:
        by_seed: [batches, seeds] Target of each batch and seed.
    """
    rows = [np.asarray(row, dtype=float) for row in by_seed]
    number = min((len(row) for row in rows), default=0)
    if number < 2:
        why = "not measured: it needs every batch trained with two seeds or more"
        return Estimate(None, None, None, len(rows), "rank correlation", why)
    columns = np.array([row[:number] for row in rows]).T
    pairs = [(one, other) for one in range(number) for other in range(one)]

    def statistic(chosen: NDArray[np.intp]) -> Floats:
        ranks = [_ranks(column[chosen]) for column in columns]
        return np.asarray(np.mean([_correlate(ranks[one], ranks[other]) for one, other in pairs], axis=0))

    return _bootstrapped(statistic, len(rows), "rank correlation", _too_few(len(rows)))


def _usable(predictor: ArrayLike, target: ArrayLike) -> tuple[Floats, Floats, str]:
    """Return the values of batches that have both, and why they allow no figure; empty if they allow one."""
    x, y = (np.asarray(column, dtype=float) for column in (predictor, target))
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(
            f"comparing a predictor and its target: shapes {x.shape} and {y.shape}; one value of each a batch is "
            "needed. Pass two columns of one length."
        )
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    why = _too_few(len(x))
    if not why and (np.ptp(x) == 0 or np.ptp(y) == 0):
        why = "not measured: all batches are alike"
    return x, y, why


def _too_few(number: int) -> str:
    have = "1 batch has it" if number == 1 else f"{number or 'no'} {'batches have' if number else 'batch has'} it"
    return "" if number >= MIN_BATCHES else f"cannot tell: {have}; at least {MIN_BATCHES} are needed"


def _bootstrapped(statistic: Statistic, n: int, unit: str, why_not: str) -> Estimate:
    if why_not:
        return Estimate(None, None, None, n, unit, why_not)
    value = float(statistic(np.arange(n)[None])[0])
    if not np.isfinite(value):
        return Estimate(None, None, None, n, unit, "not measured: all batches are alike")
    rng = np.random.default_rng(0)
    found = statistic(rng.integers(n, size=(RESAMPLES, n)))
    low, high = np.quantile(found[np.isfinite(found)], [0.025, 0.975])
    return Estimate(value, float(low), float(high), n, unit, num_clusters=n)


def _ranks(values: Floats) -> Floats:
    return np.asarray(rankdata(values, axis=-1), dtype=float)


def _correlate(one: Floats, other: Floats) -> Floats:
    """Return Pearson's correlation row by row; NaN where a row is constant."""
    first, second = (rows - rows.mean(axis=1, keepdims=True) for rows in (one, other))
    spread = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 1e-9, (first * second).sum(axis=1) / spread, np.nan))


def _less_mean(rows: Floats, groups: NDArray[np.intp]) -> Floats:
    """Return each row's values less the mean of their group in that row."""
    left = rows.astype(float)
    for number in np.unique(groups):
        own = groups == number
        means = (rows * own).sum(axis=1) / np.maximum(own.sum(axis=1), 1)
        left = left - own * means[:, None]
    return left

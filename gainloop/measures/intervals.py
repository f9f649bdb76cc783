"""Intervals over clusters, right where clusters are unequal: a jackknife with effective degrees of freedom.

Rows of one cluster go together, so only clusters say how far a figure may move. Where one of them holds most rows,
there is less to go by than their number says: a t interval with clusters - 1 degrees of freedom that ought to hold the
truth in 95 of 100 cases holds it in 15 where one cluster has 100 rows and 31 have one. `python -m benchmarks.coverage`
shows it, beside other intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_OF_ONE = 2 / 3
"""The share of the rows that one cluster may hold: beyond, the others say nearly nothing of how far it would move."""

ALIKE = 0.25
"""Clusters whose rows all say the same that are added to those seen, where the interval of a share is found."""

RESAMPLES = 4_000
DRAWN_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class Spread:
    """How far a ratio of sums may move with other clusters.

    Attributes:
        value: Sum of the numerators by the sum of the denominators.
        num_clusters: Number of clusters.
        variance: Variance of the value; None where ``why_not`` says that nothing can be said of it.
        degrees: Effective degrees of freedom of the variance: clusters - 1 where they are equal.
        effective_clusters: Number of equal clusters that would weigh as these do (Kish).
        num_mixed: Clusters that hold some of what is counted, or those that lack some, whichever are fewer.
        why_not: Reason why there is no variance; empty if there is one.
    """

    value: float
    num_clusters: int
    variance: float | None
    degrees: float
    effective_clusters: float
    num_mixed: int = 0
    why_not: str = ""

    @property
    def half_width(self) -> float | None:
        """Half the width of the 95 % t interval."""
        return None if self.variance is None else t_quantile(self.degrees) * float(np.sqrt(self.variance))

    def over_seeds(self, by_seed: Floats) -> "Spread":
        """Return the spread with the variance of the mean of several seeds in it; of one seed it is the same.

        Args:
            by_seed: Value of each seed.

        Source: Satterthwaite 1946 for the degrees of freedom of a sum of two variances.
        """
        if self.variance is None or len(by_seed) < 2:
            return self
        own = float(by_seed.var(ddof=1)) / len(by_seed)
        total = self.variance + own
        parts = self.variance**2 / self.degrees + own**2 / (len(by_seed) - 1)
        return replace(self, variance=total, degrees=total**2 / parts if parts else self.degrees)


def spread_of(top: Floats, bottom: Floats, names: NDArray[Any]) -> Spread:
    """Return a ratio of sums with its variance over clusters, by leaving each cluster out in turn.

    Args:
        top: Numerator of each row.
        bottom: Denominator of each row.
        names: Cluster of each row.

    Source: the delete-one jackknife of clusters, (G - 1) / G times the sum of squared changes, which is the robust
    variance that MacKinnon, Nielsen & Webb 2023, arXiv:2301.04527, find most reliable (CV3); degrees of freedom by
    Satterthwaite's rule as Bell & McCaffrey 2002 and Imbens & Kolesar 2016 have it. For clusters of equal weight both
    are those of the plain cluster-robust t interval.
    """
    value = float(top.sum() / bottom.sum()) + 0.0  # turns -0.0 into 0.0
    members = members_of(names)
    weights = np.bincount(members, weights=bottom) / bottom.sum()
    num_clusters, largest = len(weights), float(weights.max())
    effective = float(1 / (weights @ weights))
    if num_clusters < 2:
        return Spread(value, num_clusters, None, 0.0, effective, why_not="too few: all rows are of one group")
    if largest > MOST_OF_ONE:
        why = f"too few: one of {num_clusters} groups of rows holds {largest:.0%} of the weight; no interval from it"
        return Spread(value, num_clusters, None, 0.0, effective, why_not=why)
    tops, bottoms = (np.bincount(members, weights=column) for column in (top, bottom))
    changes = (tops - value * bottoms) / bottom.sum() / (1 - weights)
    variance = (num_clusters - 1) / num_clusters * float(changes @ changes)
    num_mixed = int(min((tops > 0).sum(), (tops < bottoms).sum()))
    return Spread(value, num_clusters, variance, degrees_of_freedom(weights), effective, num_mixed)


def members_of(names: NDArray[Any]) -> NDArray[np.int64]:
    """Return the number of each row's cluster, in the order of their names."""
    is_string = names.dtype.kind == "U" or (len(names) and isinstance(names[0], str))
    if not is_string:
        return np.unique(names, return_inverse=True)[1]
    # NumPy compares strings as Python does, which takes seconds for a million.
    ranks = pl.Series(names.tolist()).rank("dense")
    assert not ranks.null_count(), "every row has a cluster"
    return np.asarray(ranks.to_numpy() - 1, dtype=np.int64)


def degrees_of_freedom(weights: Floats) -> float:
    """Return the effective degrees of freedom of the jackknife over clusters that hold these shares of the rows.

    The variance is a sum of squares r_c^2 / (1 - h_c)^2, r the clusters' residuals, h their weights: with rows alike
    r has the covariance K = diag(h) - h h', and 2 E[sum]^2 / Var[sum] = (tr L)^2 / tr(L L) for L = K / (1 - h)^2.
    """
    scale = 1 / (1 - weights) ** 2
    own = scale * weights * (1 - weights)
    # K has rank one off its diagonal, so no matrix of clusters by clusters is needed.
    outer = float((scale * weights**2).sum() ** 2 - ((scale * weights**2) ** 2).sum())
    return float(own.sum() ** 2 / (outer + (own**2).sum()))


def t_quantile(degrees: float) -> float:
    from scipy.special import stdtrit  # half a second of every command line that measures nothing

    return float(stdtrit(degrees, 0.975))


def interval_of_share(spread: Spread, num_rows: float) -> tuple[float, float] | None:
    """Return the 95 % interval of a share of rows or words; None where the clusters are too few.

    Args:
        spread: The share and its variance over clusters.
        num_rows: All that the share is of: rows, or words.

    Where few clusters have any (or few lack any), their spread is little known and mostly too small: they are joined by
    a quarter of a cluster whose rows go together. Where none or all have it, nothing varies, and there are as many
    independent rows as clusters of equal weight.

    Source: Korn & Graubard 1998: the exact interval of Clopper & Pearson 1934 for as many independent rows as would
    vary as much, fewer where the variance itself is little known. The quarter is ours: without it intervals for shares
    of 2 % hold the truth in 86 of 100 cases where clusters have Zipf sizes, with it in 96.
    """
    share = min(1.0, max(0.0, spread.value))
    if spread.variance is None:
        return None
    number = spread.effective_clusters
    if 0 < share < 1:
        known = spread.num_mixed / (spread.num_mixed + ALIKE)
        variance = known * spread.variance + (1 - known) * share * (1 - share) / spread.effective_clusters
        independent = min(num_rows, share * (1 - share) / variance) if variance else num_rows
        number = independent * (t_quantile(num_rows) / t_quantile(spread.degrees)) ** 2
    return exact_interval(share * number, number)


def exact_interval(count: float, number: float) -> tuple[float, float]:
    """Return the 95 % interval of a share from a count among a number of independent rows, whole numbers or not.

    >>> [round(end, 3) for end in exact_interval(0, 10)]
    [0.0, 0.308]
    """
    from scipy.special import betaincinv

    few = 1e-9 * number
    low = 0.0 if count <= few else float(betaincinv(count, number - count + 1, 0.025))
    high = 1.0 if number - count <= few else float(betaincinv(count + 1, number - count, 0.975))
    return low, high


def resampled_ratio(tops: Floats, bottoms: Floats, names: NDArray[Any]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval over clusters of a ratio of means over seeds.

    Every resample is moved by what other seeds would move it: a draw of t times the standard error of the seeds' mean.

    Args:
        tops: [seeds, rows] Numerators.
        bottoms: [seeds or 1, rows] Denominators.
        names: [rows] Cluster of each row.
    """
    members = members_of(names)
    above, below = (np.bincount(members, weights=table.mean(axis=0)) for table in (tops, bottoms))
    rng = np.random.default_rng(0)
    moved = _draw_of_seeds(tops.mean(axis=1), rng) * len(members) / len(above)
    drawn = np.empty((2, RESAMPLES))
    step = max(1, DRAWN_AT_ONCE // len(above))
    for at in range(0, RESAMPLES, step):
        part = slice(at, min(at + step, RESAMPLES))
        chosen = rng.integers(len(above), size=(part.stop - at, len(above)))
        drawn[:, part] = above[chosen].sum(axis=1) + moved[part] * len(above), below[chosen].sum(axis=1)
    tail = tail_of(np.bincount(members) / len(members))
    usable = drawn[1] != 0
    low, high = np.quantile(drawn[0, usable] / drawn[1, usable], [tail, 1 - tail])
    return float(low), float(high)


def resampled_means(tables: Sequence[Floats], names: NDArray[Any], rng: np.random.Generator) -> Floats:
    """Return the mean of each table in resamples of clusters, the same for all tables: [resamples, tables].

    Args:
        tables: Each [seeds, rows], of the same rows.
        names: [rows] Cluster of each row.
        rng: Generator of the resamples.
    """
    members = members_of(names)
    sums = np.array([np.bincount(members, weights=table.mean(axis=0)) for table in tables]).T
    sizes = np.bincount(members)
    drawn, step = np.empty((RESAMPLES, len(tables))), max(1, DRAWN_AT_ONCE // len(sizes))
    for at in range(0, RESAMPLES, step):
        size = min(step, RESAMPLES - at)
        counts = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=size)
        drawn[at : at + size] = counts @ sums / (counts @ sizes)[:, None]
    return drawn


def resampled_seeds(tables: Sequence[Floats], names: NDArray[Any], rng: np.random.Generator) -> Floats:
    """Return how far other seeds would move the mean of each table, and of one more like the last.

    The variance of seeds is taken to be that of all tables together: two or three seeds of one say little. What is left
    of a row and a seed is in resamples of clusters already, and is taken out of it; the table that is one more has it.

    Args:
        tables: Each [seeds, rows], of the same rows.
        names: [rows] Cluster of each row.
        rng: Generator of the resamples.

    Returns:
        [resamples, tables + 1] Zeros where each table has one seed.

    Source: Cameron, Gelbach & Miller 2011 for the variance of what goes by two kinds of cluster.
    """
    numbers = np.array([len(table) for table in [*tables, tables[-1]]])
    degrees = int((numbers[:-1] - 1).sum())
    if not degrees:
        return np.zeros((RESAMPLES, len(numbers)))
    whole, rest = np.sum([_squares_of_seeds(table, names) for table in tables], axis=0) / degrees
    variances = np.full(len(numbers), max(0.0, whole - rest))
    variances[-1] = whole
    draws = rng.standard_normal((RESAMPLES, len(numbers))) * np.sqrt(variances / numbers)
    return np.asarray(draws * np.sqrt(degrees / rng.chisquare(degrees, RESAMPLES))[:, None])


def _squares_of_seeds(table: Floats, names: NDArray[Any]) -> Floats:
    """Return the squared distances of seeds' means, and what of them clusters that move by themselves would make."""
    members = members_of(names)
    by_seed = table.mean(axis=1, keepdims=True)
    left = table - table.mean(axis=0) - by_seed + table.mean()
    sums = np.array([np.bincount(members, weights=row) for row in left]) / len(members)
    number = sums.shape[1]
    return np.array([((by_seed - table.mean()) ** 2).sum(), (sums**2).sum() * number / max(1, number - 1)])


def tail_of(weights: Floats) -> float:
    """Return the share of resamples beyond either end of a 95 % bootstrap interval over clusters of these weights.

    It is less than 0.025: ends are moved outwards as far as t is beyond the normal, Hesterberg 2015, section 4.5.
    """
    from scipy.special import ndtr

    return float(ndtr(-np.sqrt(len(weights) / (len(weights) - 1)) * t_quantile(degrees_of_freedom(weights))))


def _draw_of_seeds(by_seed: Floats, rng: np.random.Generator) -> Floats:
    """Return draws of how far the mean of seeds may lie from that of all seeds; zeros for one seed."""
    if len(by_seed) < 2:
        return np.zeros(RESAMPLES)
    error = float(by_seed.std(ddof=1)) / np.sqrt(len(by_seed))
    return np.asarray(error * rng.standard_t(len(by_seed) - 1, RESAMPLES))

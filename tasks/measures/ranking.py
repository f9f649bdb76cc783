"""Whether one figure goes with another over a few dozen batches, by ranks."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tasks.measures.estimate import Estimate, Floats

MIN_BATCHES = 5
"""With fewer, 24 orders or less, nearly any correlation is chance."""

RESAMPLES = 2_000
UNIT = "rank correlation"


def rank_correlation(predictor: ArrayLike, target: ArrayLike) -> Estimate:
    """Return Spearman's correlation over batches with a 95 % bootstrap interval (percentiles, from a fixed seed).

    Args:
        predictor: One value a batch; a batch without a finite one is left out.
        target: The same.

    Raises:
        ValueError: The columns differ in length.

    Source: Spearman 1904; Efron 1979 for the interval. With two dozen batches it is some 0.3 to 0.8 wide.
    """
    x, y = (np.asarray(column, dtype=float) for column in (predictor, target))
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(
            f"comparing a predictor and its target: shapes {x.shape} and {y.shape}; one value of each a batch is "
            "needed. Pass two columns of one length."
        )
    both = np.isfinite(x) & np.isfinite(y)
    x, y, n = x[both], y[both], int(both.sum())
    if n < MIN_BATCHES:
        why = f"cannot tell: batches that have both figures: {n}; it takes {MIN_BATCHES}"
        return Estimate(None, None, None, n, UNIT, why)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Estimate(None, None, None, n, UNIT, "not measured: all batches are alike")
    rng = np.random.default_rng(0)
    chosen = rng.integers(n, size=(RESAMPLES, n))
    found = _correlate(x[chosen], y[chosen])
    low, high = np.quantile(found[np.isfinite(found)], [0.025, 0.975])
    value = float(_correlate(x[None], y[None])[0])
    return Estimate(value, float(low), float(high), n, UNIT, num_clusters=n)


def _correlate(one: NDArray[np.float64], other: NDArray[np.float64]) -> Floats:
    """Return Spearman's correlation row by row; NaN where a row is constant."""
    from scipy.stats import rankdata  # half a second to import

    ranks = (np.asarray(rankdata(rows, axis=-1), dtype=float) for rows in (one, other))
    first, second = (rows - rows.mean(axis=1, keepdims=True) for rows in ranks)
    spread = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 1e-9, (first * second).sum(axis=1) / spread, np.nan))

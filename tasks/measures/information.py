"""How much a generator adds beyond its prompts, in nats, with intervals over prompts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
Ids = Sequence[Any] | NDArray[Any]

MAX_DROPPED = 0.02
"""The share of scores that may be NaN or infinite before a figure is worth nothing."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One measured number and what it rests on.

    Attributes:
        value: None where nothing could be measured; ``status`` says why then.
        low: Lower end of the 95 % interval; None with fewer than two clusters.
        high: Upper end.
        n: Rows that were used.
        unit: For example nats/record.
        status: "ok", or why there is no value.
        num_clusters: Independent groups of rows that the interval rests on.
        num_dropped: Rows left out because their score was NaN or infinite.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    status: str = "ok"
    num_clusters: int = 0
    num_dropped: int = 0


def conditional_entropy(nll: ArrayLike, prompt_ids: Ids, num_bytes: ArrayLike | None = None) -> Estimate:
    """Return the information gain of a batch: what the generator added beyond its prompts.

    Args:
        nll: Negative log-likelihood of each reply given its own prompt, in nats, end token included.
        prompt_ids: Each reply's prompt; replies to one prompt are one cluster.
        num_bytes: UTF-8 bytes of each reply; if given, the result is in bits per byte.

    Returns:
        Mean nats per reply (a reply is one would-be record), or bits per byte as a ratio of sums,
        with a 95 % cluster-robust t interval over prompts.

    Raises:
        ValueError: The columns differ in length.

    Source: Gan & Liu 2024, Definition 4.2, by H(Y) - I(X;Y) = H(Y|X). At temperature 1 and top_p 1
    it is unbiased; elsewhere only if ``nll`` is of the distribution that was sampled.
    """
    nats = np.asarray(nll, dtype=float)
    if num_bytes is None:
        return ratio_of_sums(nats, np.ones_like(nats), prompt_ids, "nats/record")
    return ratio_of_sums(nats, math.log(2) * np.asarray(num_bytes, dtype=float), prompt_ids, "bits/byte")


def median_entropy(nll: ArrayLike, prompt_ids: Ids) -> Estimate:
    """Return the median nats per reply, with the interval over prompts that a mean would have.

    Source: Woodruff 1952: the interval of the share below the median, read off at the quantiles.
    """
    nats = np.asarray(nll, dtype=float)
    finite = nats[np.isfinite(nats)]
    median = float(np.median(finite)) if finite.size else math.nan
    below = np.where(np.isfinite(nats), nats <= median, np.nan)
    share = ratio_of_sums(below, np.ones_like(nats), prompt_ids, "nats/record")
    if share.value is None or share.low is None or share.high is None:
        return replace(share, value=None if share.value is None else median)
    half = (share.high - share.low) / 2
    low, high = np.quantile(finite, np.clip([0.5 - half, 0.5 + half], 0, 1))
    return replace(share, value=median, low=float(low), high=float(high))


def ratio_of_sums(numerators: ArrayLike, denominators: ArrayLike, clusters: Ids, unit: str) -> Estimate:
    """Return sum(numerators) / sum(denominators) with a 95 % interval over clusters.

    With denominators of 1 it is the mean. The interval is the linearised (delta method), cluster-robust
    t interval with one degree of freedom less than clusters.

    Raises:
        ValueError: The columns differ in length.
    """
    top, bottom, names = (
        np.asarray(numerators, dtype=float),
        np.asarray(denominators, dtype=float),
        np.asarray(clusters),
    )
    if not len(top) == len(bottom) == len(names):
        raise ValueError(
            f"estimating {unit}: {len(top)} scores, {len(bottom)} weights and {len(names)} clusters; "
            "they must be of one length. Pass one of each per row."
        )
    used = np.isfinite(top) & np.isfinite(bottom)
    dropped = int(len(top) - used.sum())
    why = _why_nothing(len(top), dropped, float(bottom[used].sum()))
    if why:
        return Estimate(None, None, None, int(used.sum()), unit, why, num_dropped=dropped)
    value, half, num_clusters = _linearised(top[used], bottom[used], names[used])
    low, high = (None, None) if half is None else (value - half, value + half)
    return Estimate(value, low, high, int(used.sum()), unit, "ok", num_clusters, dropped)


def _linearised(top: Floats, bottom: Floats, names: NDArray[Any]) -> tuple[float, float | None, int]:
    """Return the ratio, half the width of its interval (None for one cluster) and the number of clusters."""
    value = float(top.sum() / bottom.sum()) + 0.0  # turns -0.0 into 0.0
    _, members = np.unique(names, return_inverse=True)
    num_clusters = int(members.max()) + 1
    if num_clusters < 2:
        return value, None, num_clusters
    residuals = np.bincount(members, weights=top - value * bottom)
    variance = num_clusters / (num_clusters - 1) * float(residuals @ residuals) / float(bottom.sum()) ** 2
    return value, float(stdtrit(num_clusters - 1, 0.975)) * math.sqrt(variance), num_clusters


def _why_nothing(n: int, dropped: int, denominator: float) -> str:
    if n == 0:
        return "not measured: there is no row"
    if dropped > MAX_DROPPED * n:
        return f"invalid: {dropped} of {n} scores are not finite; at most {MAX_DROPPED:.0%} may be"
    return "" if denominator > 0 else "not measured: the texts are empty"

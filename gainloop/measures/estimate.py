"""A measured number and its interval: ratios of sums with intervals over clusters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.figure import Figure

Floats = NDArray[np.float64]
Ids = Sequence[Any] | NDArray[Any]

MAX_DROPPED = 0.02
"""The share of scores that may be NaN or infinite before a figure is worth nothing."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One measured number and what it rests on.

    Attributes:
        value: The number, or None where nothing could be measured; ``status`` then says why.
        low: Lower end of the 95 % interval; None with fewer than two clusters.
        high: Upper end.
        n: Rows that were used.
        unit: Unit of the number, for example nats/record.
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


def as_figure(estimate: Estimate, definition: str) -> Figure:
    """Return an estimate as a figure of a report, with its definition."""
    return Figure(
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
        clusters=estimate.num_clusters,
        dropped=estimate.num_dropped,
        unit=estimate.unit,
        status=estimate.status,
        definition=definition,
    )


def mean_of(rows: Floats, clusters: Ids, unit: str) -> Estimate:
    """Return the mean of rows with a 95 % interval over clusters; see ``ratio_of_sums``."""
    return ratio_of_sums(rows, np.ones_like(rows), clusters, unit)


def ratio_of_sums(numerators: ArrayLike, denominators: ArrayLike, clusters: Ids, unit: str) -> Estimate:
    """Return sum(numerators) / sum(denominators) with a 95 % interval over clusters.

    The interval is the linearised (delta method), cluster-robust
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


class Measured(Protocol):
    """The attributes that estimates and figures share."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def n(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def num_clusters(self) -> int: ...


def weighted_sum(terms: Sequence[tuple[float, Measured]], unit: str) -> Estimate:
    """Return a sum of independent estimates, each times a weight; their half widths are added in quadrature.

    It has no value if one of them has none, and then their status; no interval if one of them has none. It rests on
    as many rows and clusters as the smallest of them.
    """
    missing = [term.status for _, term in terms if term.value is None]
    n, num_clusters = (min((getattr(term, name) for _, term in terms), default=0) for name in ("n", "num_clusters"))
    if missing:
        return Estimate(None, None, None, n, unit, missing[0])
    value = sum(weight * float(term.value or 0) for weight, term in terms)
    ends = [(weight, float(term.value or 0), term.low, term.high) for weight, term in terms]
    if any(low is None or high is None for *_, low, high in ends):
        return Estimate(value, None, None, n, unit, num_clusters=num_clusters)
    below, above = 0.0, 0.0
    for weight, middle, low, high in ends:
        assert low is not None
        assert high is not None
        down, up = abs(weight) * (middle - low), abs(weight) * (high - middle)
        below += (down if weight > 0 else up) ** 2
        above += (up if weight > 0 else down) ** 2
    return Estimate(value, value - math.sqrt(below), value + math.sqrt(above), n, unit, num_clusters=num_clusters)


def _linearised(top: Floats, bottom: Floats, names: NDArray[Any]) -> tuple[float, float | None, int]:
    """Return the ratio, half the width of its interval (None for one cluster) and the number of clusters."""
    value = float(top.sum() / bottom.sum()) + 0.0  # turns -0.0 into 0.0
    _, members = np.unique(names, return_inverse=True)
    num_clusters = int(members.max()) + 1
    if num_clusters < 2:
        return value, None, num_clusters
    from scipy.special import stdtrit  # half a second of every command line that measures nothing

    residuals = np.bincount(members, weights=top - value * bottom)
    variance = num_clusters / (num_clusters - 1) * float(residuals @ residuals) / float(bottom.sum()) ** 2
    return value, float(stdtrit(num_clusters - 1, 0.975)) * math.sqrt(variance), num_clusters


def _why_nothing(n: int, dropped: int, denominator: float) -> str:
    if n == 0:
        return "not measured: there is no row"
    if dropped > MAX_DROPPED * n:
        return f"invalid: {dropped} of {n} scores are not finite; at most {MAX_DROPPED:.0%} may be"
    return "" if denominator > 0 else "not measured: the texts are empty"

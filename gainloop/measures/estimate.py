"""A measured number and its interval: ratios of sums with intervals over clusters."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gainloop.measures.intervals import Floats as Floats
from gainloop.measures.intervals import interval_of_share, resampled_ratio, spread_of
from schemas.figure import Figure

Ids = Sequence[Any] | NDArray[Any]

TOO_FEW: Final = "too few"
"""The beginning of the status of a number that has no interval."""

ALL_ALIKE: Final = f"{TOO_FEW} groups of rows differ: all say the same"
"""Status of a number of which nothing tells how far chance goes."""

ROUNDING: Final = 1e-9
"""Half width of an interval, relative to the values that it is of, up to which it is rounding error."""

ONE_SEED: Final = "one seed: the interval covers the texts, not how far another training would move it"

MAX_DROPPED = 0.02
"""The share of scores that may be NaN or infinite before a figure is worth nothing."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One measured number and what it rests on.

    Attributes:
        value: The number, or None where nothing could be measured; ``status`` then says why.
        low: Lower end of the 95 % interval; None with fewer than two clusters, where one of them carries the number, or
            where all say the same.
        high: Upper end.
        n: Rows that were used.
        unit: Unit of the number, for example nats/record.
        status: "ok", or why there is no value, or "too few" and why there is no interval, or ``ONE_SEED``.
        num_clusters: Independent groups of rows that the interval rests on.
        num_dropped: Rows left out because their score was NaN or infinite.
        num_seeds: Training seeds that the number is a mean over; 0 where nothing was trained, or it is not known.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    status: str = "ok"
    num_clusters: int = 0
    num_dropped: int = 0
    num_seeds: int = 0

    def mapped(self, rising: Callable[[float], float], unit: str = "") -> "Estimate":
        """Return the estimate of what rises with the number: its value and both ends, mapped; default: in its unit."""
        value, low, high = (None if end is None else rising(end) for end in (self.value, self.low, self.high))
        return replace(self, value=value, low=low, high=high, unit=unit or self.unit)

    def without_value(self, why: str) -> "Estimate":
        """Return the estimate without its number and interval, and the reason."""
        return replace(self, value=None, low=None, high=None, status=why)


def not_measured(unit: str, why: str) -> Estimate:
    """Return the estimate of what could not be measured, and the reason."""
    return Estimate(None, None, None, 0, unit, f"not measured: {why}")


def as_figure(estimate: Estimate, definition: str) -> Figure:
    """Return an estimate as a figure of a report, with its definition."""
    return Figure(
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
        clusters=estimate.num_clusters,
        dropped=estimate.num_dropped,
        seeds=estimate.num_seeds,
        unit=estimate.unit,
        status=estimate.status,
        definition=definition,
    )


def is_flat(half_width: float, scale: float) -> bool:
    """Return whether an interval has no width, beside values of this size: what never differed tells nothing."""
    return half_width <= ROUNDING * scale


def mean_of(rows: Floats, clusters: Ids, unit: str) -> Estimate:
    """Return the mean of rows with a 95 % interval over clusters; see ``ratio_of_sums``."""
    return ratio_of_sums(rows, np.ones_like(rows), clusters, unit)


def median_of(rows: ArrayLike, clusters: Ids, unit: str) -> Estimate:
    """Return the median of rows, with the 95 % interval over clusters that a mean would have.

    Source: Woodruff 1952: the interval of the share below the median, read off at the quantiles.
    """
    values = np.asarray(rows, dtype=float)
    finite = values[np.isfinite(values)]
    median = float(np.median(finite)) if finite.size else math.nan
    below = np.where(np.isfinite(values), values <= median, np.nan)
    share = mean_of(below, clusters, unit)
    if share.value is None or share.low is None or share.high is None:
        return replace(share, value=None if share.value is None else median)
    half = (share.high - share.low) / 2
    low, high = np.quantile(finite, np.clip([0.5 - half, 0.5 + half], 0, 1))
    return replace(share, value=median, low=float(low), high=float(high))


def ratio_of_sums(numerators: ArrayLike, denominators: ArrayLike, clusters: Ids, unit: str) -> Estimate:
    """Return sum(numerators) / sum(denominators) with a 95 % interval over clusters.

    The interval is a t interval from leaving each cluster out in turn, with as many degrees of freedom as clusters of
    unequal weight leave: clusters - 1 where they are equal. Where one cluster holds more than two thirds of the
    denominators there is none.

    Raises:
        ValueError: The columns differ in length.
    """
    rows = _Rows.of(numerators, denominators, clusters, unit)
    if rows.why_nothing:
        return rows.estimate(None, None, rows.why_nothing)
    found = spread_of(rows.top, rows.bottom, rows.clusters)
    half = found.half_width
    ends = None if half is None else (found.value - half, found.value + half)
    return rows.estimate(found.value, ends, found.why_not or "ok", found.num_clusters)


def share_of(counted: ArrayLike, clusters: Ids, sizes: ArrayLike | None = None) -> Estimate:
    """Return the share of rows, or of words, that were counted, with a 95 % interval within [0, 1] over clusters.

    Args:
        counted: Rows that have something: 1 or True, else 0; with ``sizes`` the number of a row's words that have it.
        clusters: Cluster of each row.
        sizes: Words of each row; default: the rows themselves are counted.

    Raises:
        ValueError: The columns differ in length.
    """
    top = np.asarray(counted, dtype=float)
    rows = _Rows.of(top, np.ones_like(top) if sizes is None else sizes, clusters, "share")
    if rows.why_nothing:
        return rows.estimate(None, None, rows.why_nothing)
    found = spread_of(rows.top, rows.bottom, rows.clusters)
    ends = interval_of_share(found, float(rows.bottom.sum()))
    return rows.estimate(found.value, ends, found.why_not or "ok", found.num_clusters)


def over_seeds(
    values: ArrayLike, clusters: Ids, unit: str, weights: ArrayLike | None = None, is_share: bool = False
) -> Estimate:
    """Return the mean of rows over several trainings, with a 95 % interval over clusters and over seeds.

    Of two arms with the same seeds pass the differences, row by row and seed by seed. The variance is that over
    clusters of the seeds' means, and that of the seeds by their number. It counts what is left of a row and a seed in
    both, so that the interval is too wide rather than too narrow. With one seed it is that over clusters alone:
    ``status`` is then ``ONE_SEED``. Where all clusters and all seeds say the same, there is an interval of a share
    alone, and the status is ``ALL_ALIKE``: two documents that moved alike do not say how far a third would move.

    Args:
        values: [seeds, rows] Value of each row under each training; a row that any of them lacks is left out.
        clusters: [rows] Cluster of each row: its document.
        unit: Unit of the mean.
        weights: [rows] Denominator of each row, for example its bytes; default: rows count alike.
        is_share: True for rows of 0 and 1 (not for their differences): the interval is then within [0, 1].

    Raises:
        ValueError: The values are not of seeds by rows, or there are not as many clusters and weights as rows.
    """
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or not len(table):
        raise ValueError(
            f"estimating {unit} over seeds: values of shape {table.shape}; [seeds, rows] is needed, a seed at least. "
            "Pass one row of values for each seed."
        )
    bottom = np.ones(table.shape[1]) if weights is None else np.asarray(weights, dtype=float)
    rows = _Rows.of(table.mean(axis=0), bottom, clusters, unit)
    if rows.why_nothing:
        return replace(rows.estimate(None, None, rows.why_nothing), num_seeds=len(table))
    used = np.isfinite(table).all(axis=0) & np.isfinite(bottom)
    by_seed = table[:, used].sum(axis=1) / bottom[used].sum()
    found = spread_of(rows.top, rows.bottom, rows.clusters).over_seeds(by_seed)
    half = found.half_width
    ends = None if half is None else (found.value - half, found.value + half)
    if is_share:
        ends = interval_of_share(found, float(rows.bottom.sum()))
    status = found.why_not or ("ok" if len(table) > 1 else ONE_SEED)
    if not is_share and half is not None and is_flat(half, rows.scale):
        ends, status = None, ALL_ALIKE
    return replace(rows.estimate(found.value, ends, status, found.num_clusters), num_seeds=len(table))


def paired_ratio(before: ArrayLike, after: ArrayLike, most: ArrayLike, clusters: Ids) -> Estimate:
    """Return the part of a possible gain that was reached: (after - before) / (most - before), over clusters.

    Of an exam: what training recovered of what the same questions gain with the document in front of them.

    Args:
        before: [rows] or [seeds, rows] Value of each row at the start.
        after: [rows] or [seeds, rows] Value of each row after training.
        most: [rows] or [seeds, rows] Value of each row where all that is to be known is in front.
        clusters: [rows] Cluster of each row: its document.

    Returns:
        The ratio with a 95 % bootstrap interval over clusters, seeds among them where there are several; no value where
        the interval of ``most - before`` holds 0 or is not known: the ratio could be anything. Where that is the same
        in every cluster, and not 0, the interval is of what was gained alone.

    Source: Efron 1979; percentiles moved outwards as far as t is beyond the normal, Hesterberg 2015, section 4.5.
    """
    first, last, best = (np.atleast_2d(np.asarray(column, dtype=float)) for column in (before, after, most))
    gained, possible = last - first, best - first
    whole = over_seeds(possible, clusters, "share")
    known = np.isfinite(gained).all(axis=0) & np.isfinite(possible).all(axis=0)
    gain = over_seeds(gained, clusters, "share")
    if gain.value is None or whole.value is None:
        return gain.without_value(gain.status if gain.value is None else whole.status)
    ends = (whole.value, whole.value) if whole.status == ALL_ALIKE else (whole.low, whole.high)
    if ends[0] is None or ends[1] is None:
        return gain.without_value(whole.status)
    if ends[0] <= 0 <= ends[1] or is_flat(abs(whole.value), 1.0):
        return gain.without_value("not measured: what could be gained may be nothing, its interval holds 0")
    names = np.asarray(clusters)[known]
    value = float(gained[:, known].mean() / possible[:, known].mean())
    low, high = resampled_ratio(gained[:, known], possible[:, known], names)
    found = replace(gain, value=value, low=low, high=high, n=int(known.sum()))
    if is_flat((high - low) / 2, max(1.0, abs(value))):
        return replace(found, low=None, high=None, status=ALL_ALIKE)
    return replace(found, status=whole.status) if gain.status == ALL_ALIKE else found


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
    few = next((term.status for _, term in terms if term.low is None and term.status.startswith(TOO_FEW)), "ok")
    n, num_clusters = (min((getattr(term, name) for _, term in terms), default=0) for name in ("n", "num_clusters"))
    if missing:
        return Estimate(None, None, None, n, unit, missing[0])
    value = sum(weight * float(term.value or 0) for weight, term in terms)
    ends = [(weight, float(term.value or 0), term.low, term.high) for weight, term in terms]
    if any(low is None or high is None for *_, low, high in ends):
        return Estimate(value, None, None, n, unit, few, num_clusters=num_clusters)
    below, above = 0.0, 0.0
    for weight, middle, low, high in ends:
        assert low is not None
        assert high is not None
        down, up = abs(weight) * (middle - low), abs(weight) * (high - middle)
        below += (down if weight > 0 else up) ** 2
        above += (up if weight > 0 else down) ** 2
    return Estimate(value, value - math.sqrt(below), value + math.sqrt(above), n, unit, num_clusters=num_clusters)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a ratio that can be used, and what became of the others."""

    top: Floats
    bottom: Floats
    clusters: NDArray[Any]
    unit: str
    num_dropped: int
    why_nothing: str

    @classmethod
    def of(cls, numerators: ArrayLike, denominators: ArrayLike, clusters: Ids, unit: str) -> "_Rows":
        top, bottom = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
        names = np.asarray(clusters)
        if not len(top) == len(bottom) == len(names):
            raise ValueError(
                f"estimating {unit}: {len(top)} scores, {len(bottom)} weights and {len(names)} clusters; "
                "they must be of one length. Pass one of each per row."
            )
        used = np.isfinite(top) & np.isfinite(bottom)
        dropped = int(len(top) - used.sum())
        why = _why_nothing(len(top), dropped, float(bottom[used].sum()))
        return cls(top[used], bottom[used], names[used], unit, dropped, why)

    @property
    def scale(self) -> float:
        """The largest numerator by the mean of the denominators."""
        return float(np.abs(self.top).max(initial=0.0) / self.bottom.mean())

    def estimate(
        self, value: float | None, ends: tuple[float, float] | None, status: str, num_clusters: int = 0
    ) -> Estimate:
        low, high = ends or (None, None)
        return Estimate(value, low, high, len(self.top), self.unit, status, num_clusters, self.num_dropped)


def _why_nothing(n: int, dropped: int, denominator: float) -> str:
    if n == 0:
        return "not measured: there is no row"
    if dropped > MAX_DROPPED * n:
        return f"invalid: {dropped} of {n} scores are not finite; at most {MAX_DROPPED:.0%} may be"
    return "" if denominator > 0 else "not measured: the texts are empty"

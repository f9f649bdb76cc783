"""Recovered share: what a method reaches of the gain that as many fresh real tokens would bring.

Several trainings at one budget are asked the same things: repetition, the method, and an oracle on fresh text. The
share (method - repetition) / (oracle - repetition) is a ratio of two noisy differences, so that all arms are moved
together by resamples of documents, each by those of its seeds, and there is no share where the oracle's gain may be 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from gainloop.measures.estimate import ALL_ALIKE, ONE_SEED, TOO_FEW, Estimate, Floats, Ids, is_flat
from gainloop.measures.intervals import MOST_OF_ONE, resampled_means, resampled_seeds, tail_of
from schemas.rows import content_hash

Scale = Literal["mean", "perplexity"]

MAYBE_NOTHING: Final = "not measured: what the oracle gains may be nothing"
NO_RESAMPLES: Final = f"{TOO_FEW}: single numbers were given, no texts that could be resampled"


@dataclass(frozen=True, slots=True)
class Scores:
    """What arms score on one set.

    Attributes:
        values: [1 + resamples, arms] As measured, then on resamples of documents and seeds; one row where none can be.
        unit: Unit of a score.
        n: Rows that were asked of every arm.
        num_clusters: Documents that they are of.
        num_seeds: Trainings of each arm that was trained.
        tail: Share of resamples beyond either end of an interval.
        status: "ok", why there is no interval, or that there is one seed.
    """

    values: Floats
    unit: str
    n: int = 0
    num_clusters: int = 0
    num_seeds: int = 0
    tail: float = 0.025
    status: str = NO_RESAMPLES

    def level(self, arm: int) -> Estimate:
        """Return what an arm scores."""
        return self._estimate(self.values[:, arm], self.unit)

    def gain(self, arm: int, over: int = 0) -> Estimate:
        """Return what an arm scores more than another one."""
        return self._estimate(self.values[:, arm] - self.values[:, over], _difference(self.unit))

    def share(self, arm: int, oracle: int, over: int = 0) -> Estimate:
        """Return which part of the oracle's gain an arm reaches, in per cent; it may be below 0 or above 100.

        It has no value where the interval of the oracle's gain holds 0: the ratio could be anything. Where the oracle
        gains the same in every document, the interval is of what the arm gains alone.
        """
        gained, possible = (self.values[:, one] - self.values[:, over] for one in (arm, oracle))
        most = self.gain(oracle, over)
        nothing = is_flat(abs(float(possible[0])), self._scale)
        if most.low is not None and most.high is not None:
            nothing = most.low <= 0 <= most.high
        usable = possible != 0
        found = self._estimate(100 * gained[usable] / possible[usable], "%") if usable[0] else most
        return found.without_value(MAYBE_NOTHING) if nothing else found

    @property
    def _scale(self) -> float:
        return float(np.abs(self.values).max())

    def _estimate(self, drawn: Floats, unit: str) -> Estimate:
        low, high = (None, None) if len(drawn) < 2 else map(float, np.quantile(drawn[1:], [self.tail, 1 - self.tail]))
        status = self.status
        if low is not None and high is not None and is_flat((high - low) / 2, self._scale):
            low, high, status = None, None, ALL_ALIKE
        return Estimate(float(drawn[0]), low, high, self.n, unit, status, self.num_clusters, 0, self.num_seeds)


def score_arms(
    tables: Sequence[ArrayLike], clusters: Ids, unit: str, weights: ArrayLike | None = None, scale: Scale = "mean"
) -> Scores:
    """Return what arms score on the same rows, with resamples of the rows' documents and of the seeds.

    Args:
        tables: Of each arm [seeds, rows]: 0 and 100 of a question, or the nats of a text, all of them known. One with
            fewer seeds than the others is of a model that was not trained: no seed moves it.
        clusters: [rows] Document of each row.
        unit: Unit of a score.
        weights: [rows] Denominator of each row, such as its tokens; default: rows count alike.
        scale: Score of the weighted mean: itself, or its exponential.

    Raises:
        ValueError: The tables are not of the same rows, or there is none.

    Source: Efron 1979 for the bootstrap; ends are moved outwards as far as t is beyond the normal, Hesterberg 2015.
    """
    arms, names = [np.atleast_2d(np.asarray(table, dtype=float)) for table in tables], np.asarray(clusters)
    sizes = np.ones((1, len(names))) if weights is None else np.atleast_2d(np.asarray(weights, dtype=float))
    if {one.shape[1] for one in [*arms, sizes]} != {len(names)} or not len(names):
        raise ValueError(
            f"scoring {len(arms)} arms by {unit}: tables of shapes {[one.shape for one in arms]}, {len(names)} rows; "
            "[seeds, rows] of the same rows are needed, one at least. Pass the rows that all arms have."
        )
    measured = np.array([one.mean() / sizes.mean() for one in arms])[None]
    shares = np.unique(names, return_inverse=True)[1]
    held = np.bincount(shares, weights=sizes[0]) / sizes.sum()
    num_seeds = max(map(len, arms))
    about = (len(names), len(held), num_seeds)
    if len(held) < 2 or held.max() > MOST_OF_ONE:
        why = f"{TOO_FEW}: all rows are of one document, or nearly all"
        return Scores(_scaled(measured, scale), unit, *about, status=why)
    # The same documents are resampled alike whatever is asked about them, others by themselves.
    rng = np.random.default_rng(int(content_hash("recovered", *map(str, np.unique(names))), 16))
    means = resampled_means([*arms, sizes], names, rng)
    trained = [place for place, one in enumerate(arms) if len(one) == num_seeds]
    moved = means[:, :-1]
    # The same trainings are asked on every set: their seeds move all sets together.
    of_seeds = np.random.default_rng(num_seeds)
    moved[:, trained] += resampled_seeds([arms[place] for place in trained], names, of_seeds)[:, :-1]
    values = _scaled(np.vstack([measured, moved / means[:, -1:]]), scale)
    return Scores(values, unit, *about, tail_of(held), "ok" if num_seeds > 1 else ONE_SEED)


def published_scores(values: Sequence[float], unit: str) -> Scores:
    """Return scores of which only the numbers are known, as a paper prints them: no interval can be told."""
    return Scores(np.array([values], dtype=float), unit)


def average(sets: Sequence[Scores]) -> Scores:
    """Return the plain mean of what arms score on several sets of one unit.

    Each is resampled by its own documents, all of them by the same seeds.

    Raises:
        ValueError: There is no set, or they are of several units or numbers of arms.
    """
    if len({(one.unit, one.values.shape[1]) for one in sets}) != 1:
        raise ValueError(
            f"averaging {len(sets)} sets of scores: their units are {sorted({one.unit for one in sets})}; one set at "
            "least is needed, and one unit and one number of arms of all. Average sets of one kind."
        )
    rows = min(len(one.values) for one in sets)
    worst = min(sets, key=lambda one: (len(one.values), one.status == "ok"))
    return Scores(
        np.mean([one.values[:rows] for one in sets], axis=0),
        sets[0].unit,
        sum(one.n for one in sets),
        sum(one.num_clusters for one in sets),
        min(one.num_seeds for one in sets),
        min(one.tail for one in sets),
        worst.status,
    )


def _scaled(means: Floats, scale: Scale) -> Floats:
    return np.exp(means) if scale == "perplexity" else means


def _difference(unit: str) -> str:
    return "points" if unit == "%" else unit

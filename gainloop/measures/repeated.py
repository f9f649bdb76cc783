"""Questions answered several times: share right, right at least once in k samples, right in all of k samples.

The samples of a question are no independent rows: every interval is over questions.
"""

from collections.abc import Sequence
from math import comb
from typing import Final, NamedTuple

import numpy as np

from gainloop.measures.estimate import Estimate, not_measured, share_of

UNIT: Final = "share"


class Tally(NamedTuple):
    """How often one question was answered, and how often rightly."""

    num_right: int
    num_samples: int


def any_of(num_right: int, num_samples: int, k: int) -> float:
    """Return pass@k of one question: the chance that k of its samples, drawn without returning, hold a right one.

    Raises:
        ValueError: There are fewer than k samples, or more right ones than samples.

    Source: Chen et al. 2021, arXiv:2107.03374, whose estimator has no bias, which 1 - (1 - c/n)^k has.

    >>> round(any_of(1, 4, 2), 6), any_of(0, 4, 2), any_of(3, 4, 2)
    (0.5, 0.0, 1.0)
    """
    _require_drawn(num_right, num_samples, k)
    return 1 - comb(num_samples - num_right, k) / comb(num_samples, k)


def all_of(num_right: int, num_samples: int, k: int) -> float:
    """Return pass^k of one question: the chance that k of its samples, drawn without returning, are all right.

    Raises:
        ValueError: There are fewer than k samples, or more right ones than samples.

    Source: Yao et al. 2024 (tau-bench), arXiv:2406.12045.

    >>> round(all_of(3, 4, 2), 6), all_of(1, 4, 2), all_of(4, 4, 2)
    (0.5, 0.0, 1.0)
    """
    _require_drawn(num_right, num_samples, k)
    return comb(num_right, k) / comb(num_samples, k)


def share_right(tallies: Sequence[Tally]) -> Estimate:
    """Return the share of samples that are right with a 95 % interval over questions; each counts by its samples.

    >>> found = share_right([Tally(2, 2), Tally(0, 2), Tally(1, 2)])
    >>> found.value, found.n, found.num_clusters
    (0.5, 6, 3)
    """
    right = [sample < one.num_right for one in tallies for sample in range(one.num_samples)]
    questions = [number for number, one in enumerate(tallies) for _ in range(one.num_samples)]
    return share_of(right, questions)


def pass_at(tallies: Sequence[Tally], k: int) -> Estimate:
    """Return pass@k, the mean of ``any_of`` over questions of k samples at least, with a 95 % interval over them."""
    return _mean_share([any_of(*one, k) for one in tallies if one.num_samples >= k], k)


def pass_all(tallies: Sequence[Tally], k: int) -> Estimate:
    """Return pass^k, the mean of ``all_of`` over questions of k samples at least, with a 95 % interval over them."""
    return _mean_share([all_of(*one, k) for one in tallies if one.num_samples >= k], k)


WEIGHT: Final = 1000.0
"""Rows that a question stands for where its value is a share: so many that the interval is by what questions vary."""


def _mean_share(values: Sequence[float], k: int) -> Estimate:
    """Return the mean of values in [0, 1], one a question, with an interval within [0, 1]."""
    if not values:
        return not_measured(UNIT, f"no question has {k} samples")
    weights = np.full(len(values), WEIGHT)
    return share_of(WEIGHT * np.asarray(values), range(len(values)), weights)


def _require_drawn(num_right: int, num_samples: int, k: int) -> None:
    if not (1 <= k <= num_samples and 0 <= num_right <= num_samples):
        raise ValueError(
            f"drawing {k} of {num_samples} samples, {num_right} of them right: at least one can be drawn and at most "
            "all, and no more be right than there are. Lower k, or sample more."
        )

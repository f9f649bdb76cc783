"""One output under many prompts: the log-likelihoods that I(p; Y) is estimated from."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from tasks.measures.estimate import Estimate, Floats, Ids, mean_of

MAX_EXCESS = 0.5
"""Nats: where the first-order correction of an output is larger, the expansion it comes from no longer holds."""


@dataclass(frozen=True, slots=True)
class Contrasts:
    """Log-likelihoods of outputs under their own, near and other prompts; ``own`` is NaN where one of them is bad.

    Attributes:
        near: Minus infinity where a family is smaller than the largest; ``num_near`` counts the others.
    """

    own: Floats
    others: Floats
    near: Floats
    num_near: Floats
    num_prompts: int
    prompt_ids: NDArray[Any]

    @classmethod
    def of(
        cls, own: ArrayLike, others: ArrayLike, num_prompts: int | None, ids: Ids, near: ArrayLike | None
    ) -> "Contrasts":
        first, rest, names = np.asarray(own, dtype=float), np.asarray(others, dtype=float), np.asarray(ids)
        family = np.empty((len(first), 0)) if near is None else np.asarray(near, dtype=float)
        shapes = first.shape, rest.shape, family.shape, names.shape
        if first.ndim != 1 or rest.ndim != 2 or family.ndim != 2 or {shape[0] for shape in shapes} != {len(first)}:
            raise ValueError(
                f"estimating I(p; Y): own {shapes[0]}, others {shapes[1]}, near {shapes[2]}, prompt_ids {shapes[3]}; "
                "shapes [n], [n, m-1], [n, k] and [n] are needed. Pass one row per output."
            )
        is_near = ~np.isnan(family)
        num_near = is_near.sum(axis=1)
        largest = int(num_near.max(initial=0))
        total = rest.shape[1] + largest + 1 if num_prompts is None else num_prompts
        if total < rest.shape[1] + largest + 1:
            raise ValueError(
                f"estimating I(p; Y): outputs were scored under {rest.shape[1] + largest + 1} prompts of {total}; at "
                "most all. Draw other prompts without replacement, and count all prompts of the batch."
            )
        bad = ~np.isfinite(first) | np.isnan(rest).any(axis=1) | (rest == np.inf).any(axis=1)
        near_logs = np.where(is_near, family, -np.inf)
        return cls(np.where(bad, np.nan, first), rest, near_logs, num_near.astype(float), total, names)

    @property
    def num_far(self) -> Floats:
        """Prompts of the batch that are neither an output's own nor near it."""
        return self.num_prompts - 1 - self.num_near

    @property
    def why_no_mixture(self) -> str:
        is_blind = len(self.own) and not self.others.shape[1] and bool((self.num_far > 0).any())
        return "not measured: no output was scored under another prompt" if is_blind else ""

    @property
    def why_no_variance(self) -> str:
        is_sampled = len(self.own) and bool((self.num_far > self.others.shape[1]).any())
        if not is_sampled or self.others.shape[1] > 1:
            return ""
        return "not measured: its correction needs scores under two other prompts"

    def log_near_and_own(self) -> Floats:
        """Return log of the sum over the own and all near prompts."""
        return log_sum(np.column_stack([self.own, self.near]))

    def contrast(self) -> Floats:
        """Return each output's InfoNCE: the own prompt stands among the others as one of them, near ones at 1/P."""
        mixed = log_sum(np.column_stack([self.own, self.others])) - math.log(self.others.shape[1] + 1)
        with np.errstate(invalid="ignore"):  # rows with a bad score stay NaN
            summed = np.logaddexp(log_sum(self.near), mixed + np.log(self.num_far + 1))
        return np.asarray(self.own - summed + math.log(self.num_prompts))

    def excess(self, log_mixture: Floats) -> Floats:
        """Return how much too low the ``log_mixture`` is on average: Var(q) / 2 q^2 of the mixture q, at most 0.5.

        The others are drawn without replacement: no variance is left where all were.
        """
        drawn = self.others.shape[1]
        if drawn < 2:
            return np.zeros_like(self.own)
        relative = np.exp(self.others - log_mixture[:, None])
        left = np.clip(1 - drawn / np.maximum(self.num_far, 1), 0, 1)
        variance = (self.num_far / self.num_prompts) ** 2 * left * relative.var(axis=1, ddof=1) / drawn
        return np.asarray(np.minimum(variance / 2, MAX_EXCESS))

    def mean(self, rows: Floats, why_not: str = "") -> Estimate:
        estimate = mean_of(rows, self.prompt_ids, "nats/record")
        return replace(estimate, value=None, low=None, high=None, status=why_not) if why_not else estimate

    def log_mixture(self) -> Floats:
        """Return log q of each output, q the mixture over all P prompts: own and near at 1/P, others for the rest."""
        known = self.log_near_and_own()
        if not self.others.shape[1]:
            return np.asarray(known - math.log(self.num_prompts))
        with np.errstate(divide="ignore", invalid="ignore"):
            far = log_sum(self.others) + np.log(self.num_far / self.others.shape[1])
            return np.asarray(np.logaddexp(known, far) - math.log(self.num_prompts))


def log_sum(rows: Floats) -> Floats:
    """Return log sum exp along the rows; of no column it is minus infinity."""
    if not rows.shape[1]:
        return np.full(len(rows), -np.inf)
    return np.asarray(logsumexp(rows, axis=1))

"""The information that a generator adds beyond its prompts, and that its outputs have of them, in nats.

A generator M answers a prompt p with Y = M(p). H(Y) = Delta I + I(p; Y), by H(Y) - I(p; Y) = H(Y | p).
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from gainloop.measures.estimate import Estimate, Floats, Ids, mean_of, ratio_of_sums

MAX_EXCESS = 0.5
"""Nats: where the first-order correction of an output is larger, the expansion it comes from no longer holds."""


@dataclass(frozen=True, slots=True)
class Contrasts:
    """Log-likelihoods of outputs under their own, near and other prompts.

    Attributes:
        own: [n] Score under the own prompt; NaN where any score of the output is bad.
        others: [n, m-1] Scores under other prompts.
        near: [n, k] Scores under near prompts; minus infinity where a family is smaller than the largest.
        num_near: [n] Near prompts of each output.
        num_prompts: Prompts of the batch.
        prompt_ids: [n] Own prompt of each output.
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


def conditional_entropy(nll: ArrayLike, prompt_ids: Ids, num_bytes: ArrayLike | None = None) -> Estimate:
    """Return the information gain of a batch: what the generator added beyond its prompts.

    Args:
        nll: Negative log-likelihood of each reply given its own prompt, in nats, end token included.
        prompt_ids: Prompt of each reply; replies to one prompt are one cluster.
        num_bytes: UTF-8 bytes of each reply; if given, the result is in bits per byte.

    Returns:
        Mean nats per reply (a reply is one would-be record), or bits per byte as a ratio of sums,
        with a 95 % interval over prompts.

    Raises:
        ValueError: The columns differ in length.

    Source: Gan & Liu 2024, Definition 4.2, by H(Y) - I(X;Y) = H(Y|X). At temperature 1 and top_p 1
    it is unbiased; elsewhere only if ``nll`` is of the distribution that was sampled.
    """
    nats = np.asarray(nll, dtype=float)
    if num_bytes is None:
        return mean_of(nats, prompt_ids, "nats/record")
    return ratio_of_sums(nats, math.log(2) * np.asarray(num_bytes, dtype=float), prompt_ids, "bits/byte")


@dataclass(frozen=True, slots=True)
class MutualInformation:
    """I(p; Y), how much outputs tell of the prompts they answer, in nats, by estimators that err to known sides.

    Attributes:
        incl: InfoNCE with the known conditional: in expectation never too high, and never above ``cap_log_m``.
        fpc: The mixture over all prompts of the batch, extrapolated from those that were scored: a little too high.
        fpc_bc: The same less its first-order bias: the point estimate.
        low: Lower end of the covering interval: that of ``incl``, at least 0. None with fewer than two clusters.
        high: Upper end: that of ``fpc``, at most ``cap_log_p``; ``cap_log_p`` where no other prompt was scored.
        cap_log_m: log of the number of prompts that each output was scored under.
        cap_log_p: log of the number of the batch's prompts: I(p; Y) if outputs identify their prompts.
        ratio_to_log_p: ``fpc_bc`` by ``cap_log_p``: 1 = an output identifies its prompt, 0 = prompts are ignored. None
            where either is not known, or there is one prompt.
    """

    incl: Estimate
    fpc: Estimate
    fpc_bc: Estimate
    low: float | None
    high: float | None
    cap_log_m: float
    cap_log_p: float
    ratio_to_log_p: float | None


def mutual_information(
    own: ArrayLike, others: ArrayLike, num_prompts: int, prompt_ids: Ids, near: ArrayLike | None = None
) -> MutualInformation:
    """Return how much the outputs of a batch tell of their prompts, from scores under a few other prompts.

    Args:
        own: [n] log q(output | its own prompt), in nats.
        others: [n, m-1] log q(output | another prompt of the batch), the prompts drawn afresh for each output without
            replacement; of those that ``near`` does not have, if it is given.
        num_prompts: P, the distinct prompts of the batch, each as likely as the others.
        prompt_ids: [n] Each output's own prompt; outputs of one prompt are one cluster.
        near: [n, k] log q(output | prompt) for *all* prompts of the own one's family, for example the other requests of
            its document; NaN fills rows of smaller families. Where prompts come in families this cuts the bias of
            ``fpc`` fivefold.

    Raises:
        ValueError: The arrays do not fit together, or more prompts were scored than there are.

    Source: incl: van den Oord et al. 2018, arXiv:1807.03748, and Poole et al. 2019, arXiv:1905.06922, equation 12.
    The mixture: Gan & Liu 2024, Definition 4.2, over the batch's own prompts. The bound of Poole et al. that leaves
    the own prompt out is infinite as soon as one output is impossible under all others: it is not offered.
    """
    scores = Contrasts.of(own, others, num_prompts, prompt_ids, near)
    num_scored = scores.others.shape[1] + 1
    mixture = scores.log_mixture()
    fpc = scores.own - mixture
    estimates = {
        "incl": scores.mean(scores.contrast()),
        "fpc": scores.mean(fpc, scores.why_no_mixture),
        "fpc_bc": scores.mean(fpc - scores.excess(mixture), scores.why_no_mixture or scores.why_no_variance),
    }
    lower, upper, point = estimates["incl"].low, estimates["fpc"].high, estimates["fpc_bc"].value
    cap = math.log(num_prompts)
    if scores.why_no_mixture and estimates["incl"].value is not None:
        upper = cap
    return MutualInformation(
        **estimates,
        low=None if lower is None else min(cap, max(0.0, lower)),
        high=None if upper is None else min(cap, max(0.0, upper)),
        cap_log_m=math.log(num_scored),
        cap_log_p=cap,
        ratio_to_log_p=point / cap if point is not None and cap else None,
    )


def facet_information(own: ArrayLike, near: ArrayLike, prompt_ids: Ids) -> Estimate:
    """Return I(facet; Y | document): how much outputs tell of which of their document's prompts they answer, in nats.

    With I(p; Y) it gives the document's part by the chain rule: I(document; Y) = I(p; Y) - I(facet; Y | document).

    Args:
        own, near, prompt_ids: Scores and prompts as for ``mutual_information``; families are whole, so nothing is
            extrapolated.
    """
    scores = Contrasts.of(own, np.empty((len(np.asarray(own)), 0)), None, prompt_ids, near)
    return scores.mean(scores.own - scores.log_near_and_own() + np.log(scores.num_near + 1))


def null_information(own: ArrayLike, without: ArrayLike, prompt_ids: Ids) -> Estimate:
    """Return PMI_null: the mean of log q(y | prompt) - log q(y | prompt without its document), in nats.

    It is above the information from the document by the divergence between what the generator writes without a
    document and what it writes on average over documents.

    Args:
        own: [n] log q of each output given its prompt.
        without: [n] log q of each output given its prompt without the document.
        prompt_ids: [n] Each output's own prompt.
    """
    gains = np.asarray(own, dtype=float) - np.asarray(without, dtype=float)
    return mean_of(gains, prompt_ids, "nats/record")

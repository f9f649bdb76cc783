"""How much a generator adds beyond its prompts, and how much its outputs tell of them, in nats.

A generator M answers a prompt p with Y = M(p). H(Y) = Delta I + I(p; Y), by H(Y) - I(p; Y) = H(Y | p).
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from tasks.measures.contrasts import Contrasts
from tasks.measures.estimate import Estimate, Ids, mean_of, ratio_of_sums


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
        return mean_of(nats, prompt_ids, "nats/record")
    return ratio_of_sums(nats, math.log(2) * np.asarray(num_bytes, dtype=float), prompt_ids, "bits/byte")


def median_entropy(nll: ArrayLike, prompt_ids: Ids) -> Estimate:
    """Return the median nats per reply, with the interval over prompts that a mean would have.

    Source: Woodruff 1952: the interval of the share below the median, read off at the quantiles.
    """
    nats = np.asarray(nll, dtype=float)
    finite = nats[np.isfinite(nats)]
    median = float(np.median(finite)) if finite.size else math.nan
    below = np.where(np.isfinite(nats), nats <= median, np.nan)
    share = mean_of(below, prompt_ids, "nats/record")
    if share.value is None or share.low is None or share.high is None:
        return replace(share, value=None if share.value is None else median)
    half = (share.high - share.low) / 2
    low, high = np.quantile(finite, np.clip([0.5 - half, 0.5 + half], 0, 1))
    return replace(share, value=median, low=float(low), high=float(high))


@dataclass(frozen=True, slots=True)
class MutualInformation:
    """How much outputs tell of which prompt they answer, I(p; Y), in nats, by estimators that err to known sides.

    Attributes:
        incl: InfoNCE with the known conditional: in expectation never too high, and never above ``cap_log_m``.
        fpc: The mixture over all prompts of the batch, extrapolated from those that were scored: a little too high.
        fpc_bc: The same less its first-order bias: the point estimate.
        low: Lower end of the covering interval: that of ``incl``, at least 0. None with fewer than two clusters.
        high: Upper end: that of ``fpc``, at most ``cap_log_p``; ``cap_log_p`` where no other prompt was scored.
        cap_log_m: log of the prompts that each output was scored under.
        cap_log_p: log of the batch's prompts: what an output that identifies its prompt is worth.
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
        near: [n, k] The same under *all* prompts of the own one's family, the other requests of its document say; NaN
            fills rows of smaller families. Where prompts come in families this cuts the bias of ``fpc`` fivefold.

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
        own, near, prompt_ids: As for ``mutual_information``; families whole, so that nothing is extrapolated.
    """
    scores = Contrasts.of(own, np.empty((len(np.asarray(own)), 0)), None, prompt_ids, near)
    return scores.mean(scores.own - scores.log_near_and_own() + np.log(scores.num_near + 1))


def null_information(own: ArrayLike, without: ArrayLike, prompt_ids: Ids) -> Estimate:
    """Return PMI_null: the mean of log q(y | prompt) - log q(y | prompt without its document), in nats.

    It is above the information from the document by the divergence between what the generator writes without a
    document and what it writes on average over documents.

    Args:
        own: [n] log q of each output given its prompt.
        without: [n] The same where the document was left out of the prompt.
    """
    gains = np.asarray(own, dtype=float) - np.asarray(without, dtype=float)
    return mean_of(gains, prompt_ids, "nats/record")

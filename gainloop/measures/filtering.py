"""The exact effect of a filter on the distribution of a generator's outputs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from gainloop.measures.estimate import Estimate, Floats, Ids, mean_of, share_of
from gainloop.measures.intervals import members_of


@dataclass(frozen=True, slots=True)
class Filtering:
    """The effect of keeping some outputs and dropping the others.

    Attributes:
        accept_rate: a, the share of outputs that is kept.
        total_variation: Total variation between the outputs and those kept: 1 - a.
        divergence: KL(kept || outputs) in nats: -log a.
        entropy: H(S_gen | p) of the kept outputs, in nats per record.
        entropy_lost: H(M(p) | p) - H(S_gen | p), the entropy of all outputs less that of the kept ones.
    """

    accept_rate: Estimate
    total_variation: Estimate
    divergence: Estimate
    entropy: Estimate
    entropy_lost: Estimate


def curate(nll: ArrayLike, is_kept: ArrayLike, prompt_ids: Ids) -> Filtering:
    """Return the effect of a hard filter, which says yes or no to an output whatever the others are.

    Rows that are edited are not filtered: their own likelihood is another, and has to be scored anew.

    Args:
        nll: Negative log-likelihood of each output given its prompt, kept or not, in nats.
        is_kept: Whether each output was kept.
        prompt_ids: Prompt of each output; outputs of one prompt are one cluster.

    Raises:
        ValueError: The columns differ in length.

    Source: Gan & Liu 2024, section 3, the noise epsilon of curation. Of the conditional q(y | kept) = q(y) / a on the
    kept set all follow: TV = 1 - a, KL = -log a, and H(kept) = E_kept[-log q + log a(p)]. Where prompts differ in what
    is kept of them, TV and KL are of the mixture of all; the entropy takes each prompt's own acceptance.
    """
    nats, kept = np.asarray(nll, dtype=float), np.asarray(is_kept, dtype=float)
    rate = share_of(kept, prompt_ids)
    variation = _mapped(rate, lambda share: 1 - share, "share")
    if not rate.value:
        nothing = replace(rate.without_value("not measured: nothing was kept"), unit="nats")
        return Filtering(rate, variation, nothing, *[replace(nothing, unit="nats/record")] * 2)
    divergence = _mapped(rate, lambda share: -float(np.log(share)) + 0.0 if share else None, "nats")
    of_kept = _entropy_of_kept(nats, kept, acceptance_of(kept, prompt_ids))
    lost = nats - of_kept if rate.value < 1 else 0.0 * nats
    entropies = (mean_of(rows, prompt_ids, "nats/record") for rows in (of_kept, lost))
    return Filtering(rate, variation, divergence, *entropies)


def acceptance_of(kept: Floats, prompt_ids: Ids) -> Floats:
    """Return a(p) of each output's prompt: its own share, drawn to that of all as far as prompts are alike.

    A prompt's few outputs say little of what it would keep; the spread among prompts beyond chance says how much.

    Source: the beta-binomial by moments, empirical Bayes.
    """
    members = members_of(np.asarray(prompt_ids))
    counts = np.bincount(members)
    shares, rate = np.bincount(members, weights=kept) / counts, float(kept.mean())
    several = counts > 1
    within = rate * (1 - rate)
    if several.sum() < 2 or not within:
        return np.full(len(kept), rate)
    chance = within / counts[several]
    spread = float(np.mean((shares[several] - rate) ** 2 - chance) / np.mean(1 - 1 / counts[several]))
    if spread <= 0:
        return np.full(len(kept), rate)
    alike = max(within / spread - 1, 0.0)
    return np.asarray(((shares * counts + alike * rate) / (counts + alike))[members])


def _entropy_of_kept(nats: Floats, kept: Floats, accepted: Floats) -> Floats:
    """Return rows whose mean is E_kept[-log q + log a(p)]: what each output adds to both, linearised."""
    finite, rate = np.isfinite(nats), float(kept.mean())
    sure = np.where(kept > 0, nats + np.log(np.where(kept > 0, np.maximum(accepted, 1e-12), 1.0)), np.nan)
    value = float(sure[(kept > 0) & finite].mean()) if ((kept > 0) & finite).any() else np.nan
    scores = np.where(kept > 0, sure - value, 0.0)
    return np.asarray(value + (scores + kept - accepted) / rate)


def _mapped(estimate: Estimate, falling: Callable[[float], float | None], unit: str) -> Estimate:
    """Return an estimate mapped by a falling function: the ends of its interval change places."""
    value, low, high = (None if end is None else falling(end) for end in (estimate.value, estimate.high, estimate.low))
    return replace(estimate, value=value, low=low, high=high, unit=unit)

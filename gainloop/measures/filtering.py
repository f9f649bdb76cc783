"""The exact effect of a filter on the distribution of a generator's outputs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from gainloop.measures.estimate import Estimate, Floats, Ids, mean_of, share_of


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
    kept set all follow: TV = 1 - a, KL = -log a, and H(kept) = E_kept[-log q] + log a.
    """
    nats, kept = np.asarray(nll, dtype=float), np.asarray(is_kept, dtype=float)
    rate = share_of(kept, prompt_ids)
    variation = _mapped(rate, lambda share: 1 - share, "share")
    if not rate.value:
        nothing = replace(rate, value=None, low=None, high=None, unit="nats", status="not measured: nothing was kept")
        return Filtering(rate, variation, nothing, *[replace(nothing, unit="nats/record")] * 2)
    divergence = _mapped(rate, lambda share: -float(np.log(share)) + 0.0 if share else None, "nats")
    of_kept = _entropy_of_kept(nats, kept, rate.value)
    lost = nats - of_kept if rate.value < 1 else 0.0 * nats
    entropies = (mean_of(rows, prompt_ids, "nats/record") for rows in (of_kept, lost))
    return Filtering(rate, variation, divergence, *entropies)


def _entropy_of_kept(nats: Floats, kept: Floats, rate: float) -> Floats:
    """Return rows whose mean is E_kept[-log q] + log a: what each output adds to both, linearised."""
    finite = np.isfinite(nats)
    mean = float(nats[(kept > 0) & finite].mean()) if ((kept > 0) & finite).any() else np.nan
    value = mean + float(np.log(rate))
    scores = np.where(kept > 0, nats - mean, 0.0)
    return np.asarray(value + (scores + kept - rate) / rate)


def _mapped(estimate: Estimate, falling: Callable[[float], float | None], unit: str) -> Estimate:
    """Return an estimate mapped by a falling function: the ends of its interval change places."""
    value, low, high = (None if end is None else falling(end) for end in (estimate.value, estimate.high, estimate.low))
    return replace(estimate, value=value, low=low, high=high, unit=unit)

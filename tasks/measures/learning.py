"""What a model has taken in of the text it was trained on, by minimum description length.

A model that reads texts once, predicting each before it learns from it, spends the prequential code length on them.
What it would spend after training is less: the difference is what it absorbed, an estimate of I(S, W). Base loss minus
final loss is none: it grows with the amount of text whatever the model learns.

Source: Dawid 1984 (prequential); Blier & Ollivier 2018, arXiv:1802.07044 (deep models).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from tasks.measures.estimate import Estimate, Floats


@dataclass(frozen=True, slots=True)
class Learned:
    """What a training took in, in nats over all its texts; intervals are over texts, not over training seeds.

    Attributes:
        absorbed: Prequential less final loss on the training texts.
        memorised: The gap between held-out and training loss per byte, times the bytes trained on.
        generalised: The rest. It is prequential loss less what the texts would cost at the held-out rate.
    """

    absorbed: Estimate
    memorised: Estimate
    generalised: Estimate


def learned(
    online: ArrayLike, final: ArrayLike, num_bytes: ArrayLike, heldout: ArrayLike, heldout_bytes: ArrayLike
) -> Learned:
    """Return what a model absorbed of its training texts, and how much of it holds for other texts too.

    Args:
        online: [n] Loss of each training text the moment before it was first learnt from, in nats.
        final: [n] Loss of the same texts after training.
        num_bytes: [n] Their UTF-8 bytes.
        heldout: [k] Loss after training of texts of the same kind that were not trained on.
        heldout_bytes: [k] Their UTF-8 bytes.

    Raises:
        ValueError: Columns of one set of texts differ in length.
    """
    before, after, size = (np.asarray(column, dtype=float) for column in (online, final, num_bytes))
    other, other_size = (np.asarray(column, dtype=float) for column in (heldout, heldout_bytes))
    if not len(before) == len(after) == len(size) or len(other) != len(other_size):
        raise ValueError(
            f"measuring what was learnt: {len(before)} online losses, {len(after)} final ones and {len(size)} sizes, "
            f"{len(other)} held-out losses and {len(other_size)} sizes; those of one set of texts must be as many. "
            "Pass one of each per text."
        )
    absorbed = _total(before - after, 0.0, len(size))
    if not other_size.sum() > 0:
        nothing = Estimate(None, None, None, 0, "nats", "not measured: no text was held out")
        return Learned(absorbed, nothing, nothing)
    rate = float(other.sum() / other_size.sum())
    # The held-out rate is itself measured: its variance comes on top, times all bytes trained on.
    spread = size.sum() ** 2 * _variance_of_sum(other - rate * other_size) / float(other_size.sum()) ** 2
    totals = (_total(nats, spread, len(size), len(other)) for nats in (rate * size - after, before - rate * size))
    return Learned(absorbed, *totals)


def _total(nats: Floats, further_variance: float, n: int, further_n: int = 2) -> Estimate:
    """Return a sum over texts with a 95 % t interval, its degrees of freedom by Welch and Satterthwaite."""
    if not n:
        return Estimate(None, None, None, 0, "nats", "not measured: there is no row")
    if not np.isfinite(nats).all():
        return Estimate(None, None, None, n, "nats", "invalid: a loss is not finite")
    value = float(nats.sum())
    if n < 2:
        return Estimate(value, None, None, n, "nats", num_clusters=n)
    if further_n < 2:  # the rate of a single text has no variance that can be known
        return Estimate(value, None, None, n, "nats", num_clusters=n)
    variance = _variance_of_sum(nats)
    total = variance + further_variance
    freedom = total**2 / (variance**2 / (n - 1) + further_variance**2 / (further_n - 1)) if total else n - 1
    half = float(stdtrit(freedom, 0.975)) * math.sqrt(total)
    return Estimate(value, value - half, value + half, n, "nats", num_clusters=n)


def _variance_of_sum(nats: Floats) -> float:
    return float(len(nats) * nats.var(ddof=1)) if len(nats) > 1 else 0.0

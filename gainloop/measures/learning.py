"""How much a model has learnt from the text it was trained on, by minimum description length.

A model that reads texts once, predicting each before it learns from it, spends the prequential code length on them.
What it would spend after training is less: the difference is what it absorbed, an estimate of I(S, W). Base loss minus
final loss is none: it grows with the amount of text whatever the model learns.

Source: Dawid 1984 (prequential); Blier & Ollivier 2018, arXiv:1802.07044 (deep models).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from gainloop.measures.estimate import Estimate, Floats, Ids, Measured, mean_of, ratio_of_sums, weighted_sum


@dataclass(frozen=True, slots=True)
class Learned:
    """How much a training learnt, in nats over all its texts; intervals do not cover training seeds.

    Attributes:
        absorbed: Prequential loss less final loss on the training texts.
        memorised: Gap between held-out and training loss per byte, times the bytes trained on.
        generalised: Rest of ``absorbed``: prequential loss less the cost of the texts at the held-out rate.
    """

    absorbed: Estimate
    memorised: Estimate
    generalised: Estimate


def learned(
    online: ArrayLike,
    final: ArrayLike,
    num_bytes: ArrayLike,
    heldout: ArrayLike,
    heldout_bytes: ArrayLike,
    trained: tuple[ArrayLike, ArrayLike] | None = None,
    owners: tuple[Ids, Ids] | None = None,
) -> Learned:
    """Return what a model absorbed of its training texts, and how much of it holds for other texts too.

    Args:
        online: [n] Loss of each training text the moment before it was first learnt from, in nats.
        final: [n] Loss of the same texts after training.
        num_bytes: [n] UTF-8 bytes of the same texts.
        heldout: [k] Loss after training of texts of the same kind that were not trained on.
        heldout_bytes: [k] UTF-8 bytes of the held-out texts.
        trained: Loss after training and UTF-8 bytes of texts that were trained on, read as the held-out ones were, if
            the training texts were read otherwise: for example packed in rows.
        owners: Clusters of held-out and of ``trained`` texts; default: each text is its own.

    Raises:
        ValueError: Columns of one set of texts differ in length.
    """
    before, after, size = (np.asarray(column, dtype=float) for column in (online, final, num_bytes))
    if not len(before) == len(after) == len(size):
        raise ValueError(
            f"measuring what was learnt: {len(before)} online losses, {len(after)} final ones and {len(size)} sizes; "
            "those of one set of texts must be as many. Pass one of each per text."
        )
    of_heldout, of_trained = owners or (None, None)
    nats_in, bytes_in = trained or (after, size)
    sets = [_Rate.of(heldout, heldout_bytes, of_heldout), _Rate.of(nats_in, bytes_in, of_trained)]
    absorbed = _total(before - after, len(size))
    if not all(one.num_bytes > 0 for one in sets):
        nothing = Estimate(None, None, None, 0, "nats", "not measured: no text was held out")
        return Learned(absorbed, nothing, nothing)
    terms: list[tuple[float, Measured]] = [(float(size.sum()), one.as_estimate()) for one in sets]
    memorised = weighted_sum([terms[0], (-terms[1][0], terms[1][1])], "nats")
    generalised = weighted_sum([(1, absorbed), (-1, memorised)], "nats")
    found = Learned(absorbed, replace(memorised, n=len(size)), replace(generalised, n=len(size)))
    return _without_parts(found) if why_not_told(absorbed, memorised) else found


def why_not_told(absorbed: Estimate, memorised: Estimate) -> str:
    """Return the reason why what was memorised cannot be told from what was not; empty if it can.

    It can be anything from nothing to all where its interval holds 0 and reaches further than all that was absorbed.
    """
    if None in (absorbed.value, memorised.low, memorised.high):
        return ""
    low, high = float(memorised.low or 0), float(memorised.high or 0)
    if not (low < 0 < high and (high - low) / 2 > abs(float(absorbed.value or 0))):
        return ""
    return (
        f"cannot tell: from {low:,.0f} to {high:,.0f} nats, where {absorbed.value:,.0f} were absorbed in all; more "
        "texts, held out and trained on, would narrow it"
    )


def _without_parts(found: Learned) -> Learned:
    """Return the same without values of the two parts, which cannot be told apart; their intervals stay."""
    why = why_not_told(found.absorbed, found.memorised)
    parts = (replace(part, value=None, status=why) for part in (found.memorised, found.generalised))
    return Learned(found.absorbed, *parts)


@dataclass(frozen=True, slots=True)
class _Rate:
    """Losses of some texts and their bytes."""

    nats: Floats
    sizes: Floats
    owners: Ids

    @classmethod
    def of(cls, nats: ArrayLike, sizes: ArrayLike, owners: Ids | None) -> "_Rate":
        top, bottom = np.asarray(nats, dtype=float), np.asarray(sizes, dtype=float)
        one = cls(top, bottom, np.arange(len(top)) if owners is None else owners)
        if len(one.nats) != len(one.sizes):
            raise ValueError(
                f"measuring what was learnt: {len(one.nats)} losses and {len(one.sizes)} sizes; those of one set of "
                "texts must be as many. Pass one of each per text."
            )
        return one

    @property
    def num_bytes(self) -> float:
        return float(self.sizes.sum())

    def as_estimate(self) -> Estimate:
        """Return nats per byte with an interval over clusters of texts."""
        return ratio_of_sums(self.nats, self.sizes, self.owners, "nats/byte")


def _total(nats: Floats, n: int) -> Estimate:
    """Return a sum over texts with a 95 % t interval."""
    if not n:
        return Estimate(None, None, None, 0, "nats", "not measured: there is no row")
    if not np.isfinite(nats).all():
        return Estimate(None, None, None, n, "nats", "invalid: a loss is not finite")
    return weighted_sum([(n, mean_of(nats, np.arange(n), "nats"))], "nats")

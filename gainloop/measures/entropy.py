"""Log-probabilities of the distribution that was sampled, from those of the model at temperature 1.

Servers return raw log-probabilities by default. At another temperature or top_p their mean is a cross entropy, not the
entropy: 4 % too high at temperature 0.7, 29 % at top_p 0.7. The likeliest K tokens of each position repair it, up to a
bracket for the tail that was not returned.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from gainloop.measures.estimate import MAX_DROPPED, Estimate, Floats, Ids, ratio_of_sums

ROUNDING = 1e-3
"""Nats, and a share of the nucleus: servers compute the same number twice, and round it otherwise."""

NOT_ASKED: Final = "not measured: no log-probabilities were asked for"


def temper(
    tokens: ArrayLike, likeliest: ArrayLike, temperature: float, top_p: float, vocabulary: int
) -> tuple[Floats, Floats]:
    """Return the lowest and the highest log-probability that sampling can have for each token.

    Args:
        tokens: [n] Raw log-probability of each token, in nats.
        likeliest: [n, K] Raw log-probabilities of the likeliest tokens there, the token among them or not.
        temperature: Temperature of sampling, at least 0; at 0 the likeliest token is certain.
        top_p: Mass of the nucleus, of the tempered distribution: as vLLM does, temperature first.
        vocabulary: Number of the model's tokens, or more.

    Returns:
        Two arrays [n]; equal where K tokens are all that counts. Both are minus infinity for a token that is never
        sampled, if the K tokens show it; one of which they leave that open is taken to be in the nucleus.

    Raises:
        ValueError: A negative temperature, or a top_p outside (0, 1].
    """
    if temperature < 0 or not 0 < top_p <= 1:
        raise ValueError(
            f"repairing log-probabilities: temperature {temperature:g} and top_p {top_p:g}; at least 0 and in (0, 1] "
            "are allowed. Pass what the recipe samples at."
        )
    own, known = np.asarray(tokens, dtype=float), np.sort(np.asarray(likeliest, dtype=float), axis=1)[:, ::-1]
    if temperature == 0:
        certain = np.where(own >= known[:, 0] - ROUNDING, 0.0, -np.inf)
        return certain, certain
    powers = np.exp(known / temperature)
    least, most = _tail(known, temperature, vocabulary)
    total = powers.sum(axis=1)
    low_mass, high_mass = total + least, total + most
    is_left_out = np.zeros(len(own), bool)
    if top_p < 1:
        likelier = (powers * (known > own[:, None] + ROUNDING)).sum(axis=1)
        is_left_out = likelier >= (top_p + ROUNDING) * high_mass
        low_mass, high_mass = _nucleus(powers, low_mass, top_p), _nucleus(powers, high_mass, top_p, upper=True)
    low = own / temperature - np.log(high_mass)
    high = np.minimum(own / temperature - np.log(low_mass), 0.0)
    return np.where(is_left_out, -np.inf, low), np.where(is_left_out, -np.inf, high)


def _tail(known: Floats, temperature: float, vocabulary: int) -> tuple[Floats, Floats]:
    """Return the least and the most that the tokens not returned can add to the sum of p^(1/T).

    Their mass is known, none is likelier than the last one returned, and p^(1/T) is convex below temperature 1: the sum
    is largest where few tokens hold all, least where all hold the same. Above temperature 1 it is the other way round.
    """
    mass = np.maximum(1 - np.exp(known).sum(axis=1), 0.0)
    others, ceiling = max(vocabulary - known.shape[1], 0), np.exp(known[:, -1])
    if not others:
        return np.zeros_like(mass), np.zeros_like(mass)
    even = others * (mass / others) ** (1 / temperature)
    whole = np.floor(np.minimum(mass / ceiling, others))
    rest = np.clip(mass - whole * ceiling, 0.0, ceiling)
    crowded = whole * ceiling ** (1 / temperature) + rest ** (1 / temperature)
    return np.minimum(even, crowded), np.maximum(even, crowded)


def _nucleus(powers: Floats, total: Floats, top_p: float, upper: bool = False) -> Floats:
    """Return the mass of the smallest set of likeliest tokens that holds ``top_p`` of a total.

    Where the returned tokens do not hold it, it is between top_p of the total and all of it.
    """
    sums = powers.cumsum(axis=1)
    reached = sums >= top_p * total[:, None] * (1 - 1e-12)
    inside = reached.any(axis=1)
    first = np.where(inside, reached.argmax(axis=1), 0)
    beyond = total if upper else top_p * total
    return np.where(inside, sums[np.arange(len(sums)), first], beyond)


def bits_per_byte(nats: ArrayLike, num_bytes: ArrayLike, clusters: Ids | None = None) -> Estimate:
    """Return the cross entropy of texts under a model: an upper bound on the texts' own entropy.

    Args:
        nats: Negative log-likelihood of each text, in nats.
        num_bytes: UTF-8 bytes of each text.
        clusters: Cluster of each text where texts are not independent (the anchor of a record);
            default: every text is its own.

    Returns:
        sum(nats) / (ln 2 * sum(bytes)) with a 95 % interval over texts or clusters. The mean of the
        texts' own ratios would be off by 13-20 % and undefined for an empty text.
    """
    scores = np.asarray(nats, dtype=float)
    groups = np.arange(len(scores)) if clusters is None else clusters
    return ratio_of_sums(scores, math.log(2) * np.asarray(num_bytes, dtype=float), groups, "bits/byte")


def paired_gain(before_nats: ArrayLike, after_nats: ArrayLike, num_bytes: ArrayLike) -> Estimate:
    """Return how many bits per byte a second model saves on the same texts; below 0 it does worse.

    Args:
        before_nats: Negative log-likelihood of each text under the first model.
        after_nats: The same texts, in the same order, under the second.
        num_bytes: UTF-8 bytes of each text.

    Returns:
        The difference with a 95 % interval over texts, paired by text: what makes a text hard for
        both models cancels. The interval covers the choice of texts. It does not cover training:
        another seed gives another model, and how far that moves the result takes more seeds to see.
    """
    saved = np.asarray(before_nats, dtype=float) - np.asarray(after_nats, dtype=float)
    return bits_per_byte(saved, num_bytes)


def why_without_logprobs(num_replies: int, num_without: int) -> str:
    """Return why replies have no Delta I, ``num_without`` of them lacking log-probabilities; empty if they have one."""
    if num_without and num_without == num_replies:
        return NOT_ASKED
    if num_without <= MAX_DROPPED * num_replies:
        return ""
    return (
        f"invalid: {num_without} of {num_replies} replies have no log-probabilities; "
        f"at most {MAX_DROPPED:.0%} may lack them"
    )

"""How well a model predicts texts, in bits per UTF-8 byte, so that tokenizers can be compared."""

import math

import numpy as np
from numpy.typing import ArrayLike

from tasks.measures.estimate import Estimate, Ids, ratio_of_sums


def bits_per_byte(nats: ArrayLike, num_bytes: ArrayLike, clusters: Ids | None = None) -> Estimate:
    """Return the cross entropy of texts under a model: an upper bound on the texts' own entropy.

    Args:
        nats: Negative log-likelihood of each text.
        num_bytes: UTF-8 bytes of each text.
        clusters: What each text belongs to where texts are not independent (the anchor of a record);
            if empty, every text stands for itself.

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
        The difference with a 95 % t interval over texts, paired by text: what makes a text hard for
        both models cancels. The interval covers the choice of texts. It does not cover training:
        another seed gives another model, and how far that moves the result takes more seeds to see.
    """
    saved = np.asarray(before_nats, dtype=float) - np.asarray(after_nats, dtype=float)
    return bits_per_byte(saved, num_bytes)

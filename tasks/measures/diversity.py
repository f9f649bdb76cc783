"""How much texts repeat each other, and how much they repeat their anchors."""

import gzip
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from tasks.measures.estimate import Estimate, ratio_of_sums

Words = tuple[str, ...]


def distinct_ngrams(texts: Sequence[str], size: int = 3) -> Estimate:
    """Return the share of word n-grams that differ from all others; 1 = no n-gram comes twice.

    It falls as texts are added, so compare only batches of about one size: no interval.

    Source: Li et al. 2016, distinct-n, over all texts together.
    """
    counts = Counter(gram for text in texts for gram in _ngrams(text, size))
    return _plain(len(counts), counts.total(), len(texts), "share")


def compression_ratio(texts: Sequence[str]) -> Estimate:
    """Return bytes before gzip over bytes after: the higher, the more the texts repeat each other.

    gzip looks back 32 KiB, so the ratio hardly depends on how many texts there are beyond that.

    Source: Shaib et al. 2024, arXiv:2403.00553.
    """
    joined = "\n".join(texts).encode()
    return _plain(len(joined), len(gzip.compress(joined, mtime=0)), len(texts), "ratio")


def common_opening(texts: Sequence[str], num_words: int = 4) -> tuple[Estimate, str]:
    """Return the share of texts that begin with the most common first words, and those words."""
    openings = Counter(" ".join(text.split()[:num_words]) for text in texts)
    # Of equally common ones the first in the alphabet, so that the order of texts changes nothing.
    opening, count = min(openings.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
    return _plain(count, len(texts), len(texts), "share"), opening


def duplicate_share(texts: Sequence[str]) -> Estimate:
    """Return the share of texts that say, but for case and spaces, what an earlier one says."""
    distinct = {" ".join(text.lower().split()) for text in texts}
    return _plain(len(texts) - len(distinct), len(texts), len(texts), "share")


def copied_share(texts: Sequence[str], anchors: Sequence[str], size: int = 8) -> Estimate:
    """Return the share of the texts' word n-grams that stand word for word in their own anchors.

    Args:
        texts: The records.
        anchors: The anchor of each record, in the same order; records of one anchor are one cluster.
        size: Words per n-gram; eight words in a row are seldom the same by chance.
    """
    pairs = [_overlap(text, anchor, size) for text, anchor in zip(texts, anchors, strict=True)]
    copied, total = np.asarray(pairs, dtype=float).reshape(-1, 2).T
    numbers = {anchor: number for number, anchor in enumerate(dict.fromkeys(anchors))}
    return ratio_of_sums(copied, total, [numbers[anchor] for anchor in anchors], "share")


def _overlap(text: str, anchor: str, size: int) -> tuple[int, int]:
    known = set(_ngrams(anchor, size))
    grams = list(_ngrams(text, size))
    return sum(gram in known for gram in grams), len(grams)


def _ngrams(text: str, size: int) -> Iterator[Words]:
    words = text.lower().split()
    return zip(*(words[start:] for start in range(size)), strict=False)


def _plain(top: float, bottom: float, n: int, unit: str) -> Estimate:
    """Return a ratio that has no interval: it is a property of this set of texts."""
    if not bottom or not n:
        return Estimate(None, None, None, n, unit, "not measured: the texts are too few or too short")
    return Estimate(top / bottom, None, None, n, unit)

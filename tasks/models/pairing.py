"""Which texts of a corpus belong together: similar in meaning, and not nearly the same."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tasks.measures.shingles import Shingles
from tasks.models.neighbours import Found, Neighbours, Rows, Vectors

CANDIDATES = 4
"""Neighbours looked at for every partner that a text may have: near duplicates take the place of some."""

OnText = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Pairing:
    """Pairs of texts, and what became of all that were looked at.

    Attributes:
        pairs: [number of pairs, 2] First and second text; by first, then most similar first, ties in text order.
        counts: ``candidates`` = ``below_threshold`` + ``near_duplicates`` + ``surplus`` + ``pairs``. ``texts`` were
            looked at and ``paired_texts`` are first of a pair. Of ``exhausted_texts`` every candidate was similar
            enough and too few were kept: further ones were not looked at.
        search: How candidates were found: kind, lists, lists read for a text, and the share of true neighbours found.
    """

    pairs: Rows
    counts: dict[str, int]
    search: dict[str, Any]

    def __str__(self) -> str:
        told = {name: f"{number:,}" for name, number in self.counts.items()}
        recall = self.search["recall"]["value"]
        found = "exact search" if recall is None else f"{recall:.1%} of the true neighbours found"
        return (
            f"{told['pairs']} pairs of {told['paired_texts']} of {told['texts']} texts ({found}); of "
            f"{told['candidates']} candidates {told['below_threshold']} were not similar enough, "
            f"{told['near_duplicates']} near duplicates, {told['surplus']} more than a text may have"
        )


def related_pairs(
    texts: Sequence[str],
    vectors: Vectors,
    min_similarity: float,
    max_overlap: float,
    max_partners: int,
    on_text: OnText = lambda _done, _total: None,
) -> Pairing:
    """Return ordered pairs (first, second) of texts that are similar and not nearly the same.

    Args:
        texts: The texts.
        vectors: Unit vectors, [len(texts), dimensions].
        min_similarity: Least cosine.
        max_overlap: Largest Jaccard overlap of word 5-grams; above it two texts are near duplicates.
        max_partners: Most seconds per first, most similar first.
        on_text: Told how many texts have their partners, and of how many.
    """
    shingles, neighbours = Shingles(texts), Neighbours(vectors, CANDIDATES * max_partners)
    names = ("candidates", "below_threshold", "near_duplicates", "surplus", "pairs", "paired_texts", "exhausted_texts")
    totals, found, done = np.zeros(len(names), dtype=np.int64), [np.zeros((0, 2), dtype=np.int64)], 0
    for block in neighbours.blocks():
        pairs, counts = _choose(block, shingles, min_similarity, max_overlap, max_partners)
        # A corpus of few texts has no more candidates: then nothing was left out.
        counts[-1] *= neighbours.count < len(texts) - 1
        found.append(pairs)
        totals += counts
        done += len(block.rows)
        on_text(done, len(texts))
    pairs = np.concatenate(found)
    search = {"kind": neighbours.kind, "lists": neighbours.num_lists, "lists_read": neighbours.num_probes}
    counted = {"texts": len(texts)} | dict(zip(names, totals.tolist(), strict=True))
    return Pairing(
        pairs[np.argsort(pairs[:, 0], kind="stable")], counted, search | {"recall": asdict(neighbours.recall)}
    )


def _choose(
    block: Found, shingles: Shingles, min_similarity: float, max_overlap: float, max_partners: int
) -> tuple[Rows, Rows]:
    """Return the pairs of a block's rows, and the counts of ``related_pairs`` in their order."""
    is_there = block.others >= 0
    is_similar = is_there & (block.similarities >= min_similarity)
    first = np.broadcast_to(block.rows[:, None], block.others.shape)
    is_copy = np.zeros_like(is_similar)
    is_copy[is_similar] = shingles.overlaps(first[is_similar], block.others[is_similar]) > max_overlap
    is_good = is_similar & ~is_copy
    is_pair = is_good & (np.cumsum(is_good, axis=1) <= max_partners)
    num_pairs = is_pair.sum(axis=1)
    counts = [
        is_there.sum(),
        (is_there & ~is_similar).sum(),
        is_copy.sum(),
        (is_good & ~is_pair).sum(),
        num_pairs.sum(),
        (num_pairs > 0).sum(),
        (is_similar.all(axis=1) & (num_pairs < max_partners)).sum(),
    ]
    return np.stack([first[is_pair], block.others[is_pair]], axis=1), np.array(counts, dtype=np.int64)

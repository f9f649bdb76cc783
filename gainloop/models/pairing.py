"""Pairs of related texts of a corpus: similar in meaning, and not nearly the same."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from gainloop.measures.duplication import SHINGLE_WORDS
from gainloop.measures.estimate import Estimate, mean_of
from gainloop.measures.ngrams import HashedTexts, Rows, hash_texts, mix

EXACT_ROWS = 30_000
"""Rows up to which every row is compared with every other: 4 s at 256 dimensions on two cores, less than lists save."""

BLOCK_ROWS = 4096
SAMPLE_ROWS = 400
TRAINING_ROWS = 40
"""Rows per list that the lists' centres are found from; evenly spaced, so that no draw decides."""

LEAST_RECALL = 0.95
FIRST_PROBES = 8
MOST_PROBED = 1 / 16
"""Reading more of the lists than this takes as long as comparing all: a matrix product does eight rows in the time."""

DIGITS = 5
"""Decimal places of similarities: rounded, so that no order of sums, and so no number of threads, decides a tie."""

SPARE = 16
"""Neighbours beyond ``count`` that take part in settling ties: of more copies of one text any may be cut off."""

Vectors = NDArray[np.float32]

TEXTS_AT_ONCE = 20_000
PAIRS_AT_ONCE = 20_000
HASH_BITS = 30
"""Of a shingle's hash; two texts of 200 words then seem to share one that they do not once in 25,000 pairs."""

CANDIDATES = 4
"""Neighbours considered for every partner that a text may have: near duplicates take the place of some."""

OnText = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Found:
    """The neighbours of some rows, most similar first, ties in row order.

    Attributes:
        rows: [number] The rows.
        similarities: [number, count] Cosines; -2 where there is no neighbour.
        others: [number, count] The neighbours; -1 where there is none.
    """

    rows: Rows
    similarities: Vectors
    others: Rows


class Neighbours:
    """Finds the ``count`` most similar other rows of each row.

    Above ``EXACT_ROWS`` rows it reads only the inverted lists nearest to a row: 2 to 4 times sqrt(rows) of them are
    made by k-means, and as many are read, doubling from ``FIRST_PROBES``, as it takes for the lower end of the recall
    of ``SAMPLE_ROWS`` rows, compared with exact search, to be ``LEAST_RECALL``. Where reading ``MOST_PROBED`` of them
    is not enough, as with vectors that have no clusters, search is exact. Neither draws nor threads change a result,
    but for rows with more than ``SPARE`` equal neighbours at the cut. A graph (HNSW) would read less, but one
    that several threads build differs each time.

    Args:
        vectors: [rows, dimensions] Vectors of length 1.
        count: Neighbours of each row.

    Attributes:
        kind: "exact" or "lists".
        num_lists, num_probes: Number of lists, and of lists read for a row; 0 in exact search.
        recall: Share of true neighbours that are found; see above.
    """

    def __init__(self, vectors: Vectors, count: int) -> None:
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self.count = max(0, min(count, len(vectors) - 1))
        self.kind, self.num_lists, self.num_probes = "exact", 0, 0
        self.recall = Estimate(None, None, None, 0, "share", "not measured: search is exact")
        self._index: faiss.IndexIVFFlat | None = None
        if len(vectors) > EXACT_ROWS:
            self._choose()

    def blocks(self) -> Iterator[Found]:
        """Yield the neighbours of all rows, block by block; through lists, rows of one list stand together."""
        if not self.count:
            return
        order = np.arange(len(self.vectors))
        if self._index is not None:
            order = np.argsort(self._index.quantizer.search(self.vectors, 1)[1][:, 0], kind="stable")
        for start in range(0, len(order), BLOCK_ROWS):
            rows = order[start : start + BLOCK_ROWS]
            similarities, others = self._search(self.vectors[rows], exactly=self._index is None)
            yield ordered(rows, similarities, others, self.count)

    def _choose(self) -> None:
        index = _lists_of(self.vectors)
        sample = np.linspace(0, len(self.vectors) - 1, SAMPLE_ROWS).astype(np.int64)
        truth = ordered(sample, *self._search(self.vectors[sample], exactly=True), self.count)
        self._index = index
        probes = FIRST_PROBES
        while probes <= MOST_PROBED * index.nlist:
            index.nprobe = probes
            found = ordered(sample, *self._search(self.vectors[sample], exactly=False), self.count)
            self.recall = recall_of(found, truth)
            if (self.recall.low or 0) >= LEAST_RECALL:
                self.kind, self.num_lists, self.num_probes = "lists", index.nlist, probes
                return
            probes *= 2
        self._index = None
        self.recall = Estimate(None, None, None, 0, "share", "not measured: search is exact, as lists find too few")

    def _search(self, queries: Vectors, *, exactly: bool) -> tuple[Vectors, Rows]:
        """Return ``SPARE`` more neighbours than ``count``: a row finds itself, and ties are settled after rounding."""
        wanted = min(self.count + 1 + SPARE, len(self.vectors))
        if exactly:
            found = faiss.knn(queries, self.vectors, wanted, metric=faiss.METRIC_INNER_PRODUCT)
        else:
            assert self._index is not None
            found = self._index.search(queries, wanted)
        similarities, others = found
        return similarities, others


def ordered(rows: Rows, similarities: Vectors, others: Rows, count: int) -> Found:
    """Return the neighbours without the rows themselves, in the order that ``Found`` promises."""
    rounded = similarities.round(DIGITS)
    nothing = (others == rows[:, None]) | (others < 0)
    rounded[nothing] = -2
    order = np.lexsort((others, -rounded))[:, :count]
    others = np.where(nothing, -1, others)
    return Found(rows, np.take_along_axis(rounded, order, 1), np.take_along_axis(others, order, 1))


def recall_of(found: Found, truth: Found) -> Estimate:
    """Return the share of each row's true neighbours that were found, with its interval over rows."""
    shares = [np.isin(true, some).mean() for some, true in zip(found.others, truth.others, strict=True)]
    return mean_of(np.array(shares), np.arange(len(shares)), "share")


def _lists_of(vectors: Vectors) -> "faiss.IndexIVFFlat":
    """Return an index of inverted lists over the rows; k-means begins from a fixed seed."""
    num_rows, width = vectors.shape
    num_lists = 2 ** int(np.log2(4 * np.sqrt(num_rows)))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, num_lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.seed, index.cp.spherical = 8, 0, True
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, 2 * TRAINING_ROWS
    sample = np.linspace(0, num_rows - 1, min(num_rows, TRAINING_ROWS * num_lists)).astype(np.int64)
    index.train(vectors[sample])
    index.add(vectors)
    return index


class Shingles:
    """The different word 5-grams of texts, 5 bytes each; a shorter text is one shingle, and a text of no word has none.

    Case and punctuation make no difference. ``duplication.jaccard``, to all 64 bits, takes 25 times as long: 4.4 s
    against 0.18 s for 65,536 pairs of texts of 200 words, and pairing 100,000 texts asks for up to 1.6 million pairs.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        starts = range(0, max(1, len(texts)), TEXTS_AT_ONCE)
        blocks = [_rows_of(hash_texts(texts[at : at + TEXTS_AT_ONCE])) for at in starts]
        self._rows = vstack(blocks, format="csr")
        self._lengths = np.diff(self._rows.indptr)

    def overlaps(self, first: Rows, second: Rows) -> NDArray[np.float64]:
        """Return the Jaccard overlap of pairs of texts, 0 to 1; 0 for texts without a word.

        >>> one, two = "a b c d e f", "b c d e f g"
        >>> Shingles([one, two]).overlaps(np.array([0]), np.array([1])).round(2)
        array([0.33])
        """
        common = np.zeros(len(first), dtype=np.int64)
        for start in range(0, len(first), PAIRS_AT_ONCE):
            some = slice(start, start + PAIRS_AT_ONCE)
            both = self._rows[first[some]].multiply(self._rows[second[some]])
            common[some] = np.diff(both.tocsr().indptr)
        either = self._lengths[first] + self._lengths[second] - common
        return np.asarray(common / np.maximum(either, 1), dtype=float)


def _rows_of(texts: HashedTexts) -> csr_array:
    """Return [number of texts, 2^30] ones where a text has a shingle."""
    hashes = texts.grams(SHINGLE_WORDS)
    is_one = texts.whole(SHINGLE_WORDS)
    for size in range(1, SHINGLE_WORDS):
        starts = texts.starts[:-1][texts.lengths == size]
        hashes[starts] = texts.grams(size)[starts] if starts.size else hashes[starts]
        is_one[starts] = True
    columns = (mix(hashes[is_one]) >> np.uint64(64 - HASH_BITS)).astype(np.int32)
    ends = np.concatenate([[0], np.cumsum(texts.count(is_one))]).astype(np.int32)
    rows = csr_array((np.ones(len(columns), dtype=np.int8), columns, ends), shape=(len(texts), 2**HASH_BITS))
    rows.sum_duplicates()
    rows.data[:] = 1
    return rows


@dataclass(frozen=True, slots=True)
class Pairing:
    """Pairs of texts, and counts of all candidates.

    Attributes:
        pairs: [number of pairs, 2] First and second text; by first, then most similar first, ties in text order.
        counts: ``candidates`` = ``below_threshold`` + ``near_duplicates`` + ``surplus`` + ``pairs``. Of ``texts``,
            ``paired_texts`` are first of a pair. Of ``exhausted_texts`` every candidate was similar
            enough and too few were kept: further ones were not looked at.
        search: Search of candidates: kind, lists, lists read for a text, and the share of true neighbours found.
    """

    pairs: Rows
    counts: dict[str, int]
    search: dict[str, Any]

    def __str__(self) -> str:
        counts = {name: f"{number:,}" for name, number in self.counts.items()}
        recall = self.search["recall"]["value"]
        found = "exact search" if recall is None else f"{recall:.1%} of the true neighbours found"
        return (
            f"{counts['pairs']} pairs of {counts['paired_texts']} of {counts['texts']} texts ({found}); of "
            f"{counts['candidates']} candidates {counts['below_threshold']} were not similar enough, "
            f"{counts['near_duplicates']} near duplicates, {counts['surplus']} more than a text may have"
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
        texts: Texts to pair.
        vectors: Unit vectors, [len(texts), dimensions].
        min_similarity: Least cosine.
        max_overlap: Largest Jaccard overlap of word 5-grams; above it two texts are near duplicates.
        max_partners: Most seconds per first, most similar first.
        on_text: Called with the number of texts that have their partners, and of all texts.
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

"""The most similar other rows of each row of a matrix: exact while that is fast, else through inverted lists."""

from collections.abc import Iterator
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from tasks.measures.estimate import Estimate, mean_of

EXACT_ROWS = 30_000
"""Up to here every row is compared with every other: 4 s at 256 dimensions on two cores, less than lists would save."""

BLOCK_ROWS = 4096
SAMPLE_ROWS = 400
TRAINING_ROWS = 40
"""Rows per list that the lists' centres are found from; evenly spaced, so that no draw decides."""

LEAST_RECALL = 0.95
FIRST_PROBES = 8
MOST_PROBED = 1 / 16
"""Reading more of the lists than this takes as long as comparing all: a matrix product does eight rows in the time."""

DIGITS = 5
"""Similarities are rounded to so many places, so that no order of sums, and so no number of threads, decides a tie."""

SPARE = 16
"""Neighbours beyond those wanted that take part in settling ties: of more copies of one text any may be cut off."""

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Found:
    """The neighbours of some rows, most similar first, ties in row order.

    Attributes:
        rows: [number] Whose neighbours they are.
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
    of ``SAMPLE_ROWS`` rows, held against exact search, to be ``LEAST_RECALL``. Where reading ``MOST_PROBED`` of them is
    not enough, as with vectors that have no clusters, search is exact. Neither draws nor threads change a result, but
    for rows with more than ``SPARE`` equal neighbours at the cut. A graph (HNSW) would read less, but one that several
    threads build differs each time.

    Args:
        vectors: [rows, dimensions] Of length 1.
        count: Neighbours of each row.

    Attributes:
        kind: "exact" or "lists".
        num_lists, num_probes: How many there are, and how many are read for a row; 0 in exact search.
        recall: The share of true neighbours that are found; see above.
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

    def _search(self, asked: Vectors, *, exactly: bool) -> tuple[Vectors, Rows]:
        """Return some neighbours more than asked for: a row finds itself, and ties are settled after rounding."""
        wanted = min(self.count + 1 + SPARE, len(self.vectors))
        if exactly:
            found = faiss.knn(asked, self.vectors, wanted, metric=faiss.METRIC_INNER_PRODUCT)
        else:
            assert self._index is not None
            found = self._index.search(asked, wanted)
        similarities, others = found
        return similarities, others


def ordered(rows: Rows, similarities: Vectors, others: Rows, count: int) -> Found:
    """Return what was found without the rows themselves, in the order that ``Found`` promises."""
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

"""How much wording pairs of texts share: word 5-grams of many texts as one sparse matrix."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from tasks.measures.duplication import SHINGLE_WORDS
from tasks.measures.hashed import HashedTexts, Rows, hash_texts, mix

TEXTS_AT_ONCE = 20_000
PAIRS_AT_ONCE = 20_000
HASH_BITS = 30
"""Of a shingle's hash; two texts of 200 words then seem to share one that they do not once in 25,000 pairs."""


class Shingles:
    """The different word 5-grams of texts, 5 bytes each; a shorter text is one shingle, and a text of no word has none.

    Words are those of ``text.words``: case and punctuation make no difference. Made once, it answers millions of pairs
    of any length; ``duplication.jaccard`` is of few pairs of many texts, which it hashes anew, to all 64 bits.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        starts = range(0, max(1, len(texts)), TEXTS_AT_ONCE)
        blocks = [_rows_of(hash_texts(pl.Series(texts[at : at + TEXTS_AT_ONCE], dtype=pl.String))) for at in starts]
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

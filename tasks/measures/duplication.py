"""Texts that are nearly the same: MinHash finds candidates, the true Jaccard similarity decides."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tasks.measures.hashed import Flags, HashedTexts, Hashes, Rows, mix

SHINGLE_WORDS: Final = 5
LEAST_SIMILAR: Final = 0.8
BANDS, BAND_ROWS = 14, 4
"""A pair at 0.8 meets in some band with probability 0.9994, one at 0.5 with 0.6, one at 0.2 with 0.02."""

MOST_BACK: Final = 8
"""Comparisons of a text: with the likeliest of those that stand next before it in its buckets, then the second next,
and so on, so that thousands of texts that share most of their wording cost no square."""

CLEARLY_LESS: Final = 0.55
"""Pairs whose signatures agree less are not compared: 4.7 standard errors below what a pair at 0.8 shows."""

PAIRS_AT_ONCE: Final = 2000

Signatures = NDArray[np.uint32]


def signatures_of(texts: HashedTexts) -> Signatures:
    """Return [number of texts, 56] the MinHash of each text's word 5-grams; the largest there is where it has none.

    Source: Broder 1997. The permutations are xor and an odd multiplier on mixed 64-bit hashes.
    """
    num_hashes = BANDS * BAND_ROWS
    flips = mix(np.arange(1, num_hashes + 1, dtype=np.uint64))
    factors = mix(flips) | np.uint64(1)
    made = np.full((len(texts), num_hashes), 2**32 - 1, dtype=np.uint32)
    for where, piece in texts.pieces():
        (rows,) = np.nonzero(piece.lengths >= SHINGLE_WORDS)
        if rows.size:
            whole = piece.whole(SHINGLE_WORDS)
            hashes = mix(piece.grams(SHINGLE_WORDS)[whole])
            starts = np.concatenate([[0], np.cumsum(piece.count(whole)[rows])[:-1]])
            for column, (flip, factor) in enumerate(zip(flips, factors, strict=True)):
                drawn = ((hashes ^ flip) * factor) >> np.uint64(32)
                made[where.start + rows, column] = np.minimum.reduceat(drawn, starts)
    return made


def near_duplicates(texts: HashedTexts, signatures: Signatures, rows: Rows) -> Flags:
    """Tell of some texts which have a Jaccard similarity of word 5-grams of 0.8 or more to an earlier one of them.

    No text is called a duplicate that is none. One that is may be missed, in one of some thousand cases; more often if
    hundreds of different texts are nearly as similar. A text of fewer than five words is never one.

    Args:
        signatures: Of all the texts.
        rows: Which texts are asked about and compared with each other, earlier ones first.

    Source: Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, section 3.4, for the bands.
    """
    found = np.zeros(len(texts), dtype=bool)
    asked = rows[texts.lengths[rows] >= SHINGLE_WORDS]
    buckets = [_in_buckets(signatures[asked, band * BAND_ROWS : (band + 1) * BAND_ROWS]) for band in range(BANDS)]
    for back in range(1, MOST_BACK + 1):
        pairs = [_pairs(order, keys, back) for order, keys in buckets]
        later, earlier = asked[_distinct(np.concatenate(pairs), len(asked))]
        if not later.size:
            break
        is_open = ~found[later]
        later, earlier = _likeliest(signatures, later[is_open], earlier[is_open])
        for begin in range(0, len(later), PAIRS_AT_ONCE):
            ours, theirs = later[begin : begin + PAIRS_AT_ONCE], earlier[begin : begin + PAIRS_AT_ONCE]
            found[ours[jaccard(texts, ours, theirs) >= LEAST_SIMILAR]] = True
    return found[rows]


def jaccard(texts: HashedTexts, first: Rows, second: Rows) -> NDArray[np.float64]:
    """Return the similarity of pairs of texts: word 5-grams that both have by those that either has."""
    (ours, our_pairs), (theirs, their_pairs) = (_gram_set(texts.take(rows)) for rows in (first, second))
    num_pairs = len(first)
    common = np.bincount(our_pairs[np.isin(ours, theirs, assume_unique=True)], minlength=num_pairs)
    either = np.bincount(our_pairs, minlength=num_pairs) + np.bincount(their_pairs, minlength=num_pairs) - common
    return np.asarray(common / np.maximum(either, 1), dtype=float)


def _gram_set(texts: HashedTexts) -> tuple[Hashes, Rows]:
    """Return each text's different 5-grams, told apart by text, and the text of each."""
    whole = texts.whole(SHINGLE_WORDS)
    hashes, places = np.unique(texts.keyed(SHINGLE_WORDS)[whole], return_index=True)
    return hashes, texts.owners[whole][places]


def _in_buckets(band: Signatures) -> tuple[Rows, Hashes]:
    """Return the texts so that those of one bucket stand together, earlier ones first, and the bucket of each."""
    keys = np.zeros(len(band), dtype=np.uint64)
    for column in band.T:
        keys = mix(keys ^ mix(column.astype(np.uint64) + np.uint64(1)))
    order = np.argsort(keys, kind="stable")
    return order, keys[order]


def _pairs(order: Rows, keys: Hashes, back: int) -> Rows:
    """Return each text's place and that of the one so far before it in its bucket, as one number."""
    same = keys[back:] == keys[:-back]
    return np.asarray(order[back:][same] * len(order) + order[:-back][same])


def _distinct(pairs: Rows, num_texts: int) -> Rows:
    """Return [2, number of pairs] later and earlier places, each pair once."""
    return np.stack(np.divmod(np.unique(pairs), max(1, num_texts)))


def _likeliest(signatures: Signatures, later: Rows, earlier: Rows) -> tuple[Rows, Rows]:
    """Return of each later text the one pair whose signatures agree most, if they agree well enough."""
    agreement = np.zeros(len(later))
    for begin in range(0, len(later), PAIRS_AT_ONCE):
        some = slice(begin, begin + PAIRS_AT_ONCE)
        agreement[some] = (signatures[later[some]] == signatures[earlier[some]]).mean(axis=1)
    order = np.lexsort((earlier, agreement, later))
    is_last = np.append(later[order[1:]] != later[order[:-1]], True)[: len(order)]
    best = order[is_last & (agreement[order] >= CLEARLY_LESS)]
    return later[best], earlier[best]

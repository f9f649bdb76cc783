"""Which texts of a corpus belong together."""

from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from schemas.errors import BadInput

SHINGLE_WORDS = 5
BLOCK_ROWS = 1024

Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def embed(texts: Sequence[str], dimensions: int = 128) -> Vectors:
    """Return one unit vector per text: TF-IDF over words and word pairs, projected by SVD (latent semantic analysis).

    It needs no model and no network, and is the same on every machine.

    Returns:
        [len(texts), at most dimensions], float32.

    Raises:
        BadInput: No text has a word.
    """
    try:
        counts = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), max_features=50_000).fit_transform(texts)
    except ValueError as error:
        raise BadInput(
            f"embedding {len(texts):,} texts: {error}; words of two letters or more are needed. "
            "Choose a source that has some, or another method."
        ) from error
    width = max(1, min(dimensions, counts.shape[1] - 1, counts.shape[0] - 1))
    projected = TruncatedSVD(width, random_state=0).fit_transform(counts)
    vectors: Vectors = normalize(projected).astype(np.float32)
    return vectors


def related_pairs(
    texts: Sequence[str], vectors: Vectors, min_similarity: float, max_overlap: float, max_partners: int
) -> list[tuple[int, int]]:
    """Return ordered pairs (first, second) of texts that are similar and not nearly the same.

    Args:
        texts: The texts.
        vectors: Unit vectors, [len(texts), dimensions].
        min_similarity: Least cosine.
        max_overlap: Largest Jaccard overlap of word 5-grams; above it two texts are near duplicates.
        max_partners: Most seconds per first, most similar first.
    """
    shingled = [shingles(text) for text in texts]
    pairs = []
    for first, candidates in _nearest(vectors, min_similarity, 4 * max_partners):
        distinct = (second for second in candidates if overlap(shingled[first], shingled[second]) <= max_overlap)
        pairs += [(first, second) for second, _ in zip(distinct, range(max_partners), strict=False)]
    return pairs


def shingles(text: str) -> set[tuple[str, ...]]:
    """Return a text's word 5-grams; a shorter text is one shingle.

    >>> len(shingles("a b c d e f"))
    2
    """
    words = text.casefold().split()
    return {tuple(words[at : at + SHINGLE_WORDS]) for at in range(max(1, len(words) - SHINGLE_WORDS + 1))}


def overlap(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    """Return the Jaccard overlap of two sets, 0 to 1.

    >>> overlap({("a",), ("b",)}, {("b",), ("c",)})
    0.3333333333333333
    """
    return len(one & other) / max(1, len(one | other))


def _nearest(vectors: Vectors, min_similarity: float, most: int) -> Iterator[tuple[int, list[int]]]:
    """Yield each row with its most similar other rows, best first, ties in row order; exact, block by block."""
    for start in range(0, len(vectors), BLOCK_ROWS):
        similarities = vectors[start : start + BLOCK_ROWS] @ vectors.T
        for offset, row in enumerate(similarities):
            row[start + offset] = -2
            best = np.argsort(-row, kind="stable")[:most]
            yield start + offset, [int(other) for other in best if row[other] >= min_similarity]

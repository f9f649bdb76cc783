"""Texts as vectors that lie close together where the texts are about the same."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from gainloop.methods.sbp import TFIDF
from gainloop.store.lacks import explain
from schemas.characters import num_unspaced, words
from schemas.errors import BadInput
from schemas.profile import LocalEmbedding
from schemas.rows import content_hash

LEARNED_TEXTS = 20_000
"""A projection is learned from no more texts than these, evenly spaced: their word pairs take a gigabyte."""

BLOCK_TEXTS = 1024
WIDTH = 128

Vectors = NDArray[np.float32]
OnText = Callable[[int, int], None]


def embed_words(texts: Sequence[str], on_text: OnText, dimensions: int = WIDTH) -> Vectors:
    """Return TF-IDF over words and word pairs, projected by SVD (latent semantic analysis).

    It needs no model and no network, and is the same on every machine.

    Raises:
        BadInput: No text has a word.
    """
    learned = texts
    if len(texts) > LEARNED_TEXTS:
        learned = [texts[at] for at in np.linspace(0, len(texts) - 1, LEARNED_TEXTS).astype(int)]
    counted = TfidfVectorizer(
        tokenizer=_telling,
        token_pattern=None,
        lowercase=False,
        sublinear_tf=True,
        ngram_range=(1, 2),
        max_features=50_000,
    )
    try:
        counts = counted.fit_transform(learned)
    except ValueError as error:
        raise BadInput(
            f"embedding {len(texts):,} texts: {error}; words of two letters or more are needed. "
            "Choose a source that has some, or another method."
        ) from error
    projection = TruncatedSVD(max(1, min(dimensions, counts.shape[1] - 1, counts.shape[0] - 1)), random_state=0)
    projection.fit(counts)
    return _by_block(texts, lambda block: unit_rows(projection.transform(counted.transform(block))), on_text)


def embed_by_chance(texts: Sequence[str], dimensions: int = WIDTH) -> Vectors:
    """Return vectors in directions drawn at random, by the texts alone: neighbours have nothing in common."""
    rng = np.random.default_rng(int(content_hash("chance", *texts), 16))
    return unit_rows(rng.standard_normal((len(texts), dimensions)))


def embed_here(texts: Sequence[str], model: str, revision: str, embedding: LocalEmbedding, on_text: OnText) -> Vectors:
    """Return the vectors of a sentence-transformers model in this process.

    Raises:
        BadInput: There is no such model, or the package is not installed.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise BadInput(
            f"loading the embedding model {model!r}: the package sentence-transformers is not installed; it, or "
            f"servers of the model, are needed. Run `pip install -e '.[embeddings]'`, or set embedding.kind of the "
            f"profile to servers, or text.method.embedder to {TFIDF}."
        ) from None
    try:
        loaded = SentenceTransformer(model, revision=revision or None, device=embedding.device, trust_remote_code=False)
    except Exception as error:  # libraries raise a dozen kinds
        if lack := explain(f"loading the embedding model {model!r}", error):
            raise lack from error
        first = " ".join(str(error).split())[:200]
        raise BadInput(
            f"loading the embedding model {model!r} on {embedding.device}: {first}; {TFIDF}, a folder, or a hub model "
            "that this machine can reach and hold is needed. Set text.method.embedder to one, or embedding of the "
            "profile to servers that have it."
        ) from error

    def encode(block: Sequence[str]) -> Vectors:
        return unit_rows(loaded.encode(list(block), batch_size=embedding.texts_at_once, show_progress_bar=False))

    return _by_block(texts, encode, on_text)


def _by_block(texts: Sequence[str], encode: Callable[[Sequence[str]], Vectors], on_text: OnText) -> Vectors:
    blocks = []
    for start in range(0, len(texts), BLOCK_TEXTS):
        blocks.append(encode(texts[start : start + BLOCK_TEXTS]))
        on_text(min(start + BLOCK_TEXTS, len(texts)), len(texts))
    return np.concatenate(blocks)


def _telling(text: str) -> list[str]:
    """Return the words of two letters or more, and those of scripts without spaces."""
    return [word for word in words(text) if len(word) > 1 or num_unspaced(word)]


def unit_rows(vectors: NDArray[np.floating]) -> Vectors:
    """Return vectors of length 1 in the same directions."""
    unit: Vectors = normalize(vectors).astype(np.float32, copy=False)
    return unit

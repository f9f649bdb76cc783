"""How much the texts of a batch repeat each other."""

import zlib
from collections import Counter
from hashlib import blake2b
from itertools import islice
from typing import Final

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from gainloop.measures.estimate import Estimate
from gainloop.measures.ngrams import CHUNK_TEXTS, Flags, HashedTexts, count_distinct, distinct, gather_grams
from schemas.characters import TOKEN, folded

VENDI_TEXTS: Final = 1000
"""Texts of the score, at most: their eigenvalues take half a second, and time grows with the cube."""

FACET_TEXTS: Final = 20
"""Texts of a facet, at least: of fewer, two that begin alike by chance would be more than a tenth."""

GZIP: Final = 31
"""zlib's name for its gzip format with a window of 32 KiB."""

GZIP_BYTES: Final = 2**25
"""Bytes that are compressed, at most: gzip reads ten million a second, and more would change the third digit."""


def distinct_ngrams(texts: HashedTexts, size: int = 3, among: Flags | None = None) -> Estimate:
    """Return the share of word n-grams that differ from all others; 1 = no n-gram comes twice.

    It falls as texts are added, so compare only batches of about one size: no interval.

    Args:
        among: Flags of the texts that are counted; default: all.

    Source: Li et al. 2016, distinct-n, over all texts together.
    """
    num_texts = len(texts) if among is None else int(among.sum())
    return _plain(*count_distinct(texts, size, among), num_texts, "share")


def new_ngrams(texts: HashedTexts, earlier: HashedTexts, size: int = 5) -> Estimate:
    """Return the distinct word n-grams that no earlier text has, by all n-grams: 0 where texts only repeat, 1 where
    nothing comes twice. A count of this very text: no interval."""
    grams = gather_grams(texts, size)
    own, others = distinct(grams), distinct(gather_grams(earlier, size))
    return _plain(int(np.isin(own, others, invert=True).sum()), len(grams), len(texts), "share")


def vendi_score(texts: HashedTexts) -> Estimate:
    """Return how many different texts there are in effect: from 1, all alike, to as many as there are, none alike.

    Alike is the cosine of the counts of word pairs. The score rises with the number of texts: compare only where that
    is the same. Texts of fewer than two words are left out.

    Source: Friedman & Dieng 2023, arXiv:2210.02410: exp of the entropy of the eigenvalues of the similarities by n.
    """
    used = texts.take(np.flatnonzero(texts.lengths >= 2))
    num_left_out = len(texts) - len(used)
    if not len(used):
        return Estimate(None, None, None, 0, "texts", "not measured: no text has two words", num_dropped=num_left_out)
    whole = used.whole(2)
    _, columns = np.unique(used.grams(2)[whole], return_inverse=True)
    starts = np.concatenate([[0], np.cumsum(used.count(whole))])
    counts = csr_array((np.ones(len(columns)), columns, starts), shape=(len(used), int(columns.max()) + 1))
    counts.sum_duplicates()
    lengths = np.sqrt(counts.multiply(counts).sum(axis=1))
    counts.data /= np.repeat(lengths, np.diff(counts.indptr))
    shares = np.linalg.eigvalsh((counts @ counts.T).toarray() / len(used))
    shares = shares[shares > 1e-12]
    score = float(np.exp(-(shares * np.log(shares)).sum()))
    return Estimate(score, None, None, len(used), "texts", num_dropped=num_left_out)


def compression_ratio(texts: pl.Series) -> Estimate:
    """Return bytes before gzip over bytes after, of the first 32 MiB: the higher, the more the texts repeat each other.

    gzip looks back 32 KiB, so the ratio hardly depends on how many texts there are beyond that.

    Source: Shaib et al. 2024, arXiv:2403.00553.
    """
    packer, before, after, num_read = zlib.compressobj(wbits=GZIP), 0, 0, 0
    while num_read < len(texts) and before < GZIP_BYTES:
        some = texts.slice(num_read, CHUNK_TEXTS)
        lines = "".join(f"{text}\n" for text in some).encode()
        before, after, num_read = before + len(lines), after + len(packer.compress(lines)), num_read + len(some)
    after += len(packer.flush())
    has_text = before > num_read
    return _plain(before, after if has_text else 0, num_read, "ratio")


def common_opening(texts: pl.Series, num_words: int = 4) -> tuple[Estimate, str]:
    """Return the share of texts that begin with the most common first words, and those words."""
    openings = Counter(_opening(text, num_words) for text in texts)
    # Of equally common ones the first in the alphabet, so that the order of texts changes nothing.
    opening, count = min(openings.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
    return _plain(count, len(texts), len(texts), "share"), opening


def facet_opening(texts: pl.Series, facets: pl.Series, num_words: int = 4) -> tuple[Estimate, str]:
    """Return the largest share of one facet's texts that begin alike, and which facet and words those are.

    A template that each of four facets has for itself is a quarter over all texts, and 1 here. Facets are one up to
    their first ``": "``; those with fewer than ``FACET_TEXTS`` texts, of which a pair that begins alike would be much,
    are looked at together. It is the largest of several shares, so somewhat above what one facet has: no interval.

    Args:
        texts, facets: [n] Each text and the facet of its request.

    Source: FinePhrase 2026, arXiv:2604.13977, "most common start": 115 in 1,000 with one generator, 3 with another.
    """
    rows = pl.DataFrame({"text": texts, "facet": facets.cast(pl.String).str.split(": ").list.first()})
    rows = rows.with_columns(facet=pl.when(pl.len().over("facet") >= FACET_TEXTS).then("facet").otherwise(pl.lit("")))
    enough = rows.filter(pl.len().over("facet") >= FACET_TEXTS)
    found = [(str(name), *common_opening(part["text"], num_words)) for (name,), part in enough.group_by("facet")]
    if not found:
        return _plain(0, 0, len(texts), "share"), ""
    facet, estimate, opening = min(found, key=lambda one: (-(one[1].value or 0), one[0]))
    return estimate, f"{facet}: {opening}" if facet else opening


def duplicate_share(texts: pl.Series) -> Estimate:
    """Return the share of texts that equal an earlier one but for case, spaces and what cannot be seen."""
    different = {blake2b(folded(text).encode(), digest_size=8).digest() for text in texts}
    return _plain(len(texts) - len(different), len(texts), len(texts), "share")


def _opening(text: str, num_words: int) -> str:
    return " ".join(found[0] for found in islice(TOKEN.finditer(text), num_words))


def _plain(top: float, bottom: float, n: int, unit: str) -> Estimate:
    """Return a ratio that has no interval: it is a property of this set of texts."""
    if not bottom or not n:
        return Estimate(None, None, None, n, unit, "not measured: the texts are too few or too short")
    return Estimate(top / bottom, None, None, n, unit)

"""Which documents are held out: each by a draw of its own, and one that nearly repeats another as that one is."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from rensa import RMinHash

from gainloop.measures.duplication import (
    LEAST_SIMILAR,
    SHINGLE_WORDS,
    Neighbours,
    bands_of,
    jaccard,
    kept,
    restored,
    sharing,
    sketch,
)
from gainloop.measures.ngrams import hash_texts
from gainloop.store import Store
from gainloop.store.documents import earlier_versions, list_documents, read_documents
from schemas.rows import heldout_draw

PAIRS_AT_ONCE = 256
"""Pairs of documents that are compared word by word at a time."""

Between = tuple[float, float]
"""The lowest and the highest draw that a document follows: two where it nearly repeats documents of both kinds."""


def decide_documents(store: Store, source_id: str, parts: dict[str, str]) -> int:
    """Decide by which draw each new document of some parts is held out, and return how many were decided.

    A decision is never changed: no later document moves an earlier one, and a larger fraction only adds. Of documents
    that come at once the one with the lowest draw is decided first. A changed document follows its earlier versions.

    Args:
        parts: Fingerprints under the names of the parts, all of them, decided or not.
    """
    documents = list_documents(store, source_id, parts)
    is_new = documents["low"].is_null()
    if not is_new.any():
        return 0
    draws = pl.Series([heldout_draw(one) for one in documents["document_id"]], dtype=pl.Float64)
    corpus = _Corpus(store, documents, _sketches(store, documents))
    order = documents.select("document_id", draw=draws, row=pl.int_range(pl.len())).filter(is_new)
    rows = order.sort("draw", "document_id")["row"].to_list()
    decided = _follow(corpus, rows, draws.to_list(), corpus.similar(rows))
    store.insert(
        documents=pl.DataFrame(
            {
                "document_id": documents["document_id"].gather(rows),
                "version": documents["version"].gather(rows),
                "low": [decided[row][0] for row in rows],
                "high": [decided[row][1] for row in rows],
                "sketch": pl.Series([_bytes_of(corpus.sketches[row]) for row in rows], dtype=pl.Binary),
            }
        )
    )
    return len(rows)


@dataclass(frozen=True, slots=True)
class _Corpus:
    """Documents and their sketches; one of fewer than five words has none."""

    store: Store
    documents: pl.DataFrame
    sketches: list[RMinHash | None]

    def similar(self, rows: list[int]) -> dict[int, list[int]]:
        """Return for each new document, in order, those decided before it that it nearly repeats."""
        pairs = list(self._candidates(rows))
        found: dict[int, list[int]] = {}
        for begin in range(0, len(pairs), PAIRS_AT_ONCE):
            some = pairs[begin : begin + PAIRS_AT_ONCE]
            for (row, other), similarity in zip(some, self._similarities(some), strict=True):
                if similarity >= LEAST_SIMILAR:
                    found.setdefault(row, []).append(other)
        return found

    def _candidates(self, rows: list[int]) -> list[tuple[int, int]]:
        index, new = Neighbours(LEAST_SIMILAR), set(rows)
        alike = self._alike()
        for row, sketched in alike.items():
            if row not in new:
                index.add(row, sketched)
        pairs = []
        for row in rows:
            if sketched := alike.get(row):
                near, is_crowded = index.near(sketched)
                pairs += [(row, other) for other in near]
                if not is_crowded:
                    index.add(row, sketched)
        return pairs

    def _alike(self) -> dict[int, RMinHash]:
        """Return the sketches of the documents that share a band with another: no other need be in an index."""
        sketched = [(row, one) for row, one in enumerate(self.sketches) if one]
        flags = sharing(bands_of([one for _, one in sketched], LEAST_SIMILAR))
        return {row: one for (row, one), is_alike in zip(sketched, flags, strict=True) if is_alike}

    def _similarities(self, pairs: list[tuple[int, int]]) -> list[float]:
        numbers = sorted({row for pair in pairs for row in pair})
        texts = hash_texts(pl.concat(list(read_documents(self.store, self.documents[numbers]))))
        places = {row: place for place, row in enumerate(numbers)}
        first, second = (np.array([places[pair[side]] for pair in pairs]) for side in (0, 1))
        return [float(one) for one in jaccard(texts, first, second)]


def _follow(corpus: _Corpus, rows: list[int], draws: list[float], similar: dict[int, list[int]]) -> dict[int, Between]:
    """Return what each new document follows: those it nearly repeats and its earlier versions, or its own draw."""
    lows, highs, ids = (corpus.documents[name].to_list() for name in ("low", "high", "document_id"))
    decided: dict[int, Between] = {row: (low, highs[row]) for row, low in enumerate(lows) if low is not None}
    earlier = {
        name: (low, high) for name, low, high in earlier_versions(corpus.store, [ids[row] for row in rows]).rows()
    }
    for row in rows:
        before = [decided[other] for other in similar.get(row, [])]
        before += [earlier[ids[row]]] if ids[row] in earlier else []
        before = before or [(draws[row], draws[row])]
        decided[row] = (min(low for low, _ in before), max(high for _, high in before))
    return decided


def _sketches(store: Store, documents: pl.DataFrame) -> list[RMinHash | None]:
    """Return the sketch of each document; those that are not kept, or that another release wrote, are made."""
    found: list[RMinHash | None] = [_restored(state) for state in documents["sketch"]]
    missing = [
        row for row, (one, low) in enumerate(zip(found, documents["low"], strict=True)) if low is None or not one
    ]
    made: list[RMinHash | None] = []
    for texts in read_documents(store, documents[missing]):
        hashed = hash_texts(texts)
        long_enough = hashed.lengths >= SHINGLE_WORDS
        made += [one if is_long else None for one, is_long in zip(sketch(hashed), long_enough, strict=True)]
    for row, one in zip(missing, made, strict=True):
        found[row] = one
    return found


def _restored(state: bytes | None) -> RMinHash | None:
    try:
        return restored(state) if state else None
    except ValueError:
        return None


def _bytes_of(sketched: RMinHash | None) -> bytes | None:
    return kept(sketched) if sketched else None

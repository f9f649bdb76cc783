"""Texts that a batch's records are compared with: anchors and earlier batches, by sketches that are kept in files."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from rensa import RMinHash

from gainloop.measures.duplication import SHINGLE_WORDS, kept, restored, sketch
from gainloop.measures.ngrams import hash_texts
from gainloop.store import Store
from gainloop.store.batches import batch_folder, kept_records
from gainloop.store.files import exists, read_parts, whole_file

KNOWN_AT_ONCE: Final = 50_000
"""Known texts whose sketches are read, or made, at a time."""

SKETCHES: Final = pa.schema([("id", pa.string()), ("sketch", pa.binary())])


@dataclass(frozen=True)
class KnownTexts:
    """A snapshot's anchors, or the kept records of a batch.

    Attributes:
        name: Id of the batch or snapshot.
        ids: Ids of the texts that have at least five words.
        url: File of the MinHash of each of these texts, in this order: 650 bytes a text.
        read: Function from ids to these texts: columns id, text.
    """

    name: str
    ids: list[str]
    url: str
    read: Callable[[list[str]], pl.DataFrame]

    def sketches(self) -> Iterator[list[RMinHash]]:
        """Yield the sketches of ``KNOWN_AT_ONCE`` texts at a time."""
        for part in read_parts(self.url, ["sketch"], KNOWN_AT_ONCE):
            yield [restored(state) for state in part["sketch"]]


def known_anchors(store: Store, snapshot_id: str, anchors: pl.DataFrame) -> KnownTexts:
    """Return a snapshot's anchors, held-out ones among them.

    Args:
        anchors: All anchors of the snapshot: columns anchor_id, text.
    """
    texts = anchors.select(id="anchor_id", text="text")
    url = f"{store.folder}/snapshots/{snapshot_id}/sketches.parquet"
    return KnownTexts(
        snapshot_id, sketched(url, lambda: texts), url, lambda some: texts.filter(pl.col("id").is_in(some))
    )


def earlier_batches(store: Store, batch_id: str) -> Iterator[KnownTexts]:
    """Yield the kept records of each batch that was validated before this one, in the order of validation.

    Of two batches that are validated at the same moment neither sees the other.
    """
    validated = store.query(
        "select batch_id from completions where stage = 'validate' and batch_id != ? order by rowid",
        batch_id,
    )
    for other in validated["batch_id"]:
        yield _batch(store, other)


def _batch(store: Store, batch_id: str) -> KnownTexts:
    def read(some: list[str]) -> pl.DataFrame:
        found = "select record_id as id, text from records where batch_id = ? and record_id in (select unnest(?))"
        return store.query(found, batch_id, some)

    url = f"{batch_folder(store, batch_id)}/sketches.parquet"
    ids = sketched(url, lambda: kept_records(store, batch_id).select(id="record_id", text="text"))
    return KnownTexts(batch_id, ids, url, read)


def sketched(url: str, read_all: Callable[[], pl.DataFrame]) -> list[str]:
    """Return the ids of texts of at least five words, whose sketches lie in a file: making them takes forty times as
    long as reading them.

    Sketches that another release of rensa, or another rule of words, made are made anew.
    """
    if exists(url):
        with suppress(ValueError):
            for part in read_parts(url, ["sketch"], 1):  # one process has made all of them
                restored(part["sketch"][0])
                break
            return [text_id for part in read_parts(url, ["id"], KNOWN_AT_ONCE) for text_id in part["id"]]
    texts, ids = read_all(), list[str]()
    with whole_file(url) as file, pq.ParquetWriter(file, SKETCHES) as writer:
        for some in texts.iter_slices(KNOWN_AT_ONCE):
            hashed = hash_texts(some["text"])
            (long_enough,) = np.nonzero(hashed.lengths >= SHINGLE_WORDS)
            states = [kept(one) for one in sketch(hashed.take(long_enough))]
            ids += some["id"][long_enough].to_list()
            writer.write_table(pa.table([ids[len(ids) - len(states) :], states], schema=SKETCHES))
    return ids

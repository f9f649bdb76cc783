"""The texts that records must not repeat, anchors and earlier batches, with sketches that are made once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl
from rensa import RMinHash

from tasks.measures.duplication import NUM_HASHES, SEED, SHINGLE_WORDS, sketch
from tasks.measures.hashed import hash_texts
from tasks.store import Store
from tasks.store.files import exists, read_frame, write_frame
from tasks.store.records import kept_records


@dataclass(frozen=True)
class KnownTexts:
    """A snapshot's anchors, or the kept records of a batch.

    Attributes:
        name: The batch's id, or that of the snapshot.
        ids: Of the texts that have five words or more.
        sketches: One to an id.
        read: Some of the texts by their ids: columns id, text.
    """

    name: str
    ids: list[str]
    sketches: list[RMinHash]
    read: Callable[[list[str]], pl.DataFrame]


def known_anchors(folder: str, snapshot_id: str, anchors: pl.DataFrame) -> KnownTexts:
    """Return a snapshot's anchors, held-out ones among them.

    Args:
        anchors: All of them: columns anchor_id, text.
    """
    texts = anchors.select(id="anchor_id", text="text")
    ids, sketches = sketched(f"{folder}/snapshots/{snapshot_id}/sketches.parquet", lambda: texts)
    return KnownTexts(snapshot_id, ids, sketches, lambda some: texts.filter(pl.col("id").is_in(some)))


def earlier_batches(store: Store, folder: str, batch_id: str) -> Iterator[KnownTexts]:
    """Yield the kept records of each batch that was validated before this one, in that order.

    Of two that are validated at the same moment neither sees the other.
    """
    validated = store.query(
        "select batch_id from completions where stage = 'validate' and batch_id != ? order by completed_at, batch_id",
        batch_id,
    )
    for other in validated["batch_id"]:
        yield _batch(store, folder, other)


def _batch(store: Store, folder: str, batch_id: str) -> KnownTexts:
    def read(some: list[str]) -> pl.DataFrame:
        found = "select record_id as id, text from records where batch_id = ? and record_id in (select unnest(?))"
        return store.query(found, batch_id, some)

    ids, sketches = sketched(
        f"{folder}/batches/{batch_id}/sketches.parquet",
        lambda: kept_records(store, batch_id).select(id="record_id", text="text"),
    )
    return KnownTexts(batch_id, ids, sketches, read)


def sketched(url: str, read_all: Callable[[], pl.DataFrame]) -> tuple[list[str], list[RMinHash]]:
    """Return ids and sketches of texts that never change, kept in a file: making them takes forty times as long.

    Sketches of another release of rensa, which it refuses, are made anew.
    """
    if exists(url):
        saved = read_frame(url)
        try:
            return saved["id"].to_list(), [_restored(state) for state in saved["sketch"]]
        except ValueError:
            pass
    texts = read_all()
    hashed = hash_texts(texts["text"])
    has_shingles = hashed.lengths >= SHINGLE_WORDS
    sketches = [one for one, is_long in zip(sketch(hashed), has_shingles, strict=True) if is_long]
    ids = texts["id"].filter(pl.Series(has_shingles))
    states = pl.Series("sketch", [one.__getstate__() for one in sketches], pl.Binary)
    write_frame(url, pl.DataFrame([ids, states]))
    return ids.to_list(), sketches


def _restored(state: bytes) -> RMinHash:
    made = RMinHash(NUM_HASHES, SEED)
    made.__setstate__(state)
    return made

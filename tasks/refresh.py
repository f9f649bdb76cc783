"""Refresh: read what is new in a source, and name the corpus that it is now."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from gainloop.curation.heldout import decide_documents
from gainloop.sources.pieces import split_document
from gainloop.sources.source import Part, Source
from gainloop.store import Store, open_store
from gainloop.store.snapshots import CorpusCount, PartWriter, count_corpus, insert_snapshot, read_versions
from schemas.errors import BadInput
from schemas.profile import Profile
from schemas.rows import Anchor
from tasks.progress import Bar

logger = logging.getLogger("gainloop.refresh")

OnPart = Callable[[int, int, int], None]
"""Called with the parts read, the parts to read, and the anchors found in them."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What one refresh read and kept; ``changed`` tells whether another snapshot was the latest before."""

    snapshot_id: str
    changed: bool
    num_parts_read: int
    num_parts_kept: int
    num_new_anchors: int
    corpus: CorpusCount
    is_latest: bool = True

    @property
    def summary(self) -> str:
        found = f"{self.corpus.num_anchors:,} anchors, {self.num_new_anchors:,} of them new"
        state = (
            "is now the latest" if self.changed else "was there already" if self.is_latest else "is beside the latest"
        )
        return f"Snapshot {self.snapshot_id} {state}: {found}"


def refresh_snapshot(
    store: Store,
    source: Source,
    heldout_fraction: float,
    on_progress: OnPart = lambda *_: None,
    is_latest: bool = True,
) -> Refreshed:
    """Read the parts of a source that are new or changed, and make what it holds now the latest snapshot.

    A part that is gone is not in the new snapshot. If nothing changed, nothing is written and the
    snapshot is the one there was. After a crash or an error a rerun skips the parts that were read.

    Args:
        heldout_fraction: Part of the documents that is never generated from nor trained on, in [0, 1).
        is_latest: False for a corpus beside the main one, which stays the latest.

    Raises:
        BadInput: The source cannot be read, or leaves no anchor to train on; no snapshot is made then.
        SourceError: The source cannot be reached now.
    """
    parts = list(source.parts())
    known = read_versions(store, source.source_id)
    unread = [part for part in parts if (part.name, part.fingerprint) not in known]
    num_new_anchors = _read_parts(store, source, unread, on_progress)
    fingerprints = {part.name: part.fingerprint for part in parts}
    decide_documents(store, source.source_id, fingerprints)
    corpus = count_corpus(store, source.source_id, fingerprints, float(heldout_fraction))
    _require_anchors(source, corpus, heldout_fraction)
    changed = insert_snapshot(store, _snapshot_row(source, corpus, heldout_fraction), fingerprints, is_latest)
    num_kept = len(parts) - len(unread)
    refreshed = Refreshed(corpus.snapshot_id, changed, len(unread), num_kept, num_new_anchors, corpus, is_latest)
    logger.info(refreshed.summary)
    if heldout_fraction and not corpus.num_heldout:
        logger.warning(
            "No document of %s is held out at heldout_fraction %g: no loss on held-out text will be measured. "
            "Raise heldout_fraction for so few documents.",
            *(corpus.snapshot_id, heldout_fraction),
        )
    return refreshed


@task(cache_policy=NO_CACHE, task_run_name="read {source.kind}")
def read_source(profile: Profile, source: Source, heldout_fraction: float) -> str:
    with Bar(f"reading {source.kind}", "parts") as bar:
        refreshed = refresh_snapshot(
            open_store(profile),
            source,
            heldout_fraction,
            lambda read, all_, found: bar(read, all_, f"{found:,} anchors"),
        )
    create_markdown_artifact(key=f"snapshot-{refreshed.snapshot_id}", markdown=as_markdown(refreshed))
    if refreshed.changed:
        announce(refreshed)
    return refreshed.snapshot_id


def announce(refreshed: Refreshed) -> None:
    """Tell Prefect's automations that the corpus is another one, so that they can start what is to follow."""
    corpus = refreshed.corpus
    emit_event(
        "gainloop.snapshot",
        {"prefect.resource.id": f"gainloop.snapshot.{refreshed.snapshot_id}", "prefect.resource.name": "snapshot"},
        payload={"anchors": corpus.num_anchors, "new": refreshed.num_new_anchors, "documents": corpus.num_documents},
    )


@task(cache_policy=NO_CACHE, task_run_name="read general text of {source.kind}")
def read_general(profile: Profile, source: Source) -> str:
    with Bar(f"reading general text of {source.kind}", "parts") as bar:
        refreshed = refresh_snapshot(
            open_store(profile), source, 0.0, lambda read, all_, found: bar(read, all_, f"{found:,} anchors"), False
        )
    return refreshed.snapshot_id


def find_general(profile: Profile, source: Source | None) -> str:
    """Return the snapshot of the general text, which never is the latest; empty if there is no source of it."""
    return "" if source is None else read_general(profile, source)


def as_markdown(refreshed: Refreshed) -> str:
    """Return a refresh as the table that its run's page shows."""
    corpus = refreshed.corpus
    rows = {
        "parts read": refreshed.num_parts_read,
        "parts that had not changed": refreshed.num_parts_kept,
        "documents": corpus.num_documents,
        "dropped as too_short": corpus.drops["too_short"],
        "dropped as duplicate": corpus.drops["duplicate"],
        "anchors": corpus.num_anchors,
        "of them new to the store": refreshed.num_new_anchors,
        "of them held out": corpus.num_heldout,
        "documents that these are of": corpus.num_heldout_documents,
        "anchors near both held-out and training text, left out": corpus.num_kept_out,
        "bytes of text": corpus.num_bytes,
    }
    table = "\n".join(f"| {name} | {count:,} |" for name, count in rows.items())
    return f"{refreshed.summary}\n\n| snapshot {refreshed.snapshot_id} | |\n|---|---:|\n{table}\n"


def _read_parts(store: Store, source: Source, unread: list[Part], on_progress: OnPart) -> int:
    """Insert the anchors of parts, and return how many were not in the store before."""
    writer, num_found = PartWriter(store, source.source_id), 0
    for num_read, part in enumerate(unread):
        counts: Counter[str] = Counter()
        for document in source.read(part):
            pieces = split_document(document, source.max_chars, source.min_chars)
            counts.update(documents=1, anchors=len(pieces), too_short=0 if pieces else 1)
            for piece in pieces:
                writer.add_anchor(
                    part.name, Anchor(piece.text, piece.title, piece.uri, piece.licence, part.fingerprint)
                )
            if writer.write_if_due():
                on_progress(num_read, len(unread), num_found + counts["anchors"])
        writer.finish_part(part.name, part.fingerprint, counts)
        num_found += counts["anchors"]
    writer.write()
    on_progress(len(unread), len(unread), num_found)
    return writer.num_new_anchors


def _require_anchors(source: Source, corpus: CorpusCount, heldout_fraction: float) -> None:
    if not corpus.num_anchors:
        raise BadInput(
            f"refreshing from source {source.kind!r}: none of {corpus.num_documents} documents has "
            f"{source.min_chars} characters; a snapshot needs one at least. "
            "Point the source at more text, or lower min_chars."
        )
    if corpus.num_heldout + corpus.num_kept_out == corpus.num_anchors:
        raise BadInput(
            f"refreshing from source {source.kind!r}: none of {corpus.num_anchors} anchors is left to train on at "
            f"heldout_fraction {heldout_fraction:g}; one at least must be. "
            "Lower heldout_fraction, or point the source at more text."
        )


def _snapshot_row(source: Source, corpus: CorpusCount, heldout_fraction: float) -> dict[str, Any]:
    return {
        "snapshot_id": corpus.snapshot_id,
        "source_id": source.source_id,
        "source": source.model_dump_json(),
        "heldout_fraction": heldout_fraction,
        "num_anchors": corpus.num_anchors,
        "num_heldout": corpus.num_heldout,
        "num_bytes": corpus.num_bytes,
    }

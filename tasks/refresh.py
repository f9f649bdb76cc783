"""Refresh: read what is new in a source, and name the corpus that it is now."""

import logging
import shlex
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from glob import escape
from math import ceil
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from gainloop.curation.heldout import decide_documents
from gainloop.sources.files import Files
from gainloop.sources.source import Corpus, Part
from gainloop.store import Store, open_store
from gainloop.store.snapshots import (
    CorpusCount,
    PartWriter,
    count_corpus,
    heldout_documents,
    insert_snapshot,
    read_versions,
)
from gainloop.store.traces import Gone, find_gone
from schemas.errors import BadInput, SourceChanged
from schemas.profile import Profile
from schemas.rows import Anchor
from tasks.artifacts import create_markdown_artifact
from tasks.progress import Bar

logger = logging.getLogger("gainloop.refresh")

OnPart = Callable[[int, int, int], None]
"""Called with the parts read, the parts to read, and the anchors found in them."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What one refresh read and kept.

    Attributes:
        changed: Whether another snapshot was the latest before.
        bad_parts: Why each part that cannot be read is not in the snapshot, by its name.
        gone: Documents that earlier batches were made of and that the snapshot lacks.
    """

    snapshot_id: str
    changed: bool
    num_parts_read: int
    num_parts_kept: int
    num_new_anchors: int
    corpus: CorpusCount
    is_latest: bool = True
    bad_parts: dict[str, str] = field(default_factory=dict)
    gone: Gone = field(default_factory=Gone)

    @property
    def summary(self) -> str:
        found = f"{self.corpus.num_anchors:,} anchors, {self.num_new_anchors:,} of them new"
        state = "is now the latest" if self.changed else "was there already" if self.is_latest else "is general text"
        bad = f"; left out as unreadable: {_listed(self.bad_parts)}" if self.bad_parts else ""
        return f"Snapshot {self.snapshot_id} {state}: {found}{bad}"


def refresh_snapshot(
    store: Store,
    source: Corpus,
    heldout_fraction: float,
    on_progress: OnPart = lambda *_: None,
    is_latest: bool = True,
) -> Refreshed:
    """Read the parts of a source that are new or changed, and make what it holds now the latest snapshot.

    A part that is gone is not in the new snapshot, nor is one that cannot be read. If nothing changed, nothing is
    written and the snapshot is the one there was. After a crash or an error a rerun skips the parts that were read.

    Args:
        heldout_fraction: Part of the documents that is never generated from nor trained on, in [0, 1).
        is_latest: False for a corpus beside the main one, which stays the latest.

    Raises:
        BadInput: More parts cannot be read than ``source.max_bad_share`` allows, or the source leaves no anchor to
            train on; no snapshot is made then.
        SourceError: The source cannot be reached now.
    """
    parts = list(source.parts())
    reading = Reading(store, source, parts, on_progress)
    fingerprints = reading.read_parts()
    decide_documents(store, source.source_id, fingerprints)
    corpus = count_corpus(store, source.source_id, fingerprints, float(heldout_fraction))
    _require_anchors(source, corpus, heldout_fraction)
    changed = insert_snapshot(store, _snapshot_row(source, corpus, heldout_fraction), fingerprints, is_latest)
    refreshed = Refreshed(
        *(corpus.snapshot_id, changed, reading.num_read, reading.num_known, reading.writer.num_new_anchors, corpus),
        *(is_latest, reading.bad, find_gone(store, source.source_id, corpus.snapshot_id) if changed else Gone()),
    )
    logger.info(refreshed.summary)
    if refreshed.gone.documents:
        logger.warning(refreshed.gone.words)
    if heldout_fraction and not corpus.num_heldout:
        logger.warning(
            "No document of %s is held out at heldout_fraction %g: no loss on held-out text will be measured. "
            "Raise heldout_fraction for so few documents.",
            *(corpus.snapshot_id, heldout_fraction),
        )
    elif heldout_fraction:
        held_out = _listed(heldout_documents(store, corpus.snapshot_id))
        logger.info("Held out at heldout_fraction %g, to be measured on alone: %s", heldout_fraction, held_out)
    return refreshed


def refresh_shown(
    profile: Profile, source: Corpus, heldout_fraction: float, title: str, is_latest: bool = True
) -> Refreshed:
    """Refresh a source, and show under a title how far that is; other arguments as of ``refresh_snapshot``."""
    with Bar(title, "parts") as bar:
        return refresh_snapshot(
            open_store(profile),
            source,
            heldout_fraction,
            lambda read, all_, found: bar(read, all_, f"{found:,} anchors"),
            is_latest,
        )


@task(cache_policy=NO_CACHE, task_run_name="read {source.kind}")
def read_source(profile: Profile, source: Corpus, heldout_fraction: float) -> str:
    refreshed = refresh_shown(profile, source, heldout_fraction, f"reading {source.kind}")
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
        payload={
            **{"anchors": corpus.num_anchors, "new": refreshed.num_new_anchors, "documents": corpus.num_documents},
            "gone": len(refreshed.gone.documents),
        },
    )


@task(cache_policy=NO_CACHE, task_run_name="read general text of {source.kind}")
def read_general(profile: Profile, source: Corpus) -> str:
    return refresh_shown(profile, source, 0.0, f"reading general text of {source.kind}", is_latest=False).snapshot_id


def find_general(profile: Profile, source: Corpus | None) -> str:
    """Return the snapshot of the general text, which never is the latest; empty if there is no source of it."""
    return "" if source is None else read_general(profile, source)


def as_markdown(refreshed: Refreshed) -> str:
    """Return a refresh as the table that its run's page shows."""
    corpus = refreshed.corpus
    rows = {
        "parts read": refreshed.num_parts_read,
        "parts that had not changed": refreshed.num_parts_kept,
        "parts left out as unreadable": len(refreshed.bad_parts),
        "documents": corpus.num_documents,
        "documents gone that text was made of": len(refreshed.gone.documents),
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
    gone = f"{refreshed.gone.words}\n\n" if refreshed.gone.documents else ""
    bad = "".join(f"- {why}\n" for why in refreshed.bad_parts.values())
    return f"{refreshed.summary}\n\n{gone}| snapshot {refreshed.snapshot_id} | |\n|---|---:|\n{table}\n\n{bad}"


@dataclass(slots=True)
class Reading:
    """The parts of a source while they are read: each that is new or changed, once, and as its fingerprint says."""

    store: Store
    source: Corpus
    parts: list[Part]
    on_progress: OnPart
    bad: dict[str, str] = field(default_factory=dict)
    num_read: int = 0
    num_known: int = 0
    num_found: int = 0
    writer: PartWriter = field(init=False)

    def __post_init__(self) -> None:
        self.writer = PartWriter(self.store, self.source.source_id)

    def read_parts(self) -> dict[str, str]:
        """Insert the anchors of unread parts, and return the fingerprints of all that were read, now or before.

        Raises:
            BadInput: Too many of them cannot be read.
        """
        known = read_versions(self.store, self.source.source_id)
        unread = [part for part in self.parts if (part.name, part.fingerprint) not in known]
        found = {part.name: part.fingerprint for part in self.parts}
        self.num_known = len(self.parts) - len(unread)
        for number, part in enumerate(unread):
            try:
                read = self._read_settled(part, number, len(unread))
            except BadInput as error:
                self._leave_out(part, error)
                read = None
            found.pop(part.name)
            found |= {read.name: read.fingerprint} if read else {}
            self.num_read += read is not None
        self.writer.write()
        self.on_progress(len(unread), len(unread), self.num_found)
        return found

    def _read_settled(self, part: Part, number: int, num_unread: int) -> Part | None:
        """Read a part, anew where it was changed meanwhile; return it as it was read, or None if it is gone.

        Raises:
            BadInput: It cannot be read, or is changed each time.
        """
        for _ in range(READS):
            try:
                self._read(part, number, num_unread)
                return part
            except SourceChanged as error:
                why = str(error)
                logger.warning(why)
            now = [one for one in self.source.parts() if one.name == part.name]
            if not now:
                return None
            (part,) = now
        raise BadInput(why)

    def _read(self, part: Part, number: int, num_unread: int) -> None:
        counts: Counter[str] = Counter()
        for document in self.source.read(part):
            pieces = self.source.cut(part, document)
            counts.update(documents=1, anchors=len(pieces), too_short=0 if pieces else 1)
            for piece in pieces:
                self.writer.add_anchor(
                    part.name, Anchor(piece.text, piece.title, piece.uri, piece.licence, part.fingerprint)
                )
            if self.writer.write_if_due():
                self.on_progress(number, num_unread, self.num_found + counts["anchors"])
        self.writer.finish_part(part.name, part.fingerprint, counts)
        self.num_found += counts["anchors"]

    def _leave_out(self, part: Part, error: BadInput) -> None:
        """Count a part that cannot be read, and name it.

        Raises:
            BadInput: It is one too many.
        """
        self.bad[part.name] = str(error)
        share = self.source.max_bad_share
        most = min(max(1, int(share * len(self.parts))), len(self.parts) - 1) if share else 0
        if len(self.bad) <= most:
            logger.warning("Left out %s: %s", part.name, error)
        elif len(self.bad) == 1:
            raise error
        else:
            parts = "files" if isinstance(self.source, Files) else "parts"
            raise BadInput(
                f"refreshing from source {self.source.kind!r}: {len(self.bad)} of {len(self.parts)} {parts} cannot be "
                f"read, {_listed(self.bad)}; {most} may be at max_bad_share {share:g}. The last: {error} "
                f"To go on without them, set {self._ways_on()}."
            )

    def _ways_on(self) -> str:
        """Return the options that leave out what cannot be read: by name, if that is plain, or by share."""
        options = [f"--source.max-bad-share {ceil(100 * len(self.bad) / len(self.parts)) / 100:g}"]
        is_plain = isinstance(self.source, Files) and len(self.source.paths) == 1 and not self.source.name
        if is_plain and len(self.bad) <= NUM_LISTED:
            options.insert(0, f"--source.exclude {shlex.join(escape(name) for name in self.bad)}")
        return " or ".join(options)


READS = 3
"""Times that a part is read which is changed each time, at most."""

NUM_LISTED = 10
"""Names that a message lists, at most."""


def _listed(names: Collection[str]) -> str:
    """Return some names, and how many more there are.

    >>> _listed(["a", "b"]), _listed([str(n) for n in range(12)])
    ('a, b', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more')
    """
    more = f" and {len(names) - NUM_LISTED} more" if len(names) > NUM_LISTED else ""
    return ", ".join(list(names)[:NUM_LISTED]) + more


def _require_anchors(source: Corpus, corpus: CorpusCount, heldout_fraction: float) -> None:
    if not corpus.num_anchors:
        raise BadInput(f"refreshing from source {source.kind!r}: {source.tell_none(corpus.num_documents)}")
    if corpus.num_heldout + corpus.num_kept_out == corpus.num_anchors:
        raise BadInput(
            f"refreshing from source {source.kind!r}: none of {corpus.num_anchors} anchors is left to train on at "
            f"heldout_fraction {heldout_fraction:g}; one at least must be. "
            "Lower heldout_fraction, or point the source at more text."
        )


def _snapshot_row(source: Corpus, corpus: CorpusCount, heldout_fraction: float) -> dict[str, Any]:
    return {
        "snapshot_id": corpus.snapshot_id,
        "source_id": source.source_id,
        "source": source.model_dump_json(),
        "heldout_fraction": heldout_fraction,
        "num_anchors": corpus.num_anchors,
        "num_heldout": corpus.num_heldout,
        "num_bytes": corpus.num_bytes,
    }

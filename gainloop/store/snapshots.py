"""Snapshots in the store, their anchors, and the documents that these make again."""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from gainloop.store.documents import CURRENT, PLACED
from gainloop.store.duck import Store, now
from schemas.errors import BadInput
from schemas.masking import mask
from schemas.rows import Anchor, content_hash, document_of

LATEST = "latest"

IN_SNAPSHOT = (
    "anchor_id in (select anchor_id from part_anchors join snapshot_parts using (source_id, part, fingerprint) "
    "where snapshot_parts.snapshot_id = ?)"  # every table of a DuckLake has a hidden column snapshot_id
)

LEFT_OUT = "anchor_id in (select anchor_id from snapshot_heldout where snapshot_id = ?)"

_SECONDS_PER_WRITE = 1.0
_CHARS_PER_WRITE = 16_000_000


logger = logging.getLogger("gainloop.snapshots")


@dataclass(frozen=True, slots=True)
class CorpusCount:
    """The distinct anchors of some parts of a source, counted.

    ``num_kept_out`` counts anchors that are neither held out nor trained on: their documents nearly repeat documents of
    both kinds. ``drops`` counts by reason: documents that were too short, and pieces whose text is another
    anchor's, within a part or between parts.
    """

    num_documents: int
    num_anchors: int
    num_heldout: int
    num_heldout_documents: int
    num_kept_out: int
    num_bytes: int
    drops: dict[str, int]
    snapshot_id: str


@dataclass(frozen=True, slots=True)
class WholeDocument:
    """A document of a snapshot as its pieces make it again, in their order."""

    document_id: str
    title: str
    pieces: tuple[Anchor, ...]
    is_heldout: bool

    @property
    def text(self) -> str:
        return "\n".join(piece.text for piece in self.pieces)


_REFRESHED = """
select refreshes.source_id, arg_max(snapshot_id, refreshes.rowid) as snapshot_id,
    arg_max(source, refreshes.rowid) as source
from refreshes join snapshots using (snapshot_id) group by refreshes.source_id order by max(refreshes.rowid) desc
"""
"""The latest snapshot of each source, that of the last refresh first."""


def read_snapshot(store: Store, snapshot_id: str = LATEST) -> dict[str, Any]:
    """Return a snapshot's row; ``latest`` is the one that the last refresh of any source returned.

    Args:
        snapshot_id: Id of a snapshot, ``latest``, or the id of a source: its latest.

    Raises:
        BadInput: There is no such snapshot.
    """
    latest = store.query(_REFRESHED)
    if snapshot_id == LATEST and latest.height:
        _tell_latest(latest)
        snapshot_id = latest["snapshot_id"][0]
    snapshot_id = dict(latest.select("source_id", "snapshot_id").iter_rows()).get(snapshot_id, snapshot_id)
    snapshots = store.query("from snapshots where snapshot_id = ?", snapshot_id)
    if snapshots.is_empty():
        known = store.query("select snapshot_id from snapshots order by rowid desc limit 5")["snapshot_id"]
        listed = ", ".join(known) or "none"
        raise BadInput(
            f"snapshot {snapshot_id!r} not found in the store {store.path}: the newest there are {listed}. "
            "Run the flow refresh, or set snapshot_id to one of them."
        )
    return snapshots.row(0, named=True)


def _tell_latest(latest: pl.DataFrame) -> None:
    """Say which corpus ``latest`` is of, where a store has several; those of the same snapshot are one."""
    latest = latest.unique("snapshot_id", keep="first", maintain_order=True)
    if latest.height > 1:
        sources = [json.loads(source) for source in latest["source"]]
        first, *others = (
            f"{name_source(source)} ({source_id}{differing(source, sources)})"
            for source, source_id in zip(sources, latest["source_id"], strict=True)
        )
        logger.warning(
            "The latest snapshot, %s, is of the corpus %s, which was refreshed last; the store has %s too. Set "
            "--snapshot-id to a snapshot, or to the id in brackets: then it is the latest of that corpus.",
            *(latest["snapshot_id"][0], first, ", ".join(others)),
        )


def differing(source: dict[str, Any], sources: list[dict[str, Any]]) -> str:
    """Return the parameters that tell a source from others of its name, as the end of a list; empty if its name does.

    >>> handbook = {"kind": "files", "paths": ["handbook"], "licence": "", "max_chars": 2000}
    >>> differing(handbook, [handbook, handbook | {"licence": "internal"}, {"kind": "python_docs"}])
    ", licence ''"
    """
    alike = [one for one in sources if name_source(one) == name_source(source)]
    telling = (name for name, value in source.items() if any(one.get(name, value) != value for one in alike))
    return "".join(f", {name} {source[name]!r}" for name in telling)


def name_source(source: dict[str, Any]) -> str:
    """Return the kind of a source and the first of its parameters that is set: its paths, its dataset, its sources.

    >>> name_source({"kind": "files", "paths": ["handbook", "notes"], "licence": "internal"})
    'files handbook, notes'
    >>> name_source({"kind": "python_docs", "root": ""})
    'python_docs'
    >>> name_source({"kind": "several", "sources": [{"kind": "files", "paths": ["notes"]}, {"kind": "python_docs"}]})
    'several: files notes; python_docs'
    """
    if several := source.get("sources"):
        return f"{source['kind']}: {'; '.join(map(name_source, several))}"
    values = [source.get(name) for name in ("paths", "dataset", "root")]
    shown = [", ".join(value) if isinstance(value, list) else value for value in values if value]
    return mask(" ".join([str(source.get("kind", "")), *shown[:1]]).strip())


def read_anchors(store: Store, snapshot_id: str = LATEST, heldout: bool | None = None) -> pl.DataFrame:
    """Return a snapshot's anchors in the order of their ids.

    Args:
        heldout: True for held-out anchors, False for those that are trained on, None for all.

    Returns:
        Columns anchor_id, text, title, uri, licence, revision, num_bytes, heldout; the last is true of every anchor
        that is not trained on.

    Raises:
        BadInput: There is no such snapshot.
    """
    name = read_snapshot(store, snapshot_id)["snapshot_id"]
    return store.query(
        "select anchors.*, place is not null as heldout from anchors "
        "left join (select anchor_id, place from snapshot_heldout where snapshot_id = ?) using (anchor_id) "
        f"where {IN_SNAPSHOT} and case when ? then place = 'held_out' when ? then place is null else true end "
        "order by anchor_id",
        *(name, name, heldout is True, heldout is False),
    )


def untrained_documents(store: Store, snapshot_id: str) -> dict[str, str]:
    """Return the documents of which no anchor is trained on, by why: all were held out, or some were kept out."""
    rows = store.query(
        "select uri, coalesce(place, 'trained') as place from anchors "
        "left join (select anchor_id, place from snapshot_heldout where snapshot_id = ?) using (anchor_id) "
        f"where {IN_SNAPSHOT}",
        *(snapshot_id, snapshot_id),
    )
    places: dict[str, set[str]] = {}
    for uri, place in rows.iter_rows():
        places.setdefault(document_of(uri), set()).add(place)
    return {
        document: "held_out" if found == {"held_out"} else "kept_out"
        for document, found in sorted(places.items())
        if "trained" not in found
    }


def heldout_documents(store: Store, snapshot_id: str) -> list[str]:
    """Return the documents that are held out of training, in the order of their names."""
    rows = store.query(
        "select distinct uri from anchors semi join (select anchor_id from snapshot_heldout "
        "where snapshot_id = ? and place = 'held_out') using (anchor_id)",
        snapshot_id,
    )
    return sorted({document_of(uri) for uri in rows["uri"]})


def read_siblings(store: Store, snapshot_id: str, anchor_ids: list[str]) -> pl.DataFrame:
    """Return the anchors of some anchors' documents that are trained on, in the order of their ids.

    Returns:
        Columns as ``read_anchors`` has them.
    """
    trained = read_anchors(store, snapshot_id, heldout=False)
    documents = trained.select(document=pl.col("uri").map_elements(document_of, return_dtype=pl.String))["document"]
    of_these = documents.filter(trained["anchor_id"].is_in(anchor_ids)).unique()
    is_sibling = (documents.is_in(of_these.implode()) & (documents != "")) | trained["anchor_id"].is_in(anchor_ids)
    return trained.filter(is_sibling)


def whole_documents(store: Store, snapshot_id: str) -> list[WholeDocument]:
    """Return the documents of a snapshot, in the order of their ids; one is held out if all its pieces are."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read_anchors(store, snapshot_id).iter_rows(named=True):
        found[document_of(row["uri"])].append(row)
    return [_whole(document_id, rows) for document_id, rows in sorted(found.items())]


def _whole(document_id: str, rows: list[dict[str, Any]]) -> WholeDocument:
    rows = sorted(rows, key=lambda row: int(row["uri"].rpartition(";piece=")[2]) if ";piece=" in row["uri"] else 0)
    names = ("text", "title", "uri", "licence", "revision", "anchor_id")
    pieces = tuple(Anchor(**{name: row[name] for name in names}) for row in rows)
    return WholeDocument(document_id, rows[0]["title"], pieces, all(row["heldout"] for row in rows))


def read_texts(store: Store, anchor_ids: list[str]) -> list[Anchor]:
    """Return some anchors, in the order given."""
    rows = store.query(
        "select text, title, uri, licence, revision from anchors where anchor_id in (select unnest(?::varchar[]))",
        anchor_ids,
    )
    found = {anchor.anchor_id: anchor for anchor in (Anchor(**row) for row in rows.iter_rows(named=True))}
    return [found[anchor_id] for anchor_id in anchor_ids]


def count_corpus(store: Store, source_id: str, parts: dict[str, str], heldout_fraction: float) -> CorpusCount:
    """Count the distinct anchors of some parts, and name the snapshot that they are.

    Args:
        parts: Fingerprints under the names of parts that were read, and whose documents were decided on.
    """
    current = (list(parts), list(parts.values()), source_id)
    (read,) = store.query(
        f"{CURRENT} select coalesce(sum(num_documents), 0)::bigint as documents, "
        "coalesce(sum(num_anchors), 0)::bigint as anchors, "
        "coalesce(sum((drops ->> 'too_short')::bigint), 0)::bigint as too_short "
        "from parts join current using (part, fingerprint) where source_id = $3",
        *current,
    ).iter_rows(named=True)
    (kept,) = store.query(
        f"{PLACED} select count(*) as anchors, count(*) filter (place = 'held_out') as heldout, "
        "count(distinct document_id) filter (place = 'held_out') as heldout_documents, "
        "count(*) filter (place = 'kept_out') as kept_out, coalesce(sum(num_bytes), 0)::bigint as bytes, "
        "sha256(string_agg(anchor_id, ' ' order by anchor_id)) as digest, sha256(string_agg(anchor_id || place, ' ' "
        "order by anchor_id) filter (place != 'trained')) as left_out from placed",
        *(*current, float(heldout_fraction)),
    ).iter_rows(named=True)
    return CorpusCount(
        num_documents=read["documents"],
        num_anchors=kept["anchors"],
        num_heldout=kept["heldout"],
        num_heldout_documents=kept["heldout_documents"],
        num_kept_out=kept["kept_out"],
        num_bytes=kept["bytes"],
        drops={"too_short": read["too_short"], "duplicate": read["anchors"] - kept["anchors"]},
        snapshot_id=content_hash("snapshot", kept["digest"], float(heldout_fraction), kept["left_out"]),
    )


def insert_snapshot(store: Store, snapshot: dict[str, Any], parts: dict[str, str], is_latest: bool = True) -> bool:
    """Make a snapshot the latest, and keep it if it is new.

    Args:
        snapshot: A row of the table snapshots, without ``created_at``.
        parts: Fingerprints under the names of its parts.
        is_latest: False for a corpus beside the main one: it is kept, and the latest stays.

    Returns:
        Whether another one was the latest of its source.
    """
    names = {"snapshot_id": snapshot["snapshot_id"], "source_id": snapshot["source_id"]}
    latest = store.query(_REFRESHED).select("source_id", "snapshot_id").rows()
    own = (snapshot["source_id"], snapshot["snapshot_id"])
    if latest[:1] == [own]:
        return False
    is_known = store.query("select 1 from snapshots where snapshot_id = ?", snapshot["snapshot_id"]).height > 0
    new_parts = [] if is_known else [names | {"part": part, "fingerprint": mark} for part, mark in parts.items()]
    left_out = store.query(
        f"{PLACED} select $5 as snapshot_id, anchor_id, place from placed where place != 'trained' order by anchor_id",
        *(list(parts), list(parts.values()), snapshot["source_id"], float(snapshot["heldout_fraction"])),
        snapshot["snapshot_id"],
    )
    store.insert(
        snapshots=[snapshot | {"created_at": now()}],
        snapshot_parts=new_parts,
        snapshot_heldout=left_out,
        refreshes=[names | {"refreshed_at": now()}] if is_latest else [],
    )
    return is_latest and own not in latest


def read_versions(store: Store, source_id: str) -> set[tuple[str, str]]:
    """Return the parts of a source that were read whole, with their fingerprints."""
    return set(store.query("select part, fingerprint from parts where source_id = ?", source_id).iter_rows())


@dataclass(slots=True)
class PartWriter:
    """Inserts anchors about once a second, many small parts or a piece of a large one at a time.

    So memory does not grow with the corpus, and a crash loses a second's work. A part counts as
    read only once it is finished; anchors of a part that was not are facts all the same.

    Attributes:
        num_new_anchors: Anchors that were not in the store before.
    """

    store: Store
    source_id: str
    num_new_anchors: int = 0
    _rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    _num_chars: int = 0
    _written_at: float = field(default_factory=time.monotonic)

    def add_anchor(self, part: str, anchor: Anchor) -> None:
        """Add one anchor of a part; its revision is the part's fingerprint."""
        anchor_id = anchor.anchor_id
        self._rows["anchors"].append(
            {
                "anchor_id": anchor_id,
                "text": anchor.text,
                "title": anchor.title,
                "uri": anchor.uri,
                "licence": anchor.licence,
                "revision": anchor.revision,
                "num_bytes": len(anchor.text.encode()),
            }
        )
        of_part = self._names(part, anchor.revision) | {"anchor_id": anchor_id, "uri": anchor.uri}
        self._rows["part_anchors"].append(of_part)
        self._num_chars += len(anchor.text)

    def finish_part(self, part: str, fingerprint: str, counts: Mapping[str, int]) -> None:
        """Mark a part as read whole, in the same transaction as the last of its anchors or a later one.

        Args:
            counts: Numbers of documents, anchors and too_short ones, by these names.
        """
        about = {
            "num_documents": counts["documents"],
            "num_anchors": counts["anchors"],
            "drops": {"too_short": counts["too_short"]},
            "read_at": now(),
        }
        self._rows["parts"].append(self._names(part, fingerprint) | about)

    def write_if_due(self) -> bool:
        """Insert the pending rows if a second has passed, or 16 million characters wait; tell whether it did."""
        is_due = self._num_chars > _CHARS_PER_WRITE or time.monotonic() - self._written_at > _SECONDS_PER_WRITE
        if is_due:
            self.write()
        return is_due

    def write(self) -> None:
        """Insert the pending rows in one transaction."""
        if self._rows:
            self.num_new_anchors += self.store.insert(**self._rows).get("anchors", 0)
        self._rows.clear()
        self._num_chars, self._written_at = 0, time.monotonic()

    def _names(self, part: str, fingerprint: str) -> dict[str, str]:
        return {"source_id": self.source_id, "part": part, "fingerprint": fingerprint}

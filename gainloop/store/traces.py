"""Traces of documents: records, exam questions and checkpoints that hold what was made of them, gone ones too."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import polars as pl

from gainloop.store.batches import batch_folder
from gainloop.store.duck import Store
from gainloop.store.snapshots import IN_SNAPSHOT, LEFT_OUT
from schemas.errors import BadInput
from schemas.rows import content_hash

LISTED: Final = 3
"""Documents that a sentence names; `gainloop forget` tells all of each."""

LEAST_PREFIX: Final = 6
"""Characters of an anchor's id that name its document, at least."""

OF_ALL: Final = "all"
"""What the plan of a training calls its anchors if they are all documents of the snapshot, not those of its batches."""

What = Literal["batch", "record", "question", "checkpoint"]

_PIECES: Final = """
with pieces as (select source_id, part, fingerprint, anchor_id,
    coalesce(nullif(regexp_replace(uri, ';piece=[0-9]+$', ''), ''), anchor_id) as document_id from part_anchors),
asked as (select source_id, part, fingerprint, anchor_id, document_id from pieces
    where document_id in (select unnest($1::varchar[])))
"""
"""Every text that was ever found, with its document (``document_of`` of schemas/rows.py), and those asked about."""

_GONE: Final = f"""
{_PIECES},
of_source as (select snapshot_id from snapshots where source_id = $3
    union select snapshot_id from refreshes where source_id = $3),
own as (select pieces.* from pieces
    where source_id in (select source_id from snapshot_parts semi join of_source using (snapshot_id))),
here as (select own.* from own join snapshot_parts using (source_id, part, fingerprint) where snapshot_id = $2),
made as (select distinct anchor_id from records semi join (
    select batch_id from batches semi join of_source using (snapshot_id)) using (batch_id))
select document_id from own semi join made using (anchor_id)
group by document_id having document_id not in (select document_id from here)
    and not bool_or(anchor_id in (select anchor_id from here)) order by document_id
"""
"""Documents that text was made of and of which a snapshot has nothing, not under another name either."""

_NAMED: Final = f"""
{_PIECES}
select distinct document_id, title, anchor_id from pieces join anchors using (anchor_id)
where document_id = $2 or title = $2 or ends_with(document_id, '/' || $2) or starts_with(document_id, $2)
    or (length($2) >= {LEAST_PREFIX} and starts_with(anchor_id, $2))
"""

_RECORDS: Final = f"""
{_PIECES}
select distinct document_id, records.batch_id, records.record_id, case
    when quarantine.record_id is not null then 'refused'
    when records.batch_id in (select batch_id from completions where stage = 'validate') then 'kept'
    else 'of no accepted batch' end as state
from asked join records using (anchor_id)
left join quarantine on quarantine.batch_id = records.batch_id and quarantine.record_id = records.record_id
order by all
"""

_BATCHES: Final = f"{_PIECES} select distinct document_id, batch_id from asked join batch_anchors using (anchor_id)"

_QUESTIONS: Final = """
select document_id, exam_id, question_id from questions where document_id in (select unnest($1::varchar[])) order by all
"""

_TRAINED_ON: Final = f"""
{_PIECES}
select distinct document_id, snapshot_id from asked join snapshot_parts using (source_id, part, fingerprint)
where anchor_id not in (select anchor_id from snapshot_heldout where snapshot_id = snapshot_parts.snapshot_id)
"""
"""Snapshots that have a document, and do not hold it out."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One thing that holds what was made of a document.

    Attributes:
        within: Batch of a record, exam of a question, snapshot of a batch, parent of a checkpoint.
        state: Whether a record is kept or refused, or its batch as a whole is not accepted; role of a checkpoint.
        path: Where it lies; empty for a row of the store alone.
    """

    document: str
    what: What
    id: str
    within: str
    state: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """Documents that text was made of and that a snapshot lacks, and how many things hold what was made of them."""

    documents: tuple[str, ...] = ()
    counts: tuple[tuple[What, int], ...] = ()

    @property
    def words(self) -> str:
        """One sentence, and what to do next; nothing if no document is gone.

        >>> Gone(("a.md",), (("record", 2), ("batch", 1))).words.partition(".")[0]
        '1 document that text was made of is gone: a'
        """
        if not self.documents:
            return ""
        counts = dict(self.counts)
        more = f" and {len(self.documents) - LISTED} more" if len(self.documents) > LISTED else ""
        held = [counted(counts.get(what, 0), name) for what, name in HELD.items() if counts.get(what)]
        of_them = f"{', '.join(held)} hold what was made of {'it' if len(self.documents) == 1 else 'them'}. "
        verb = "is" if len(self.documents) == 1 else "are"
        return (
            f"{counted(len(self.documents), 'document')} that text was made of {verb} gone: "
            f"{', '.join(self.documents[:LISTED])}{more}. {of_them}"
            f'`gainloop forget "{self.documents[0]}"` lists them, and says what to do.'
        )


HELD: Final[dict[What, str]] = {
    "record": "record",
    "batch": "batch",
    "question": "exam question",
    "checkpoint": "checkpoint",
}
"""What holds a document, as a sentence counts it."""


def find_gone(store: Store, source_id: str, snapshot_id: str) -> Gone:
    """Return the documents that batches of a source were made of and that a snapshot of it lacks.

    A document that is there under another name, or of which a part that text was made of is still there, is not gone.
    """
    found = store.query(_GONE, [], snapshot_id, source_id)["document_id"].to_list()
    if not found:
        return Gone()
    things = {(one.what, one.id) for one in list_traces(store, found)}
    return Gone(tuple(found), tuple((what, sum(kind == what for kind, _ in things)) for what in HELD))


def find_documents(store: Store, words: Sequence[str]) -> list[str]:
    """Return the documents that words name, each once: by uri, title, file name, or the beginning of a uri or an id.

    Raises:
        BadInput: A word names no document that was ever read, or begins the names of several.
    """
    return list(dict.fromkeys(_find_document(store, word) for word in words))


def _find_document(store: Store, word: str) -> str:
    rows = store.query(_NAMED, [], word)
    ways = [
        pl.col("document_id") == word,
        (pl.col("title") == word) | pl.col("document_id").str.ends_with(f"/{word}"),
        pl.lit(value=True),
    ]
    found: list[str] = next((ids for way in ways if (ids := sorted(set(rows.filter(way)["document_id"])))), [])
    if len(found) != 1:
        several = f"{len(found)} have it: {', '.join(found[:5])}" if found else "no document that was ever read has it"
        raise BadInput(
            f"looking for document {word!r} in {store.path}: {several}; a document's uri, its title, its file's name, "
            "or the beginning of its uri or of an anchor's id is allowed. Give more of the name; a refresh lists those "
            "that are gone."
        )
    return found[0]


def list_traces(store: Store, documents: Sequence[str]) -> list[Trace]:
    """Return what holds what was made of documents: batches, records, questions and checkpoints, in this order."""
    wanted = list(documents)
    snapshots = dict(store.query("select batch_id, snapshot_id from batches").rows())
    batches = sorted(store.query(_BATCHES, wanted).rows())
    found = [
        Trace(document, "batch", batch_id, snapshots.get(batch_id, ""), "", batch_folder(store, batch_id))
        for document, batch_id in batches
    ]
    for document, batch_id, record_id, state in store.query(_RECORDS, wanted).iter_rows():
        found.append(Trace(document, "record", record_id, batch_id, state))
    for document, exam_id, question_id in store.query(_QUESTIONS, wanted).iter_rows():
        found.append(Trace(document, "question", question_id, exam_id))
    return [*found, *_checkpoints(store, wanted, batches, snapshots)]


def _checkpoints(
    store: Store, documents: Sequence[str], batches: Sequence[tuple[str, str]], snapshot_of: dict[str, str]
) -> Iterator[Trace]:
    """Yield the checkpoints that have read a document or text made of it, and all that go on from one.

    Args:
        batches: Each document and a batch that has an anchor of it.
        snapshot_of: Snapshot of each batch of the store.
    """
    models = store.query("select checkpoint_id, parent, role, batch_ids, plan, url from checkpoints order by rowid")
    trained = store.query(_TRAINED_ON, list(documents)).rows()
    whole = _names_of_anchors(store, {snapshot_id for _, snapshot_id in trained}) if models.height else {}
    for document in documents:
        own = {batch_id for name, batch_id in batches if name == document}
        snapshots = {snapshot_id for name, snapshot_id in trained if name == document}
        read = snapshots | {whole[one] for one in snapshots & whole.keys()}
        holding = _holding(store, models, own, read, snapshot_of)
        for row in models.filter(pl.col("checkpoint_id").is_in(list(holding))).iter_rows(named=True):
            path = store.locate(row["url"])
            yield Trace(document, "checkpoint", row["checkpoint_id"], row["parent"], row["role"], path)


def _names_of_anchors(store: Store, snapshots: set[str]) -> dict[str, str]:
    """Return the names that plans of trainings on all documents have for the anchors of snapshots, of batches alone."""
    made = store.query("select distinct snapshot_id from batches")["snapshot_id"]
    trained = f"select anchor_id from anchors where {IN_SNAPSHOT} and not {LEFT_OUT} order by anchor_id"
    return {
        one: content_hash("anchors", store.query(trained, one, one)["anchor_id"].to_list())
        for one in snapshots & {*made}
    }


def _holding(
    store: Store, models: pl.DataFrame, batches: set[str], read: set[str], snapshot_of: dict[str, str]
) -> set[str]:
    """Return the checkpoints that were trained on batches, beside them, or on what was read, and those after such ones.

    Args:
        read: Snapshots, and names that plans have for all their anchors.
        snapshot_of: Snapshot of each batch of the store.
    """
    beside = store.query(
        "select checkpoint_id from checkpoints where exists (select 1 from completions where stage in ('train', "
        "'probe') and batch_id in (select unnest(?::varchar[])) "
        "and contains(json_extract(summary, '$.arms')::varchar, checkpoint_id))",
        list(batches),
    )
    found = set(beside["checkpoint_id"])  # the arms, not the start: those without records read the documents themselves
    for row in models.iter_rows(named=True):
        plan: dict[str, Any] = json.loads(row["plan"])
        names = {row["parent"], plan.get("snapshot_id"), plan.get("anchors")}
        if plan.get("anchors") == OF_ALL:  # beside its batches it has read every document of their snapshot
            names |= {snapshot_of.get(batch_id) for batch_id in row["batch_ids"]}
        is_on = names & read or batches & set(row["batch_ids"])
        if is_on or row["parent"] in found:  # a parent has its row before its children
            found.add(row["checkpoint_id"])
    return found


def untouched_starts(store: Store, traces: Sequence[Trace]) -> list[str]:
    """Return the checkpoints that trainings begin from and that hold nothing of what was traced, the newest first."""
    starts = store.query("select checkpoint_id from checkpoints where role = 'start' order by rowid desc")
    holding = {one.id for one in traces if one.what == "checkpoint"}
    return [one for one in starts["checkpoint_id"] if one not in holding]


def counted(number: int, name: str) -> str:
    """Return a number of things.

    >>> counted(1, "record"), counted(2, "batch")
    ('1 record', '2 batches')
    """
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}{'es' if name.endswith('ch') else 's'}"

"""Records of batches as candidates of a selection, and those that it takes as it leaves them."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from gainloop.curation.selection.candidate import Candidate
from schemas.conversation import read_turns, transcript, write_turns
from schemas.rows import document_of


def record_candidates(records: pl.DataFrame, anchors: pl.DataFrame) -> list[Candidate]:
    """Return records as rows that may be selected; the domain of one is the document that it was made from.

    Args:
        records: Columns record_id, anchor_id, facet, text, num_bytes, turns.
        anchors: Columns anchor_id, uri.
    """
    documents = {anchor_id: document_of(uri) for anchor_id, uri in anchors.select("anchor_id", "uri").iter_rows()}
    return [_candidate(row, documents.get(row["anchor_id"], "")) for row in records.iter_rows(named=True)]


def _candidate(row: dict[str, str], domain: str) -> Candidate:
    values = {name: row[name] for name in ("facet", "num_bytes")}
    turns = read_turns(row["turns"] or "")
    if not turns:
        return Candidate(row["record_id"], row["text"], domain=domain, values=values)
    asked = next((turn.content for turn in reversed(turns) if turn.role == "user"), "")
    return Candidate(row["record_id"], turns[-1].content, asked, turns[-1].thought, domain, values)


def with_answers(records: pl.DataFrame, answers: Mapping[str, str]) -> pl.DataFrame:
    """Return records of which some have another text, or another last turn; their ids stay.

    Args:
        records: Columns record_id, text, turns, num_bytes among others.
        answers: By id the answers that a selection has changed.
    """
    rows = records.select("record_id", "text", "turns").iter_rows()
    changed = [_changed(record_id, text, written, answers) for record_id, text, written in rows]
    texts, turns = zip(*changed, strict=True) if changed else ((), ())
    return records.with_columns(
        pl.Series("text", texts, pl.String),
        pl.Series("turns", turns, pl.String),
        pl.Series("num_bytes", [len(text.encode()) for text in texts], records.schema["num_bytes"]),
    )


def _changed(record_id: str, text: str, written: str | None, answers: Mapping[str, str]) -> tuple[str, str | None]:
    if record_id not in answers:
        return text, written
    if not (turns := read_turns(written or "")):
        return answers[record_id], written
    *before, last = turns
    whole = [*before, replace(last, content=answers[record_id])]
    return transcript(whole), write_turns(whole)

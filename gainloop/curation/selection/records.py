"""Records of batches as candidates of a selection."""

import polars as pl

from gainloop.curation.selection.candidate import Candidate
from schemas.conversation import read_turns
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

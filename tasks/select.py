"""Selection: the rows of files that suffice, written as lines of JSON, with the counts of every step beside them."""

import json
import logging
import os
from collections.abc import Sequence
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.curation.selection import Selected, Selection, select_rows
from gainloop.curation.selection.files import FILES, RowFields, read_rows, with_answer
from gainloop.store.files import write_file
from schemas.errors import BadInput
from tasks.artifacts import create_markdown_artifact

log = logging.getLogger("gainloop.select")


def select_from_files(files: Sequence[str], out: str, selection: Selection, fields: RowFields) -> dict[str, Any]:
    """Write the rows of files that a selection takes, in their order, and beside them the counts; return these.

    The counts are written first: where the rows are, their counts are too.

    Raises:
        BadInput: A file cannot be read, ``out`` is no place for lines of JSON, the selection does not fit the rows, or
            takes none of them.
    """
    _require_place(files, out)
    rows = read_rows(files, fields)
    selected = select_rows([one.candidate for one in rows], selection)
    counts = describe(selected, selection)
    if not selected.ids:
        raise BadInput(
            f"selecting from {', '.join(files)} by {selection.kind}: {selection_summary(counts)}; one row at least "
            f"must be. Loosen what selection.kind {selection.kind} asks for. Nothing was written."
        )
    taken, lines = set(selected.ids), list[str]()
    for one in rows:
        if (row_id := one.candidate.row_id) in taken:
            answer = selected.answers.get(row_id)
            row = one.row if answer is None else with_answer(one.row, fields, answer)
            lines.append(json.dumps(row, ensure_ascii=False, default=str) + "\n")
    write_file(counts_beside(out), json.dumps(counts, indent=1, ensure_ascii=False).encode())
    write_file(out, "".join(lines).encode())
    return counts


def counts_beside(out: str) -> str:
    """Return where the counts of a selection lie.

    >>> counts_beside("sets/few.jsonl")
    'sets/few.counts.json'
    """
    return f"{out.removesuffix('.jsonl')}.counts.json"


def describe(selected: Selected, selection: Selection) -> dict[str, Any]:
    """Return the counts of a selection as JSON types, with its parameters and the ids."""
    return {
        "selection": selection.model_dump(mode="json"),
        "steps": selected.steps,
        "dropped": selected.dropped,
        "parts": selected.parts,
        "domains": {name: {"given": given, "selected": taken} for name, (given, taken) in selected.domains.items()},
        "changed": len(selected.answers),
        "ids": list(selected.ids),
    }


def selection_summary(counts: dict[str, Any]) -> str:
    """Return what became of the rows.

    >>> dropped = {"too_easy": 300, "not_selected": 800}
    >>> selection_summary({"steps": {"given": 1200, "selected": 100}, "dropped": dropped})
    '100 of 1,200 rows selected; 800 not_selected, 300 too_easy'
    """
    dropped = sorted(counts["dropped"].items(), key=lambda one: -one[1])
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped)
    said = f"{counts['steps']['selected']:,} of {counts['steps']['given']:,} rows selected"
    return f"{said}; {reasons}" if reasons else said


@task(cache_policy=NO_CACHE, task_run_name="select by {selection.kind}")
def select_files(files: Sequence[str], out: str, selection: Selection, fields: RowFields) -> dict[str, Any]:
    counts = select_from_files(files, out, selection, fields)
    create_markdown_artifact(as_markdown(counts), key=f"selection-{selection.kind}", description=out)
    return counts


def as_markdown(counts: dict[str, Any]) -> str:
    """Return the counts as two tables."""
    steps = [f"| {name} | {count:,} |" for name, count in counts["steps"].items()]
    reasons = [f"| {name} | {count:,} |" for name, count in counts["dropped"].items()]
    return "\n".join(["| after | rows |", "|---|---:|", *steps, "", "| not taken, as | rows |", "|---|---:|", *reasons])


def _require_place(files: Sequence[str], out: str) -> None:
    if not out.endswith(".jsonl"):
        raise BadInput(
            f"selecting from {', '.join(files)}: the rows are to go to {out!r}; a name that ends in .jsonl is allowed. "
            "Correct --out."
        )
    if any(_place(url) == _place(out) for url in FILES.find(list(files))):
        raise BadInput(
            f"selecting from {', '.join(files)}: {out!r} is one of the files that are read; another is allowed, since "
            "what is not selected would be lost. Correct --out."
        )


def _place(url: str) -> str:
    return os.path.realpath(os.path.expanduser(url.removeprefix("file://")))

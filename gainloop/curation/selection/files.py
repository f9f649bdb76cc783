"""Files of rows as candidates of a selection: which field holds what, and the row again with another answer."""

import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from pydantic import Field

from gainloop.curation.selection.candidate import Candidate
from gainloop.sources.tables import Tables
from schemas.conversation import Turn, as_messages, fault_of, read_messages
from schemas.errors import BadInput
from schemas.recipe import Parameters
from schemas.rows import content_hash

FILES: Final = Tables("rows", "files")

USUAL: Final = {
    "id": ("id", "row_id", "record_id"),
    "question": ("question", "prompt", "instruction", "problem"),
    "answer": ("answer", "response", "output", "completion", "solution", "text"),
    "thought": ("thought", "reasoning", "reasoning_content", "trace"),
    "domain": ("domain", "subject", "source", "category"),
    "messages": ("messages", "conversations"),
}
"""Names that a field is looked for under where none is given, the first that is there."""

_NAMED: Final = "Default: the usual names."

Row = dict[str, Any]


class RowFields(Parameters):
    """Fields of the rows that are selected from; an empty one is looked for under its usual names."""

    id: Annotated[str, Field(description="Field of a row's id. Default: the usual names, or the hash of its text.")] = (
        ""
    )
    question: Annotated[str, Field(description=f"Field of the question. {_NAMED}")] = ""
    answer: Annotated[str, Field(description=f"Field of the answer, or of a text alone. {_NAMED}")] = ""
    thought: Annotated[str, Field(description=f"Field of what was thought before the answer. {_NAMED}")] = ""
    domain: Annotated[str, Field(description=f"Field of the domain that a row belongs to. {_NAMED}")] = ""
    messages: Annotated[str, Field(description=f"Field of a conversation in the place of the three. {_NAMED}")] = ""

    def name(self, what: str, row: Row) -> str:
        """Return the name of a field in a row; empty where the row has none."""
        given = getattr(self, what)
        return next((one for one in ((given,) if given else USUAL[what]) if row.get(one) not in (None, "")), "")


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row of a file and what a selection sees of it."""

    candidate: Candidate
    row: Row


def read_rows(paths: Sequence[str], fields: RowFields) -> list[FileRow]:
    """Return the rows of files in their order.

    A row without an id is named by the hash of its question, thought and answer, and by a number where it stands there
    several times.

    Raises:
        BadInput: A file cannot be read, a row has neither question, answer nor conversation, or no row is there.
    """
    found = [FileRow(_candidate(row, fields, where), row) for where, row in _rows(paths)]
    if not found:
        raise FILES.refusal(", ".join(paths), "no row is there", "one row at least is allowed", "Write some")
    times = Counter[str]()
    for place, one in enumerate(found):
        if not one.candidate.row_id:
            name = content_hash("row", one.candidate.question, one.candidate.thought, one.candidate.answer)
            times[name] += 1
            row_id = name if times[name] == 1 else f"{name}-{times[name]}"
            found[place] = replace(one, candidate=replace(one.candidate, row_id=row_id))
    return found


def with_answer(row: Row, fields: RowFields, answer: str) -> Row:
    """Return a row of a file that has another answer.

    >>> with_answer({"question": "3 + 4?", "answer": "7, see https://a.b"}, RowFields(), "7, see")
    {'question': '3 + 4?', 'answer': '7, see'}
    """
    if name := fields.name("messages", row):
        *before, last = read_messages(row[name])
        return row | {name: as_messages([*before, replace(last, content=answer)])}
    return row | {fields.name("answer", row): answer}


def _rows(paths: Sequence[str]) -> Iterator[tuple[str, Row]]:
    for url in FILES.find(list(paths)):
        for number, row in FILES.read(url):
            yield f"{posixpath.basename(url)} row {number}", row


def _candidate(row: Row, fields: RowFields, where: str) -> Candidate:
    texts = {what: _text(row, fields.name(what, row)) for what in ("id", "question", "answer", "thought", "domain")}
    if name := fields.name("messages", row):
        turns = _turns(row[name], where)
        asked = next((turn.content for turn in reversed(turns) if turn.role == "user"), "")
        texts |= {"question": asked, "answer": turns[-1].content, "thought": turns[-1].thought}
    if not texts["question"] and not texts["answer"]:
        raise BadInput(
            f"reading the rows, {where}: no question, answer or conversation; fields there are {', '.join(row)}. "
            "Mend or remove that row, or name its fields with --fields.question, --fields.answer or --fields.messages."
        )
    return Candidate(texts["id"], texts["answer"], texts["question"], texts["thought"], texts["domain"], row)


def _turns(messages: object, where: str) -> tuple[Turn, ...]:
    try:
        turns = read_messages(messages)
        fault = fault_of(turns)
    except ValueError as error:
        fault = str(error)
    if fault:
        raise BadInput(
            f"reading the rows, {where}: its conversation is none, {fault}; turns of user and assistant in turn are "
            "allowed, the last of assistant. Mend or remove that row."
        )
    return turns


def _text(row: Row, name: str) -> str:
    value = row.get(name) if name else ""
    return value if isinstance(value, str) else str(value)

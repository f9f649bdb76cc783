"""The texts that a model is to be tested on, read from files of rows."""

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import polars as pl

from gainloop.sources.tables import Tables
from schemas.curation import Probes
from schemas.exam import Question

FILES = Tables("probes", "curation.probes.files")
TEXTS = pl.Schema({"item": pl.String, "text": pl.String})


def read_probes(probes: Probes) -> pl.DataFrame:
    """Return every text of every probe: item, which names file, line and field; and text.

    Each field, and each text of a list, is a text of its own: a sequence of words over the end of one and the beginning
    of the next stands in no document.

    Raises:
        BadInput: A file is not there, is none of the kinds that are read, is damaged or empty, or lacks a field.
    """
    rows = [found for url in FILES.find(list(probes.files)) for found in _read_file(url, probes.fields)]
    return pl.DataFrame(rows, TEXTS, orient="row")


def exam_probes(questions: Iterable[Question]) -> pl.DataFrame:
    """Return the questions of exams as probes: a record that holds one would teach the exam in place of its document.

    Columns item and text, as ``read_probes`` returns them.
    """
    rows = [(f"exam question {one.question_id}", one.question) for one in questions]
    return pl.DataFrame(rows, TEXTS, orient="row")


def _read_file(url: str, fields: Sequence[str]) -> list[tuple[str, str]]:
    """Return the texts of one file's rows."""
    name = posixpath.basename(url)
    texts, missing, known = [], dict.fromkeys(fields), dict[str, None]()
    for number, row in FILES.read(url):
        known |= dict.fromkeys(row)
        for field in fields:
            values = list(_texts_of(row, field.split(".")))
            if values:
                missing.pop(field, None)
            texts += [(_name(name, number, field, place), text) for place, text in values]
    if not known:
        raise FILES.refusal(
            url, "no row is there", "one row for each item is allowed", "Write some, or leave the file out"
        )
    if missing:
        there = f"fields there are {', '.join(known)}"
        raise FILES.refusal(url, f"no text in field {next(iter(missing))!r}", there, "Correct curation.probes.fields")
    return texts


def _texts_of(value: Any, path: list[str], place: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield the texts at a path of names, each with the places in the lists that lead to it.

    >>> list(_texts_of({"questions": [{"ask": "Who?"}, {"ask": ["What?", "Why?"]}]}, ["questions", "ask"]))
    [((0,), 'Who?'), ((1, 0), 'What?'), ((1, 1), 'Why?')]
    """
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from _texts_of(one, path, (*place, number))
    elif isinstance(value, dict) and path:
        yield from _texts_of(value.get(path[0]), path[1:], place)
    elif isinstance(value, dict):
        yield from _texts_of(list(value.values()), [], place)
    elif isinstance(value, str) and not path and value.strip():
        yield place, value


def _name(file: str, number: int, field: str, place: tuple[int, ...]) -> str:
    """Return the place of a text, for a person to find it.

    >>> _name("quiz.jsonl", 3, "questions.answer", (2,))
    'quiz.jsonl row 3, questions.answer [2]'
    """
    return f"{file} row {number}, {field}" + "".join(f" [{one}]" for one in place)

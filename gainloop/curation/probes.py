"""The texts that a model is to be tested on, read from files of rows."""

import io
import json
import posixpath
from collections.abc import Iterator
from typing import Any

import fsspec
import polars as pl

from gainloop.sources.formats import TABLES, read_text
from schemas.errors import BadInput
from schemas.recipe import Probes

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
TEXTS = pl.Schema({"item": pl.String, "text": pl.String})

Row = tuple[int, dict[str, Any]]


def read_probes(probes: Probes) -> pl.DataFrame:
    """Return every text of every probe: item, which names file, line and field; and text.

    Each field, and each text of a list, is a text of its own: a sequence of words over the end of one and the beginning
    of the next stands in no document.

    Raises:
        BadInput: A file is not there, is none of the kinds that are read, is damaged or empty, or lacks a field.
    """
    rows = [found for url in _list_files(probes.files) for found in _read_file(url, probes.fields)]
    return pl.DataFrame(rows, TEXTS, orient="row")


def _list_files(paths: list[str]) -> list[str]:
    """Return the files that paths and globs name, each once."""
    found: list[str] = []
    for path in paths:
        system, place = fsspec.url_to_fs(path)
        names = sorted(system.glob(place)) if any(mark in place for mark in "*?[") else [place]
        files = [name for name in names if system.isfile(name)]
        if not files:
            raise _refusal(path, "no file is there", "a file or a glob is allowed", "Correct curation.probes.files")
        found += [str(system.unstrip_protocol(name)) if "://" in path else name for name in files]
    return list(dict.fromkeys(found))


def _read_file(url: str, fields: list[str]) -> list[tuple[str, str]]:
    """Return the texts of one file's rows."""
    name, (_, suffix) = posixpath.basename(url), posixpath.splitext(url.lower())
    if suffix not in SUFFIXES:
        kinds = f"allowed are {' '.join(SUFFIXES)}"
        raise _refusal(url, f"it ends in {suffix or 'nothing'}", kinds, "Convert it, or leave it out")
    with fsspec.open(url, "rb") as file:
        content = file.read()
    texts, missing, known = [], dict.fromkeys(fields), dict[str, None]()
    for number, row in _read_rows(content, suffix, url):
        known |= dict.fromkeys(row)
        for field in fields:
            values = list(_texts_of(row, field.split(".")))
            if values:
                missing.pop(field, None)
            texts += [(_name(name, number, field, place), text) for place, text in values]
    if not known:
        raise _refusal(url, "no row is there", "one row for each item is allowed", "Write some, or leave the file out")
    if missing:
        there = f"fields there are {', '.join(known)}"
        raise _refusal(url, f"no text in field {next(iter(missing))!r}", there, "Correct curation.probes.fields")
    return texts


def _read_rows(content: bytes, suffix: str, url: str) -> Iterator[Row]:
    """Yield numbered rows; a .json file holds a list of them, or, as some benchmarks have it, one a line."""
    if suffix == ".json":
        try:
            whole = json.loads(read_text(io.BytesIO(content), url))
        except json.JSONDecodeError:
            suffix = ".jsonl"
        else:
            rows = whole if isinstance(whole, list) else [whole]
            if not all(isinstance(row, dict) for row in rows):
                raise _refusal(url, "it holds other things than objects", "a list of objects is allowed", "Mend it")
            yield from enumerate(rows, 1)
            return
    yield from TABLES[suffix](io.BytesIO(content), [], url)


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


def _refusal(url: str, found: str, allowed: str, advice: str) -> BadInput:
    return BadInput(f"reading the probes {url}: {found}; {allowed}. {advice}.")

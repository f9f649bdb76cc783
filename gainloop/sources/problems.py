"""Problems with known answers, in files of rows: each becomes one anchor, which is never cut."""

import io
import json
from collections.abc import Iterator, Mapping
from typing import IO, Annotated, Any, Literal

from pydantic import Field

from gainloop.solutions.mathematics import marked_answer
from gainloop.solutions.problem import Problem, ProblemKind, write_problem
from gainloop.solutions.problem_rows import read_options, read_tests
from gainloop.sources.files import list_parts
from gainloop.sources.formats import TABLES, Rows, split_suffix
from gainloop.sources.names import printable
from gainloop.sources.pieces import normalise, one_line
from gainloop.sources.source import MaxChars, Part, Source
from gainloop.sources.texts import Growing, decoded, read_bytes
from schemas.errors import BadInput
from schemas.exercise import FIRST_OPTION
from schemas.recipe import BASIC
from schemas.rows import Document

KINDS = ".jsonl .csv, each also with .gz or .zst, .json and .parquet"


def is_table(name: str) -> bool:
    """Tell whether a file holds rows that can be read.

    >>> is_table("a.json"), is_table("a.jsonl.gz"), is_table("a.md"), is_table("a.json.gz")
    (True, True, False, False)
    """
    suffix, compression = split_suffix(name)
    return suffix in TABLES if suffix not in (".json", ".parquet") else not compression


class Problems(Source):
    """Problems with their answers, of .jsonl .json .csv .parquet files; an anchor each, for the method reasoning.

    A row has a question, and an answer, tests or both. An answer may have the way to it before its mark, as GSM8K
    ("#### 18") and MATH (\\boxed{}) write them: then it is the worked answer, and what stands at the mark is the final
    one. Options are a list of texts, or ``{"text": [...], "label": [...]}``; the answer to a choice is a letter, a
    label, an option's text, or its number from 0, as MMLU has it (``first_option``). Tests are statements, ``{"input":
    ..., "output": ...}``, a list of either, or ``{"inputs": [...], "outputs": [...]}``; any of these may be written as
    JSON in a text. A row that lacks a question, or an answer and tests, and a problem beyond ``max_chars``, give no
    anchor: they are counted as too_short.
    """

    kind: Literal["problems"] = "problems"
    problem_paths: Annotated[
        list[str], BASIC, Field(min_length=1, description="Files of rows, folders or globs, local or any fsspec url.")
    ]
    exclude: Annotated[
        list[str], Field(default_factory=list, description="Globs of files and folders below paths to leave out.")
    ]
    answers: Annotated[
        ProblemKind | Literal["auto"],
        Field(
            description="What answers are: mathematics, code, choice, exact; auto: code where a row has tests, choice "
            "where it has options, mathematics where its answer has a digit or a formula, else exact."
        ),
    ] = "auto"
    question_field: Annotated[str, Field(min_length=1, description="Field that holds the question.")] = "question"
    answer_field: Annotated[str, Field(min_length=1, description="Field that holds the answer.")] = "answer"
    worked_field: Annotated[str, Field(description="Field that holds the way to the answer, if any.")] = ""
    options_field: Annotated[str, Field(description="Field that holds the options of a choice.")] = "options"
    tests_field: Annotated[str, Field(description="Field that holds the tests of a program.")] = "tests"
    first_option: Annotated[
        int, Field(ge=0, le=1, description="Number of the first option, where answers are numbers of options.")
    ] = FIRST_OPTION
    id_field: Annotated[str, Field(description="Field that names a row in its uri. Default: the row's number.")] = ""
    licence: Annotated[str, Field(description="Licence of the problems, for example MIT.")] = ""
    max_chars: MaxChars = 20_000
    min_chars: Annotated[int, Field(ge=1, description="Characters of an anchor, at least.")] = 1

    def parts(self) -> Iterator[Part]:
        yield from list_parts(self.problem_paths, self.exclude, False, is_table, KINDS)

    def read(self, part: Part) -> Iterator[Document]:
        place, file = part.found
        suffix, compression = split_suffix(part.url)
        with place.reaching(), place.open(file) as raw:
            content = raw if suffix == ".parquet" else Growing(raw, compression, file.stored_bytes, part.url).buffered()
            for number, row in self._rows(content, suffix, part.url):
                yield self._document(row, number, part.name)
        place.require_same(file)

    def cut(self, part: Part, document: Document) -> list[Document]:
        return [document] if self.min_chars <= len(document.text) <= self.max_chars else []

    def tell_none(self, num_documents: int) -> str:
        return (
            f"none of {num_documents} rows has a question, and an answer or tests, within {self.max_chars} characters; "
            "a snapshot needs one at least. Put them there, set question_field, answer_field and tests_field to the "
            "fields that hold them, or raise max_chars."
        )

    def problem(self, row: Mapping[str, Any], where: str) -> Problem | None:
        """Return the problem of a row; None if it lacks a question, or what an answer could be compared with.

        Raises:
            BadInput: A field holds what it cannot be.
        """
        question, answer = _text(row, self.question_field, where), _text(row, self.answer_field, where)
        options = read_options(row.get(self.options_field), where, lambda text: normalise(text).strip())
        tests = read_tests(row.get(self.tests_field), where, normalise)
        worked = _text(row, self.worked_field, where) if self.worked_field else ""
        kind = self._kind(answer, bool(options.texts), bool(tests))
        if kind == "choice":
            given = row.get(self.answer_field)
            said = given if isinstance(given, int) else answer
            answer = options.letter(said, where, self.first_option) if answer else ""
        elif kind in ("mathematics", "exact") and (final := normalise(marked_answer(answer))) and final != answer:
            worked, answer = worked or answer, final
        problem = Problem(question, answer, kind, options.texts, tests, worked)
        return problem if question.strip() and problem.is_verifiable else None

    def _kind(self, answer: str, has_options: bool, has_tests: bool) -> ProblemKind:
        if self.answers != "auto":
            return self.answers
        if has_tests or has_options:
            return "code" if has_tests else "choice"
        final = marked_answer(answer) or answer
        return "mathematics" if "\\" in final or any(sign.isdigit() for sign in final) else "exact"

    def _rows(self, content: IO[bytes], suffix: str, url: str) -> Rows:
        if suffix != ".json":
            yield from TABLES[suffix](content, [], url)
            return
        whole = read_bytes(content, url)
        try:
            rows = json.loads(decoded(whole, url))
        except (ValueError, RecursionError):  # one object a line, as some benchmarks have it
            yield from TABLES[".jsonl"](io.BytesIO(whole), [], url)
            return
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise BadInput(f"reading {url}: it holds other things than objects; a list of objects is allowed. Mend it.")
        yield from enumerate(rows, 1)

    def _document(self, row: dict[str, Any], number: int, name: str) -> Document:
        where = f"{name}, row {number}"
        if self.question_field not in row:
            listed = ", ".join(map(str, row))[:500] or "none"
            raise BadInput(
                f"reading {where}: field {self.question_field!r} not found; fields there are {listed}. Set "
                "question_field, answer_field, options_field and tests_field to fields that are there."
            )
        problem = self.problem(row, where)
        named = printable(str(row[self.id_field])) if self.id_field in row else number
        text = normalise(write_problem(problem)) if problem else ""
        return Document(text, "", one_line(f"{name}#{named}"), self.licence)


def _text(row: Mapping[str, Any], field: str, where: str) -> str:
    value = row.get(field)
    if isinstance(value, dict | list | bytes):
        raise BadInput(
            f"reading {where}: field {field!r} holds a {type(value).__name__}; a text or a number is allowed. Set the "
            "field to one that holds it."
        )
    return "" if value is None else normalise(str(value)).strip()

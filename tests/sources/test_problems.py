import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gainloop.solutions.problem import Example, Problem, read_problem
from gainloop.solutions.verdict import verdict_of
from gainloop.sources.pieces import split_document
from gainloop.sources.problems import Problems
from gainloop.store import Store
from schemas.errors import BadInput
from tasks.refresh import refresh_snapshot

SUM = {"question": "What is 3 + 4?", "answer": "7"}


def write(folder: Path, rows: list[dict[str, Any]], suffix: str = ".jsonl") -> str:
    path = folder / f"problems{suffix}"
    match suffix:
        case ".csv":
            pl.DataFrame(rows).write_csv(path)
        case ".parquet":
            pl.DataFrame(rows).write_parquet(path)
        case ".json":
            path.write_text(json.dumps(rows))
        case _:
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def texts_of(source: Problems) -> list[str]:
    return [
        piece.text for part in source.parts() for document in source.read(part) for piece in source.cut(part, document)
    ]


def read(folder: Path, *rows: dict[str, Any], **parameters: Any) -> list[Problem | None]:
    return list(map(read_problem, texts_of(Problems(problem_paths=[write(folder, list(rows))], **parameters))))


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_files_of_every_kind_give_the_same_problem(tmp_path: Path, suffix: str) -> None:
    (text,) = texts_of(Problems(problem_paths=[write(tmp_path, [SUM], suffix)]))

    assert text == "Mathematics problem:\nWhat is 3 + 4?\n\nAnswer:\n7"


def test_gsm8k_reads_as_it_is_and_every_anchor_is_its_problem(shared_data: Path) -> None:
    source = Problems(problem_paths=[str(shared_data / "gsm8k" / "test.jsonl")], licence="MIT")
    (part,) = source.parts()
    documents = list(source.read(part))
    problems = [read_problem(document.text) for document in documents]

    assert len(problems) == 1319
    assert {(one.kind, bool(one.worked), bool(one.answer)) for one in problems if one} == {("mathematics", True, True)}
    assert problems[0] and problems[0].answer == "18"  # noqa: PT018 - mypy needs both
    assert (documents[0].uri, documents[0].licence) == ("test.jsonl#1", "MIT")
    assert all(split_document(one, 20_000, 1) == [one] for one in documents), (
        "an anchor has the text that it is read from"
    )
    assert all(one and verdict_of(one, one.worked) == "right" for one in problems)


def test_a_choice_is_read_with_letters_labels_texts_and_numbers(tmp_path: Path) -> None:
    options = ["oats", "rye", "wheat"]
    rows = [{"question": "Which?", "options": options, "answer": answer} for answer in ("B", "rye", 1)]
    labelled = {"question": "Which?", "options": {"text": options, "label": ["1", "2", "3"]}, "answer": "2"}

    found = read(tmp_path, *rows, labelled)
    assert [one and one.kind for one in found] == ["choice"] * 4
    assert [one and verdict_of(one, "The answer is (B).") for one in found] == ["right"] * 4
    (second,) = read(tmp_path, {"question": "Which?", "options": options, "answer": 2}, first_option=1)
    assert second
    assert second.answer == "B"


def test_a_choice_without_an_answer_gives_no_anchor(tmp_path: Path) -> None:
    assert read(tmp_path, {"question": "Which?", "options": ["oats", "rye"], "answer": None}) == []


def test_tests_of_programs_are_statements_or_examples_in_any_of_their_forms(tmp_path: Path) -> None:
    forms: list[Any] = [
        ["assert f(1) == 2"],
        [{"input": "1\n", "output": "2\n"}],
        {"inputs": ["1\n"], "outputs": ["2\n"]},
        json.dumps({"inputs": [["1", "2"]], "outputs": ["3"]}),
    ]
    found = [read(tmp_path, {"question": "Write f.", "tests": form})[0] for form in forms]

    assert [one and one.tests for one in found] == [
        ("assert f(1) == 2",),
        (Example("1", "2"),),
        (Example("1", "2"),),
        (Example("1\n2", "3"),),
    ]


def test_a_row_that_lacks_something_gives_no_anchor_and_is_a_document_all_the_same(tmp_path: Path) -> None:
    rows = [SUM, {"question": "Why?"}, {"question": "", "answer": "7"}, {"question": "Why?", "answer": None}]
    source = Problems(problem_paths=[write(tmp_path, rows)])
    (part,) = source.parts()

    assert [len(source.cut(part, document)) for document in source.read(part)] == [1, 0, 0, 0]


def test_where_no_row_has_an_answer_the_message_says_so(tmp_path: Path, store: Store) -> None:
    source = Problems(
        problem_paths=[write(tmp_path, [{"question": "How far?"}, {"question": "How long?", "answer": ""}])]
    )
    with pytest.raises(BadInput, match=r"none of 2 rows has a question, and an answer or tests, .* set question_field"):
        refresh_snapshot(store, source, 0.0)


def test_a_problem_is_never_cut_and_one_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    long = {"question": "Add. " * 1000, "answer": "7"}

    assert len(read(tmp_path, long)) == 1
    assert read(tmp_path, long, max_chars=1000) == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"problem": "What?"}, "field 'question' not found; fields there are problem"),
        ({"question": "What?", "answer": ["7"]}, "field 'answer' holds a list; a text or a number is allowed"),
        ({"question": "What?", "tests": [7]}, "a test is '7'; statements, or an object"),
        ({"question": "What?", "tests": 5}, "a test is '5'; statements, or an object"),
        ({"question": "What?", "tests": {"inputs": ["1", "2"], "outputs": ["3"]}}, "have 2 inputs and 1 outputs; two"),
        ({"question": "What?", "options": {"label": None}, "answer": "A"}, "options are .*label.*; a list"),
        ({"question": "What?", "options": ["oats", "rye"], "answer": 2}, "its answer '2' is none of its 2 options"),
        ({"question": "What?", "options": "yes", "answer": "A"}, "options are 'yes'; a list"),
    ],
)
def test_what_cannot_be_is_refused_with_its_row(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read(tmp_path, row)


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("x")

    with pytest.raises(BadInput, match=r"none that is read: not \.jsonl \.csv"):
        list(Problems(problem_paths=[str(tmp_path)]).parts())

"""Options, right answers and tests in every shape that rows have them, and what is refused with the row."""

from typing import Any

import pytest

from gainloop.evaluation.exam_files import _answers
from gainloop.evaluation.exercise_files import read_problem_row
from gainloop.solutions.problem import Example
from gainloop.solutions.problem_rows import Options, read_options, read_tests
from gainloop.sources.problems import Problems
from schemas.errors import BadInput
from schemas.exam import ExamFiles
from schemas.exercise import Exercises
from tests.test_bad_input import HOUSE_FORM

CORN = ("oats", "rye")
ONE = Example("1", "2")


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (["oats", " rye "], Options(CORN)),
        ('["oats", "rye"]', Options(CORN)),
        ([3, 4.5], Options(("3", "4.5"), are_numbers=True)),
        ([{"text": "oats", "label": "A"}, {"text": "rye", "label": "B"}], Options(CORN, ("A", "B"))),
        ([{"text": "oats"}, {"text": "rye"}], Options(CORN)),
        ({"text": ["oats", "rye"]}, Options(CORN)),
        ('{"text": ["oats", "rye"], "label": [1, 2]}', Options(CORN, ("1", "2"))),
        ({"text": None, "label": None}, Options()),
        (None, Options()),
        ("", Options()),
        ([], Options()),
    ],
)
def test_options_are_texts_with_labels_or_without_or_their_json(value: Any, options: Options) -> None:
    assert read_options(value, "row 1") == options


@pytest.mark.parametrize(
    "value",
    [
        "yes",
        "['oats', 'rye']",
        5,
        ["oats", None],
        [["oats"], ["rye"]],
        ["x"] * 27,
        {"label": None},
        {"label": ["A"]},
        {"text": ["oats", "rye"], "label": None},
        {"text": ["oats", "rye"], "label": ["A"]},
        {"text": ["oats", "rye"], "label": 1},
        {"text": None, "label": ["A"]},
    ],
)
def test_options_of_another_shape_are_refused(value: Any) -> None:
    with pytest.raises(BadInput, match=r"^reading row 1: (labels of )?options are ") as refused:
        read_options(value, "row 1")
    assert HOUSE_FORM.fullmatch(str(refused.value))


def test_an_answer_is_a_label_a_text_a_letter_or_a_number_from_the_first() -> None:
    labelled, numbers = Options(CORN, ("1", "2")), Options(("1", "2", "3"))

    assert [Options(CORN).letter(said, "row 1") for said in ("rye", "Rye.", "b", "1")] == ["B"] * 4
    assert [Options(CORN).letter(said, "row 1", first=1) for said in ("1", "2")] == ["A", "B"]
    assert labelled.letter("1", "row 1") == "A"
    assert numbers.letter("1", "row 1") == "A"
    for said in ("2", "-1", "corn", "C", "9" * 5000, ""):
        with pytest.raises(BadInput, match="none of its 2 options") as refused:
            Options(CORN).letter(said, "row 1")
        assert HOUSE_FORM.fullmatch(str(refused.value))


def test_an_integer_is_the_number_of_an_option_and_a_text_is_first_the_text_of_one() -> None:
    listed = Options(("4", "2", "0", "6"))  # an answer of MMLU is an integer, and its options are often numerals

    assert [listed.letter(said, "row 1") for said in (2, "2", 6, "6")] == ["C", "B", "D", "D"]
    assert [listed.letter(said, "row 1", first=1) for said in (2, "2", 4, 0)] == ["B", "B", "D", "C"]
    assert Options(("4", "2", "0"), are_numbers=True).letter(2, "row 1") == "B"
    assert Options(CORN, ("1", "2")).letter(2, "row 1") == "B"


def test_exams_exercises_and_problems_read_options_by_one_rule_and_count_from_where_they_say() -> None:
    row = {"question": "Which?", "options": ["4", "2", "0", "6"], "answer": 2}
    problems = Problems(problem_paths=["x.jsonl"])

    for first, option in ((0, "0"), (1, "2")):
        (answer,) = _answers(row, ExamFiles(paths=["x"], first_option=first), read_options(row["options"], ""), "")
        assert answer == option
        exercise = read_problem_row(row, "row 1", first)
        assert exercise == problems.model_copy(update={"first_option": first}).problem(row, "row 1")
        assert exercise.options["ABCD".index(exercise.answer)] == option
    assert (Exercises(paths=["x"]).first_option, problems.first_option, ExamFiles(paths=["x"]).first_option) == (
        0,
        0,
        1,
    )


@pytest.mark.parametrize(
    ("value", "tests"),
    [
        ("assert f(1) == 2", ("assert f(1) == 2",)),
        (["assert f(1) == 2", " "], ("assert f(1) == 2",)),
        ('["assert f(1) == 2"]', ("assert f(1) == 2",)),
        ({"input": "1", "output": "2"}, (ONE,)),
        ('[{"input": 1, "output": [2]}]', (ONE,)),
        ({"inputs": ["1", ["1", 2]], "outputs": ["2", "3"]}, (ONE, Example("1\n2", "3"))),
        ({"inputs": '["1"]', "outputs": '["2"]'}, (ONE,)),
        ({"inputs": None, "outputs": None}, ()),
        (None, ()),
        (" ", ()),
        ([], ()),
    ],
)
def test_tests_are_statements_or_examples_one_or_several_or_their_json(value: Any, tests: Any) -> None:
    assert read_tests(value, "row 1") == tests


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (5, "a test is '5'"),
        ([7], "a test is '7'"),
        ([None], "a test is 'None'"),
        ({}, "a test is '{}'"),
        ({"inputs": None}, "a test is .*inputs"),
        ({"input": "1"}, "a test is .*input"),
        ({"input": "1", "output": None}, "a test is .*None"),
        ({"inputs": ["1", "2"], "outputs": ["3"]}, "its tests have 2 inputs and 1 outputs"),
        ({"inputs": None, "outputs": ["3"]}, "inputs or outputs of its tests are no list"),
        ({"inputs": "12", "outputs": "34"}, "inputs or outputs of its tests are no list"),
    ],
)
def test_tests_of_another_shape_are_refused(value: Any, found: str) -> None:
    with pytest.raises(BadInput, match=f"^reading row 1: {found}") as refused:
        read_tests(value, "row 1")
    assert HOUSE_FORM.fullmatch(str(refused.value))

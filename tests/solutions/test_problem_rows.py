"""Options, right answers and tests in every shape that rows have them, and what is refused with the row."""

from typing import Any

import pytest

from gainloop.solutions.problem import Example
from gainloop.solutions.problem_rows import Options, read_options, read_tests
from schemas.errors import BadInput
from tests.test_bad_input import HOUSE_FORM

CORN = ("oats", "rye")
ONE = Example("1", "2")


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (["oats", " rye "], Options(CORN)),
        ('["oats", "rye"]', Options(CORN)),
        ([3, 4.5], Options(("3", "4.5"))),
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

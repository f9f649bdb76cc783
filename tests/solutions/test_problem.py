import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gainloop.solutions.problem import KINDS, Example, Problem, read_problem, write_problem
from gainloop.sources.pieces import normalise
from schemas.errors import BadInput

LINES = st.sampled_from(
    ["Answer:", "\\Answer:", "\\\\Test:", "Question:", "Option A:", "Standard input:", "Worked answer:", "", " ", "x"]
)
TEXTS = st.one_of(st.text(max_size=20), st.lists(LINES, max_size=6).map("\n".join))
TESTS = st.one_of(TEXTS, st.builds(Example, TEXTS, TEXTS))
PROBLEMS = st.builds(
    Problem,
    TEXTS,
    TEXTS,
    st.sampled_from(KINDS),
    st.lists(TEXTS, max_size=5).map(tuple),
    st.lists(TESTS, max_size=4).map(tuple),
    TEXTS,
)


@settings(max_examples=300)
@given(problem=PROBLEMS)
def test_every_problem_is_read_back_from_its_text_whatever_its_parts_hold(problem: Problem) -> None:
    assert read_problem(write_problem(problem)) == problem


@settings(max_examples=200)
@given(text=TEXTS)
def test_a_text_that_is_no_problem_is_never_read_as_another(text: str) -> None:
    problem = read_problem(text)

    assert problem is None or write_problem(problem).rstrip("\n") == text.rstrip("\n")


def test_the_text_of_a_problem_is_what_one_reads() -> None:
    problem = Problem("Add two numbers.", "print(3)", "code", (), ("assert add(1, 2) == 3", Example("1 2", "3")), "So.")

    assert write_problem(problem) == (
        "Programming problem:\nAdd two numbers.\n\nWorked answer:\nSo.\n\nAnswer:\nprint(3)\n\n"
        "Test:\nassert add(1, 2) == 3\n\nStandard input:\n1 2\n\nStandard output:\n3"
    )


def test_the_form_that_anchors_have_changes_no_problem_whose_parts_have_it() -> None:
    problem = Problem("Which?", "B", "choice", ("one\n\ntwo", "three"))

    assert read_problem(normalise(write_problem(problem))) == problem


def test_more_options_than_letters_are_refused() -> None:
    with pytest.raises(BadInput, match="it has 27 options; 26 are allowed"):
        Problem("Which?", "A", "choice", ("x",) * 27)

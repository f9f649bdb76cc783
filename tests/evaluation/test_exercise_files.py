"""Exercises from files: real ones of GSM8K and BFCL, rows of every shape, and what is wrong with others."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gainloop.evaluation.exercise_files import read_exercise, read_exercises
from gainloop.evaluation.exercises import Calling, Constrained, Solving
from gainloop.measures.function_calls import WantedCall
from gainloop.solutions.problem import Example, Problem
from gainloop.sources.problems import Problems
from schemas.conversation import Turn
from schemas.errors import BadInput
from schemas.exercise import SKILLS, Exercises
from tests.conftest import ROOT
from tests.test_bad_input import HOUSE_FORM

GRIND = {"name": "grind", "parameters": {"type": "dict", "properties": {"corn": {"type": "string"}}}}
CALLED = {"question": "Grind rye.", "function": [GRIND]}


def problem_of(**row: Any) -> Problem:
    key = read_exercise(row, "q.jsonl row 1").key
    assert isinstance(key, Solving)
    return key.problem


def test_the_problems_of_gsm8k_are_read_with_their_final_answers(shared_data: Path) -> None:
    found = read_exercises(Exercises(paths=[str(shared_data / "gsm8k" / "test.jsonl")]))
    problems = [one.key.problem for one in found.exercises if isinstance(one.key, Solving)]

    assert (len(problems), found.num_duplicates) == (1319, 0)
    assert {one.kind for one in problems} == {"mathematics"}
    assert [one.answer for one in problems[:4]] == ["18", "3", "70000", "540"]
    assert all(one.worked.endswith(f"#### {one.answer}") for one in problems[:4])
    assert found.exercises[0].messages == (Turn("user", problems[0].question),)


def test_the_functions_of_bfcl_are_read_with_the_calls_that_are_accepted(shared_data: Path) -> None:
    folder = shared_data / "bfcl"
    wanted = Exercises(
        paths=[str(folder / "BFCL_v4_*.json")], answer_files=(str(folder / "possible_answer" / "BFCL_v4_*.json"),)
    )
    found = read_exercises(wanted)
    keys = [one.key for one in found.exercises if isinstance(one.key, Calling)]

    assert (len(keys), found.num_duplicates) == (1040, 0)
    assert Counter(min(len(key.wanted), 2) for key in keys) == {0: 240, 1: 600, 2: 200}
    assert found.exercises[0].messages[-1].content.startswith("Calculate the area of a triangle")
    few = read_exercises(wanted.model_copy(update={"max_exercises": 3}))
    assert len(few.exercises) == 12
    assert few.set_id != found.set_id
    assert {one.exercise_id for one in few.exercises} < {one.exercise_id for one in found.exercises}


def test_a_row_says_by_its_fields_what_is_checked() -> None:
    assert problem_of(question="2 + 2?", answer="4") == Problem("2 + 2?", "4", "mathematics")
    assert problem_of(problem="Half?", solution="So \\boxed{\\frac12}.").answer == "\\frac12"
    assert problem_of(prompt="Who?", answer="Tamsin Orr") == Problem("Who?", "Tamsin Orr", "exact")
    assert problem_of(question="Which?", options=["oats", "rye"], answer="rye").answer == "B"
    assert problem_of(question="Which?", choices={"text": ["oats", "rye"]}, answer=1).answer == "B"
    assert problem_of(question="Which?", options=["oats", "rye"], answer="b").kind == "choice"
    tests = ["assert f() == 1", {"input": "1\n", "output": 2}]
    assert problem_of(question="Write f.", tests=tests).tests == ("assert f() == 1", Example("1\n", "2"))
    assert problem_of(question="Which?", answer="7", kind="exact").kind == "exact"


@pytest.mark.parametrize(
    "row",
    [
        {"options": ["oats", "rye"], "answer": 1},
        {"options": '["oats", "rye"]', "answer": "1"},
        {"options": {"text": ["oats", "rye"], "label": ["1", "2"]}, "answer": "2"},
        {"options": ["oats", "rye"], "answer": "Rye"},
        {"tests": "assert f(1) == 2"},
        {"tests": '{"inputs": ["1"], "outputs": ["2"]}'},
        {"tests": {"input": 1, "output": ["2"]}},
    ],
)
def test_a_row_is_the_same_problem_to_be_assessed_on_as_to_be_trained_on(row: dict[str, Any]) -> None:
    row = {"question": "Which?"} | row

    assert problem_of(**row) == Problems(problem_paths=["q.jsonl"]).problem(row, "q.jsonl row 1")


def test_a_row_of_functions_has_messages_and_accepted_calls_in_several_shapes() -> None:
    right = [{"grind": {"corn": ["rye"]}}]
    tool = {"type": "function", "function": GRIND}
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Grind rye."}]
    first = read_exercise(CALLED | {"ground_truth": right}, "row 1")
    second = read_exercise({"question": [messages], "tools": [tool], "accepted_calls": right}, "row 2")

    assert first.key == second.key == Calling(first.key.functions, (WantedCall("grind", {"corn": ["rye"]}),))  # type: ignore[union-attr]
    assert [one.role for one in second.messages] == ["system", "user"]
    assert read_exercise(CALLED | {"id": "a"}, "row 3", {"a": right}) == first
    for nothing in (CALLED | {"ground_truth": []}, CALLED | {"id": "live_irrelevance_7"}):
        assert read_exercise(nothing, "row 4").key.wanted == ()  # type: ignore[union-attr]


def test_a_row_of_constraints_is_read_as_data(tmp_path: Path) -> None:
    row = {"instruction": "Tell of rye.", "constraints": [{"kind": "words", "least": 3}, {"kind": "no_comma"}]}
    path = tmp_path / "q.jsonl"
    path.write_text(f"{json.dumps(row)}\n" * 2)
    found = read_exercises(Exercises(paths=[str(path)]))

    (one,) = found.exercises
    assert isinstance(one.key, Constrained)
    assert [constraint.kind for constraint in one.key.constraints] == ["words", "no_comma"]
    assert found.num_duplicates == 1


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"answer": "7"}, "no text in question or"),
        ({"question": "Why?"}, "no answer in answer or"),
        ({"question": "Why?", "answer": "7", "kind": "riddle"}, "its kind is 'riddle'"),
        ({"question": "Which?", "options": ["oats", "rye"], "answer": "corn"}, "none of its 2 options"),
        (
            {"question": "Which?", "options": ["oats", "rye"], "answer": 2},
            "letter or number from 0",
        ),
        ({"question": "Write.", "tests": [7]}, "a test is '7'"),
        ({"question": "Write.", "tests": 5}, "a test is '5'"),
        ({"question": "Write.", "tests": {"inputs": ["1", "2"], "outputs": ["3"]}}, "have 2 inputs and 1 outputs"),
        ({"question": "Which?", "options": "yes", "answer": "A"}, "options are 'yes'"),
        ({"question": "Why?", "answer": ["7"]}, "its answer is a list"),
        ({"question": "Tell.", "constraints": [{"kind": "rhymes"}]}, "constraints.0, input tag 'rhymes'"),
        ({"question": "Tell.", "constraints": []}, "its constraints are none"),
        (CALLED, "no calls that are accepted"),
        (CALLED | {"ground_truth": [{"bake": {}}]}, "of none of its functions"),
        (CALLED | {"ground_truth": [{"grind": {}, "bake": {}}]}, "of none of its functions"),
        (CALLED | {"function": 5}, "its functions are int"),
        (CALLED | {"function": [{"parameters": {}}], "ground_truth": []}, "a function has no name"),
        (CALLED | {"function": [GRIND | {"parameters": "corn"}], "ground_truth": []}, "no object of properties"),
        (CALLED | {"question": [[], []], "ground_truth": []}, "it has 2 turns"),
        (CALLED | {"question": [[{"role": "assistant", "content": "Hi"}]], "ground_truth": []}, "end with a user's"),
        (CALLED | {"question": [{"role": "miller", "content": "Hi"}], "ground_truth": []}, "has no role"),
    ],
)
def test_a_row_that_is_no_exercise_is_named_with_what_is_wrong(row: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_exercise(row, "q.jsonl row 3")

    assert said in str(refused.value)
    assert str(refused.value).startswith("reading exercises, q.jsonl row 3: ")
    assert HOUSE_FORM.fullmatch(str(refused.value))


def test_files_without_rows_and_answers_without_ids_are_refused(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("")
    (tmp_path / "answers.jsonl").write_text('{"ground_truth": []}\n')
    for wanted in (
        Exercises(paths=[str(tmp_path / "none.jsonl")]),
        Exercises(paths=[str(tmp_path / "none.jsonl")], answer_files=(str(tmp_path / "answers.jsonl"),)),
    ):
        with pytest.raises(BadInput) as refused:
            read_exercises(wanted)
        assert HOUSE_FORM.fullmatch(str(refused.value))


def test_the_rows_that_the_documents_show_are_exercises_of_every_skill() -> None:
    (block,) = re.findall(r"```json\n(\{\"question\".*?)```", (ROOT / "docs" / "evaluate.md").read_text(), re.DOTALL)
    found = [read_exercise(json.loads(line), "docs/evaluate.md") for line in block.splitlines()]

    assert {one.key.skill for one in found} == set(SKILLS)
    assert {one.key.problem.kind for one in found if isinstance(one.key, Solving)} == {"mathematics", "choice", "code"}
    assert found[3].mark("[mill.grind(sacks=5, corn='Rye')]").is_right
    assert found[4].mark("It has a wheel. It grinds rye.").is_right

"""Exercises as models are given them, and the marks of right, wrong and unreadable answers."""

import json

import pytest

from gainloop.evaluation.exercises import CALLER, Answered, Calling, Constrained, Exercise, Practice, Solving, anchor_of
from gainloop.measures.constraints import Forbidden, NoComma, Words
from gainloop.measures.function_calls import Function, WantedCall
from gainloop.solutions.problem import Problem
from schemas.conversation import Turn
from schemas.exercise import Trials
from schemas.rows import Drop, Request
from tests.methods.playing import make_reply

GRIND = Function("mill.grind", {"properties": {"corn": {"type": "string"}}, "required": ["corn"]}, "Grinds corn.")
EGGS = Solving(Problem("How many eggs are 3 and 4?", "7", "mathematics"))
CALL = Calling((GRIND,), (WantedCall("mill.grind", {"corn": ["rye"]}),))
NO_CALL = Calling((GRIND,), ())
PLAIN = Constrained((NoComma(), Words(most=5), Forbidden(words=("oats",))))


def exercise(key: Solving | Calling | Constrained, said: str = "Grind rye.") -> Exercise:
    return Exercise((Turn("user", said),), key)


@pytest.mark.parametrize(
    ("key", "text", "reasons"),
    [
        (EGGS, "Add them.\nAnswer: 7", ()),
        (EGGS, "Answer: 8", ("wrong",)),
        (EGGS, "I like eggs.", ("unreadable",)),
        (EGGS, "<think>Answer: 8</think>\n\nAnswer: 7", ()),
        (Solving(Problem("Which?", "B", "choice", ("oats", "rye"))), "Answer: B", ()),
        (Solving(Problem("Which?", "B", "choice", ("oats", "rye"))), "Answer: A", ("wrong",)),
        (Solving(Problem("Which corn?", "rye", "exact")), "Answer: Rye", ()),
        (CALL, '[mill.grind(corn="rye")]', ()),
        (CALL, '[mill.grind(corn="oats")]', ("wrong_value",)),
        (CALL, '[mill.grind(corn="rye")', ("unreadable",)),
        (CALL, "Which mill?", ("no_call",)),
        (NO_CALL, "No function can do that.", ()),
        (NO_CALL, '[mill.grind(corn="rye")]', ("call_not_wanted",)),
        (NO_CALL, "mill.grind(", ("unreadable",)),
        (PLAIN, "Rye grows well", ()),
        (PLAIN, "Rye, oats and corn grow very well", ("no_comma", "words", "forbidden")),
    ],
)
def test_an_answer_is_right_or_the_reasons_why_not_are_told(
    key: Solving | Calling | Constrained, text: str, reasons: tuple[str, ...]
) -> None:
    mark = exercise(key).mark(text)

    assert (mark.is_right, mark.reasons) == (not reasons, reasons)
    assert mark.num_checks - mark.num_met == len(reasons)
    assert mark.num_checks == (3 if key is PLAIN else 1)


def test_a_program_is_run_against_its_tests() -> None:
    tests = ("assert double(4) == 8", "assert double(-1) == -2")
    key = Solving(Problem("Write double(n).", "", "code", tests=tests))

    assert exercise(key).mark("```python\ndef double(n):\n    return 2 * n\n```").is_right
    assert exercise(key).mark("```python\ndef double(n):\n    return n\n```").reasons == ("wrong",)
    assert exercise(key).mark("def double(n): ...").reasons == ("unreadable",)


def test_an_answer_that_was_cut_off_is_wrong_for_that_unless_it_is_right() -> None:
    assert exercise(EGGS).mark("So 3 + ", is_cut_off=True).reasons[0] == "cut_off"
    assert exercise(EGGS).mark("Answer: 7\nLet me", is_cut_off=True).reasons == ()


def test_a_model_is_told_what_it_may_call_and_never_what_is_right() -> None:
    system, *rest = exercise(CALL).prompt

    assert json.loads(system.content.splitlines()[1]) == {
        "name": "mill.grind",
        "description": "Grinds corn.",
        "parameters": {"properties": {"corn": {"type": "string"}}, "required": ["corn"]},
    }
    assert system.content.startswith(CALLER.partition("\n")[0])
    assert [(one.role, one.content) for one in rest] == [("user", "Grind rye.")]
    assert "rye" not in system.content


def test_an_instruction_of_the_exercise_joins_ours_and_no_text_can_begin_another_turn() -> None:
    asked = Exercise((Turn("system", "You are a miller."), Turn("user", "Hi<|im_end|>")), PLAIN)
    system, user = asked.prompt

    assert system.content.endswith("alone.\n\nYou are a miller.")
    assert "<|im_end|>" not in user.content


def test_an_exercise_is_another_where_another_answer_is_right() -> None:
    ids = {exercise(key).exercise_id for key in (EGGS, CALL, NO_CALL, PLAIN, Constrained((NoComma(),)))}

    assert len(ids) == 5
    assert exercise(CALL).exercise_id == exercise(CALL).exercise_id
    assert exercise(CALL, "Grind.").exercise_id not in ids


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_an_exercise_is_asked_once_for_the_likeliest_answer_or_several_times_for_draws(temperature: float) -> None:
    one, number = exercise(CALL), 3 if temperature else 1
    anchor = anchor_of(one)
    rounds = Practice({one.exercise_id: one}, Trials(samples=number, temperature=temperature)).rounds(anchor, 0)
    requests: list[Request] = next(rounds)

    assert [request.draw for request in requests] == list(range(number))
    assert {request.greedy for request in requests} == {not temperature}
    drop = Drop(anchor.anchor_id, "exercise", "rejected", "r")
    answers = [*(make_reply(request, request.draw, "yes") for request in requests[1:]), drop]
    with pytest.raises(StopIteration) as ended:
        rounds.send(answers)
    assert isinstance(ended.value.value, Answered)
    assert ended.value.value.answers == answers
    assert ended.value.value.drops == [drop]

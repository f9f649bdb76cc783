"""Problems solved with a thought: what is asked, which answers are read, and which are kept."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from gainloop.asking.conversation import wish_of
from gainloop.methods import read_method
from gainloop.methods.explain import Explain
from gainloop.methods.pipeline import read_pipeline
from gainloop.methods.reasoning import PART, SOLVE, SOLVE_ALOUD, Reasoning
from gainloop.solutions.problem import Problem, write_problem
from schemas.conversation import Turn, fault_of
from schemas.errors import BadInput
from schemas.recipe import Recipe
from schemas.rows import Anchor, Answer, Outcome, Request
from tasks.preflight import reason_not_usable
from tests.methods.playing import make_reply, play, prompt, say, shown

SUM = Problem("What is 3 + 4?", "7", "mathematics", worked="It is 7, since 4 follows 3.\n#### 7")
ANCHOR = Anchor(write_problem(SUM))


def parts(thought: str, solution: str) -> str:
    return f"THOUGHT\n{thought}\n\nSOLUTION\n{solution}"


def answered(method: Reasoning, texts: Sequence[str], anchor: Anchor = ANCHOR, ends: Any = "stop") -> Outcome:
    return play(method, anchor, lambda request, number: make_reply(request, number, texts[number], ends))[1]


def reasons(outcome: Outcome) -> Counter[str]:
    return Counter(drop.reason for drop in outcome.drops)


def test_the_question_is_asked_and_its_answer_is_shown_to_nobody() -> None:
    asked, outcome = play(Reasoning(), ANCHOR)

    assert [(one.facet, one.draw) for one in asked] == [(f"answer {n}", n) for n in range(4)]
    assert all(
        prompt(one).startswith(f"{shown('What is 3 + 4?')}{SOLVE} End the solution with a line") for one in asked
    )
    assert not [one for one in asked if "since" in prompt(one) or "####" in prompt(one)]
    assert {record.turns[0] for record in outcome.records} == {Turn("user", "What is 3 + 4?")}


def test_a_record_is_a_conversation_whose_thought_stands_apart() -> None:
    (record,) = answered(Reasoning(answers=1), [parts("4 follows 3.", "Add.\nAnswer: 7")]).records

    assert record.turns == (Turn("user", "What is 3 + 4?"), Turn("assistant", "Add.\nAnswer: 7", "4 follows 3."))
    assert fault_of(record.turns) == ""
    assert record.text == "user:\nWhat is 3 + 4?\n\nassistant thinks:\n4 follows 3.\n\nassistant:\nAdd.\nAnswer: 7"


@pytest.mark.parametrize(
    "text",
    [
        "<think>\nAdd.\n</think>\n\nIt is 7.",
        "Add.\n</think>\nIt is 7.",
        "[THINK]Add.[/THINK]It is 7.",
        "<think>Add.</think>\nTHOUGHT\nFor the reader.\nSOLUTION\nIt is 7.",
        "<think>\n\n</think>\n\nTHOUGHT\nAdd.\nSOLUTION\nIt is 7.",
        "**THOUGHT**\nAdd.\n\n### SOLUTION:\nIt is 7.",
        "Add.\nSOLUTION\nIt is 7.",
        "\u25c1think\u25b7Add.\u25c1/think\u25b7It is 7.",
    ],
)
def test_a_thought_is_read_from_our_marks_and_from_those_of_models_that_think(text: str) -> None:
    (record,) = answered(Reasoning(answers=1), [text]).records

    assert (record.turns[1].thought, record.turns[1].content) == ("Add.", "It is 7.")


@pytest.mark.parametrize(
    ("text", "ends", "reason"),
    [
        ("It is 7.", "stop", "no_thought"),
        (parts("", "It is 7."), "stop", "no_thought"),
        (parts("Add.", ""), "stop", "no_solution"),
        ("THOUGHT\nAdd.", "stop", "no_solution"),
        ("<think>Add.</think>", "stop", "no_solution"),
        ("<think>Add, and", "length", "cut_off"),
        (parts("Add.", "It is"), "length", "cut_off"),
        (" \n", "stop", "empty"),
        ("<think> </think>", "stop", "empty"),
        (parts("Add.", "It is 7.<|im_end|>"), "stop", "turn_marks"),
        (parts("Add.<|im_end|>", "It is 7."), "stop", "turn_marks"),
        ("<think>Add.</think><think>No.</think>It is 7.", "stop", "chain_of_thought"),
    ],
)
def test_an_answer_that_cannot_be_used_is_a_drop_with_its_reason(text: str, ends: Any, reason: str) -> None:
    outcome = answered(Reasoning(answers=1), [text], ends=ends)

    assert not outcome.records
    assert [(drop.facet, drop.reason, drop.request_id) for drop in outcome.drops] == [("answer 0", reason, "q0")]


def test_an_answer_that_says_its_request_again_in_either_part_is_an_echo() -> None:
    wish = wish_of(play(Reasoning(answers=1), ANCHOR)[0][0])

    for text in (parts("Add.", wish), parts(wish, "It is 7.")):
        assert reasons(answered(Reasoning(answers=1), [text])) == {"echo": 1}


def test_a_thought_may_be_left_out_where_none_is_wanted() -> None:
    (record,) = answered(Reasoning(answers=1, thought=False), ["It is 7."]).records

    assert record.turns[1] == Turn("assistant", "It is 7.")


ANSWERS = [
    parts("Long and longer thought.", "Answer: 7"),
    parts("Add.", "Answer: 7.0"),
    parts("Subtract.", "Answer: -1"),
    parts("Perhaps.", "I cannot say."),
    parts("Add.", "Answer: 7.0"),
]


def test_answers_are_kept_all_or_the_right_ones_or_the_shortest_of_them() -> None:
    kept = {keep: answered(Reasoning(answers=5, keep=keep), ANSWERS) for keep in ("all", "right", "shortest_right")}  # type: ignore[arg-type]

    assert {keep: [record.request_ids for record in one.records] for keep, one in kept.items()} == {
        "all": [("q0",), ("q1",), ("q2",), ("q3",)],
        "right": [("q0",), ("q1",)],
        "shortest_right": [("q1",)],
    }
    assert reasons(kept["all"]) == {"repeat": 1}
    assert reasons(kept["right"]) == {"repeat": 1, "wrong": 1, "unreadable": 1}
    assert reasons(kept["shortest_right"]) == {"repeat": 1, "wrong": 1, "unreadable": 1, "longer": 1}


def test_a_problem_is_left_out_whose_share_of_right_answers_is_out_of_bounds() -> None:
    hard, easy = Reasoning(answers=5, least_pass_rate=0.6), Reasoning(answers=5, most_pass_rate=0.4)

    assert reasons(answered(hard, ANSWERS)) == {"too_hard": 4, "repeat": 1}
    assert reasons(answered(easy, ANSWERS)) == {"too_easy": 4, "repeat": 1}
    within = answered(Reasoning(answers=5, least_pass_rate=0.5, most_pass_rate=0.5, keep="right"), ANSWERS)
    assert len(within.records) == 2
    with pytest.raises(ValidationError, match=r"least_pass_rate is 0\.6 and most_pass_rate 0\.5"):
        read_method({"kind": "reasoning", "least_pass_rate": 0.6, "most_pass_rate": 0.5})


def test_answers_are_bounded_by_their_tokens() -> None:
    assert reasons(answered(Reasoning(answers=1, least_tokens=3), ANSWERS)) == {"too_short": 1}
    assert reasons(answered(Reasoning(answers=1, most_tokens=1), ANSWERS)) == {"too_long": 1}
    assert len(answered(Reasoning(answers=1, least_tokens=2, most_tokens=2), ANSWERS).records) == 1


def test_a_problem_without_a_known_answer_is_kept_unverified_and_never_taken_for_right() -> None:
    plain = Anchor("Why does the mill turn?")

    assert len(answered(Reasoning(answers=1), ANSWERS, plain).records) == 1
    assert reasons(answered(Reasoning(answers=2, keep="right"), ANSWERS, plain)) == {"no_answer": 2}


def test_sky_t1_asks_once_has_the_answer_parted_and_keeps_it_if_it_is_right() -> None:
    method = Reasoning(preset="sky_t1")
    said = ["I add 3 and 4. That is 7.\nAnswer: 7", "<think>As told.</think>" + parts("I add 3 and 4.", "Answer: 7")]
    asked, outcome = play(method, ANCHOR, lambda request, number: make_reply(request, number, said[number]))

    assert (method.answers, method.rewrite, method.keep) == (1, True, "right")
    assert [one.facet for one in asked] == ["answer 0", "parts 0"]
    assert SOLVE_ALOUD in prompt(asked[0])
    assert prompt(asked[1]) == shown("What is 3 + 4?", draft=said[0]) + PART
    (record,) = outcome.records
    assert record.turns[1] == Turn("assistant", "Answer: 7", "I add 3 and 4.")
    assert record.request_ids == ("q0", "q1")
    said[1] = parts("I add 3 and 4.", "Answer: 8")
    outcome = answered(method, said)
    assert [(drop.reason, drop.request_id) for drop in outcome.drops] == [("wrong", "q0"), ("wrong", "q1")]


def test_openthoughts3_asks_sixteen_times_and_keeps_what_it_gets() -> None:
    asked, outcome = play(Reasoning(preset="openthoughts3"), ANCHOR)

    assert len(asked) == len(outcome.records) == 16
    assert not Reasoning(preset="openthoughts3").verifies


def test_what_is_set_beside_a_preset_stands_and_a_recipe_says_all_of_it() -> None:
    method = Reasoning(preset="openthoughts3", answers=2, keep="right")

    assert (method.answers, method.keep, method.max_words) == (2, "right", 8000)
    assert read_method(method.model_dump(mode="json")) == method
    defaults = {**Reasoning().model_dump(mode="json"), "preset": "sky_t1"}
    assert read_method(defaults) == Reasoning(preset="sky_t1"), "a form sends all defaults"


def test_choices_and_programs_are_asked_for_in_the_form_that_can_be_verified() -> None:
    choice = Anchor(write_problem(Problem("Which is odd?", "B", "choice", ("2", "3"))))
    code = Anchor(write_problem(Problem("Write add.", "", "code", (), ("assert add(1, 2) == 3",))))

    assert prompt(play(Reasoning(), choice)[0][0]).startswith(shown("Which is odd?\n\nA) 2\nB) 3"))
    assert "letter of the right option" in prompt(play(Reasoning(), choice)[0][0])
    assert "one block of Python code" in prompt(play(Reasoning(), code)[0][0])
    assert "assert" not in prompt(play(Reasoning(), code)[0][0])
    kept = answered(Reasoning(answers=1, keep="right"), [parts("It is 3.", "Answer: B")], choice)
    assert len(kept.records) == 1


def test_a_recipe_that_verifies_is_refused_before_it_asks_if_a_known_answer_is_not_found_right() -> None:
    recipe = Recipe(method={"kind": "reasoning", "keep": "right"}, snapshot_id="s", model="m")
    unsound = Anchor(write_problem(Problem("What?", "B", "choice", ("one",))))

    read_pipeline(recipe).tried_on([ANCHOR, Anchor("No problem.")])
    with pytest.raises(BadInput, match="that of problem 2, 'What\\?', is unreadable, not right"):
        read_pipeline(recipe).tried_on([ANCHOR, unsound])
    read_pipeline(recipe.model_copy(update={"method": {"kind": "reasoning"}})).tried_on([unsound])


def test_a_first_reply_that_thinks_can_be_used_and_one_that_is_cut_off_in_its_thought_cannot() -> None:
    request = play(Reasoning(answers=1), ANCHOR)[0][0]

    for text, ends, reason in (("<think>Add.</think>7", "stop", ""), ("<think>Add,", "length", "cut_off")):
        assert reason_not_usable(Reasoning(), ANCHOR, request, make_reply(request, 0, text, ends)) == reason
    thinking = make_reply(request, 0, "<think>Add.</think>7")
    assert reason_not_usable(Explain(), ANCHOR, request, thinking) == "chain_of_thought"


def test_a_lost_answer_is_no_part_of_a_share_of_right_ones() -> None:
    def one_in_two(request: Request, number: int) -> Answer:
        return make_reply(request, number, ANSWERS[1] if number else "x", "stop" if number else "length")

    outcome = play(Reasoning(answers=2, least_pass_rate=1.0), ANCHOR, one_in_two)[1]
    assert len(outcome.records) == 1
    assert reasons(outcome) == {"cut_off": 1}


def test_a_model_that_does_as_it_is_asked_gives_both_parts() -> None:
    assert len(play(Reasoning(rewrite=True), ANCHOR, say)[1].records) == 4


def test_a_known_answer_that_cannot_be_read_blames_no_answer_and_makes_no_problem_hard() -> None:
    empty = Anchor(write_problem(Problem("How far?", "\\text{}", "mathematics")))

    for method in (Reasoning(answers=2, keep="right"), Reasoning(answers=2, least_pass_rate=0.5)):
        assert reasons(answered(method, ANSWERS, empty)) == {"no_answer": 2}

import json
from collections.abc import Callable
from typing import Any

import pytest

from gainloop.asking.conversation import own_draw
from gainloop.methods.self_instruct import SelfInstruct
from schemas.conversation import Turn
from schemas.instruction import Instruction, write_group
from schemas.rows import Anchor, Answer, Outcome, Request
from tests.methods.playing import make_reply, play, play_rounds, prompt, shown

GROUP = [
    Instruction("Say in which mood the given sentence is.", "It rained all day.", "sad"),
    Instruction("Name three grains that grow in cold lands.", output="Rye, oats and barley."),
]
ANCHOR = Anchor(write_group(GROUP))
NEW = "Explain to a child why mills stand beside rivers."


def answering(
    listed: list[Any], instances: list[str], sort: str = "no", finish_reason: str = "stop"
) -> Callable[[Request, int], Answer]:
    """Answer with these instructions, one sort for all, and in turn with these examples."""

    def answer(request: Request, number: int) -> Answer:
        if request.facet == "instructions":
            return make_reply(request, number, json.dumps({"instructions": listed}))
        if request.facet.startswith("sort"):
            return make_reply(request, number, json.dumps({"classification": sort}))
        which = int(request.facet.rpartition(".")[2])
        return make_reply(request, number, instances[which % len(instances)], finish_reason)

    return answer


def of_one(*instances: str, sort: str = "no", text: str = NEW, finish_reason: str = "stop") -> Outcome:
    method = SelfInstruct(instances=len(instances))
    return play(method, ANCHOR, answering([text], list(instances), sort, finish_reason))[1]


def reasons(outcome: Outcome) -> list[str]:
    return [drop.reason for drop in outcome.drops]


def test_a_record_is_a_conversation_of_the_instruction_with_its_input_and_the_output() -> None:
    outcome = of_one("Input: The river\nis wide.\n\nOutput: It pushes the wheel.\n\nAlways.")

    (record,) = outcome.records
    assert record.turns == (
        Turn("user", f"{NEW}\n\nThe river\nis wide."),
        Turn("assistant", "It pushes the wheel.\n\nAlways."),
    )
    assert record.text == f"user:\n{NEW}\n\nThe river\nis wide.\n\nassistant:\nIt pushes the wheel.\n\nAlways."
    assert (record.method, record.facet, record.request_ids) == ("self_instruct", "instance 0.0", ("q2",))


def test_plainly_an_instruction_is_put_to_the_model_as_it_is_and_its_answer_is_the_output() -> None:
    method = SelfInstruct(instructions=2, instances=2, prompts="plain")
    asked, outcome = play(method, ANCHOR, answering([NEW], ["The water pushes the wheel.", "It is near."]))

    assert [one.facet for one in asked] == ["instructions", "instance 0.0", "instance 0.1"]
    assert method.max_requests == 5
    assert prompt(asked[1]).endswith(f"{NEW} Write 100 words at most.")
    assert GROUP[0].text not in prompt(asked[1])
    assert asked[1].draw != asked[2].draw
    assert [one.turns for one in outcome.records] == [
        (Turn("user", NEW), Turn("assistant", said)) for said in ("The water pushes the wheel.", "It is near.")
    ]


def test_the_group_is_continued_then_each_instruction_sorted_alone_then_followed_beside_the_group() -> None:
    rounds, _ = play_rounds(
        SelfInstruct(instances=1), ANCHOR, answering([NEW, "List the parts of a water mill."], ["Rye"])
    )

    assert [[request.facet for request in asked] for asked in rounds] == [
        ["instructions"],
        ["sort 0", "sort 1"],
        ["instance 0.0", "instance 1.0"],
    ]
    (first,), sorts, last = rounds
    assert all(prompt(one).startswith(shown(ANCHOR.text)) for one in (first, *last))
    assert [one.draw for one in sorts] == [own_draw(ANCHOR, 0), own_draw(ANCHOR, 1)]
    assert all(one.greedy and ANCHOR.text not in prompt(one) for one in sorts)
    assert not any(one.greedy for one in (first, *last))


def test_the_output_comes_first_where_a_class_is_asked_for_and_the_input_elsewhere() -> None:
    wishes = {}
    for sort in ("yes", "no"):
        rounds, _ = play_rounds(SelfInstruct(), ANCHOR, answering([NEW], ["Rye"], sort))
        wishes[sort] = prompt(rounds[-1][0])

    assert "First comes the output here, then the input." in wishes["yes"]
    assert "first an input that it can be followed with" in wishes["no"]


def test_an_example_is_read_in_either_order_and_without_the_lists_indentation() -> None:
    for said in (
        "Output: glad\nInput: The mill\n      turns again.",
        "   Input: The mill\n      turns again.\n   Output: glad",
    ):
        (record,) = of_one(said, sort="yes").records
        assert [turn.content for turn in record.turns] == [f"{NEW}\n\nThe mill\nturns again.", "glad"]


def test_indentation_of_code_stays() -> None:
    (record,) = of_one("Output: def mill():\n    return 7").records

    assert record.turns[1].content == "def mill():\n    return 7"


@pytest.mark.parametrize("held", ["N/A", "None", "<noinput>"])
def test_an_input_that_holds_the_place_of_one_is_none(held: str) -> None:
    (record,) = of_one(f"Input: {held}\nOutput: The river turns them.").records

    assert record.turns == (Turn("user", NEW), Turn("assistant", "The river turns them."))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Haiku.", "too_short"),
        ("rye " * 151, "too_long"),
        ("Describe the attached photo of a mill.", "impossible"),
        ("1. Name a grain. 2. Say how to grind it.", "glued"),
        ("Name three grains that grow in cold lands!", "repeat"),
        ("Name three grains that grow in warm lands.", "near_duplicate"),
        (7, "malformed"),
        ("\u2026", "malformed"),
    ],
)
def test_an_instruction_that_is_none_is_dropped_by_its_reason(text: object, reason: str) -> None:
    method = SelfInstruct(instances=1)
    asked, outcome = play(method, ANCHOR, answering([text, NEW], ["The river turns them."]))

    assert [(drop.facet, drop.reason, drop.request_id) for drop in outcome.drops] == [("instruction 1", reason, "q0")]
    assert [record.turns[0].content for record in outcome.records] == [NEW]
    assert len(asked) == 3


def test_an_instruction_is_dropped_that_is_like_one_before_it_and_no_other_threshold_decides() -> None:
    like = "Explain to a child why mills stand beside roads."  # 8 of 9 words

    assert reasons(play(SelfInstruct(), ANCHOR, answering([NEW, like], ["Rye"]))[1])[0] == "near_duplicate"
    assert "near_duplicate" not in reasons(play(SelfInstruct(alike=0.9), ANCHOR, answering([NEW, like], ["Rye"]))[1])


def test_an_instruction_is_read_without_its_number_so_that_a_copy_of_the_group_is_seen_as_one() -> None:
    listed = [f"9. {NEW}", "10. Name three grains that grow in cold lands."]
    outcome = play(SelfInstruct(instances=1), ANCHOR, answering(listed, ["Rye"]))[1]

    assert [record.turns[0].content for record in outcome.records] == [NEW]
    assert reasons(outcome) == ["repeat"]


def test_an_instruction_that_was_dropped_takes_no_other_with_it() -> None:
    photo = f"{NEW} Describe the attached photo."
    outcome = play(SelfInstruct(instances=1), ANCHOR, answering([photo, NEW], ["Rye"]))[1]

    assert reasons(outcome) == ["impossible"]
    assert len(outcome.records) == 1


@pytest.mark.parametrize(
    ("said", "sort", "reason"),
    [
        ("Output:", "no", "empty_output"),
        ("Output: N/A", "no", "empty_output"),
        ("Input: rye\nOutput: Rye", "no", "repeats_input"),
        ("Output: These are they:", "no", "ends_open"),
        ("Input: The miller said:\nOutput: Rye", "no", "ends_open"),
        ("Output: Rye\n\nInstruction: Name a mill.", "no", "glued"),
        ("Input: a\nOutput: b\nInput: c\nOutput: d", "no", "glued"),
        ("Input: https://example.org/mill\nOutput: Rye", "no", "impossible"),
        ("Input: N/A\nOutput: good", "yes", "placeholder_input"),
        ("good", "yes", "placeholder_input"),
        ("Output: No input was provided.", "no", "placeholder_input"),
        ("Input: The mill turns.", "no", "malformed"),
        ("So be it.\nInput: The mill\nOutput: Rye", "no", "malformed"),
        ("", "no", "empty"),
    ],
)
def test_an_example_that_is_none_is_dropped_by_its_reason(said: str, sort: str, reason: str) -> None:
    outcome = of_one(said, sort=sort)

    assert outcome.records == []
    assert [(drop.facet, drop.reason, drop.request_id) for drop in outcome.drops] == [("instance 0.0", reason, "q2")]


def test_an_instruction_said_again_before_its_example_is_no_part_of_it() -> None:
    (record,) = of_one(f"3. {NEW}\n   Output: The river turns them.").records

    assert record.turns[1].content == "The river turns them."


def test_an_example_that_is_cut_off_is_dropped() -> None:
    assert reasons(of_one("Input: a\nOutput: b", finish_reason="length")) == ["cut_off"]


def test_all_examples_of_an_instruction_go_if_one_input_has_two_outputs() -> None:
    outcome = of_one("Input: It rained.\nOutput: sad", "Input: it rained.\nOutput: glad", "Input: Sun.\nOutput: glad")

    assert outcome.records == []
    assert reasons(outcome) == ["conflicting"] * 3


def test_the_same_example_counts_once_and_two_outputs_without_an_input_are_two_answers() -> None:
    same = of_one("Input: It rained.\nOutput: sad", "Input: It rained.\nOutput: sad")
    assert (len(same.records), reasons(same)) == (1, ["repeat"])

    answers = of_one("The river turns them.", "Water is heavy.")
    assert (len(answers.records), reasons(answers)) == (2, [])


def test_an_instruction_whose_sort_cannot_be_read_is_not_followed() -> None:
    asked, outcome = play(SelfInstruct(), ANCHOR, answering([NEW], ["Rye"], sort="maybe"))

    assert (len(asked), outcome.records, reasons(outcome)) == (2, [], ["malformed"])

import json
from typing import Any

import pytest

from gainloop.methods.alpaca import Alpaca
from schemas.conversation import Turn
from schemas.rows import Answer, Request
from tests.methods.playing import make_reply, play, prompt
from tests.methods.test_self_instruct import ANCHOR, NEW

GOOD = {"instruction": NEW, "input": "", "output": "The river turns their wheels."}


def answering(*replies: list[Any]) -> Any:
    def answer(request: Request, number: int) -> Answer:
        return make_reply(request, number, json.dumps({"instructions": replies[number]}))

    return answer


def test_one_prompt_is_sampled_for_several_whole_instructions_at_once() -> None:
    asked, _ = play(Alpaca(draws=2, tasks=3), ANCHOR)

    assert [(request.facet, request.draw) for request in asked] == [("tasks 0", 0), ("tasks 1", 1)]
    assert len({request.prompt_id for request in asked}) == 1
    assert "Write 3 more of them" in prompt(asked[0])


def test_each_instruction_of_a_reply_is_a_record_of_it() -> None:
    other = {"instruction": "Name the mood of the sentence.", "input": "It rained\n\nall day.", "output": "sad"}
    outcome = play(Alpaca(draws=1), ANCHOR, answering([GOOD, other]))[1]

    assert [(record.facet, record.request_ids) for record in outcome.records] == [
        ("task 0.0", ("q0",)),
        ("task 0.1", ("q0",)),
    ]
    assert outcome.records[0].turns == (Turn("user", NEW), Turn("assistant", "The river turns their wheels."))
    assert outcome.records[1].turns[0].content == "Name the mood of the sentence.\n\nIt rained\n\nall day."


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"instruction": "Haiku."}, "too_short"),
        ({"instruction": "Write a haiku."}, "too_short"),
        ({"instruction": "rye " * 151}, "too_long"),
        ({"instruction": "Describe the attached photo of a mill."}, "impossible"),
        ({"input": "https://example.org/mill"}, "impossible"),
        ({"instruction": "1. Name a grain. 2. Say how to grind it."}, "glued"),
        ({"output": "Rye\n\nInstruction: Name a mill."}, "glued"),
        ({"instruction": "3. Name three grains that grow in cold lands."}, "repeat"),
        ({"instruction": "Name three grains that grow in warm lands."}, "near_duplicate"),
        ({"output": ""}, "empty_output"),
        ({"output": "N/A"}, "empty_output"),
        ({"input": "the river turns their wheels."}, "repeats_input"),
        ({"output": "These are they:"}, "ends_open"),
        ({"instruction": "Name the mood of the given sentence.", "input": "N/A"}, "placeholder_input"),
        ({"instruction": 7}, "malformed"),
        ({"input": ["rye"]}, "malformed"),
    ],
)
def test_an_instruction_that_is_none_is_dropped_by_its_reason(change: dict[str, Any], reason: str) -> None:
    outcome = play(Alpaca(draws=1), ANCHOR, answering([GOOD | change, GOOD]))[1]

    assert [(drop.facet, drop.reason, drop.request_id) for drop in outcome.drops] == [("instruction 1", reason, "q0")]
    assert [record.turns[0].content for record in outcome.records] == [NEW]


def test_a_later_reply_repeats_no_earlier_one() -> None:
    like = GOOD | {"instruction": NEW.replace("rivers", "roads")}
    outcome = play(Alpaca(draws=3), ANCHOR, answering([GOOD], [GOOD], [like]))[1]

    assert [(drop.reason, drop.request_id) for drop in outcome.drops] == [("repeat", "q1"), ("near_duplicate", "q2")]


def test_a_placeholder_in_place_of_no_input_is_none() -> None:
    (record,) = play(Alpaca(draws=1), ANCHOR, answering([GOOD | {"input": "<noinput>"}]))[1].records

    assert record.turns[0].content == NEW

import json
from typing import Any

import pytest

from gainloop.methods.active_reading import STRATEGY_CHARS, ActiveReading
from schemas.rows import Answer, Drop, Outcome, Request
from tests.methods.playing import ANCHOR, make_reply, play, prompt

DATES = "short questions about dates"


def listing(*strategies: object) -> Any:
    """Return the rule that lists these strategies, and then writes a text by each."""

    def answer(request: Request, number: int) -> Answer:
        listed = json.dumps({"questions": ["When?"], "strategies": strategies})
        return make_reply(request, number, listed if request.json_schema else f"By {request.facet}")

    return answer


def test_strategies_come_first_then_one_text_by_each() -> None:
    asked, outcome = play(ActiveReading(), answer=listing("Tell it as a tale.", "Draw up a timeline."))

    assert [request.facet for request in asked] == ["strategies", "Tell it as a tale.", "Draw up a timeline."]
    assert [record.text for record in outcome.records] == ["By Tell it as a tale.", "By Draw up a timeline."]
    assert "in one way only: Draw up a timeline.\n" in prompt(asked[2])


def test_without_a_probe_no_test_is_spoken_of_and_no_question_imagined() -> None:
    (plan, *_), _ = play(ActiveReading())

    assert "test" not in prompt(plan)
    assert list(json.loads(str(plan.json_schema))["properties"]) == ["strategies"]


def test_with_a_probe_its_questions_are_imagined_before_the_strategies() -> None:
    (plan, *_), _ = play(ActiveReading(probe=f" {DATES}\n\n{{most}} "))

    assert f"About the test: {DATES} {{most}}\nFirst write 5 questions" in prompt(plan)
    assert list(json.loads(str(plan.json_schema))["properties"]) == ["questions", "strategies"]


def test_imagined_questions_that_cannot_be_read_cost_no_strategy() -> None:
    def answer(request: Request, number: int) -> Answer:
        said = '{"questions": 7, "strategies": ["Rhyme it."]}' if request.json_schema else "A rhyme."
        return make_reply(request, number, said)

    assert len(play(ActiveReading(probe=DATES), answer=answer)[1].records) == 1


def test_a_strategy_far_longer_than_asked_for_is_left_out() -> None:
    asked, _ = play(ActiveReading(), answer=listing("x" * (4 * STRATEGY_CHARS + 1), "Rhyme it.", "RHYME IT."))

    assert [request.facet for request in asked] == ["strategies", "Rhyme it."]


@pytest.mark.parametrize("strategies", [(), (7, None, ""), ("x" * 10_000,)])
def test_a_list_without_a_strategy_is_one_drop(strategies: tuple[object, ...]) -> None:
    _, outcome = play(ActiveReading(), answer=listing(*strategies))

    assert outcome == Outcome(drops=[Drop(ANCHOR.anchor_id, "strategies", "malformed", "q0")])


def test_braces_in_a_strategy_are_text() -> None:
    asked, _ = play(ActiveReading(), answer=listing("Write {strategy} as {0}."))

    assert "in one way only: Write {strategy} as {0}." in prompt(asked[1])

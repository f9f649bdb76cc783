import json
from typing import Any

import pytest

from gainloop.methods.textbook import Textbook
from schemas.rows import Answer, Drop, Outcome, Request
from tests.methods.playing import ANCHOR, OTHER, make_reply, play, prompt

GEARS = {"topic": "Gear ratios", "audience": "apprentices", "skills": ["compute a ratio", "choose a gear"]}
RYE = {"topic": "Rye", "audience": "bakers", "skills": ["tell rye from wheat"]}


def planning(*chapters: object) -> Any:
    """Return the rule that plans these chapters, and writes whatever is asked for next."""

    def answer(request: Request, number: int) -> Answer:
        planned = json.dumps({"chapters": chapters})
        return make_reply(request, number, planned if request.json_schema else f"On {request.facet}.")

    return answer


def test_topics_come_from_the_document_then_a_chapter_of_each_and_an_exercise_of_each_skill() -> None:
    asked, outcome = play(Textbook(), answer=planning(GEARS, RYE))

    facets = [
        "chapter: Gear ratios",
        "exercise: Gear ratios | compute a ratio",
        "exercise: Gear ratios | choose a gear",
        "chapter: Rye",
        "exercise: Rye | tell rye from wheat",
    ]
    assert [request.facet for request in asked] == ["chapters", *facets]
    assert [record.facet for record in outcome.records] == facets
    assert "Afterwards they can: compute a ratio; choose a gear\n" in prompt(asked[1])
    assert "It trains to: choose a gear\n" in prompt(asked[3])


def test_chapters_and_exercises_are_asked_for_without_the_document_or_its_title() -> None:
    (plan, *written), _ = play(Textbook(), answer=planning(GEARS))

    assert ANCHOR.text in prompt(plan)
    assert not any(ANCHOR.text in prompt(one) or ANCHOR.title in prompt(one) for one in written)


def test_two_documents_with_the_same_topic_have_texts_of_their_own() -> None:
    first, second = (play(Textbook(), anchor, planning(GEARS))[0][1:] for anchor in (ANCHOR, OTHER))

    assert [one.prompt_id for one in first] == [one.prompt_id for one in second]
    assert not {one.draw for one in first} & {one.draw for one in second}


def test_no_more_chapters_and_exercises_than_allowed_are_asked_for() -> None:
    method = Textbook(max_chapters=1, max_exercises=1)
    asked, _ = play(method, answer=planning(GEARS, RYE))

    assert "choose a gear" not in prompt(asked[1])
    assert [request.facet for request in asked[1:]] == [
        "chapter: Gear ratios",
        "exercise: Gear ratios | compute a ratio",
    ]


def test_a_chapter_without_topic_audience_or_skill_is_left_out_and_a_topic_is_taught_once() -> None:
    wrong = [{**RYE, "topic": ""}, {**RYE, "audience": 7}, {**RYE, "skills": "bake"}, {**RYE, "skills": []}, "Rye"]
    asked, _ = play(Textbook(max_chapters=16), answer=planning(*wrong, GEARS, {**GEARS, "topic": "GEAR RATIOS"}))

    assert [request.facet for request in asked[1:]] == [
        "chapter: Gear ratios",
        "exercise: Gear ratios | compute a ratio",
        "exercise: Gear ratios | choose a gear",
    ]


@pytest.mark.parametrize("chapters", [(), ("Rye",), ({"topic": "Rye"},), ({**RYE, "topic": "x" * 1000},)])
def test_a_plan_without_a_chapter_is_one_drop(chapters: tuple[object, ...]) -> None:
    _, outcome = play(Textbook(), answer=planning(*chapters))

    assert outcome == Outcome(drops=[Drop(ANCHOR.anchor_id, "chapters", "malformed", "q0")])

import json
from typing import Any

import pytest

from gainloop.methods.reformulate import Reformulate
from schemas.rows import Answer, Drop, Outcome, Request
from tests.methods.playing import ANCHOR, make_reply, play, play_rounds, prompt, shown

PAIRS = [
    {"genre": "letter to a paper", "audience": "townspeople"},
    {"genre": "manual", "audience": "new millers"},
    {"genre": "Letter to a paper", "audience": "Townspeople"},
]


def judging(*scores: int | str) -> Any:
    """Return the rule that lists the pairs, writes a text for each, and gives these scores, one after the other."""
    left = list(scores)

    def answer(request: Request, number: int) -> Answer:
        if request.facet == "pairs":
            return make_reply(request, number, json.dumps({"pairs": PAIRS}))
        if request.json_schema:
            return make_reply(request, number, json.dumps({"reason": "So it is.", "score": left.pop(0)}))
        return make_reply(request, number, f"A {request.facet}")

    return answer


def test_pairs_come_first_then_a_reformulation_of_each_then_a_judge_of_each() -> None:
    (plan, written, judged), outcome = play_rounds(Reformulate(), answer=judging(3, 5))

    assert [request.facet for request in plan] == ["pairs"]
    assert [request.facet for request in written] == ["letter to a paper | townspeople", "manual | new millers"]
    assert "Genre: manual\nAudience: new millers\n" in prompt(written[1])
    assert all(request.greedy and "losing the core or contradicting it" in prompt(request) for request in judged)
    assert prompt(judged[1]).startswith(shown(ANCHOR.text, ANCHOR.title, "A manual | new millers"))
    assert [record.facet for record in outcome.records] == [request.facet for request in written]


@pytest.mark.parametrize(("least", "kept"), [(2, [2, 3]), (3, [3]), (4, [])])
def test_what_is_less_consistent_than_asked_for_is_a_drop_with_its_reason(least: int, kept: list[int]) -> None:
    _, outcome = play(Reformulate(least_consistency=least), answer=judging(2, 3))

    assert [{"q1": 2, "q2": 3}[record.request_ids[0]] for record in outcome.records] == kept
    assert {drop.reason for drop in outcome.drops} <= {"low_score"}
    assert len(outcome.records) + len(outcome.drops) == 2


def test_at_one_no_judge_is_asked() -> None:
    method = Reformulate(least_consistency=1)
    rounds, outcome = play_rounds(method, answer=judging())

    assert len(rounds) == 2
    assert len(outcome.records) == 2
    assert (method.max_requests, Reformulate().max_requests) == (6, 11)


def test_a_verdict_that_cannot_be_read_refuses_the_text() -> None:
    _, outcome = play(Reformulate(), answer=judging("high", 4))

    assert [drop.reason for drop in outcome.drops] == ["unjudged"]
    assert len(outcome.records) == 1


@pytest.mark.parametrize(
    "pairs",
    ["letter", [], ["letter"], [{"genre": "letter"}], [{"genre": "", "audience": "all"}], [["letter", "all"]]],
)
def test_a_reply_without_a_pair_is_one_drop(pairs: object) -> None:
    _, outcome = play(Reformulate(), answer=lambda request, n: make_reply(request, n, json.dumps({"pairs": pairs})))

    assert outcome == Outcome(drops=[Drop(ANCHOR.anchor_id, "pairs", "malformed", "q0")])

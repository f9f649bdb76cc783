import json
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from gainloop.filters import read_filters
from gainloop.filters.filter import sift
from gainloop.filters.vote import Vote
from schemas.rows import Answer, Drop, Record, Request
from tests.methods import malformed
from tests.methods.playing import ANCHOR, Outcome, hold, make_reply, prompt, say, shown

RECORD = Record(ANCHOR.anchor_id, "rephrase", "easy", "The mill grinds rye.", ("q",))


def saying(*votes: str) -> Any:
    """Return the rule by which voters answer one after the other."""

    def answer(request: Request, number: int) -> Answer:
        text = (
            json.dumps({"reason": "So.", "answer": votes[number]}) if votes[number] in ("yes", "no") else votes[number]
        )
        return make_reply(request, number, text)

    return answer


def verdict(answer: Any, **parameters: Any) -> str:
    return hold(Vote(**parameters).check(ANCHOR, RECORD, Random(0)), answer)[1]


@pytest.mark.parametrize(
    ("votes", "bounds", "expected"),
    [
        ("yes yes yes no no", {}, ""),
        ("yes yes no no no", {}, "outvoted"),
        ("yes yes yes yes yes", {}, ""),
        ("yes yes yes yes yes", {"most": 0.9}, "too_easy"),
        ("yes yes yes yes no", {"most": 0.9}, ""),
        ("no no no no no", {"least": 0.1, "most": 0.9}, "outvoted"),
        ("yes yes ? ? no", {}, ""),
        ("yes yes ? ? ?", {}, "unjudged"),
    ],
)
def test_a_record_is_kept_by_the_share_of_voters_that_say_yes(votes: str, bounds: Any, expected: str) -> None:
    assert verdict(saying(*votes.split()), **bounds) == expected


def test_voters_are_sampled_and_differ_in_their_draw_alone() -> None:
    (asked,), _ = hold(Vote(voters=3, question="Does it rhyme?").check(ANCHOR, RECORD, Random(0)))

    assert [(request.draw, request.greedy) for request in asked] == [(0, False), (1, False), (2, False)]
    assert len({request.prompt_id for request in asked}) == 1
    assert prompt(asked[0]).startswith(shown(ANCHOR.text, ANCHOR.title, RECORD.text))
    assert "Does it rhyme?" in prompt(asked[0])


def test_a_vote_that_never_came_is_not_counted() -> None:
    def answer(request: Request, number: int) -> Answer:
        return say(request, number) if number else Drop(ANCHOR.anchor_id, request.facet, "deadline", "q0")

    assert verdict(answer) == ""
    assert verdict(lambda request, n: Drop(ANCHOR.anchor_id, request.facet, "deadline", f"q{n}")) == "unjudged"


def test_every_reply_of_an_outvoted_record_is_a_drop_and_verdicts_are_none() -> None:
    records = [RECORD, Record(ANCHOR.anchor_id, "rephrase", "hard", "Secale is milled.", ("r", "s"))]

    def answer(request: Request, number: int) -> Answer:
        return saying(*["no" if "hard" in request.facet else "yes"] * 10)(request, number)

    rounds, outcome = hold(sift(ANCHOR, Outcome(records), [Vote()], Random(0)), answer)
    assert [len(asked) for asked in rounds] == [10]
    assert outcome.records == [RECORD]
    assert outcome.drops == [Drop(ANCHOR.anchor_id, "hard", "outvoted", reply) for reply in ("r", "s")]


@pytest.mark.parametrize("spoil", [malformed.broken, malformed.spoiled])
def test_no_malformed_verdict_raises_and_none_that_cannot_be_read_counts(spoil: Any) -> None:
    for variant in range(malformed.NUMBER):
        found = verdict(lambda request, n, v=variant: make_reply(request, n, spoil(request, n, v)), voters=2)
        assert found == "unjudged" or spoil is malformed.spoiled


def test_bounds_that_leave_nothing_to_keep_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"least is 0\.8 and most 0\.5; least must not be above most"):
        read_filters([{"kind": "vote", "least": 0.8, "most": 0.5}])

import pytest
from pydantic import ValidationError

from schemas.rows import Drop, Outcome, Record
from tasks.methods import Rephrase
from tasks.methods.rephrase import WISHES
from tests.methods.playing import ANCHOR, make_reply, play, prompt


def test_each_style_is_asked_for_once_by_its_own_wish() -> None:
    asked, _ = play(Rephrase())

    assert [request.facet for request in asked] == ["easy", "medium", "hard", "qa"]
    for request in asked:
        assert prompt(request) == f"{ANCHOR.title}\n\n{ANCHOR.text}\n\n{WISHES[request.facet]}"  # type: ignore[index]


def test_finished_replies_become_records_and_the_others_drops_with_their_reason() -> None:
    texts = [("Rye is ground.", "stop"), ("Rye is gr", "length"), (" \n", "stop"), ("Question: What? ", "stop")]

    _, outcome = play(Rephrase(), answer=lambda request, n: make_reply(request, n, *texts[n]))
    assert outcome == Outcome(
        records=[
            Record(ANCHOR.anchor_id, "rephrase", "easy", "Rye is ground.", ("q0",)),
            Record(ANCHOR.anchor_id, "rephrase", "qa", "Question: What?", ("q3",)),
        ],
        drops=[Drop(ANCHOR.anchor_id, "medium", "cut_off", "q1"), Drop(ANCHOR.anchor_id, "hard", "empty", "q2")],
    )


def test_a_reply_that_never_came_keeps_its_own_reason() -> None:
    lost = Drop(ANCHOR.anchor_id, "easy", "overloaded", "q0")

    assert play(Rephrase(styles=("easy",)), answer=lambda _request, _n: lost)[1] == Outcome(drops=[lost])


def test_a_style_that_is_not_known_or_no_style_is_refused() -> None:
    with pytest.raises(ValidationError):
        Rephrase(styles=("silly",))
    with pytest.raises(ValidationError):
        Rephrase(styles=())


def test_a_style_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="styles name one twice; each may be named once"):
        Rephrase(styles=("easy", "hard", "easy"))

import pytest
from pydantic import ValidationError

from gainloop.methods.rephrase import WISHES, Rephrase
from schemas.rows import Anchor, Drop, Outcome, Record
from tests.methods.playing import ANCHOR, make_reply, play, prompt

LONG = Anchor("\n\n".join(f"Fact {n} tells of mill {n}. It ground rye in year {n}." for n in range(30)), "Mills")


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
    with pytest.raises(ValidationError, match="easy is named twice; each may be named once"):
        Rephrase(styles=("easy", "hard", "easy"))


def test_a_longer_text_is_rewritten_chunk_by_chunk_each_in_every_style() -> None:
    asked, outcome = play(Rephrase(styles=("easy", "qa"), chunk_tokens=80, max_chunks=100), LONG)
    texts = [prompt(request).removeprefix("Mills\n\n").removesuffix(f"\n\n{WISHES['easy']}") for request in asked[::2]]
    chunks = len(texts)

    assert chunks > 5
    assert "\n\n".join(texts) == LONG.text
    facets = [f"{style}: {number}/{chunks}" for number in (1, 2) for style in ("easy", "qa")]
    assert [request.facet for request in asked[:4]] == facets
    assert [record.facet for record in outcome.records] == [request.facet for request in asked]
    assert outcome.drops == []


def test_chunks_beyond_the_limit_are_one_drop() -> None:
    method = Rephrase(chunk_tokens=80, max_chunks=3)
    asked, outcome = play(method, LONG)

    assert len(asked) == len(outcome.records) == method.max_requests == 12
    assert outcome.drops == [Drop(LONG.anchor_id, "rest of the document", "over_limit")]


def test_chunks_that_read_the_same_are_different_requests() -> None:
    asked, _ = play(Rephrase(chunk_tokens=16, max_chunks=100), Anchor("The mill grinds. " * 100))

    assert len({(request.prompt_id, request.draw) for request in asked}) == len(asked)

from typing import Any

import pytest
from pydantic import ValidationError

from gainloop.asking.chunks import needed_tokens
from gainloop.asking.conversation import GUARD
from gainloop.methods.rephrase import LENGTH, SENTENCE_WISHES, WISHES, Rephrase, cut_sentences
from schemas.rows import Anchor, Answer, Drop, Outcome, Record, Request
from tests.methods.playing import ANCHOR, make_reply, play, prompt, shown, system_of

LONG = Anchor("\n\n".join(f"Fact {n} tells of mill {n}. It ground rye in year {n}." for n in range(30)), "Mills")


def test_each_style_is_asked_for_once_by_its_own_wish() -> None:
    asked, _ = play(Rephrase())

    assert [request.facet for request in asked] == ["easy", "medium", "hard", "qa"]
    for request in asked:
        wish = f"{WISHES[request.facet]} {LENGTH.format(num_words=10)}"  # type: ignore[index]
        assert prompt(request) == shown(ANCHOR.text, ANCHOR.title) + wish


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
    texts = [prompt(request).partition("Mills\n\n")[2].partition("\n</document>")[0] for request in asked[::2]]
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


TALE = Anchor(
    "# The mill\n\nThe mill by the river was built in 1874 for seven towns. It grinds rye in winter and oats in spring."
    "\n\n"
    "A plaque beside the door names all four of the miller's daughters.",
    "The mill at Ottery",
)
GOOD = {
    "1/3": "In 1874 a mill for seven towns was built beside the river.",
    "2/3": "In winter it grinds rye, and in spring oats.",
    "3/3": "Beside the door hangs a plaque with the names of the four daughters.",
}


def rewriting(**said: str) -> Any:
    """Return the rule that rewrites each sentence well, but for those whose rewrites are given by their number."""

    def answer(request: Request, number: int) -> Answer:
        part = request.facet.partition(": ")[2]
        return make_reply(request, number, said.get(f"n{part[0]}", GOOD[part]))

    return answer


def by_sentence(**parameters: Any) -> Rephrase:
    return Rephrase(unit="sentence", **parameters)


def test_sentence_by_sentence_each_is_asked_for_with_its_title_after_one_short_wish_and_two_worked_turns() -> None:
    asked, _ = play(by_sentence(), TALE, rewriting())

    assert [request.facet for request in asked] == [
        f"{style}: {n}/3" for style in ("shorter", "formal", "reworded") for n in (1, 2, 3)
    ]
    for request in asked:
        assert [turn.role for turn in request.prompt] == ["system", *("user", "assistant") * 2, "user"]  # type: ignore[union-attr]
        assert len(system_of(request).split()) < 35
    assert prompt(asked[1]) == "The mill at Ottery: It grinds rye in winter and oats in spring."


def test_a_record_is_the_title_and_one_styles_kept_sentences_in_the_documents_order() -> None:
    _, outcome = play(by_sentence(sentence_styles=("formal",)), TALE, rewriting(n2="It rinds 1."))

    text = f"The mill at Ottery\n\n{GOOD['1/3']}\n\n{GOOD['3/3']}"
    assert outcome.records == [Record(TALE.anchor_id, "rephrase", "formal", text, ("q0", "q2"))]
    assert outcome.drops == [
        Drop(TALE.anchor_id, "sentence", "fragment"),
        Drop(TALE.anchor_id, "formal: 2/3", "too_short", "q1"),
    ]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("It grinds rye in 1875 and oats in spring.", "ungrounded"),
        ("In winter it grinds rye for the people of Devon, and oats in spring.", "ungrounded"),
        ("It grinds rye in winter and oats in spring, when the bell is rung.", "copies_example"),
        ("It grinds rye.", "too_short"),
        ("It grinds rye in winter and oats in", "not_closed"),
        ("It grinds rye in winter and oats in spring.", "copies_source"),
        ("Many people like to bake bread at home.", "off_subject"),
        ("The sentence says that it grinds rye in winter and oats in spring.", "talks"),
        ("It grinds rye in winter " + "and oats in spring, and oats in spring, " * 5 + "as is well known.", "too_long"),
        ("In 1874 a mill for seven towns was built beside the river.", "repeat"),
        ("", "empty"),
        (f"{SENTENCE_WISHES['reworded']} {GUARD}", "echo"),
        (SENTENCE_WISHES["reworded"], "talks"),
    ],
)
def test_a_rewrite_that_is_none_is_a_drop_with_its_reason(said: str, reason: str) -> None:
    _, outcome = play(by_sentence(sentence_styles=("reworded",)), TALE, rewriting(n2=said))

    assert [drop.reason for drop in outcome.drops] == ["fragment", reason]
    assert outcome.records[0].request_ids == ("q0", "q2")


def test_title_quotes_and_remarks_around_a_rewrite_are_left_out() -> None:
    said = f'The mill at Ottery: "{GOOD["2/3"]}"\n\nI removed a comma.'
    _, outcome = play(by_sentence(sentence_styles=("shorter",)), TALE, rewriting(n2=said))

    assert GOOD["2/3"] in outcome.records[0].text
    assert "comma" not in outcome.records[0].text


def test_a_rewrite_that_never_came_keeps_its_reason_and_costs_its_sentence_alone() -> None:
    def answer(request: Request, number: int) -> Answer:
        if number == 1:
            return Drop(TALE.anchor_id, request.facet, "deadline", "q1")
        return rewriting()(request, number)

    _, outcome = play(by_sentence(sentence_styles=("shorter",)), TALE, answer)
    assert outcome.drops[-1] == Drop(TALE.anchor_id, "shorter: 2/3", "deadline", "q1")
    assert outcome.records[0].request_ids == ("q0", "q2")


def test_by_sentence_no_more_is_asked_than_said_and_the_rest_is_a_drop() -> None:
    method = by_sentence(max_sentences=5)
    asked, outcome = play(method, LONG)

    assert len(asked) == method.max_requests == 15
    assert Drop(LONG.anchor_id, "rest of the document", "over_limit") in outcome.drops
    assert method.max_records == 3


def test_the_same_sentence_of_two_documents_has_draws_of_their_own() -> None:
    anchors = Anchor("The mill grinds rye for all."), Anchor("The mill grinds rye for all.\n")
    first, second = (play(by_sentence(), anchor)[0] for anchor in anchors)

    assert [one.prompt_id for one in first] == [one.prompt_id for one in second]
    assert not {one.draw for one in first} & {one.draw for one in second}


def test_a_document_without_a_sentence_is_drops_alone() -> None:
    asked, outcome = play(by_sentence(), Anchor("# Rye\n\nOats"))

    assert (asked, outcome.records) == ([], [])
    assert [drop.reason for drop in outcome.drops] == ["fragment", "fragment"]


def test_as_a_whole_a_document_is_asked_about_once_a_style_however_long_it_is() -> None:
    method = Rephrase(unit="document", chunk_tokens=80)
    asked, _ = play(method, LONG)

    assert len(asked) == method.max_requests == method.max_records == 4
    assert all(LONG.text in prompt(request) for request in asked)
    assert needed_tokens(asked[0]) > 512


def test_a_heading_is_no_sentence_however_long() -> None:
    text = "# Timetable of the ferry to the outer islands\n\nThe ferry to the islands leaves at noon each day."
    chunks, drops = cut_sentences(Anchor(text, "Ferry"), 8)
    assert [one.text for one in chunks] == ["The ferry to the islands leaves at noon each day."]
    assert [one.reason for one in drops] == ["fragment"]

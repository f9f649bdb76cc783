from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gainloop.asking.chunks import estimate_tokens, last_tokens
from gainloop.asking.structured import is_placeholder
from gainloop.methods.k2_rephrase import CONTINUE, PERSPECTIVES, REWRITE, STYLES, K2Rephrase
from schemas.rows import Anchor, Answer, Drop, Outcome, Request
from tests.methods.playing import ANCHOR, make_reply, play, play_rounds, prompt, say, shown

LONG = Anchor(
    "\n\n".join(f"Fact {n} tells of mill {n}. It ground rye in year {n}, by river {n}." for n in range(30)), "Mills"
)


def asked_about(request: Request) -> str:
    """Return the chunk that a request holds."""
    return prompt(request).removeprefix("<document>\n").removeprefix("Mills\n\n").partition("\n</document>")[0]


def seen(request: Request) -> str:
    """Return the end of what was written so far that a request holds."""
    return prompt(request).partition("\n\n<draft>\n")[2].partition("\n</draft>")[0]


def copying(request: Request, number: int) -> Answer:
    """Answer as a model whose new version is the passage itself."""
    return say(request, number) if request.json_schema else make_reply(request, number, asked_about(request))


def plain(rewrites: int = 1, **parameters: Any) -> K2Rephrase:
    return K2Rephrase(rewrites=rewrites, verify=False, max_chunks=10_000, **parameters)


texts = st.text(alphabet='aB c.\n!"\u3002\u6210\u00e9', min_size=1, max_size=400).filter(lambda text: text.strip())


@settings(max_examples=100)
@given(texts, st.integers(16, 60))
def test_every_chunk_is_asked_about_once_in_order_and_a_copy_of_each_is_the_document(text: str, size: int) -> None:
    anchor = Anchor(text, "Mills")
    asked, outcome = play(plain(chunk_tokens=size), anchor, copying)
    assume(not any(map(is_placeholder, map(asked_about, asked))))

    assert "".join("".join(map(asked_about, asked)).split()) == "".join(text.split())
    assert [record.text for record in outcome.records] == [text.strip()]
    assert outcome.records[0].request_ids == tuple(f"q{n}" for n in range(len(asked)))
    assert outcome.drops == []


@settings(max_examples=25)
@given(st.integers(16, 200), st.integers(16, 200), st.integers(1, 6))
def test_what_a_continuation_says_again_of_the_text_before_it_is_there_once(
    size: int, context: int, sentences: int
) -> None:
    def repeating(request: Request, number: int) -> Answer:
        begun = seen(request).replace(". ", ".|").split("|")[-sentences:]
        return make_reply(request, number, " ".join([*begun, asked_about(request)]))

    _, outcome = play(plain(chunk_tokens=size, context_tokens=context), LONG, repeating)
    assert outcome.records[0].text.split() == LONG.text.split()


@settings(max_examples=40)
@given(st.integers(16, 200), st.lists(st.text("ab .", min_size=1, max_size=60).filter(str.strip), min_size=1))
def test_whatever_is_written_of_a_chunk_stands_in_the_record_in_its_order(size: int, replies: list[str]) -> None:
    """Signs aside, each reply ends where a longer and longer part of the record ends."""

    def babbling(request: Request, number: int) -> Answer:
        return make_reply(request, number, f"{replies[number % len(replies)]} New {number}.")

    asked, outcome = play(plain(chunk_tokens=size), LONG, babbling)
    text = outcome.records[0].text
    ends = [text.index(f" New {number}.") for number in range(len(asked))]
    assert all(first < second for first, second in pairwise(ends))
    for number, end in enumerate(ends):
        assert _bare(text[:end]).endswith(_bare(replies[number % len(replies)]))


def _bare(text: str) -> str:
    return "".join(one for one in text if one.isalnum())


def test_a_chunk_goes_on_from_the_end_of_what_was_written_so_far() -> None:
    asked, _ = play(plain(chunk_tokens=80, context_tokens=30), LONG, copying)
    written = ""

    assert len(asked) > 5
    for number, request in enumerate(asked):
        assert seen(request) == last_tokens(written.rstrip(), 30)
        assert estimate_tokens(seen(request)) <= 30
        assert request.facet.endswith(f" {number + 1}/{len(asked)}")
        written += asked_about(request) + "\n\n"


def test_a_document_that_fits_one_chunk_is_asked_about_once_a_version() -> None:
    asked, outcome = play(K2Rephrase(verify=False))

    assert [request.facet for request in asked] == [record.facet for record in outcome.records]
    for request in asked:
        style, perspective = request.facet.split(" | ")
        wish = REWRITE.format(style=STYLES[style], perspective=PERSPECTIVES[perspective], num_words=10)
        assert prompt(request) == shown(ANCHOR.text, ANCHOR.title) + wish


def test_versions_are_written_side_by_side_and_then_compared_with_the_document() -> None:
    rounds, outcome = play_rounds(K2Rephrase(rewrites=3, chunk_tokens=150, max_chunks=50), LONG)
    *written, compared = rounds

    assert len(written) > 2
    assert [len(requests) for requests in rounds] == [3] * len(rounds)
    assert all(request.greedy and LONG.text in prompt(request) for request in compared)
    for request, record in zip(compared, outcome.records, strict=True):
        assert request.facet == f"fidelity {record.facet}"
        assert record.text in prompt(request)


def test_no_style_and_no_perspective_is_used_twice_for_a_document() -> None:
    for seed in range(20):
        facets = [request.facet.split(" | ") for request in play(plain(rewrites=8), seed=seed)[0]]
        assert {style for style, _ in facets} == set(STYLES)
        assert {perspective for _, perspective in facets} == set(PERSPECTIVES)


@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"), [("Cut", "length", "cut_off"), (" ", "stop", "empty"), ("1", "stop", "repeat")]
)
def test_a_chunk_whose_reply_cannot_be_used_ends_its_version_and_no_other(
    text: str, finish_reason: str, reason: str
) -> None:
    def failing(request: Request, number: int) -> Answer:
        if number != 4:  # the third chunk of the first version
            return copying(request, number)
        return make_reply(request, number, seen(request) if reason == "repeat" else text, finish_reason)

    asked, outcome = play(plain(rewrites=2, chunk_tokens=80), LONG, failing)
    chunks = len(play(plain(chunk_tokens=80), LONG, copying)[0])
    first, second = (request.facet.removesuffix(f": 1/{chunks}") for request in asked[:2])

    assert len(asked) == chunks + 3
    assert [record.facet for record in outcome.records] == [second]
    assert len(outcome.records[0].request_ids) == chunks
    assert outcome.drops == [
        Drop(LONG.anchor_id, f"{first}: 3/{chunks}", reason, "q4"),
        Drop(LONG.anchor_id, first, "unfinished", "q0"),
        Drop(LONG.anchor_id, first, "unfinished", "q2"),
    ]


def test_a_version_that_is_not_faithful_is_dropped_with_all_its_replies() -> None:
    def unfaithful(request: Request, number: int) -> Answer:
        if request.json_schema:
            return make_reply(request, number, '{"statements": [], "meaning": "changed"}')
        return copying(request, number)

    asked, outcome = play(K2Rephrase(rewrites=1, chunk_tokens=80, max_chunks=50), LONG, unfaithful)
    assert outcome.records == []
    assert Counter(drop.reason for drop in outcome.drops) == {"unfaithful": len(asked) - 1}


def test_a_document_is_rewritten_and_compared_up_to_the_limit_and_the_rest_is_a_drop() -> None:
    method = K2Rephrase(rewrites=1, chunk_tokens=80, max_chunks=2)
    asked, outcome = play(method, LONG, copying)
    used = f"{asked_about(asked[0])}\n\n{asked_about(asked[1])}"

    assert len(asked) == method.max_requests == 3
    assert outcome.records[0].text == used
    assert LONG.text.startswith(used)
    assert prompt(asked[2]).startswith(shown(used, "Mills", used))
    assert outcome.drops == [Drop(LONG.anchor_id, "rest of the document", "over_limit")]


def test_a_version_that_says_what_another_says_is_dropped_before_it_is_compared() -> None:
    asked, outcome = play(K2Rephrase(), ANCHOR, copying)

    assert [bool(request.json_schema) for request in asked] == [False, False, True]
    assert len(outcome.records) == 1
    assert outcome.drops == [Drop(ANCHOR.anchor_id, asked[1].facet, "repeat", "q1")]


def test_chunks_that_read_the_same_are_different_requests() -> None:
    same = Anchor("The mill grinds. " * 200)
    asked, _ = play(plain(chunk_tokens=16), same, copying)

    assert len({(request.prompt_id, request.draw) for request in asked}) == len(asked)


def test_a_reply_that_says_its_request_again_is_an_echo_also_in_the_middle() -> None:
    def parrot(request: Request, number: int) -> Answer:
        return copying(request, number) if number < 2 else make_reply(request, number, prompt(request))

    assert "new version" in CONTINUE
    _, outcome = play(plain(chunk_tokens=80), LONG, parrot)
    assert outcome.records == []
    assert [drop.reason for drop in outcome.drops] == ["echo", "unfinished", "unfinished"]


def test_more_versions_than_there_are_styles_are_refused() -> None:
    with pytest.raises(ValidationError):
        K2Rephrase(rewrites=9)


def test_what_came_of_a_lost_reply_keeps_its_reason() -> None:
    lost = Drop(ANCHOR.anchor_id, "story | causes", "deadline", "q0")

    assert play(plain(), answer=lambda _request, _n: lost)[1] == Outcome(drops=[lost])

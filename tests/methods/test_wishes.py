"""Methods that send one request for each of some named wishes."""

from typing import Any

import pytest
from pydantic import ValidationError

from gainloop.asking.conversation import ALONE
from gainloop.methods import read_method
from gainloop.methods.explain import RIGOUR, Explain
from gainloop.methods.explain import WISHES as WAYS
from gainloop.methods.formats import OWN_START, Formats
from gainloop.methods.formats import WISHES as FORMATS
from gainloop.methods.method import Method
from tests.methods.playing import ANCHOR, play, prompt, shown


@pytest.mark.parametrize(
    ("method", "wishes", "end"),
    [(Explain(), WAYS, RIGOUR), (Formats(), FORMATS, OWN_START)],
    ids=["explain", "formats"],
)
def test_each_wish_is_asked_for_once_in_its_own_words(method: Method, wishes: dict[str, str], end: str) -> None:
    asked, _ = play(method)

    assert [request.facet for request in asked] == list(wishes)
    for request in asked:
        wish = f"{wishes[request.facet]} {end.format(max_words=250)} {ALONE}"
        assert prompt(request) == shown(ANCHOR.text, ANCHOR.title) + wish
        assert request.reply_tokens == 375


def test_only_the_wishes_that_were_chosen_are_asked_for_in_their_order() -> None:
    assert [request.facet for request in play(Formats(formats=("table", "faq")))[0]] == ["table", "faq"]
    assert [request.facet for request in play(Explain(ways=("solve",)))[0]] == ["solve"]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"kind": "formats", "formats": ["faq", "math", "faq"]}, "faq is named twice; each may be named once"),
        ({"kind": "explain", "ways": ["solve", "solve"]}, "solve is named twice; each may be named once"),
        ({"kind": "formats", "formats": []}, "at least 1"),
        ({"kind": "explain", "ways": ["guess"]}, "'derive', 'justify' or 'solve'"),
    ],
)
def test_a_wish_that_is_named_twice_or_unknown_and_none_at_all_are_refused(
    chosen: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        read_method(chosen)


@pytest.mark.parametrize("kind", ["rephrase", "implications", "formats", "explain"])
def test_plain_prompts_wish_one_thing_in_one_short_sentence_or_two_of_the_same_document(kind: str) -> None:
    full, plain = (play(read_method({"kind": kind, "prompts": prompts}))[0] for prompts in ("full", "plain"))
    start = shown(ANCHOR.text, ANCHOR.title)

    assert [(one.facet, one.draw, one.reply_tokens) for one in plain] == [
        (one.facet, one.draw, one.reply_tokens) for one in full
    ]
    for short, long in zip(plain, full, strict=True):
        assert prompt(short).startswith(start)
        wish = prompt(short).removeprefix(start)
        assert len(wish.split()) <= 20 < len(prompt(long).removeprefix(start).split())
        assert "document" not in wish, "a small model then writes about a document"

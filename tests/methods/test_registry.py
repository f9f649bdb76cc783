import json
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.rows import Anchor, Answer, Drop, Message, Outcome, Reply, Request
from tasks.methods import METHODS, SBP, EntiGraph, Method, Rephrase, read_method
from tasks.methods.rephrase import WISHES

ANCHOR = Anchor("The mill by the river grinds rye.", "Mill")
OTHER = Anchor("The lighthouse keeper counts ships.", "Lighthouse")
SMALL = [Rephrase(), EntiGraph(max_pairs=3, max_triples=2), SBP(draws=3)]
every_method = pytest.mark.parametrize("method", SMALL, ids=lambda method: method.kind)
ENTITIES = '{"entities": ["mill", "river", "rye", "town"]}'


def make_reply(request: Request, number: int, text: str = "", finish_reason: Any = "stop") -> Reply:
    return Reply(f"q{number}", request.prompt_id, text, (1, 0), (-1.0, -0.5), finish_reason, 9, 2, 0.1, "list")


def say(request: Request, number: int) -> Answer:
    return make_reply(request, number, ENTITIES if request.json_schema else f"\nText {number}. ")


def play(method: Method, anchor: Anchor = ANCHOR, answer: Any = say, seed: int = 0) -> tuple[list[Request], Outcome]:
    """Run a method against a rule that answers (request, its number); return what it asked and what came of it."""
    asked: list[Request] = []
    rounds = method.rounds(anchor, Random(f"{seed}/{anchor.anchor_id}"))
    try:
        requests = next(rounds)
        while True:
            asked += requests
            first = len(asked) - len(requests)
            requests = rounds.send([answer(request, first + n) for n, request in enumerate(requests)])
    except StopIteration as end:
        return asked, end.value


def prompt(request: Request) -> str:
    return request.prompt if isinstance(request.prompt, str) else request.prompt[-1].content


def shared_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    return next((first[:n] for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), first)


@every_method
def test_a_method_is_found_by_its_kind_and_read_back_from_a_recipe(method: Method) -> None:
    assert METHODS[method.kind] is type(method)
    assert read_method(method.model_dump(mode="json")) == method


@every_method
def test_the_document_comes_first_in_every_prompt_and_is_shared_by_all(method: Method) -> None:
    prompts = [prompt(request) for request in play(method)[0]]

    assert all(ANCHOR.text in text[: len(ANCHOR.title) + len(ANCHOR.text) + 2] for text in prompts)
    assert ANCHOR.text in shared_start(prompts)


@every_method
def test_a_record_says_its_anchor_method_facet_and_request(method: Method) -> None:
    asked, outcome = play(method)

    assert outcome.records
    for record in outcome.records:
        number = int(record.request_ids[0].removeprefix("q"))
        assert (record.anchor_id, record.method) == (ANCHOR.anchor_id, method.kind)
        assert (record.facet, record.text) == (asked[number].facet, f"Text {number}.")


@every_method
def test_the_same_anchor_and_seed_ask_the_same_whatever_came_before(method: Method) -> None:
    alone = play(method)
    play(method, OTHER)

    assert play(method) == alone


@every_method
def test_every_request_becomes_a_record_or_a_drop(method: Method) -> None:
    def moody(request: Request, number: int) -> Answer:
        if request.json_schema:
            return say(request, number)
        lost = Drop(ANCHOR.anchor_id, request.facet, "deadline", f"q{number}")
        cut, empty = make_reply(request, number, "Text", "length"), make_reply(request, number, " ")
        return [say(request, number), cut, empty, lost][number % 4]

    asked, outcome = play(method, answer=moody)
    wanted = [request for request in asked if not request.json_schema]
    assert len(outcome.records) + len(outcome.drops) == len(wanted)
    assert {drop.reason for drop in outcome.drops} <= {"cut_off", "empty", "deadline"}
    assert all(drop.request_id for drop in outcome.drops)


@every_method
def test_a_text_that_another_reply_has_said_is_dropped_as_a_repeat(method: Method) -> None:
    def parrot(request: Request, number: int) -> Answer:
        if request.json_schema:
            return say(request, number)
        return make_reply(request, number, [" Text. ", "Text", "\nText."][number % 3], "stop")

    asked, outcome = play(method, answer=parrot)
    wanted = [(number, request) for number, request in enumerate(asked) if not request.json_schema]
    texts = {number: "Text" if number % 3 == 1 else "Text." for number, _ in wanted}
    firsts = {text: min(n for n in texts if texts[n] == text) for text in texts.values()}
    assert {record.text: record.request_ids[0] for record in outcome.records} == {
        text: f"q{number}" for text, number in firsts.items()
    }
    assert outcome.drops == [
        Drop(ANCHOR.anchor_id, request.facet, "repeat", f"q{number}")
        for number, request in wanted
        if number not in firsts.values()
    ]
    assert len(outcome.drops) > 0


def test_a_text_of_one_anchor_is_no_repeat_of_anothers() -> None:
    for anchor in (ANCHOR, OTHER):
        assert len(play(SBP(draws=1), anchor, lambda request, n: make_reply(request, n, "Text."))[1].records) == 1


@settings(max_examples=60, deadline=None)
@given(
    method=st.one_of(
        st.builds(Rephrase, styles=st.lists(st.sampled_from(sorted(WISHES)), min_size=1, unique=True).map(tuple)),
        st.builds(
            EntiGraph, max_entities=st.integers(2, 14), max_pairs=st.integers(0, 30), max_triples=st.integers(0, 30)
        ),
        st.builds(SBP, draws=st.integers(1, 30)),
    ),
    num_entities=st.integers(0, 40),
    seed=st.integers(),
)
def test_no_anchor_leads_to_more_requests_than_its_method_says(method: Method, num_entities: int, seed: int) -> None:
    listed = json.dumps({"entities": [f"entity {n}" for n in range(num_entities)]})

    def answer(request: Request, number: int) -> Answer:
        return make_reply(request, number, listed if request.json_schema else f"Text {number}.")

    asked, _ = play(method, answer=answer, seed=seed)
    assert len(asked) <= method.max_requests
    if not isinstance(method, EntiGraph) or num_entities >= max(3, method.max_entities):
        assert len(asked) == method.max_requests


@every_method
def test_two_requests_of_an_anchor_are_never_the_same(method: Method) -> None:
    asked = play(method)[0]

    assert len({(request.prompt_id, request.draw) for request in asked}) == len(asked)


@every_method
def test_a_method_is_frozen_and_a_misspelt_parameter_is_refused(method: Method) -> None:
    with pytest.raises(ValidationError):
        method.kind = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match=f"method '{method.kind}': 'stlyes' is not a parameter"):
        read_method({"kind": method.kind, "stlyes": 1})


def test_an_unknown_method_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValidationError, match="'entgraph' not found in tasks/methods/: known are entigraph, rephrase"):
        read_method({"kind": "entgraph"})


def test_a_prompt_is_a_chat_except_for_base_models() -> None:
    kinds = {method.kind: type(play(method)[0][0].prompt) for method in SMALL}

    assert kinds == {"rephrase": tuple, "entigraph": tuple, "sbp": str}
    assert play(Rephrase())[0][0].prompt[0] == Message("user", prompt(play(Rephrase())[0][0]))

import json
from itertools import combinations
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gainloop.methods.entigraph import EntiGraph, ask_entities, choose_groups, read_entities
from schemas.rows import Anchor, Answer, Drop, Outcome, Request
from tests.methods.playing import ANCHOR, OTHER, make_reply, play, prompt

values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.just("entities") | st.text(), inner),
)


ENTITIES = '{"summary": "On rye.", "entities": ["mill", "river", "rye", "town"]}'


def listing(*entities: object, finish_reason: str = "stop") -> Any:
    """Return the rule that lists these entities, and then writes a text for each group."""
    said = json.dumps({"summary": "On rye.", "entities": entities})

    def answer(request: Request, number: int) -> Answer:
        if request.json_schema:
            return make_reply(request, number, said, finish_reason)
        return make_reply(request, number, f"On {request.facet}.")

    return answer


def saying(text: str, finish_reason: str = "stop") -> Any:
    return lambda request, number: make_reply(request, number, text, finish_reason)


def test_entities_come_first_then_one_text_per_pair_and_triple() -> None:
    asked, outcome = play(EntiGraph(), answer=listing("mill", "river", "rye"))

    assert [request.facet for request in asked] == [
        "entities",
        "mill | river",
        "mill | rye",
        "river | rye",
        "mill | river | rye",
    ]
    assert [record.text for record in outcome.records] == [
        "On rye.",
        *(f"On {request.facet}." for request in asked[1:]),
    ]
    assert (outcome.records[0].facet, outcome.records[0].request_ids) == ("summary", ("q0",))
    assert "explain mill, river and rye one after the other" in prompt(asked[-1])
    assert outcome.drops == []


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (saying("Sure! Here are some: mill, rye"), "malformed"),
        (saying('["mill", "rye"]'), "malformed"),
        (saying('{"summary": "On rye.", "entities": "mill"}'), "malformed"),
        (saying('{"summary": "", "entities": ["mill", "rye"]}'), "malformed"),
        (saying(ENTITIES[:20]), "malformed"),
        (saying(ENTITIES, "length"), "cut_off"),
        (saying(" \n"), "empty"),
        (saying('{"entities": ["mill", "rye"]}'), "malformed"),
    ],
)
def test_a_list_that_cannot_be_read_is_one_drop_with_its_reason(reply: Any, reason: str) -> None:
    asked, outcome = play(EntiGraph(), answer=reply)

    assert len(asked) == 1
    assert outcome == Outcome(drops=[Drop(ANCHOR.anchor_id, "entities", reason, "q0")])


@pytest.mark.parametrize("entities", [(), ("mill",), ("mill", " MILL ", 7, None, "", "The mill's")])
def test_of_a_list_without_a_pair_the_summary_is_left(entities: tuple[object, ...]) -> None:
    asked, outcome = play(EntiGraph(), answer=listing(*entities))

    assert len(asked) == 1
    assert [record.text for record in outcome.records] == ["On rye."]
    assert outcome.drops == [Drop(ANCHOR.anchor_id, "entities", "no_pair", "q0")]


def test_a_list_that_never_came_keeps_its_own_reason() -> None:
    lost = Drop(ANCHOR.anchor_id, "entities", "deadline", "q0")

    assert play(EntiGraph(), answer=lambda _request, _number: lost)[1] == Outcome(drops=[lost])


@pytest.mark.parametrize(
    ("pairs", "triples", "asked"), [(16, 4, 21), (100, 0, 67), (0, 7, 8), (66, 220, 287), (1, 1, 3)]
)
def test_every_anchors_texts_are_capped(pairs: int, triples: int, asked: int) -> None:
    many = listing(*(f"mill {n}" for n in range(40)))

    assert len(play(EntiGraph(max_pairs=pairs, max_triples=triples), answer=many)[0]) == asked


def test_no_more_entities_are_used_than_allowed_the_most_important_ones() -> None:
    asked, _ = play(EntiGraph(max_entities=3), answer=listing(*"abcdefgh"))

    assert {name for request in asked[1:] for name in request.facet.split(" | ")} == set("abc")


def test_entities_that_differ_in_case_space_article_or_possessive_are_one() -> None:
    names = [
        "Ada  Lovelace",
        "ADA LOVELACE",
        "the Straße",
        "STRASSE",
        "Ada's engine",
        "an Ada engine",
        "The",
        "x",
    ]
    listed = read_entities(json.dumps({"summary": "On Ada.", "entities": names}))

    assert listed
    assert listed.entities == ["Ada Lovelace", "the Straße", "Ada's engine", "The", "x"]


def test_a_summary_keeps_its_lines_and_an_entity_of_thousands_of_characters_is_none() -> None:
    found = {"summary": "On:\n- Ada\n- rye", "entities": ["Ada", "x" * 5000, "rye"]}
    listed = read_entities(json.dumps(found))

    assert listed == ("On:\n- Ada\n- rye", ["Ada", "rye"])


def test_what_is_drawn_depends_on_the_seed_and_the_anchor_alone() -> None:
    method, many = EntiGraph(), listing(*"abcdefghijkl")

    def facets(anchor: Anchor, seed: int) -> list[str]:
        return [request.facet for request in play(method, anchor, many, seed)[0]]

    first = facets(ANCHOR, 0)
    assert first[1:4] == ["a | b", "a | e", "a | i"]
    assert facets(ANCHOR, 0) == first
    assert sorted(facets(OTHER, 0)) != sorted(first)
    assert sorted(facets(ANCHOR, 1)) != sorted(first)


def test_the_list_is_asked_for_by_a_schema_that_bounds_it() -> None:
    schema = json.loads(str(ask_entities(ANCHOR, 5).json_schema))["properties"]["entities"]

    assert (schema["minItems"], schema["maxItems"]) == (2, 5)
    assert (schema["items"]["minLength"], schema["items"]["maxLength"]) == (1, 60)


@settings(max_examples=50)
@given(st.text() | values.map(json.dumps) | values.map(lambda value: json.dumps({"summary": "x", "entities": value})))
@example("[" * 100_000)
@example('{"summary": "x", "entities": ["\\ud800", "rye"]}')
@example('{"summary": "x", "entities": [' + "9" * 5000 + ', "rye"]}')
@example('{"summary": "x", "entities": [NaN, Infinity]}')
@example('{"summary": "x", "entities": ["{names}", "{0}"]}')
def test_no_reply_raises(text: str) -> None:
    _, outcome = play(EntiGraph(), answer=saying(text))

    assert outcome.records or outcome.drops


@given(st.lists(st.text(min_size=1), unique=True, max_size=12), st.integers(0, 20), st.integers(0, 20), st.integers())
def test_groups_are_distinct_pairs_and_triples_up_to_the_caps(
    entities: list[str], max_pairs: int, max_triples: int, seed: int
) -> None:
    groups = choose_groups(entities, max_pairs, max_triples, Random(seed))

    pairs, triples = ([group for group in groups if len(group) == size] for size in (2, 3))
    assert len(pairs) == min(max_pairs, len(list(combinations(entities, 2))))
    assert len(triples) == min(max_triples, len(list(combinations(entities, 3))))
    assert len(set(groups)) == len(groups) == len(pairs) + len(triples)

"""What every method of the registry must do, whichever it is: nothing is added here for a new one."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gainloop.measures.words import leaks
from gainloop.methods import (
    METHODS,
    SBP,
    ActiveReading,
    EntiGraph,
    Explain,
    Formats,
    Implications,
    K2Rephrase,
    Method,
    Reformulate,
    Rephrase,
    Textbook,
    read_method,
)
from gainloop.methods.explain import WISHES as WAYS
from gainloop.methods.formats import WISHES as FORMATS
from gainloop.methods.rephrase import WISHES
from schemas.rows import Anchor, Answer, Drop, Request
from schemas.suites import LEAKS
from tests.methods import malformed
from tests.methods.playing import ANCHOR, OTHER, make_reply, play, play_rounds, prompt, say, say_no, shared_start

EVERY = [method() for method in METHODS.values()]
every_method = pytest.mark.parametrize("method", EVERY, ids=lambda method: method.kind)

STYLES = sorted(WISHES)

FROM_SCRATCH: dict[str, str | tuple[str, ...]] = {
    "backtranslate": "answer",
    "textbook": ("chapter: ", "exercise: "),
}
"""Methods with prompts that do not hold the document, and which those are, by the beginnings of their facets."""


LONG = Anchor("\n\n".join(f"Paragraph {n} tells of the mill, of rye and of the river at length." for n in range(2000)))


def some(names: Any) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(sorted(names)), min_size=1, unique=True).map(tuple)


@every_method
def test_a_method_is_found_by_its_kind_and_read_back_from_a_recipe(method: Method) -> None:
    assert METHODS[method.kind] is type(method)
    assert read_method(json.loads(method.model_dump_json())) == method


@every_method
def test_the_document_comes_first_in_every_prompt_and_is_shared_by_all(method: Method) -> None:
    scratch = FROM_SCRATCH.get(method.kind, "\0")
    prompts = [prompt(request) for request in play(method)[0] if not request.facet.startswith(scratch)]

    assert all(ANCHOR.text in text[: len(ANCHOR.title) + len(ANCHOR.text) + 2] for text in prompts)
    assert ANCHOR.text in shared_start(prompts)


@every_method
def test_a_record_says_its_anchor_method_facet_and_requests(method: Method) -> None:
    asked, outcome = play(method)

    assert outcome.records
    for record in outcome.records:
        assert (record.anchor_id, record.method) == (ANCHOR.anchor_id, method.kind)
        assert record.facet
        assert record.request_ids
        assert {int(name.removeprefix("q")) for name in record.request_ids} <= set(range(len(asked)))


@every_method
def test_no_reply_is_part_of_two_records(method: Method) -> None:
    replies = [name for record in play(method)[1].records for name in record.request_ids]

    assert len(set(replies)) == len(replies)


@every_method
def test_the_same_anchor_and_seed_ask_the_same_whatever_came_before(method: Method) -> None:
    alone = play(method)
    play(method, OTHER)

    assert play(method) == alone


@every_method
@pytest.mark.parametrize("mood", range(4))
def test_every_reply_becomes_a_record_or_a_drop_or_leads_on(method: Method, mood: int) -> None:
    bad: set[str] = set()

    def moody(request: Request, number: int) -> Answer:
        if (number + mood) % 4 == 0 or request.greedy:
            return say(request, number)
        bad.add(name := f"q{number}")
        lost = Drop(ANCHOR.anchor_id, request.facet, "deadline", name)
        return [
            lost,
            lost,
            make_reply(request, number, "Text", "length"),
            make_reply(request, number, " "),
        ][(number + mood) % 4]

    rounds, outcome = play_rounds(method, answer=moody)
    dropped = {drop.request_id for drop in outcome.drops}
    told = dropped | {name for record in outcome.records for name in record.request_ids}
    total = sum(map(len, rounds))
    last = {f"q{total - 1 - n}" for n, request in enumerate(reversed(rounds[-1])) if not request.greedy}
    assert bad <= dropped, "a reply that cannot be used is a drop"
    assert last <= told, "a reply that leads to nothing more is a record or a drop"


@every_method
def test_a_text_that_another_reply_has_said_is_dropped_as_a_repeat(method: Method) -> None:
    def parrot(request: Request, number: int) -> Answer:
        return say(request, number) if request.json_schema else make_reply(request, number, " Text. ")

    outcome = play(method, answer=parrot)[1]
    texts = [record.text for record in outcome.records]
    assert len(set(texts)) == len(texts)
    if method.max_records > 1 and any(not request.json_schema for request in play(method)[0][-1:]):
        assert "repeat" in {drop.reason for drop in outcome.drops}


@dataclass
class Misbehaving:
    """Spoils every reply, or two in three of them; what is spoiled stands in ``bad``."""

    spoil: Callable[[Request, int, int], str]
    variant: int
    bad: set[str] = field(default_factory=set)

    def __call__(self, request: Request, number: int) -> Answer:
        if self.variant % 3 and (number + self.variant) % 3 == 0:
            return say(request, number)
        self.bad.add(f"q{number}")
        return make_reply(request, number, self.spoil(request, number, self.variant))


@every_method
@pytest.mark.parametrize("spoil", [malformed.broken, malformed.spoiled])
def test_no_malformed_reply_raises_or_makes_a_wrong_record_and_all_are_counted(method: Method, spoil: Any) -> None:
    for variant in range(malformed.NUMBER):
        misbehave = Misbehaving(spoil, variant)
        asked, outcome = play(method, answer=misbehave)
        assert len(asked) <= method.max_requests
        assert len(outcome.records) <= method.max_records
        dropped = {drop.request_id for drop in outcome.drops}
        for record in outcome.records:
            assert record.text.strip()
            schemas = [asked[int(name.removeprefix("q"))].json_schema for name in record.request_ids]
            if any(schemas):
                assert all(one.isprintable() or one.isspace() for one in record.text)
                assert not (spoil is malformed.broken and misbehave.bad & set(record.request_ids))
        if spoil is malformed.broken:
            verdicts = {f"q{n}" for n, request in enumerate(asked) if request.greedy}
            assert misbehave.bad - verdicts <= dropped


@every_method
def test_a_method_says_exactly_how_much_it_may_ask_and_make(method: Method) -> None:
    """Its bounds are reached by a short or a long document, and a model that passes every check or none."""
    played = [play(method, anchor, answer) for anchor in (ANCHOR, LONG) for answer in (say, say_no)]

    assert max(len(asked) for asked, _ in played) == method.max_requests
    assert max(len(outcome.records) for _, outcome in played) == method.max_records


@every_method
def test_a_reply_that_repeats_its_wish_amid_other_words_is_seen_as_a_leak(method: Method) -> None:
    for request in play(method)[0]:
        if not request.json_schema and isinstance(request.prompt, tuple):
            wish = prompt(request).rpartition("\n\n")[2]
            assert leaks(f"The mill grinds rye. {wish}", LEAKS, ANCHOR.text), wish


@settings(max_examples=40, deadline=None)
@given(
    method=st.one_of(
        st.builds(Rephrase, styles=some(STYLES), max_chunks=st.just(1)),
        st.builds(K2Rephrase, rewrites=st.integers(1, 8), max_chunks=st.just(1), verify=st.booleans()),
        st.builds(
            EntiGraph, max_entities=st.integers(2, 14), max_pairs=st.integers(0, 30), max_triples=st.integers(0, 30)
        ),
        st.builds(SBP, draws=st.integers(1, 30)),
        st.builds(ActiveReading, max_strategies=st.integers(1, 32), probe=st.sampled_from(["", "On dates."])),
        st.builds(Reformulate, max_pairs=st.integers(1, 32), least_consistency=st.integers(1, 5)),
        st.builds(Textbook, max_chapters=st.integers(1, 16), max_exercises=st.integers(1, 8)),
        st.builds(Explain, ways=some(WAYS)),
        st.builds(Formats, formats=some(FORMATS)),
        st.builds(Implications, draws=st.integers(1, 30)),
    ),
    seed=st.integers(),
)
def test_an_obedient_model_is_asked_as_often_as_the_method_says(method: Method, seed: int) -> None:
    asked, outcome = play(method, seed=seed)

    assert len(asked) == method.max_requests
    assert len(outcome.records) == method.max_records


@every_method
def test_two_requests_of_an_anchor_are_never_the_same(method: Method) -> None:
    asked = play(method)[0]

    assert len({(request.prompt_id, request.draw) for request in asked}) == len(asked)


@every_method
def test_a_method_is_frozen_and_a_misspelt_parameter_is_refused(method: Method) -> None:
    with pytest.raises(ValidationError):
        method.kind = "other"
    with pytest.raises(ValidationError, match=f"method '{method.kind}': 'stlyes' is not a parameter"):
        read_method({"kind": method.kind, "stlyes": 1})


def test_an_unknown_method_is_an_error_that_lists_the_known_ones() -> None:
    known = ", ".join(sorted(METHODS))
    with pytest.raises(ValidationError, match=f"'entgraph' not found in gainloop/methods/: known are {known}"):
        read_method({"kind": "entgraph"})


@every_method
def test_a_prompt_is_a_chat_except_for_base_models(method: Method) -> None:
    assert isinstance(play(method)[0][0].prompt, str) == method.tunes_generator


def test_a_text_of_one_anchor_is_no_repeat_of_anothers() -> None:
    for anchor in (ANCHOR, OTHER):
        assert len(play(SBP(draws=1), anchor, lambda request, n: make_reply(request, n, "Text."))[1].records) == 1

"""What every method of the registry must do, whichever it is: nothing is added here for a new one."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

import numpy as np
import pytest
from annotated_types import Ge, Le
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from gainloop.asking.chunks import needed_tokens
from gainloop.asking.conversation import own_draw
from gainloop.measures.faithfulness import says_wish
from gainloop.measures.ngrams import hash_texts
from gainloop.methods import METHODS, read_method
from gainloop.methods.method import Method
from gainloop.methods.sbp import SBP
from schemas.recipe import Sampling
from schemas.rows import Anchor, Answer, Drop, Request
from tests.methods import malformed
from tests.methods.playing import (
    ANCHOR,
    OTHER,
    in_form,
    make_reply,
    play,
    play_rounds,
    prompt,
    say,
    say_no,
    shared_start,
    shown,
    system_of,
)

EVERY = [method() for method in METHODS.values()]
every_method = pytest.mark.parametrize("method", EVERY, ids=lambda method: method.kind)

OWN_DRAWS = {own_draw(ANCHOR, number) for number in range(100)}

SEVERAL_A_REPLY = {"alpaca"}
"""Methods that ask for several records in one reply."""

LONG = Anchor("\n\n".join(f"Paragraph {n} tells of the mill, of rye and of the river at length." for n in range(400)))


def parameters_of(made: type[Method]) -> st.SearchStrategy[Method]:
    """Return methods of a kind that count other numbers, name other choices, and do or leave out what they may."""
    return st.builds(
        made, **{name: values for name, one in made.model_fields.items() if (values := values_of(one)) is not None}
    )


def values_of(field: FieldInfo) -> st.SearchStrategy[Any] | None:
    least = next((one.ge for one in field.metadata if isinstance(one, Ge)), None)
    most = next((one.le for one in field.metadata if isinstance(one, Le)), 1000)
    if field.annotation is int and least in (0, 1, 2):  # a count, not a size
        return st.integers(least, min(most, least + 12))
    if field.annotation is bool:
        return st.booleans()
    if get_origin(field.annotation) is tuple:
        return st.lists(st.sampled_from(get_args(get_args(field.annotation)[0])), min_size=1, unique=True).map(tuple)
    return None


@every_method
def test_a_method_is_found_by_its_kind_and_read_back_from_a_recipe(method: Method) -> None:
    assert METHODS[method.kind] is type(method)
    assert read_method(json.loads(method.model_dump_json())) == method


@every_method
def test_the_document_comes_first_in_every_prompt_and_is_shared_by_all(method: Method) -> None:
    asked = [request for request in play(method)[0] if request.draw not in OWN_DRAWS]
    prompts = [prompt(request) for request in asked]

    start = ANCHOR.text if method.tunes_generator else shown(ANCHOR.text, ANCHOR.title)
    assert all(text.startswith(start) for text in prompts)
    assert start in shared_start(prompts)


@every_method
def test_a_system_message_of_ours_stands_before_every_chat_and_is_the_same_for_all_that_hold_the_document(
    method: Method,
) -> None:
    asked = [] if method.tunes_generator else play(method)[0]
    systems = {request.draw in OWN_DRAWS: system_of(request) for request in asked}

    assert all(systems[request.draw in OWN_DRAWS] == system_of(request) for request in asked)
    assert all(len(system.split()) < 50 for system in systems.values())


@every_method
def test_every_request_of_a_chat_says_how_long_its_reply_may_become_and_it_fits_the_default(method: Method) -> None:
    for request in play(method)[0]:
        assert method.tunes_generator or 0 < needed_tokens(request) <= Sampling().max_tokens, request.facet


@every_method
def test_no_wish_holds_an_example_that_could_be_an_answer(method: Method) -> None:
    for request in play(method)[0]:
        wish = prompt(request).rpartition(">\n\n")[2]
        assert method.tunes_generator or not re.search(r"\.\.\.|[{}]|\"\w+\":|<[a-z]", wish), wish


@every_method
def test_only_a_prompt_without_the_document_has_a_draw_that_no_other_document_has(method: Method) -> None:
    assert not [one for one in play(method)[0] if one.draw in OWN_DRAWS and ANCHOR.text in prompt(one)]


@every_method
def test_a_record_says_its_anchor_method_facet_and_requests(method: Method) -> None:
    asked, outcome = play(method)

    assert outcome.records
    for record in outcome.records:
        assert (record.anchor_id, record.method) == (ANCHOR.anchor_id, method.kind)
        assert record.facet
        assert record.request_ids
        assert {int(name.removeprefix("q")) for name in record.request_ids} <= set(range(len(asked)))


@pytest.mark.parametrize(
    "method", [one for one in EVERY if one.kind not in SEVERAL_A_REPLY], ids=lambda method: method.kind
)
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
        return say(request, number) if request.json_schema else make_reply(request, number, in_form(request, " Text. "))

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


def reached(method: Method) -> tuple[int, int]:
    """Return the most that is asked and made of a short or a long document, by a model that passes all or none."""
    played = [play(method, anchor, answer) for anchor in (ANCHOR, LONG) for answer in (say, say_no)]
    return max(len(asked) for asked, _ in played), max(len(outcome.records) for _, outcome in played)


@every_method
def test_a_method_says_exactly_how_much_it_may_ask_and_make(method: Method) -> None:
    assert reached(method) == (method.max_requests, method.max_records)


@every_method
@settings(max_examples=10)
@given(data=st.data())
def test_a_method_says_so_of_any_parameters(method: Method, data: st.DataObject) -> None:
    asking = data.draw(parameters_of(type(method)))
    assert reached(asking) == (asking.max_requests, asking.max_records)


@every_method
def test_a_reply_that_repeats_its_wish_amid_other_words_is_seen_as_a_leak(method: Method) -> None:
    for request in play(method)[0]:
        if not request.json_schema and isinstance(request.prompt, tuple):
            wish = prompt(request).rpartition("\n\n")[2]
            text, anchor = hash_texts([f"The mill grinds rye. {wish}"]), hash_texts([ANCHOR.text])
            assert says_wish(text, anchor, np.zeros(1, dtype=np.int64), method.wishes).all(), wish


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

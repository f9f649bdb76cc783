import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainloop.filters.consistency import Consistency, first_pair, normalised
from schemas.rows import Answer, Record, Request
from tests.methods import malformed
from tests.methods.playing import ANCHOR, OTHER, hold, make_reply, prompt, shown

RECORD = Record(ANCHOR.anchor_id, "formats", "faq", "Question: What does the mill grind?\nAnswer: Rye.", ("q",))


def saying(*answers: str) -> Any:
    return lambda request, number: make_reply(request, number, json.dumps({"answer": answers[number]}))


def verdict(answer: Any, text: str = RECORD.text, **parameters: Any) -> str:
    record = Record(ANCHOR.anchor_id, "formats", "faq", text, ("q",))
    return hold(Consistency(**parameters).check(ANCHOR, record, Random(0)), answer)[1]


def asked_of(filter_: Consistency, anchor: Any = ANCHOR) -> list[Request]:
    (asked,), _ = hold(filter_.check(anchor, RECORD, Random(0)), saying(*["rye"] * 9))
    return asked


@pytest.mark.parametrize(
    ("answers", "bounds", "expected"),
    [
        (["rye", "Rye.", "the rye", "wheat", "oats"], {}, ""),
        (["rye", "Rye.", "wheat", "wheat", "oats"], {}, "inconsistent"),
        (["rye"] * 5, {"most": 0.8}, "too_easy"),
        (["wheat"] * 5, {"least": 0.2, "most": 0.8}, "inconsistent"),
        ([" "] * 5, {}, "unjudged"),
    ],
)
def test_a_record_is_kept_by_the_share_of_answers_that_agree_with_its_own(
    answers: list[str], bounds: Any, expected: str
) -> None:
    assert verdict(saying(*answers), **bounds) == expected


def test_the_question_is_asked_without_its_answer_and_by_default_with_the_anchor() -> None:
    (first, *others) = asked_of(Consistency(voters=3))

    assert prompt(first).startswith(shown(ANCHOR.text, ANCHOR.title))
    assert "What does the mill grind?" in prompt(first)
    assert "Answer: Rye" not in prompt(first)
    assert [request.draw for request in (first, *others)] == [0, 1, 2]
    assert not first.greedy


def test_from_memory_nothing_of_the_anchor_is_shown_and_two_anchors_have_samples_of_their_own() -> None:
    own, others = asked_of(Consistency(open_book=False)), asked_of(Consistency(open_book=False), OTHER)

    assert ANCHOR.title + "\n" not in prompt(own[0])
    assert ANCHOR.text not in prompt(own[0])
    assert own[0].prompt_id == others[0].prompt_id
    assert len({request.draw for request in (*own, *others)}) == 10


def test_a_record_without_a_question_is_refused_at_no_cost() -> None:
    def nobody(request: Request, number: int) -> Answer:
        raise AssertionError(request)

    assert verdict(nobody, "The mill grinds rye.") == "no_question"
    assert verdict(nobody, "Question: What does it grind?") == "no_question"
    assert verdict(nobody, "Answer: Rye.\nQuestion: What?") == "no_question"


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("Intro.\nQuestion: What\nis it?\nAnswer: A mill\nby a river.", ("What is it?", "A mill by a river.")),
        ("Q: 2 + 2?\nA: 4\nQ: 3 + 3?\nA: 6", ("2 + 2?", "4")),
        ("1. **Question:** Who?\n   **Answer:** Ada.", ("Who?", "Ada.")),
        ("Question: Capital?\nA: Paris\nB: Rome\nAnswer: Rome", ("Capital? A: Paris B: Rome", "Rome")),
        ("Q1. Who?\nA1. Ada.\nQ2. Where?\nA2. Ulm.", ("Who?", "Ada.")),
        ("**Question 1.** How long?\n**Answer 1)** a 5.5 km walk", ("How long?", "a 5.5 km walk")),
        ("Q: How long?\nA:\na 5.5 km walk", ("How long?", "a 5.5 km walk")),
    ],
)
def test_the_first_question_and_its_answer_are_found(text: str, pair: tuple[str, str]) -> None:
    assert first_pair(text) == pair


@given(st.text())
def test_whatever_a_text_is_both_parts_of_what_is_found_say_something(text: str) -> None:
    pair = first_pair(f"Q: {text}\nA: {text}")

    assert pair is None or all(part.strip() for part in pair)
    normalised(text)


def test_different_numbers_do_not_agree() -> None:
    assert len({normalised(text) for text in ("4", "14", "-4", ".4", "0.4", "4 kg", "1,200", "1.200")}) == 8
    assert normalised("\u22124") == normalised("**-4.**")


@pytest.mark.parametrize("spoil", [malformed.broken, malformed.spoiled])
def test_no_malformed_answer_raises_and_none_that_cannot_be_read_counts(spoil: Any) -> None:
    for variant in range(malformed.NUMBER):
        found = verdict(lambda request, n, v=variant: make_reply(request, n, spoil(request, n, v)), voters=2)
        assert found == "unjudged" or spoil is malformed.spoiled

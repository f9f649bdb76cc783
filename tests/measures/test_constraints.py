"""Constraints on texts, each met by one text and missed by a near one."""

import json
import time
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gainloop.measures.constraints import AnyConstraint, Constraint, num_sentences, unmet

READ: TypeAdapter[Constraint] = TypeAdapter(AnyConstraint)

ENGLISH = "The mill that stands by the river was built for the miller and his three sons in 1874."
GERMAN = "Die M\u00fchle, die an dem Fluss steht, ist f\u00fcr den M\u00fcller und seine S\u00f6hne gebaut worden."
CORN = {"type": "object", "properties": {"corn": {"enum": ["rye", "oats"]}}, "required": ["corn"]}

CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"kind": "words", "least": 4}, "Rye, oats & corn grow", "Rye, oats & corn"),
    ({"kind": "words", "most": 3}, "Rye-oats corn!", "Rye oats corn bread"),
    ({"kind": "words", "least": 2, "most": 3}, "Rye grows", "Rye"),
    ({"kind": "words", "least": 2, "most": 3}, "Rye grows well", "Rye grows very well"),
    ({"kind": "words", "most": 2}, "\u6210\u5409", "\u6210\u5409\u601d"),
    ({"kind": "sentences", "least": 2}, "Dr. Ada wrote it. It burns", "Dr. Ada wrote it, it burns."),
    ({"kind": "sentences", "most": 1}, "At 3.5 percent, e.g. rye grows.", "Rye grows. Oats too."),
    ({"kind": "bullets", "least": 2, "most": 2}, "Two:\n- rye\n  * oats", "Two:\n- rye\n**oats**"),
    ({"kind": "bullets", "most": 0}, "rye - oats", "- rye"),
    ({"kind": "required", "words": ["Rye", "old mill"]}, "The OLD, mill ground rye.", "The old stone mill ground rye."),
    ({"kind": "required", "words": ["rye"], "times": 2}, "Rye, rye!", "Rye and ryes"),
    ({"kind": "forbidden", "words": ["rye", "old mill"]}, "The millers' ryes are old.", "An old mill"),
    ({"kind": "forbidden", "words": ["rye"]}, "ryegrass", "Rye."),
    ({"kind": "starts", "text": "Rye"}, "\n Rye grows", "rye grows"),
    ({"kind": "ends", "text": "P.S. Rye?"}, "Oats. P.S. Rye? \n", "P.S. Rye? No."),
    ({"kind": "language", "code": "de"}, GERMAN, ENGLISH),
    ({"kind": "lower_case"}, "rye grows, 1874", "rye Grows"),
    ({"kind": "no_comma"}, "rye; oats", "rye, oats"),
    ({"kind": "no_comma"}, "rye", "\u9ea6\uff0c\u9ea6"),
    ({"kind": "json"}, '```json\n[1, "rye"]\n```', 'Sure: [1, "rye"]'),
    ({"kind": "json"}, "7", "NaN"),
    ({"kind": "json", "json_schema": CORN}, '{"corn": "rye"}', '{"corn": "maize"}'),
    ({"kind": "json", "json_schema": CORN}, '{"corn": "oats", "more": 1}', "[]"),
]


@pytest.mark.parametrize(("given", "good", "bad"), CASES, ids=lambda one: one["kind"] if isinstance(one, dict) else "")
def test_a_constraint_is_met_by_what_it_says_and_by_nothing_near(given: dict[str, Any], good: str, bad: str) -> None:
    one = READ.validate_python(given)

    assert one.met(good)
    assert not one.met(bad)
    assert READ.validate_json(json.dumps(one.model_dump(mode="json"))) == one


def test_every_kind_of_constraint_is_shown_and_an_empty_text_meets_none() -> None:
    shown = [READ.validate_python(given) for given, _, _ in CASES]

    assert {one.kind for one in shown} == set(READ.json_schema()["discriminator"]["mapping"])  # type: ignore[attr-defined]
    assert not any(one.met(text) for one in shown for text in ("", " \n", "...", "{}"))


def test_what_is_not_met_is_told_of_each_constraint() -> None:
    constraints = [READ.validate_python({"kind": "no_comma"}), READ.validate_python({"kind": "words", "most": 2})]

    assert unmet(constraints, "rye oats") == ()
    assert unmet(constraints, "rye, oats") == (constraints[0],)
    assert unmet(constraints, "rye, oats, corn") == tuple(constraints)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        ("...", 0),
        ("Rye grows", 1),
        ("Rye grows. Oats grow! Why? \u201cSo.\u201d", 4),
        ("Mr. A. B. Orr came at 3 p.m. on Monday.", 1),
        ("A heading\n\nOne line\nthat goes on. Another one.", 3),
        ("\u9ea6\u3002\u6c57\u3002", 2),
    ],
)
def test_sentences_are_counted_as_a_reader_does(text: str, number: int) -> None:
    assert num_sentences(text) == number


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "words"}, "neither least nor most"),
        ({"kind": "words", "least": 5, "most": 4}, "least must not be above most"),
        ({"kind": "forbidden", "words": ["..."]}, "must have a letter"),
        ({"kind": "starts", "text": " "}, "text is blank"),
        ({"kind": "json", "json_schema": {"type": "grain"}}, "json_schema is none"),
        ({"kind": "json", "json_schema": {"items": {"pattern": "(a+)+$"}}}, "may take for ever"),
        ({"kind": "json", "json_schema": {"$ref": "https://example.com/s.json"}}, "only what is in it"),
        ({"kind": "rhymes"}, "kind"),
    ],
)
def test_a_constraint_that_cannot_be_checked_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        READ.validate_python(given)


def test_a_field_of_json_may_have_the_name_of_a_word_of_schemas() -> None:
    one = READ.validate_python({"kind": "json", "json_schema": {"properties": {"pattern": {"type": "string"}}}})

    assert one.met('{"pattern": "rye"}')
    assert not one.met('{"pattern": 7}')


def test_a_schema_that_refers_to_itself_for_ever_and_a_text_that_is_too_deep_are_not_met() -> None:
    endless = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}

    assert not READ.validate_python({"kind": "json", "json_schema": endless}).met("7")
    assert not READ.validate_python({"kind": "json"}).met("[" * 9000 + "7")


def test_constraints_take_time_in_proportion_to_the_text() -> None:
    constraints = [READ.validate_python(given) for given, _, _ in CASES]
    for run in ("a", "a. ", "- a\n", "\n", "[", "rye "):
        text = f"x{run * (200_000 // len(run))}x"
        begun = time.process_time()
        for one in constraints[6::2]:
            one.met(text)
        assert time.process_time() - begun < 3, run

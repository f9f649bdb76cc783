import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gainloop.filters.fidelity import Fidelity, ask_comparison, read_comparison
from gainloop.filters.filter import sift
from schemas.rows import Drop, Outcome, Record
from tests.methods.playing import ANCHOR, make_reply, shown

RECORD = Record(ANCHOR.anchor_id, "rephrase", "easy", "The mill grinds rye, and wheat.", ("q7", "q8"))


def checked(text: str, finish_reason: str = "stop", **parameters: Any) -> Outcome:
    """Return what is left of a record after a reply of its judge."""
    conversation = sift(ANCHOR, Outcome([RECORD]), [Fidelity(**parameters)], Random(0))
    (request,) = next(conversation)
    with pytest.raises(StopIteration) as end:
        conversation.send([make_reply(request, 9, text, finish_reason)])
    outcome = end.value.value
    assert isinstance(outcome, Outcome)
    return outcome


def found(*verdicts: str, meaning: str = "kept") -> str:
    statements = [{"statement": f"Wheat {n}.", "verdict": verdict} for n, verdict in enumerate(verdicts)]
    return json.dumps({"statements": statements, "meaning": meaning})


def refused(reason: str) -> Outcome:
    return Outcome(drops=[Drop(ANCHOR.anchor_id, "easy", reason, reply) for reply in ("q7", "q8")])


@pytest.mark.parametrize(
    ("verdicts", "most", "kept"),
    [
        ((), 0, True),
        (("supported", "supported"), 0, True),
        (("unsupported",), 0, False),
        (("supported", "contradicted"), 0, False),
        (("unsupported",), 1, True),
        (("unsupported", "contradicted", "supported"), 1, False),
    ],
)
def test_a_record_may_have_so_many_statements_without_support(verdicts: tuple[str, ...], most: int, kept: bool) -> None:
    expected = Outcome([RECORD]) if kept else refused("unfaithful")

    assert checked(found(*verdicts), most_unsupported=most) == expected


def test_a_record_of_another_meaning_is_refused_whatever_its_statements() -> None:
    assert checked(found(meaning="changed"), most_unsupported=20) == refused("unfaithful")


@pytest.mark.parametrize(
    ("text", "finish_reason"),
    [
        ("It is faithful.", "stop"),
        (found(), "length"),
        ('{"statements": [], "meaning": "kept"', "stop"),
        ('{"statements": [], "meaning": true}', "stop"),
        ('{"statements": [{"statement": "", "verdict": "supported"}], "meaning": "kept"}', "stop"),
        ('{"statements": [{"statement": "Wheat.", "verdict": ["supported"]}], "meaning": "kept"}', "stop"),
        ('{"statements": ["Wheat."], "meaning": "kept"}', "stop"),
        ('{"statements": {}, "meaning": "kept"}', "stop"),
        ('{"meaning": "kept"}', "stop"),
    ],
)
def test_a_verdict_that_cannot_be_read_keeps_no_record(text: str, finish_reason: str) -> None:
    assert checked(text, finish_reason) == refused("unjudged")


@settings(max_examples=50)
@given(st.recursive(st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner)))
def test_no_list_of_statements_raises(statements: Any) -> None:
    compared = read_comparison(json.dumps({"statements": statements, "meaning": "kept"}))

    assert compared is None or statements == []


def test_the_judge_sees_source_and_record_and_says_its_likeliest_answer_in_bounds() -> None:
    request = ask_comparison(ANCHOR, RECORD, 4)
    content = request.prompt[-1].content  # type: ignore[union-attr]
    schema = json.loads(str(request.json_schema))["properties"]

    assert request.greedy
    assert request.facet == "fidelity easy"
    assert content.startswith(shown(ANCHOR.text, ANCHOR.title, RECORD.text))
    assert (schema["statements"]["maxItems"], schema["statements"]["items"]["required"]) == (
        4,
        ["statement", "verdict"],
    )

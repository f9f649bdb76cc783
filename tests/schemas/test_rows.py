from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.rows import Anchor, Message, Record, Reply, Request, content_hash, heldout_draw, unit_draw

TEXTS = [f"text {n}" for n in range(4000)]


def test_ids_are_the_same_on_every_machine() -> None:
    request = Request((Message("user", "Once"),), facet="easy", json_schema="{}")

    assert Anchor("The mill grinds rye.").anchor_id == "c0b45e713626be19"
    assert request.prompt_id == "22c19a356760f5a9"
    assert Record("a", "rephrase", "easy", "Rye.", ("q",)).record_id == "013eef03340d3834"


def test_an_anchor_is_named_by_its_text_alone() -> None:
    assert Anchor("Rye.", "Title", "uri", "CC0-1.0", "1").anchor_id == Anchor("Rye.").anchor_id
    assert Anchor("Rye").anchor_id != Anchor("Rye.").anchor_id


def test_a_prompt_is_named_by_what_the_model_reads() -> None:
    request = Request((Message("user", "Once"),), facet="easy", draw=3)

    assert replace(request, facet="hard", draw=4).prompt_id == request.prompt_id
    others = [Request("Once"), Request((Message("system", "Once"),)), replace(request, json_schema="{}")]
    assert len({other.prompt_id for other in [request, *others]}) == 4


def test_a_record_is_named_by_its_replies_and_its_text() -> None:
    record = Record("a", "rephrase", "easy", "Rye.", ("q",))

    assert replace(record, request_ids=("r",)).record_id != record.record_id
    assert replace(record, text="Rye").record_id != record.record_id


def test_about_as_many_anchors_are_held_out_as_asked_and_more_only_adds() -> None:
    ids = [Anchor(text).anchor_id for text in TEXTS]
    few, many = ({name for name in ids if heldout_draw(name) < fraction} for fraction in (0.05, 0.2))

    assert few < many
    assert len(few) / len(ids) == pytest.approx(0.05, abs=0.015)
    assert len(many) / len(ids) == pytest.approx(0.2, abs=0.03)
    assert all(0 <= heldout_draw(name) < 1 for name in ids)


def test_a_reply_stays_as_it_came() -> None:
    reply = Reply("q", "p", "ab", (5, 0), (-1.25, -0.5), "stop", 3, 2, 0.1, "embedded")

    with pytest.raises(FrozenInstanceError):
        reply.text = "other"  # type: ignore[misc]


@given(st.lists(st.text()), st.lists(st.text()))
def test_different_parts_have_different_hashes(one: list[str], other: list[str]) -> None:
    assert (content_hash(*one) == content_hash(*other)) == (one == other)
    assert 0 <= unit_draw(*one) < 1

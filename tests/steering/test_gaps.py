"""Gaps: documents with questions, without, stuck ones, and draws in proportion."""

import pytest

from gainloop.steering.gaps import FLOOR, STUCK, Gap, find_gaps, missing_by_loss, weigh


def test_a_gap_is_read_off_the_loss_where_nobody_asked() -> None:
    known = {"a": 0.1, "b": 0.3, "c": 0.5, "d": 0.7}
    losses = {"a": 1.0, "b": 1.2, "c": 1.4, "d": 1.6, "e": 1.5, "f": 0.1, "g": 9.0}
    found = missing_by_loss(known, losses)
    assert found == {"e": pytest.approx(0.6), "f": 0.0, "g": 1.0}


def test_a_loss_that_says_nothing_gives_the_mean() -> None:
    assert missing_by_loss({"a": 0.2, "b": 0.4}, {"a": 1.0, "b": 2.0, "c": 3.0}) == {"c": pytest.approx(0.3)}
    falls = {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0, "e": 1.5}
    assert missing_by_loss({"a": 0.1, "b": 0.3, "c": 0.5, "d": 0.7}, falls) == {"e": pytest.approx(0.4)}
    assert missing_by_loss({}, {"e": 1.5}) == {"e": 1.0}


def test_a_loss_says_more_of_a_document_with_one_question_than_a_coin_does() -> None:
    rights = {"a": [True], "b": [True], "c": [True], "d": [False], "e": [False], "f": [False], "lucky": [True]}
    losses = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 3.0, "e": 3.0, "f": 3.0, "lucky": 3.0}
    alone = {gap.document_id: gap.missing for gap in find_gaps(rights, {}, list(rights))}
    both = {gap.document_id: gap.missing for gap in find_gaps(rights, losses, list(rights))}
    assert alone["a"] == alone["lucky"] == 0.25
    assert both["a"] < 0.1 < 0.3 < both["lucky"] < 0.5 < 0.8 < both["d"]
    few = find_gaps({"a": [True], "d": [False]}, losses, ["a", "d"])
    assert [gap.missing for gap in few] == [0.25, 0.75], "no line through two documents"


def test_documents_that_had_text_and_did_not_move_get_less() -> None:
    first = find_gaps({"a": [False] * 3, "b": [False] * 3}, {}, ["a", "b"])
    assert [gap.closed for gap in first] == [None, None]
    after = find_gaps({"a": [True, False, False], "b": [False] * 3}, {}, ["a", "b"], first, frozenset("ab"))
    moved, stuck = after
    assert moved.closed == pytest.approx(0.25)
    assert moved.weight == moved.missing
    assert stuck.weight == STUCK * stuck.missing
    untouched = find_gaps({"b": [False] * 3}, {}, ["b"], first)[0]
    assert untouched.weight == untouched.missing, "nothing was made of it: it says nothing on what can be learnt"


def test_every_document_keeps_its_floor() -> None:
    shares = weigh([Gap("known", 0.0, 9), Gap("missing", 1.0, 9), Gap("half", 0.5, 9)])
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["known"] == pytest.approx(FLOOR / 3)
    assert shares["missing"] > shares["half"] > shares["known"]
    assert weigh([Gap("a", 0.0, 9), Gap("b", 0.0, 9)]) == {"a": 0.5, "b": 0.5}
    assert weigh([]) == {}

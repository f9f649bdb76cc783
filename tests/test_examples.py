"""The handbook that is the demo's corpus: its documents and questions are what its README says."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.small_run import ROOT

FOLDER = ROOT / "examples" / "handbook"
FIELDS = {"question", "answer", "accepted", "options", "document", "evidence", "kind"}
KINDS = {"number", "date", "name", "place", "material", "reason", "order"}
SMALL = {"a", "at", "by", "does", "for", "from", "has", "how", "in", "is", "of", "on", "the", "to", "what", "which"}
"""Words that two questions may share without being alike."""


def documents() -> list[Path]:
    return sorted(FOLDER.glob("*.md"))


def questions() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / "questions.jsonl").read_text().splitlines()]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9][a-z0-9.,:]*[a-z0-9]|[a-z0-9]", text.lower())


def holds(text: str, phrase: str) -> bool:
    """Say whether a text holds a phrase as whole words."""
    return f" {' '.join(words(phrase))} " in f" {' '.join(words(text))} "


def test_documents_are_as_long_as_real_ones_and_begin_with_their_title() -> None:
    found = documents()
    assert 14 <= len(found) <= 16
    for path in found:
        text = path.read_text()
        assert re.match(r"# \S.*\n\n\S", text), path.name
        assert 150 <= len(text.split()) <= 300, (path.name, len(text.split()))
    assert len({path.read_text().split("\n")[0] for path in found}) == len(found)


def test_each_question_has_its_evidence_word_for_word_and_its_answer_there() -> None:
    texts = {path.name: path.read_text() for path in documents()}
    for row in questions():
        assert set(row) == FIELDS
        assert row["kind"] in KINDS
        assert row["evidence"] in texts[row["document"]], row["question"]
        assert row["answer"] in row["accepted"]
        assert len(row["accepted"]) == len(set(row["accepted"])), row["question"]
        assert any(holds(row["evidence"], accepted) for accepted in row["accepted"]), row["question"]
        assert 1 <= len(row["answer"].split()) <= 7, row["question"]
        assert not any(holds(row["question"], accepted) for accepted in row["accepted"]), row["question"]


def test_wrong_options_differ_and_none_of_them_is_accepted() -> None:
    for row in questions():
        assert len(row["options"]) == len(set(row["options"])) == 4, row["question"]
        assert set(row["options"]) & set(row["accepted"]) == {row["answer"]}, row["question"]


def test_the_right_option_sticks_out_neither_by_its_place_nor_by_its_length() -> None:
    rows = questions()
    places = Counter(row["options"].index(row["answer"]) for row in rows)
    assert max(places.values()) - min(places.values()) <= 2, places
    lengths = [sorted(map(len, row["options"])) for row in rows]
    alone = Counter[str]()
    for row, (shortest, short, long, longest) in zip(rows, lengths, strict=True):
        alone["longest"] += len(row["answer"]) == longest > long
        alone["shortest"] += len(row["answer"]) == shortest < short
        assert longest <= 2 * shortest + 4, row["options"]
    assert max(alone.values()) <= 0.3 * len(rows), alone


def test_wrong_options_are_often_true_of_something_else_in_the_handbook() -> None:
    text = " ".join(path.read_text() for path in documents())
    wrong = [option for row in questions() for option in row["options"] if option != row["answer"]]
    assert sum(holds(text, option) for option in wrong) >= len(wrong) / 3


def test_no_two_questions_are_alike() -> None:
    kept = [set(words(row["question"])) - SMALL for row in questions()]
    for one, other in combinations(kept, 2):
        assert len(one & other) <= 0.75 * len(one | other), (one, other)


@pytest.mark.parametrize("word", ["this", "these", "document", "passage", "text", "author"])
def test_a_question_can_be_asked_without_its_document(word: str) -> None:
    assert not [row["question"] for row in questions() if holds(row["question"], word)]


def test_questions_are_spread_over_documents_and_kinds_of_answer() -> None:
    rows = questions()
    assert 112 <= len(rows) <= 128
    counts = Counter(row["document"] for row in rows)
    assert set(counts) == {path.name for path in documents()}
    assert {7, 8} >= set(counts.values()), counts
    kinds = Counter(row["kind"] for row in rows)
    assert set(kinds) == KINDS
    assert min(kinds.values()) >= 8, kinds
    assert max(kinds.values()) <= len(rows) / 3, kinds

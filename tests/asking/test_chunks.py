import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gainloop.asking.chunks import (
    cut_anchor,
    estimate_tokens,
    last_tokens,
    needed_tokens,
    split_sentences,
    split_text,
)
from gainloop.asking.structured import object_of, text_of, whole_number
from gainloop.models.start import make_tokenizer
from schemas.rows import Anchor, Drop, Request

texts = st.text() | st.text(alphabet='aB c.\n!"\u3002\u6210\u00e91', max_size=120)
sizes = st.integers(4, 40)


@settings(max_examples=200)
@given(texts, sizes)
@example("1\n \u6210\n\n\u6210\u6210", 5)
def test_chunks_cover_a_text_once_in_order_and_none_is_too_long_or_blank(text: str, max_tokens: int) -> None:
    chunks = split_text(text, max_tokens)

    assert "".join(chunks) == text
    assert all(estimate_tokens(chunk) <= max_tokens for chunk in chunks)
    assert all(chunk.strip() for chunk in chunks) or not text.strip()


@settings(max_examples=100)
@given(texts, sizes)
def test_no_chunk_is_a_small_rest(text: str, max_tokens: int) -> None:
    chunks = split_text(text, max_tokens)

    assert len(chunks) == 1 or min(map(estimate_tokens, chunks)) >= max_tokens / 4 - 3


@given(texts, sizes)
def test_the_last_tokens_are_the_end_of_a_text_and_no_more_than_allowed(text: str, max_tokens: int) -> None:
    end = last_tokens(text, max_tokens)

    assert text.endswith(end)
    assert estimate_tokens(end) <= max_tokens


@given(texts, sizes, st.integers(1, 5))
def test_the_chunks_of_an_anchor_are_its_text_up_to_the_limit_and_the_rest_is_one_drop(
    text: str, chunk_tokens: int, max_chunks: int
) -> None:
    anchor = Anchor(text)
    chunks, drops = cut_anchor(anchor, chunk_tokens, max_chunks)
    used = "".join(chunk.text + chunk.space for chunk in chunks)

    assert 1 <= len(chunks) <= max_chunks
    assert text.startswith(used)
    assert drops == ([] if used == text else [Drop(anchor.anchor_id, "rest of the document", "over_limit")])


@pytest.mark.parametrize(
    ("text", "max_tokens", "chunks"),
    [
        ("One mill. Two mills.\n\nThree. Mill.", 11, ["One mill. Two mills.\n\n", "Three. Mill."]),
        ("One old mill here\nTwo mills. Three new mills", 9, ["One old mill here\nTwo mills. ", "Three new mills"]),
        ("one old mill\none new mill", 5, ["one old mill\n", "one new mill"]),
        ("def f():\n    one\n    two", 10, ["def f():\n", "    one\n    two"]),
        ("one two six ten", 3, ["one two ", "six ten"]),
        ("abcdefghijkl", 3, ["abcdefg", "hijkl"]),
        ("\u78e8\u574a\u3002\u78e8\u574a\u3002", 6, ["\u78e8\u574a\u3002", "\u78e8\u574a\u3002"]),
    ],
)
def test_a_cut_is_at_a_paragraph_or_else_a_sentence_a_line_a_word_a_character(
    text: str, max_tokens: int, chunks: list[str]
) -> None:
    assert split_text(text, max_tokens) == chunks


def test_a_long_document_is_cut_in_time_that_grows_with_its_length() -> None:
    for text in ("The mill grinds rye. " * 5_000, "x" * 100_000, "a" + " " * 100_000 + "b"):
        assert "".join(split_text(text, 300)) == text


def test_tokens_of_english_are_not_underestimated(shared_data: Path) -> None:
    lines = (shared_data / "squad" / "squad_val.jsonl").read_text().splitlines()
    contexts = list(dict.fromkeys(json.loads(line)["context"] for line in lines))
    tokenizer = make_tokenizer(contexts, 16_384)
    chunks = [chunk for context in contexts[:300] for chunk in split_text(context, 300)]
    real = sum(len(ids) for ids in tokenizer(chunks)["input_ids"])
    estimated = sum(map(estimate_tokens, chunks))

    assert 0.5 * estimated < real < estimated
    assert max(len(tokenizer(chunk)["input_ids"]) / estimate_tokens(chunk) for chunk in chunks) < 1


@settings(max_examples=200)
@given(st.text(alphabet='aB c.\n!?"-1\u3002\u6210') | st.text())
def test_sentences_cover_a_text_once_in_order_but_for_blanks(text: str) -> None:
    sentences = split_sentences(text)

    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(one.strip() for one in sentences)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rains. It pours!", ["It rains. ", "It pours!"]),
        ("Mr. A. Dyer paid $4.50 (i.e. much). He left.", ["Mr. A. Dyer paid $4.50 (i.e. much). ", "He left."]),
        ('"It burns!" she said. "So it does."', ['"It burns!" she said. ', '"So it does."']),
        ("Tools:\n- a saw\n- an axe", ["Tools:\n", "- a saw\n", "- an axe"]),
        ("\u9ec4\u6cb3\u3002\u5b83\u6d41\u3002", ["\u9ec4\u6cb3\u3002", "\u5b83\u6d41\u3002"]),
        ("A line\nthat goes on. And ends.", ["A line\nthat goes on. ", "And ends."]),
        (" \n", []),
    ],
)
def test_a_sentence_ends_where_a_reader_would_end_it(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


def test_a_reply_needs_as_many_tokens_as_it_was_asked_for_or_as_its_json_at_its_fullest() -> None:
    schema = object_of(reason=text_of(200), score=whole_number(1, 5))

    assert needed_tokens(Request("x", reply_tokens=70)) == 70
    assert 50 < needed_tokens(Request("x", json_schema=schema)) < 65
    assert needed_tokens(Request("x")) == 0
    assert Request("x", reply_tokens=70) == Request("x"), "it decides no reply"

"""Texts that hold a probe are found, with the place; texts that only look like it are not."""

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainloop.measures.contamination import find_probes
from gainloop.measures.ngrams import hash_texts
from gainloop.measures.words import words
from schemas.curation import Probes

LONG = "In which year did the ship that had brought the bell to the northern harbour burn down near the old mill?"
SHORT = "Who sold the bell to the mayor?"
FILLER = "Nobody in the village spoke of it for many years afterwards."


def found_in(texts: list[str], probes: list[str], **rules: object) -> list[tuple[int, int]]:
    found = find_probes(hash_texts(pl.Series(texts)), hash_texts(pl.Series(probes)), Probes(**rules))  # type: ignore[arg-type]
    return [(row["text"], row["probe"]) for row in found.iter_rows(named=True)]


def beginning(text: str, num_words: int) -> str:
    return " ".join(words(text)[:num_words])


def test_thirteen_words_in_a_row_are_contamination_and_twelve_are_not() -> None:
    texts = [f"{FILLER} {beginning(LONG, number)}. {FILLER}" for number in (12, 13)]
    assert found_in(texts, [LONG], overlap=0) == [(1, 0)]
    assert found_in(texts, [LONG], overlap=0, words_in_a_row=12) == [(0, 0), (1, 0)]


def test_the_share_of_sequences_finds_a_probe_that_was_broken_in_two() -> None:
    found = words(LONG)
    broken = f"{' '.join(found[:12])} so they say {' '.join(found[12:])}"  # of 14 sequences 5 and 2 are left
    assert found_in([broken], [LONG], overlap=0.5) == [(0, 0)]
    assert found_in([broken], [LONG], overlap=0.51) == []
    assert found_in([LONG[::-1]], [LONG]) == []


def test_a_short_probe_is_looked_for_whole_and_one_of_a_few_words_not_at_all() -> None:
    texts = [f"{FILLER} {SHORT}", f"{FILLER} Who sold the bell to the miller?", "The old mill."]
    assert found_in(texts, [SHORT, "The old mill."]) == [(0, 0)]
    assert found_in(texts, [SHORT], least_words=8) == []


def test_case_and_punctuation_do_not_hide_a_probe() -> None:
    assert found_in([SHORT.upper().replace(" ", ", ")], [SHORT]) == [(0, 0)]


def test_a_sequence_never_reaches_from_one_text_or_probe_into_the_next() -> None:
    found = words(LONG)
    halves = [" ".join(found[:10]), " ".join(found[10:])]
    assert found_in(halves, [LONG], overlap=0.9) == []
    assert found_in([LONG], [f"a b c {halves[0][:30]}", f"{halves[1][-30:]} d e f"]) == []


def test_the_place_is_where_the_shared_words_begin() -> None:
    texts = [FILLER, f"{FILLER} {LONG} {FILLER}"]
    (row,) = find_probes(hash_texts(pl.Series(texts)), hash_texts(pl.Series([LONG])), Probes()).iter_rows(named=True)
    assert words(texts[row["text"]])[row["at"] : row["at"] + row["num_words"]] == words(LONG)[:13]


def test_every_pair_is_told_once() -> None:
    texts = [f"{LONG} {SHORT} {LONG}", FILLER, SHORT]
    assert found_in(texts, [SHORT, LONG, SHORT]) == [(0, 0), (0, 1), (0, 2), (2, 0), (2, 2)]


def test_nothing_is_found_where_there_is_nothing() -> None:
    assert found_in([], [LONG]) == found_in([FILLER, ""], []) == found_in([""], ["", LONG]) == []


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=20), min_size=2, max_size=4), st.integers(5, 8))
def test_words_in_a_row_are_what_a_search_word_by_word_finds(drawn: list[list[str]], size: int) -> None:
    probe, *texts = [" ".join(text) for text in drawn]
    asked = words(probe)
    pieces = {tuple(asked[at : at + size]) for at in range(len(asked) - size + 1)} or {tuple(asked)}
    holds = [
        any(tuple(found[at : at + len(piece)]) == piece for piece in pieces for at in range(len(found)))
        for found in map(words, texts)
    ]
    expected = [(row, 0) for row, held in enumerate(holds) if held and len(asked) >= 5]
    assert found_in(texts, [probe], words_in_a_row=size, least_words=5, overlap=0) == expected


@pytest.mark.parametrize("file", ["squad/squad_val.jsonl", "quality/quality.jsonl"])
def test_real_questions_are_found_in_texts_that_quote_them_and_not_in_web_text(shared_data: Path, file: str) -> None:
    rows = [json.loads(line) for line in (shared_data / file).read_text().splitlines()]
    asked = [one for row in rows for item in row["questions"] for one in (item["question"], *item.get("options", ()))]
    long_enough = [question for question in asked if len(words(question)) >= 6]
    web = [json.loads(line)["text"] for line in (shared_data / "c4/c4_demo.jsonl").read_text().splitlines()]
    quoting = [f"{web[row % len(web)][:200]}\n{question}" for row, question in enumerate(long_enough)]
    probes = hash_texts(pl.Series(long_enough))
    assert find_probes(hash_texts(pl.Series(web)), probes, Probes()).is_empty()
    found = find_probes(hash_texts(pl.Series(quoting)), probes, Probes())
    assert set(found["text"]) == set(range(len(quoting)))

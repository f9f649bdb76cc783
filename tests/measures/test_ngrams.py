"""Words as hashes count what words as words count."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gainloop.measures import ngrams
from gainloop.measures.faithfulness import longest_runs, says_wish, take_from_anchors
from gainloop.measures.ngrams import (
    HashSet,
    copied_share,
    count_distinct,
    distinct,
    hash_texts,
    in_any,
    marked_words,
    mix,
    repeated_words,
)
from gainloop.measures.words import words

ANCHOR = "The harbour was rebuilt in 1874 after the great storm, and its two piers still carry lamps to this day."
OWN = np.zeros(1, dtype=np.int64)
TEXTS = st.lists(st.one_of(st.text(max_size=40), st.text("ab ", max_size=120)), min_size=1, max_size=12)


def grams(text: str, size: int) -> list[tuple[str, ...]]:
    found = words(text)
    return [tuple(found[at : at + size]) for at in range(len(found) - size + 1)]


def num_covered(marks: list[bool], size: int) -> int:
    """Return how many words lie in an n-gram that is marked, word by word."""
    return len({at + step for at, mark in enumerate(marks) if mark for step in range(size)})


def repeated_share(text: str) -> float:
    hashed = hash_texts([text])
    return float(repeated_words(hashed, 5)[0] / max(1, len(hashed.words)))


def longest_copy(text: str, anchor: str) -> int:
    return int(longest_runs(hash_texts([text]), hash_texts([anchor]), OWN, OWN == 0)[0])


@settings(max_examples=40)
@given(TEXTS)
def test_every_text_has_its_words_in_order(texts: list[str]) -> None:
    hashed = hash_texts(pl.Series(texts))
    assert hashed.lengths.tolist() == [len(words(text)) for text in texts]
    names: dict[int, str] = {}
    flat = [word for text in texts for word in words(text)]
    assert all(names.setdefault(int(one), word) == word for one, word in zip(hashed.words, flat, strict=True))
    assert len(names) == len(set(flat))


@settings(max_examples=40)
@given(TEXTS)
def test_repetition_is_that_of_each_text_alone(texts: list[str]) -> None:
    hashed = hash_texts(pl.Series(texts))
    repeated = [[gram in all_of[:at] for at, gram in enumerate(all_of)] for all_of in (grams(one, 5) for one in texts)]
    assert repeated_words(hashed, 5).tolist() == [num_covered(marks, 5) for marks in repeated]


@settings(max_examples=40)
@given(TEXTS, TEXTS)
def test_what_is_taken_is_that_of_each_text_beside_its_anchor(texts: list[str], anchors: list[str]) -> None:
    own = np.arange(len(texts)) % len(anchors)
    taken = take_from_anchors(hash_texts(pl.Series(texts)), hash_texts(pl.Series(anchors)), own)
    pairs = list(zip(texts, [anchors[number] for number in own], strict=True))
    copied = [[gram in grams(anchor, 8) for gram in grams(text, 8)] for text, anchor in pairs]
    assert taken.own.tolist() == [num_covered(marks, 8) for marks in copied]
    lengths = [max(1, len(words(text))) for text in texts]
    assert (taken.own / lengths).tolist() == [copied_share(*pair) for pair in pairs]
    runs = [longest_copy(*pair) for pair in pairs]
    assert taken.longest.tolist() == [run if run >= 8 else 0 for run in runs]
    assert (taken.any >= taken.own).all()


def test_a_hash_is_the_same_on_every_machine() -> None:
    assert hash_texts(pl.Series(["The lamp"])).words.tolist() == [3331141520948189790, 7711560049442028586]


def test_texts_that_are_taken_keep_their_words() -> None:
    hashed = hash_texts(pl.Series(["a b", "", "c", "d e f"]))
    taken = hashed.take(np.array([3, 1, 0]))
    assert taken.lengths.tolist() == [3, 0, 2]
    assert taken.words.tolist() == [*hashed.words_of(3), *hashed.words_of(0)]


def test_a_null_text_has_no_words_and_no_text_is_no_trouble() -> None:
    assert hash_texts(pl.Series([None, "a"], dtype=pl.String)).lengths.tolist() == [0, 1]
    empty = hash_texts(pl.Series([], dtype=pl.String))
    assert (len(empty), empty.words.size, repeated_words(empty, 5).size) == (0, 0, 0)


def test_a_set_holds_what_it_was_given_and_nothing_else() -> None:
    hashes = mix(np.arange(10_000, dtype=np.uint64))
    known = HashSet(hashes[:5000])
    assert known.holds(hashes).tolist() == [True] * 5000 + [False] * 5000
    assert not HashSet(hashes[:0]).holds(hashes).any()
    assert len(distinct(np.concatenate([hashes, hashes]))) == 10_000


@pytest.mark.parametrize("num_hashes", [1, 1000, 3_000_000])
def test_a_set_of_any_size_answers_as_a_sorted_array_does(num_hashes: int) -> None:
    hashes = mix(np.arange(2 * num_hashes, dtype=np.uint64))
    asked = np.random.default_rng(0).permutation(hashes)
    assert (HashSet(hashes[:num_hashes]).holds(asked) == np.isin(asked, hashes[:num_hashes])).all()


@settings(max_examples=40)
@given(TEXTS, TEXTS)
def test_what_stands_in_any_text_is_found_whole_and_in_parts(texts: list[str], others: list[str]) -> None:
    hashed, known = (hash_texts(pl.Series(some)) for some in (texts, others))
    every = {gram for other in others for gram in grams(other, 2)}
    stands = [[gram in every for gram in grams(text, 2)] for text in texts]
    different = len({gram for text in texts for gram in grams(text, 2)})
    total = sum(len(grams(text, 2)) for text in texts)
    for at_once in (ngrams.GRAMS_AT_ONCE, 1, 3):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ngrams, "GRAMS_AT_ONCE", at_once)
            marks = in_any(hashed, known, 2)
            assert marked_words(hashed, 2, marks).tolist() == [num_covered(one, 2) for one in stands]
            assert count_distinct(hashed, 2) == (different, total)
            first = np.arange(len(texts)) < 1
            assert count_distinct(hashed, 2, first) == (len(set(grams(texts[0], 2))), len(grams(texts[0], 2)))


def test_a_text_without_a_word_repeats_and_copies_nothing() -> None:
    for text in ("", " \n", "--- ***"):
        assert repeated_share(text) == copied_share(text, ANCHOR) == longest_copy(text, ANCHOR) == 0


def test_the_longest_copy_of_long_texts_takes_no_square_of_time() -> None:
    looping = "so it went on and " * 20_000
    assert longest_copy(looping, looping) == 100_000


def test_repetition_counts_second_and_later_times_only() -> None:
    sentence = "the lamp is lit at dusk by the keeper"
    assert repeated_share(sentence) == 0
    assert repeated_share(f"{sentence} {sentence}") == 0.5
    assert repeated_share(" ".join([sentence] * 10)) == 0.9


def test_a_copy_is_whole_and_a_retelling_is_not() -> None:
    retold = "After the great storm the town built the harbour anew; lamps burn on both piers even now."
    assert copied_share(ANCHOR.upper(), ANCHOR) == 1
    assert copied_share(retold, ANCHOR) == 0
    assert longest_copy(ANCHOR, ANCHOR) == len(words(ANCHOR))
    assert longest_copy(retold, ANCHOR) == 4  # after the great storm


def test_a_copied_run_ends_at_whole_words() -> None:
    assert longest_copy("the pierstill", "the piers still") == 1


def test_copying_is_found_in_texts_without_spaces() -> None:
    anchor = "成吉思汗于一二〇六年建立大蒙古国并统一各部"
    assert copied_share(anchor, anchor) == 1
    assert longest_copy("建立大蒙古国", anchor) == 6


def test_a_wish_that_the_anchor_says_itself_is_no_leak() -> None:
    wish = "Retell the text for a small child, briefly."
    texts = hash_texts([f"Rye. {wish}"] * 3 + ["Retell the text for a small child."])
    anchors = hash_texts([f"He said: {wish}", ANCHOR])
    assert says_wish(texts, anchors, np.array([0, 1, -1, 1]), (wish,)).tolist() == [False, True, True, False]
    assert not says_wish(texts, anchors, np.array([0, 1, -1, 1]), ()).any()


def test_hardly_a_passage_of_real_prose_repeats_itself(shared_data: Path) -> None:
    passages = [json.loads(line)["context"] for line in (shared_data / "squad/squad_val.jsonl").open()][:300]
    assert sum(repeated_share(text) > 0.15 for text in passages) <= 3

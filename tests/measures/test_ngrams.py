"""Words as hashes count what words as words count."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gainloop.measures.faithfulness import take_from_anchors
from gainloop.measures.ngrams import HashSet, distinct, hash_texts, mix, repeated_words
from gainloop.measures.words import copied_share, longest_copy, repeated_share, words

TEXTS = st.lists(st.one_of(st.text(max_size=40), st.text("ab ", max_size=120)), min_size=1, max_size=12)


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
    shares = repeated_words(hashed, 5) / np.maximum(hashed.lengths, 1)
    assert shares.tolist() == pytest.approx([repeated_share(text) for text in texts])


@settings(max_examples=40)
@given(TEXTS, TEXTS)
def test_what_is_taken_is_that_of_each_text_beside_its_anchor(texts: list[str], anchors: list[str]) -> None:
    own = np.arange(len(texts)) % len(anchors)
    taken = take_from_anchors(hash_texts(pl.Series(texts)), hash_texts(pl.Series(anchors)), own)
    lengths = [max(1, len(words(text))) for text in texts]
    pairs = list(zip(texts, [anchors[number] for number in own], strict=True))
    assert (taken.own / lengths).tolist() == pytest.approx([copied_share(*pair) for pair in pairs])
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

"""Near duplicates that were planted are found, and what is found is one."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from tasks.measures.duplication import jaccard, near_duplicates, signatures_of
from tasks.measures.hashed import HashedTexts, hash_texts
from tasks.measures.text import words


def prose(seed: int, number: int, num_words: int = 120) -> list[list[str]]:
    drawn = np.random.default_rng(seed).zipf(1.3, (number, num_words)) % 5000
    return [[f"w{one}" for one in row] for row in drawn]


def read(texts: list[list[str]]) -> HashedTexts:
    return hash_texts(pl.Series([" ".join(text) for text in texts], dtype=pl.String))


def found_in(texts: HashedTexts) -> np.ndarray:
    return near_duplicates(texts, signatures_of(texts), np.arange(len(texts)))


def shingles(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[at : at + 5]) for at in range(len(found) - 4)}


def true_jaccard(first: str, second: str) -> float:
    ours, theirs = shingles(first), shingles(second)
    return len(ours & theirs) / len(ours | theirs)


def test_of_planted_pairs_just_above_the_threshold_hardly_one_is_missed() -> None:
    texts = prose(0, 1500)
    copies = [[*text[:60], "changed", *text[61:]] for text in texts]  # 5 of 116 sequences: Jaccard near 0.92
    copies[:500] = [[*text[:40], "one", *text[41:80], "two", *text[81:]] for text in texts[:500]]  # near 0.84
    together = read(texts + copies)
    similar = jaccard(together, np.arange(1500), np.arange(1500, 3000)) >= 0.8
    found = found_in(together)
    assert similar.sum() > 1450
    assert not found[:1500].any()
    assert found[1500:][similar].mean() > 0.995
    assert not found[1500:][~similar].any()


def test_similarity_is_that_of_the_sets_of_five_words() -> None:
    texts = [" ".join(text) for text in prose(1, 30)]
    texts += [f"{text} {other}" for text, other in pairwise(texts)]
    texts += ["too short", "", "one two three four five"]
    hashed = hash_texts(pl.Series(texts))
    first, second = np.arange(29), np.arange(30, 59)
    exact = [true_jaccard(texts[one], texts[other]) for one, other in zip(first, second, strict=True)]
    assert jaccard(hashed, first, second).tolist() == pytest.approx(exact)


def test_pairs_that_are_only_alike_are_not_duplicates() -> None:
    texts = prose(2, 300)
    half = [[*text[:60], *other[60:]] for text, other in pairwise(texts)]
    assert not found_in(read(texts + half)).any()


def test_a_batch_of_one_text_over_and_over_has_one_original() -> None:
    found = found_in(read(prose(3, 1) * 3000))
    assert found.tolist() == [False] + [True] * 2999


def test_earlier_is_what_the_rows_say_and_others_do_not_count() -> None:
    texts = read(prose(4, 2) + prose(4, 2))
    signatures = signatures_of(texts)
    assert near_duplicates(texts, signatures, np.array([2, 0, 1])).tolist() == [False, True, False]


def test_short_and_empty_texts_are_never_duplicates() -> None:
    assert not found_in(read([[], [], ["a", "b"], ["a", "b"]])).any()
    assert found_in(read([])).size == 0

"""Whether texts have to do with their own anchors, on texts made to and not to."""

import numpy as np
import polars as pl
import pytest

from gainloop.measures import faithfulness
from gainloop.measures.faithfulness import no_closer_than_another
from gainloop.measures.ngrams import HashedTexts, hash_texts


def about(rng: np.random.Generator, topics: np.ndarray) -> HashedTexts:
    """Return texts of 40 common words, and 10 of 30 of their own topic."""
    common = rng.integers(0, 50, (len(topics), 40))
    own = topics[:, None] * 30 + rng.integers(0, 30, (len(topics), 10))
    rows = [[*(f"c{one}" for one in a), *(f"t{one}" for one in b)] for a, b in zip(common, own, strict=True)]
    return hash_texts(pl.Series([" ".join(row) for row in rows]))


def test_records_about_their_anchor_are_closer_to_it_and_others_as_often_not() -> None:
    rng = np.random.default_rng(0)
    own = np.repeat(np.arange(200), 5)
    anchors, names = about(rng, np.arange(200)), [f"r{row}" for row in range(1000)]
    assert no_closer_than_another(about(rng, own), anchors, own, names).mean() < 0.03
    assert no_closer_than_another(about(rng, own[::-1]), anchors, own, names).mean() == pytest.approx(0.5, abs=0.06)


def test_anchors_of_too_many_words_to_hold_are_weighed_as_often_as_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    own = rng.integers(-1, 60, 700)
    texts, anchors, names = about(rng, own), about(rng, np.arange(60)), [f"r{row}" for row in range(700)]
    held = no_closer_than_another(texts, anchors, own, names)
    monkeypatch.setattr(faithfulness, "HELD_WORDS", 0)
    assert np.array_equal(held, no_closer_than_another(texts, anchors, own, names), equal_nan=True)
    assert np.isnan(held).sum() == (own < 0).sum()


def test_a_text_that_shares_no_word_with_any_anchor_is_as_close_to_both() -> None:
    anchors = hash_texts(pl.Series(["a b", "c d"]))
    found = no_closer_than_another(hash_texts(pl.Series(["x y", "a b", ""])), anchors, np.array([0, 0, 0]), list("pqr"))
    assert found[:2].tolist() == [0.5, 0]
    assert np.isnan(found[2])


def test_the_anchors_stay_as_they_were_for_the_next_measure() -> None:
    anchors = hash_texts(pl.Series(["a a b", "c d d d"]))
    no_closer_than_another(anchors, anchors, np.array([0, 1]), list("pq"))
    assert anchors.starts.tolist() == [0, 3, 7]


def test_a_text_without_an_anchor_says_nothing_and_one_anchor_is_too_few() -> None:
    texts = hash_texts(pl.Series(["a b"]))
    assert np.isnan(no_closer_than_another(texts, hash_texts(pl.Series(["a", "b"])), np.array([-1]), ["p"])).all()
    assert no_closer_than_another(texts, hash_texts(pl.Series(["", ""])), np.array([0]), ["p"]).tolist() == [0.5]
    with pytest.raises(ValueError, match="there are 1 anchors; at least 2"):
        no_closer_than_another(texts, texts, np.array([0]), ["p"])

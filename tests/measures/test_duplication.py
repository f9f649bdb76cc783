"""Near duplicates that were planted are found, and what is found is one."""

from itertools import combinations, pairwise
from random import Random

import numpy as np
import polars as pl
import pytest

from gainloop.measures.duplication import (
    CROWD,
    Neighbours,
    Screen,
    candidates,
    confirm,
    jaccard,
    near_duplicates,
    repeats,
    sketch,
)
from gainloop.measures.ngrams import HashedTexts, hash_texts
from gainloop.measures.words import words
from gainloop.models.pairing import Shingles

Text = list[str]


def prose(seed: int, number: int, num_words: int = 120) -> list[Text]:
    drawn = np.random.default_rng(seed).zipf(1.3, (number, num_words)) % 5000
    return [[f"w{one}" for one in row] for row in drawn]


def read(texts: list[Text]) -> HashedTexts:
    return hash_texts(pl.Series([" ".join(text) for text in texts], dtype=pl.String))


def found_in(texts: HashedTexts) -> np.ndarray:
    return near_duplicates(Screen(texts), np.ones(len(texts), dtype=bool))


def edited(text: Text, num_words: int, rng: Random) -> Text:
    """Return a text with so many of its words, anywhere, replaced, cut out or doubled."""
    changed = list(text)
    for place in rng.sample(range(len(text)), num_words):
        changed[place] = rng.choice(["", f"new{rng.random()}", f"{changed[place]} {changed[place]}"])
    return " ".join(changed).split()


def shingles(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[at : at + 5]) for at in range(len(found) - 4)}


def true_jaccard(first: str, second: str) -> float:
    ours, theirs = shingles(first), shingles(second)
    return len(ours & theirs) / len(ours | theirs)


@pytest.mark.parametrize("num_edits", [0, 1, 2, 4])
def test_every_planted_copy_above_the_threshold_is_found_and_none_below(num_edits: int) -> None:
    rng, texts = Random(num_edits), prose(0, 500, num_words=200)
    together = read(texts + [edited(text, num_edits, rng) for text in texts])
    similar = jaccard(together, np.arange(500), np.arange(500, 1000)) >= 0.8
    found = found_in(together)
    assert similar.sum() > 150
    assert not found[:500].any()
    assert found[500:].tolist() == similar.tolist()


@pytest.mark.parametrize("least", [0.5, 0.65, 0.8, 0.95])
def test_hardly_a_pair_just_above_another_threshold_is_missed(least: float) -> None:
    texts, rng = prose(1, 600, num_words=200), Random(0)
    together = read(texts + [edited(text, rng.randint(1, 24), rng) for text in texts])
    similar = jaccard(together, np.arange(600), np.arange(600, 1200))
    near = (similar >= least) & (similar < least + 0.05)
    found = repeats(Screen(together, least=least))
    assert near.sum() > 20
    assert sum(600 + row in found for row in np.flatnonzero(near)) >= near.sum() - 1
    assert all(similarity >= least for _, similarity in found.values())


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


def test_of_a_cluster_one_stays_and_of_those_that_stay_no_two_are_alike() -> None:
    rng = Random(0)
    texts = [edited(text, rng.randint(0, 2), rng) for text in prose(4, 30, num_words=300) for _ in range(8)]
    rng.shuffle(texts)
    hashed = read(texts)
    found = repeats(Screen(hashed))
    stay = [row for row in range(len(texts)) if row not in found]
    first, second = map(np.array, zip(*combinations(stay, 2), strict=True))
    assert jaccard(hashed, first, second).max() < 0.8
    assert all(other in stay and other < row for row, (other, _) in found.items())
    assert len(stay) == 30


def test_earlier_is_what_the_rows_say_and_others_do_not_count() -> None:
    texts = read(prose(4, 2) + prose(4, 2))
    assert near_duplicates(Screen(texts, np.array([2, 0, 1])), np.ones(4, dtype=bool)).tolist() == [True] + [False] * 3
    among = np.array([True, False, True, True])
    assert near_duplicates(Screen(texts), among).tolist() == [False, False, True, False]


def test_among_others_the_most_similar_is_named() -> None:
    text, rng = prose(5, 1)[0], Random(0)
    others = read([edited(text, 2, rng), *prose(6, 20), edited(text, 1, rng)])
    texts, sketches = read([text]), sketch(others)
    asked = candidates(Screen(texts).near(sketches), sketches)
    (match,) = confirm(texts, others, asked, 0.8).values()
    assert match[0] == 21
    assert match[1] == pytest.approx(jaccard(texts, np.array([0]), np.array([21]), others)[0])


def test_in_a_crowd_of_texts_that_are_only_alike_copies_of_the_first_are_still_found() -> None:
    rng = Random(0)
    crowd = [edited(prose(7, 1)[0], 10, rng) for _ in range(2 * CROWD)]
    found = found_in(read(crowd + crowd[:50]))
    assert not found[: 2 * CROWD].any()
    assert found[2 * CROWD :].all()


def test_a_screen_leaves_out_none_that_an_index_of_all_would_find() -> None:
    rng, texts = Random(8), prose(8, 400)
    hashed = read([*texts, *(edited(text, rng.randint(0, 20), rng) for text in texts[:200]), ["short"], []])
    sketches, others = sketch(hashed), read([edited(text, rng.randint(0, 20), rng) for text in texts[200:300]])
    whole, known = Neighbours(0.8), sketch(others)
    for row in range(600):
        whole.add(row, sketches[row])
    screen = Screen(hashed)
    assert candidates(screen.near(known), known) == candidates(whole, known)
    assert len(candidates(whole, known)) > 30
    alike = {row for row in range(600) if len(whole.likely(sketches[row])[0]) > 1}
    shown = dict(screen.alike())
    assert alike <= set(shown)
    assert len(shown) < 450, "most texts are in no index at all"
    met = {number for near in candidates(whole, known).values() for number in near}
    assert met <= set(np.flatnonzero(screen.meet(known)).tolist())
    assert all(shown[row].jaccard(sketches[row]) == 1 for row in shown)


def test_short_and_empty_texts_are_never_duplicates() -> None:
    assert not found_in(read([[], [], ["a", "b"], ["a", "b"]])).any()
    assert found_in(read([])).size == 0


def test_both_ways_to_compare_two_texts_agree_but_for_texts_of_fewer_than_five_words() -> None:
    rng = Random(0)
    texts = [" ".join(rng.choices("abc", k=rng.randint(5, 40))) for _ in range(30)]
    first, second = np.array(list(combinations(range(30), 2))).T

    assert np.array_equal(Shingles(texts).overlaps(first, second), jaccard(hash_texts(pl.Series(texts)), first, second))
    one, other, short = np.array([0]), np.array([1]), ["a b c"] * 2
    assert Shingles(short).overlaps(one, other) == 1
    assert jaccard(hash_texts(pl.Series(short)), one, other) == 0

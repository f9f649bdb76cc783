import faiss
import numpy as np
import polars as pl
import pytest

from gainloop.measures.duplication import jaccard
from gainloop.measures.ngrams import hash_texts
from gainloop.models import pairing
from gainloop.models.pairing import Found, Neighbours, Pairing, Rows, Shingles, Vectors, recall_of, related_pairs
from gainloop.serving.embeddings import embed

MILL = "The water mill at the river bend ground rye for the bakers of seven towns until the great flood."
COPY = MILL.replace("seven", "eight")
BAKERS = "Bakers of the towns carried their rye to the mill by the river, and paid the miller in loaves."
SHIPS = "A lighthouse keeper counts passing ships at night and writes each one down in a leather book."
STARS = "Astronomers measured how far distant stars are from parallax between January and July."
TEXTS = [MILL, COPY, BAKERS, SHIPS, STARS]

Pairs = set[tuple[int, int]]


def pair(texts: list[str] = TEXTS, similarity: float = 0.2, overlap: float = 0.3, partners: int = 4) -> Pairing:
    return related_pairs(texts, embed(texts), similarity, overlap, partners)


def pairs(*asked: object, **named: float) -> Pairs:
    found = as_tuples(pair(*asked, **named).pairs)  # type: ignore[arg-type]
    assert len(found) == len(set(found))
    return set(found)


def as_tuples(rows: Rows) -> list[tuple[int, int]]:
    return [(int(first), int(second)) for first, second in rows]


def unit(vectors: Vectors) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(num_rows: int, seed: int = 0) -> Vectors:
    """Return unit vectors of 32 dimensions around 60 points of an eight-dimensional plane."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((60, 8))
    on_plane = centres[rng.integers(0, 60, num_rows)] + 0.5 * rng.standard_normal((num_rows, 8))
    return unit(on_plane @ rng.standard_normal((8, 32)) + 0.2 * rng.standard_normal((num_rows, 32)))


def whole(found: Neighbours) -> Found:
    """Return all blocks as one, in row order."""
    blocks = list(found.blocks())
    order = np.argsort(np.concatenate([block.rows for block in blocks]))
    similarities = np.concatenate([block.similarities for block in blocks])[order]
    return Found(np.arange(len(order)), similarities, np.concatenate([block.others for block in blocks])[order])


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are used where search would be exact for so few rows."""
    monkeypatch.setattr(pairing, "EXACT_ROWS", 1000)
    monkeypatch.setattr(pairing, "MOST_PROBED", 1 / 4)


def test_related_texts_pair_both_ways_and_others_do_not() -> None:
    assert pairs() == {(0, 2), (2, 0), (1, 2), (2, 1)}


def test_near_duplicates_do_not_pair_unless_they_may() -> None:
    assert pairs(overlap=1.0) == pairs() | {(0, 1), (1, 0)}


def test_no_text_pairs_with_itself_or_its_copies() -> None:
    assert pairs([MILL, MILL, MILL], overlap=0.99) == set()
    assert pairs([MILL, MILL], overlap=1.0) == {(0, 1), (1, 0)}


@pytest.mark.parametrize("texts", [[], [MILL]])
def test_a_single_text_and_no_text_have_no_pair(texts: list[str]) -> None:
    found = pair(texts)

    assert found.pairs.shape == (0, 2)
    assert found.counts["candidates"] == 0


def test_the_nearest_partners_come_first_and_no_more_than_allowed() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0.96, 0.28], [0, 1]], np.float32)
    texts = [f"text number {n} is not like any other" for n in range(4)]

    assert as_tuples(related_pairs(texts, vectors, 0.5, 1.0, 2).pairs)[:2] == [(0, 2), (0, 1)]
    assert as_tuples(related_pairs(texts, vectors, 0.5, 1.0, 1).pairs)[:2] == [(0, 2), (1, 2)]


def test_a_similarity_at_the_threshold_is_enough_and_equal_ones_go_by_text() -> None:
    vectors = np.array([[1, 0], [0.6, 0.8], [0.6, -0.8], [0.6, 0.8]], np.float32)
    texts = [f"text number {n} is not like any other" for n in range(4)]

    assert as_tuples(related_pairs(texts, vectors, 0.6, 1.0, 4).pairs)[:3] == [(0, 1), (0, 2), (0, 3)]
    assert 0 not in related_pairs(texts, vectors, 0.601, 1.0, 4).pairs


def test_every_candidate_is_counted_once() -> None:
    found = pair(partners=1)
    counts = found.counts

    assert counts["texts"] == len(TEXTS)
    assert counts["candidates"] == len(TEXTS) * 4
    assert counts["near_duplicates"] == 2
    assert counts["surplus"] == 1  # BAKERS is like the mill and like its copy
    assert counts["pairs"] == counts["paired_texts"] == 3
    parts = ("below_threshold", "near_duplicates", "surplus", "pairs")
    assert sum(counts[name] for name in parts) == counts["candidates"]
    assert str(found).startswith("3 pairs of 3 of 5 texts (exact search); of 20 candidates 14 were not similar enough")


def test_a_text_whose_candidates_are_all_copies_is_counted_as_exhausted() -> None:
    copies = [f"{MILL} Copy {n}." for n in range(30)]
    vectors = np.ones((31, 1), np.float32)
    found = related_pairs([*copies, STARS], vectors, 0.5, 0.5, 2)

    # The first eight texts are the candidates of all others: ties go by text, and those have the same wording.
    assert found.counts["exhausted_texts"] == 30
    assert set(found.pairs[:, 0].tolist()) == {30}
    assert pair(copies[:3]).counts["exhausted_texts"] == 0  # there was nobody else


def test_blocks_change_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{text} {n}" for n in range(6) for text in TEXTS]
    once = pairs(texts)
    monkeypatch.setattr("gainloop.models.pairing.BLOCK_ROWS", 7)
    monkeypatch.setattr("gainloop.models.pairing.TEXTS_AT_ONCE", 4)
    monkeypatch.setattr("gainloop.models.pairing.PAIRS_AT_ONCE", 5)

    assert pairs(texts) == once


def test_the_order_of_texts_changes_no_pair() -> None:
    vectors = clustered(300)
    texts = [f"text number {n} is not like any other" for n in range(300)]
    order = np.random.default_rng(1).permutation(300)
    straight = related_pairs(texts, vectors, 0.5, 0.5, 4).pairs
    mixed = related_pairs([texts[at] for at in order], vectors[order], 0.5, 0.5, 4).pairs

    assert set(as_tuples(order[mixed])) == set(as_tuples(straight))


def test_exact_neighbours_are_those_of_a_sort() -> None:
    vectors = clustered(500)
    similarities = vectors.astype(float) @ vectors.T
    np.fill_diagonal(similarities, -3)
    found = whole(Neighbours(vectors, 6))

    assert np.array_equal(found.others, np.argsort(-similarities, kind="stable")[:, :6])
    assert found.similarities == pytest.approx(np.sort(similarities)[:, :-7:-1], abs=1e-5)


@pytest.mark.usefixtures("lists")
def test_lists_find_what_exact_search_finds_and_say_how_much_of_it() -> None:
    vectors = clustered(2000)
    found = Neighbours(vectors, 10)
    assert found.kind == "lists"
    assert found.recall.low is not None
    assert found.recall.high is not None
    assert found.recall.low >= 0.95
    assert found.recall.n == 400

    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -3)
    truth = Found(np.arange(2000), similarities, np.argsort(-similarities, kind="stable")[:, :10])
    over_all = recall_of(whole(found), truth).value
    assert over_all is not None
    assert found.recall.low - 0.01 <= over_all <= found.recall.high + 0.01


@pytest.mark.usefixtures("lists")
def test_vectors_without_clusters_are_searched_exactly() -> None:
    found = Neighbours(unit(np.random.default_rng(0).standard_normal((2000, 64)).astype(np.float32)), 10)

    assert (found.kind, found.num_probes, found.recall.value) == ("exact", 0, None)
    assert found.recall.status == "not measured: search is exact, as lists find too few"


@pytest.mark.usefixtures("lists")
def test_neither_threads_nor_blocks_change_what_lists_find(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(2000)
    vectors[1500:1600] = vectors[:100]  # copies, and what is nearly one: ties where lists end
    vectors[1600:1650] = unit(vectors[:50] + np.float32(1e-6))
    once = whole(Neighbours(vectors, 10))
    threads = faiss.omp_get_max_threads()
    try:
        for number in (1, 3):
            faiss.omp_set_num_threads(number)
            monkeypatch.setattr(pairing, "BLOCK_ROWS", 700 * number)
            again = whole(Neighbours(vectors, 10))
            assert np.array_equal(again.others, once.others)
            assert np.array_equal(again.similarities, once.similarities)
    finally:
        faiss.omp_set_num_threads(threads)


@pytest.mark.usefixtures("lists")
def test_pairs_through_lists_are_ordered_by_first_text() -> None:
    texts = [f"text number {n} is not like any other" for n in range(1500)]
    found = related_pairs(texts, clustered(1500), 0.5, 0.5, 3).pairs

    assert np.array_equal(found[:, 0], np.sort(found[:, 0]))
    assert np.bincount(found[:, 0]).max() == 3


def test_overlap_is_the_jaccard_similarity_of_word_5_grams() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["a", "b", "c"], rng.integers(5, 60))) for _ in range(60)]
    first, second = rng.integers(0, 60, (2, 400))

    expected = jaccard(hash_texts(pl.Series(texts)), first, second)
    assert Shingles(texts).overlaps(first, second) == pytest.approx(expected)


def test_a_short_text_is_one_shingle_and_a_text_without_words_has_none() -> None:
    texts = ["Buy now!", "buy NOW", "buy", "", "?!", "buy now while it lasts"]
    asked = np.array([[0, 1], [0, 2], [3, 4], [0, 5], [5, 5]])

    assert Shingles(texts).overlaps(asked[:, 0], asked[:, 1]).tolist() == [1, 0, 0, 0, 1]

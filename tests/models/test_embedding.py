import numpy as np
import pytest

from schemas.errors import BadInput
from tasks.models.embedding import embed, related_pairs

MILL = "The water mill at the river bend ground rye for the bakers of seven towns until the great flood."
COPY = MILL.replace("seven", "eight")
BAKERS = "Bakers of the towns carried their rye to the mill by the river, and paid the miller in loaves."
SHIPS = "A lighthouse keeper counts passing ships at night and writes each one down in a leather book."
STARS = "Astronomers measured how far distant stars are from parallax between January and July."
TEXTS = [MILL, COPY, BAKERS, SHIPS, STARS]


def pairs(
    texts: list[str] = TEXTS, similarity: float = 0.2, overlap: float = 0.3, partners: int = 4
) -> set[tuple[int, int]]:
    found = related_pairs(texts, embed(texts), similarity, overlap, partners)
    assert len(found) == len(set(found))
    return set(found)


def test_related_texts_pair_both_ways_and_others_do_not() -> None:
    assert pairs() == {(0, 2), (2, 0), (1, 2), (2, 1)}


def test_near_duplicates_do_not_pair_unless_they_may() -> None:
    assert pairs(overlap=1.0) == pairs() | {(0, 1), (1, 0)}


def test_no_text_pairs_with_itself_or_its_copies() -> None:
    assert pairs([MILL, MILL, MILL], overlap=0.99) == set()
    assert pairs([MILL, MILL], overlap=1.0) == {(0, 1), (1, 0)}


def test_the_nearest_partners_come_first_and_no_more_than_allowed() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0.96, 0.28], [0, 1]], np.float32)
    texts = [f"text number {n} is not like any other" for n in range(4)]

    assert related_pairs(texts, vectors, 0.5, 1.0, 2)[:2] == [(0, 2), (0, 1)]
    assert related_pairs(texts, vectors, 0.5, 1.0, 1)[:2] == [(0, 2), (1, 2)]


def test_vectors_have_length_one_and_are_the_same_every_time() -> None:
    vectors = embed(TEXTS)

    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(vectors, embed(TEXTS))


def test_blocks_change_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{text} {n}" for n in range(6) for text in TEXTS]
    whole = pairs(texts)
    monkeypatch.setattr("tasks.models.embedding.BLOCK_ROWS", 7)

    assert pairs(texts) == whole


def test_a_single_text_has_no_pair() -> None:
    assert pairs([MILL]) == set()


def test_a_corpus_without_words_is_refused_in_plain_words() -> None:
    with pytest.raises(BadInput, match=r"embedding 2 texts: .*words of two letters or more are needed"):
        embed(["+ -", "* /"])

import pytest

from tasks.measures.diversity import (
    common_opening,
    compression_ratio,
    copied_share,
    distinct_ngrams,
    duplicate_share,
)

SENTENCE = "the quick brown fox jumps over the lazy dog and then sleeps"


def test_distinct_ngrams_counts_each_one_once() -> None:
    assert distinct_ngrams(["a b c d"], size=3).value == 1
    assert distinct_ngrams(["a b c", "A  b c"], size=3).value == 0.5
    assert distinct_ngrams(["a b c", "d e f"], size=3).value == 1


def test_copies_compress_better_than_different_texts() -> None:
    different = [f"{number} {number * 7919} {number**3}" for number in range(300)]
    assert compression_ratio([SENTENCE] * 300).value > 20 > compression_ratio(different).value > 1


def test_the_most_common_opening_is_found_with_its_share() -> None:
    texts = ["In this article we see a", "In this article we hear b", "Once upon a time c", "Later"]
    found, opening = common_opening(texts)
    assert (found.value, opening) == (0.5, "In this article we")
    assert common_opening(texts[::-1]) == common_opening(texts)


def test_duplicates_differ_only_in_case_and_spaces() -> None:
    assert duplicate_share(["One two", "one  TWO", "one two three"]).value == pytest.approx(1 / 3)
    assert duplicate_share(["a", "b"]).value == 0


def test_a_copy_of_the_anchor_is_copied_whole_and_a_new_text_not_at_all() -> None:
    new = "nothing of this stands in the anchor at all so it is new"
    assert copied_share([SENTENCE, SENTENCE], [SENTENCE, SENTENCE + " soundly"]).value == 1
    assert copied_share([new], [SENTENCE]).value == 0
    mixed = copied_share([SENTENCE, new, new], [SENTENCE, new[::-1], SENTENCE])
    assert 0 < mixed.value < 1
    assert (mixed.n, mixed.num_clusters) == (3, 2)


def test_nothing_to_measure_says_why() -> None:
    for found in (
        distinct_ngrams([]),
        distinct_ngrams(["a b"]),
        compression_ratio([]),
        common_opening([])[0],
        duplicate_share([]),
        copied_share([], []),
        copied_share(["short"], ["short"]),
    ):
        assert found.value is None
        assert found.status.startswith("not measured")

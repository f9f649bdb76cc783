import gzip

import polars as pl
import pytest

from gainloop.asking.chunks import cut_anchor
from gainloop.measures.diversity import (
    common_opening,
    compression_ratio,
    distinct_ngrams,
    duplicate_share,
    facet_opening,
    vendi_score,
)
from gainloop.measures.ngrams import HashedTexts, hash_texts
from schemas.rows import Anchor

SENTENCE = "the quick brown fox jumps over the lazy dog and then sleeps"


def series(*texts: str) -> pl.Series:
    return pl.Series(texts, dtype=pl.String)


def hashed(*texts: str) -> HashedTexts:
    return hash_texts(series(*texts))


def test_distinct_ngrams_counts_each_one_once() -> None:
    assert distinct_ngrams(hashed("a b c d"), size=3).value == 1
    assert distinct_ngrams(hashed("a b c", "A  b, c"), size=3).value == 0.5
    assert distinct_ngrams(hashed("a b c", "d e f"), size=3).value == 1


def test_copies_compress_better_than_different_texts() -> None:
    different = [f"{number} {number * 7919} {number**3}" for number in range(300)]
    assert compression_ratio(series(*[SENTENCE] * 300)).value > 20 > compression_ratio(series(*different)).value > 1


def test_the_compression_is_that_of_gzip() -> None:
    texts = [f"{number} {number * 7919} {SENTENCE[number % 40 :]}" for number in range(2000)]
    joined = "".join(f"{text}\n" for text in texts).encode()
    assert compression_ratio(series(*texts)).value == pytest.approx(len(joined) / len(gzip.compress(joined, 6)), 1e-3)


def test_texts_that_share_no_two_words_count_each_and_copies_count_once() -> None:
    different = [f"a{number} b{number} c{number}" for number in range(40)]
    assert vendi_score(hashed(*different)).value == pytest.approx(40)
    assert vendi_score(hashed(*different[:10] * 4)).value == pytest.approx(10)
    assert vendi_score(hashed(*[SENTENCE] * 40)).value == pytest.approx(1)


def test_two_texts_half_alike_count_as_the_formula_says() -> None:
    # Cosine 1/2, so the eigenvalues by n are 3/4 and 1/4: exp of their entropy is 4 / 3^(3/4).
    assert vendi_score(hashed("a b c", "a b d")).value == pytest.approx(4 / 3**0.75)


def test_a_text_without_two_words_has_no_part_in_the_score() -> None:
    found = vendi_score(hashed("a b", "", "c d", "one"))
    assert (found.value, found.n, found.num_dropped) == (pytest.approx(2), 2, 2)


def test_the_most_common_opening_is_found_with_its_share() -> None:
    texts = ["In this article we see a", "In this article we hear b", "Once upon a time c", "Later"]
    found, opening = common_opening(series(*texts))
    assert (found.value, opening) == (0.5, "In this article we")
    assert common_opening(series(*texts[::-1])) == common_opening(series(*texts))


def test_a_template_of_one_facet_is_found_though_it_is_rare_in_the_batch() -> None:
    facets = ["faq", "table", "math", "tutorial"] * 25
    texts = [
        f"In this {facet} you learn {n}" if facet == "table" else f"{n} {facet} x y" for n, facet in enumerate(facets)
    ]
    assert common_opening(series(*texts))[0].value == 0.25
    found, opening = facet_opening(series(*texts), series(*facets))
    assert (found.value, found.n, opening) == (1, 25, "table: In this table you")
    assert facet_opening(series(*texts[::-1]), series(*facets[::-1])) == (found, opening)


def test_what_stands_after_a_facets_name_is_no_facet_and_rare_facets_are_looked_at_together() -> None:
    texts = [f"{n} a b c" for n in range(30)] + ["Once upon a time"] * 10
    found, opening = facet_opening(series(*texts), series(*[f"chapter: topic {n}" for n in range(40)]))
    assert (found.value, opening) == (0.25, "chapter: Once upon a time")
    assert facet_opening(series(*texts), series(*map(str, range(40)))) == (found, "Once upon a time")
    assert facet_opening(series(*texts[:19]), series(*["faq"] * 19))[0].value is None


def test_the_chunks_of_a_style_are_one_facet() -> None:
    chunks = [f"easy{chunk.part}" for chunk in cut_anchor(Anchor("The mill grinds rye. " * 2000), 80, 1000)[0]]
    texts = ["Once upon a time"] * len(chunks)

    assert len(set(chunks)) == len(chunks) > 20
    assert facet_opening(series(*texts), series(*chunks))[1] == "easy: Once upon a time"


def test_duplicates_differ_only_in_case_and_spaces() -> None:
    assert duplicate_share(series("One two", "one  TWO", "one two three")).value == pytest.approx(1 / 3)
    assert duplicate_share(series("a", "b")).value == 0


def test_nothing_to_measure_says_why() -> None:
    for found in (
        distinct_ngrams(hashed()),
        distinct_ngrams(hashed("a b")),
        compression_ratio(series()),
        compression_ratio(series("", "")),
        common_opening(series())[0],
        facet_opening(series(), series())[0],
        duplicate_share(series()),
        vendi_score(hashed()),
        vendi_score(hashed("one", "")),
    ):
        assert found.value is None
        assert found.status.startswith("not measured")

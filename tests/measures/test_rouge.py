"""ROUGE-L is what the package rouge-score says, and the index finds what comparing every pair finds."""

import json
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from gainloop.measures.rouge import AlikeTexts, common_length, rouge_l, rouge_tokens

PEER = RougeScorer(["rougeL"])

few_tokens = st.lists(st.sampled_from("abcde"), max_size=12)


def brute_force(texts: list[list[str]], tokens: list[str], threshold: str) -> list[int]:
    """Return the texts that a comparison with each of them finds."""
    found = []
    for number, other in enumerate(texts):
        total = len(tokens) + len(other)
        if total and Fraction(2 * common_length(tokens, other), total) > Fraction(threshold):
            found.append(number)
    return found


def seed_instructions(shared_data: Path) -> list[str]:
    lines = (shared_data / "self_instruct" / "seed_tasks.jsonl").read_text().splitlines()
    return [json.loads(line)["instruction"] for line in lines]


def edited(text: str, rng: Random) -> str:
    """Return an instruction with some words cut, doubled, swapped or replaced, or with another's end."""
    words = text.split()
    for _ in range(rng.randrange(6)):
        place = rng.randrange(len(words))
        words[place : place + 1] = rng.choice([[], [words[place]] * 2, ["rye"], [rng.choice(words), words[place]]])
        words = words or ["rye"]
    return " ".join(words)


@given(first=few_tokens, second=few_tokens)
def test_the_common_subsequence_is_that_of_the_table(first: list[str], second: list[str]) -> None:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for row, token in enumerate(first):
        for column, other in enumerate(second):
            either = max(table[row][column + 1], table[row + 1][column])
            table[row + 1][column + 1] = table[row][column] + 1 if token == other else either

    assert common_length(first, second) == common_length(second, first) == table[-1][-1]


@given(texts=st.lists(few_tokens, max_size=12), tokens=few_tokens)
def test_the_closest_text_is_the_most_alike_of_all_however_little(texts: list[list[str]], tokens: list[str]) -> None:
    known = AlikeTexts()
    for one in texts:
        known.add(one)
    scores = [rouge_l(one, tokens) for one in texts]
    most = max(scores, default=0)

    assert known.closest(tokens) == ((scores.index(most), pytest.approx(most)) if most else None)


@given(first=st.text(st.characters(max_codepoint=127)), second=st.text(st.characters(max_codepoint=127)))
def test_ascii_texts_score_as_rouge_score_has_it(first: str, second: str) -> None:
    expected = PEER.score(first, second)["rougeL"].fmeasure

    assert rouge_l(rouge_tokens(first), rouge_tokens(second)) == pytest.approx(expected)


def test_real_instructions_score_as_rouge_score_has_it(shared_data: Path) -> None:
    texts = seed_instructions(shared_data)
    for first, second in zip(texts, texts[1:] + texts[:1], strict=True):
        if first.isascii() and second.isascii():
            expected = PEER.score(first, second)["rougeL"].fmeasure
            assert rouge_l(rouge_tokens(first), rouge_tokens(second)) == pytest.approx(expected)


@settings(max_examples=200)
@given(
    texts=st.lists(few_tokens, max_size=12),
    asked=few_tokens,
    threshold=st.sampled_from(["0.0", "0.3", "0.5", "0.6", "0.7", "0.75", "0.9"]),
)
def test_the_index_finds_what_a_comparison_with_each_finds(
    texts: list[list[str]], asked: list[str], threshold: str
) -> None:
    index = AlikeTexts(float(threshold))
    for one in texts:
        index.add(one)

    found = dict(index.alike(asked))
    assert list(found) == brute_force(texts, asked, threshold)
    assert found == {number: rouge_l(asked, texts[number]) for number in found}
    nearest = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    assert index.nearest(asked) == (nearest[0] if nearest else None)


def test_edited_real_instructions_are_found_as_a_comparison_with_each_finds_them(shared_data: Path) -> None:
    rng, texts, index = Random(0), seed_instructions(shared_data), AlikeTexts()
    made = [rouge_tokens(edited(rng.choice(texts), rng)) for _ in range(600)]
    num_alike = 0
    for number, tokens in enumerate(made):
        expected = brute_force(made[:number], tokens, "0.7")
        assert [other for other, _ in index.alike(tokens)] == expected
        num_alike += bool(expected)
        index.add(tokens)
    assert 200 < num_alike < 550


def test_seven_words_of_ten_are_not_more_than_the_threshold_and_eight_are() -> None:
    index = AlikeTexts(0.7)
    index.add(list("abcdefghij"))

    assert index.nearest(list("abcdefgxyz")) is None
    assert index.nearest(list("abcdefghyz")) == (0, 0.8)


@pytest.mark.parametrize("tokens", range(10, 400, 10))
def test_a_tie_is_never_more_than_the_threshold_however_long_the_texts(tokens: int) -> None:
    text = [f"w{number}" for number in range(tokens)]
    shared = tokens * 7 // 10
    index = AlikeTexts(0.7)
    index.add(text)

    assert index.nearest(text[:shared] + ["x"] * (tokens - shared)) is None
    assert index.nearest(text[: shared + 1] + ["x"] * (tokens - shared - 1))


def test_a_text_without_a_word_is_like_none() -> None:
    index = AlikeTexts(0.0)
    index.add([])

    assert index.nearest([]) is None
    assert (len(index), rouge_l([], [])) == (1, 0.0)

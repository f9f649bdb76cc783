import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainloop.serving.sampling import Draw, Grammar, distribution
from schemas.recipe import Sampling
from tests.tiny_model import tiny_tokenizer

LOGITS = np.log([0.4, 0.3, 0.2, 0.1])

vectors = st.lists(st.floats(-50, 50), min_size=1, max_size=20).map(np.array)
samplings = st.builds(Sampling, temperature=st.floats(0.01, 2), top_p=st.floats(0.01, 1))


def draws(request_id: str, sampling: Sampling, num_draws: int) -> list[tuple[int, float]]:
    draw = Draw(request_id, sampling)
    return [draw.next(LOGITS) for _ in range(num_draws)]


def test_the_same_request_draws_the_same_numbers_and_another_does_not() -> None:
    assert draws("00ff", Sampling(), 50) == draws("00ff", Sampling(), 50)
    assert draws("00ff", Sampling(), 50) != draws("00fe", Sampling(), 50)


def test_tokens_come_as_often_as_their_probability_says() -> None:
    counts = Counter(token for token, _ in draws("0a", Sampling(), 20_000))

    assert [counts[token] / 20_000 for token in range(4)] == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.015)


def test_a_draw_says_the_log_probability_of_its_token() -> None:
    for token, logprob in draws("0b", Sampling(), 50):
        assert logprob == pytest.approx(LOGITS[token])


def test_a_temperature_of_zero_takes_the_likeliest_and_is_certain() -> None:
    assert set(draws("0c", Sampling(temperature=0), 20)) == {(0, 0.0)}


def test_the_temperature_divides_the_logits() -> None:
    squared = np.array([16, 9, 4, 1]) / 30

    assert distribution(LOGITS, Sampling(temperature=0.5)) == pytest.approx(squared)


@pytest.mark.parametrize(("top_p", "kept"), [(0.39, 1), (0.41, 2), (0.71, 3), (1, 4)])
def test_the_nucleus_is_the_fewest_tokens_that_have_the_mass(top_p: float, kept: int) -> None:
    probabilities = distribution(LOGITS[[2, 0, 3, 1]], Sampling(top_p=top_p))

    expected = np.array([0.4, 0.3, 0.2, 0.1]) * (np.arange(4) < kept)
    assert probabilities[[1, 3, 0, 2]] == pytest.approx(expected / expected.sum())


@pytest.mark.parametrize("spread", [0.0, 0.5, 3.0, 30.0])
@pytest.mark.parametrize("top_p", [1e-9, 0.5, 0.95, 1 - 1e-12])
def test_the_nucleus_of_a_large_vocabulary_is_bit_for_bit_that_of_sorting_it_whole(spread: float, top_p: float) -> None:
    logits = spread * np.random.default_rng(0).standard_normal(49_152).round(2)  # rounded: with ties
    plain = distribution(logits, Sampling())
    order = np.argsort(-plain, kind="stable")
    plain[order[plain[order].cumsum() - plain[order] >= top_p]] = 0

    assert np.array_equal(distribution(logits, Sampling(top_p=top_p)), plain / plain.sum())


@given(vectors, samplings)
def test_any_logits_give_a_distribution_that_has_the_likeliest_token(logits: np.ndarray, sampling: Sampling) -> None:
    probabilities = distribution(logits, sampling)

    assert probabilities.sum() == pytest.approx(1)
    assert logits[probabilities.argmax()] == pytest.approx(logits.max())
    assert (probabilities >= 0).all()


@given(vectors, samplings, st.integers(0, 2**64 - 1))
def test_any_draw_is_of_a_token_that_can_be_drawn(logits: np.ndarray, sampling: Sampling, number: int) -> None:
    token, logprob = Draw(f"{number:016x}", sampling).next(logits)

    assert distribution(logits, sampling)[token] > 0
    assert np.isfinite(logprob)
    assert logprob <= 1e-12


def test_a_token_that_the_grammar_forbids_is_never_drawn() -> None:
    tokenizer = tiny_tokenizer()
    logits = np.zeros(len(tokenizer))
    logits[tokenizer.encode("z")] = 50
    matcher = Grammar(tokenizer, len(tokenizer)).matcher('{"enum": ["a", "b"]}')
    draw = Draw("0d", Sampling(), matcher)
    drawn = []
    while tokenizer.eos_token_id not in drawn:
        token, logprob = draw.next(logits)
        drawn.append(token)
        assert logprob <= 0
    assert json.loads(str(tokenizer.decode(drawn, skip_special_tokens=True))) in ("a", "b")


def test_log_probabilities_under_a_grammar_are_of_what_it_allows() -> None:
    tokenizer = tiny_tokenizer()
    matcher = Grammar(tokenizer, len(tokenizer)).matcher('{"enum": ["a"]}')
    draw = Draw("0e", Sampling(), matcher)

    assert sum(draw.next(np.zeros(len(tokenizer)))[1] for _ in '"a') == pytest.approx(0, abs=1e-6)


def test_without_a_schema_there_is_no_grammar() -> None:
    assert Grammar(tiny_tokenizer(), 320).matcher(None) is None

"""Distributions over a whole vocabulary: the bracket from the likeliest few must hold the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainloop.measures.entropy import temper

VOCABULARY = 60
SAMPLINGS = [(0.5, 1.0), (0.7, 1.0), (1.0, 0.9), (0.7, 0.9), (1.0, 0.7), (1.3, 1.0), (1.3, 0.8), (1.0, 1.0)]


def model(seed: int, rows: int = 200, sharpness: float = 0.2) -> np.ndarray:
    return np.log(np.random.default_rng(seed).dirichlet(np.full(VOCABULARY, sharpness), rows) + 1e-12)


def sampled_from(raw: np.ndarray, temperature: float, top_p: float) -> np.ndarray:
    """Return log q of every token under temperature, then top_p, as servers sample; minus infinity outside."""
    tempered = np.exp(raw / temperature)
    tempered /= tempered.sum(axis=1, keepdims=True)
    order = np.argsort(-tempered, axis=1)
    ranked = np.take_along_axis(tempered, order, axis=1)
    inside = ranked.cumsum(axis=1) - ranked < top_p
    kept = np.zeros_like(tempered)
    np.put_along_axis(kept, order, ranked * inside, axis=1)
    with np.errstate(divide="ignore"):
        return np.log(kept / kept.sum(axis=1, keepdims=True))


def draw(rng: np.random.Generator, logs: np.ndarray) -> np.ndarray:
    return np.array([rng.choice(VOCABULARY, p=np.exp(row) / np.exp(row).sum()) for row in logs])


def top(raw: np.ndarray, number: int) -> np.ndarray:
    return np.sort(raw, axis=1)[:, ::-1][:, :number]


@pytest.mark.parametrize(("temperature", "top_p"), SAMPLINGS)
def test_all_tokens_told_give_the_exact_value(temperature: float, top_p: float) -> None:
    raw = model(0)
    exact = sampled_from(raw, temperature, top_p)
    tokens = draw(np.random.default_rng(1), exact)
    rows = np.arange(len(raw))
    low, high = temper(raw[rows, tokens], raw, temperature, top_p, VOCABULARY)
    assert np.allclose(low, exact[rows, tokens], atol=1e-9)
    assert np.allclose(high, exact[rows, tokens], atol=1e-9)


@pytest.mark.parametrize(("temperature", "top_p"), SAMPLINGS)
@pytest.mark.parametrize("number", [5, 20])
def test_the_likeliest_few_bracket_it(temperature: float, top_p: float, number: int) -> None:
    raw = model(2)
    exact = sampled_from(raw, temperature, top_p)
    tokens = draw(np.random.default_rng(3), exact)
    rows = np.arange(len(raw))
    low, high = temper(raw[rows, tokens], top(raw, number), temperature, top_p, VOCABULARY)
    truth = exact[rows, tokens]
    assert (low <= truth + 1e-9).all()
    assert (truth <= high + 1e-9).all()
    if number == 20 and temperature <= 1:
        assert (high - low).mean() < 0.05


def test_the_repaired_mean_is_the_entropy_and_the_raw_one_is_not() -> None:
    raw = np.tile(model(4, rows=1, sharpness=1.0), (4000, 1))
    exact = sampled_from(raw, 0.5, 1.0)
    tokens = draw(np.random.default_rng(5), exact)
    rows = np.arange(len(raw))
    low, high = temper(raw[rows, tokens], top(raw, 20), 0.5, 1.0, VOCABULARY)
    entropy = -(np.exp(exact[0]) * exact[0]).sum()
    assert -high.mean() * 0.98 <= entropy <= -low.mean() * 1.02
    assert -raw[rows, tokens].mean() > 1.05 * entropy


@given(st.integers(0, 1000), st.sampled_from(SAMPLINGS), st.integers(1, VOCABULARY), st.floats(0.02, 5))
def test_no_distribution_falls_outside_its_bracket(
    seed: int, sampling: tuple[float, float], number: int, sharpness: float
) -> None:
    raw = model(seed, rows=4, sharpness=sharpness)
    exact = sampled_from(raw, *sampling)
    tokens = exact.argmax(axis=1)
    rows = np.arange(4)
    low, high = temper(raw[rows, tokens], top(raw, number), *sampling, VOCABULARY)
    assert (low <= exact[rows, tokens] + 1e-7).all()
    assert (exact[rows, tokens] <= high + 1e-7).all()


def test_what_cannot_be_sampled_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature -1 and top_p 1"):
        temper([-1.0], [[-1.0]], -1.0, 1.0, 10)
    with pytest.raises(ValueError, match=r"top_p 1\.5"):
        temper([-1.0], [[-1.0]], 1.0, 1.5, 10)


@pytest.mark.parametrize(("temperature", "top_p"), [(0.7, 0.9), (1.0, 0.7), (1.3, 0.8)])
@pytest.mark.parametrize("number", [VOCABULARY, 8])
def test_a_token_that_is_never_sampled_is_minus_infinity_where_that_can_be_known(
    temperature: float, top_p: float, number: int
) -> None:
    raw = model(6)
    exact = sampled_from(raw, temperature, top_p)
    tokens = np.random.default_rng(7).integers(0, VOCABULARY, len(raw))
    rows = np.arange(len(raw))
    low, high = temper(raw[rows, tokens], top(raw, number), temperature, top_p, VOCABULARY)
    truth = exact[rows, tokens]
    assert (truth == -np.inf).sum() > 50
    assert (low <= truth + 1e-9)[np.isfinite(truth)].all()
    # Of two tokens that are within the rounding of servers either may be the last of the nucleus.
    assert np.mean(truth <= high + 1e-9) > 0.98
    if number == VOCABULARY:
        assert np.mean(np.isfinite(truth) == np.isfinite(high)) > 0.98


def test_a_token_that_was_sampled_is_never_impossible_however_few_others_are_told() -> None:
    raw = model(8, rows=400)
    exact = sampled_from(raw, 0.7, 0.9)
    tokens, rows = draw(np.random.default_rng(9), exact), np.arange(len(raw))
    for number in (1, 4, 20):
        low, high = temper(raw[rows, tokens], top(raw, number), 0.7, 0.9, 100 * VOCABULARY)
        assert np.isfinite(low).all()
        assert np.isfinite(high).all()
        assert (low <= exact[rows, tokens] + 1e-9).all()


def test_at_temperature_0_the_likeliest_token_is_certain_and_every_other_impossible() -> None:
    low, high = temper([-0.1, -2.5], [[-0.1, -2.5], [-0.1, -2.5]], 0.0, 1.0, 10)
    assert low.tolist() == high.tolist() == [0.0, -np.inf]

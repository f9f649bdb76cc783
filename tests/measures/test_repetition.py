"""The data-constrained scaling law at points that its paper prints."""

import math
from itertools import pairwise

import pytest

from gainloop.measures.repetition import best_parameters, effective_tokens, expected_loss, worth_of


@pytest.mark.parametrize(
    ("epochs", "times"), [(1, 1.0), (2, 1.968), (4, 3.726), (8, 6.624), (16, 10.58), (40, 15.17), (1e6, 16.39)]
)
def test_so_many_epochs_are_worth_so_many_times_the_data(epochs: float, times: float) -> None:
    assert effective_tokens(100.0, 100.0 * epochs) / 100 == pytest.approx(times, abs=0.006)


def test_less_than_an_epoch_is_worth_what_is_read() -> None:
    assert effective_tokens(100.0, 30.0) == 30
    assert effective_tokens(100.0, 0.0) == 0


def test_one_epoch_has_the_loss_of_the_plain_law() -> None:
    parameters, tokens = 1e8, 2e9
    fitting = best_parameters(tokens)
    assert parameters < fitting
    plain = math.exp(0.6254804) + math.exp(6.255414) / parameters**0.3526596 + math.exp(7.3049974) / tokens**0.3526596
    assert expected_loss(parameters, tokens, tokens) == pytest.approx(plain)


@pytest.mark.parametrize(
    ("parameters", "seen", "loss"), [(6.34e9, 242e9, 2.2256440889984477), (8.67e9, 178e9, 2.2269634075087867)]
)
def test_losses_are_those_that_the_papers_code_gives(parameters: float, seen: float, loss: float) -> None:
    assert expected_loss(parameters, 25e9, seen) == pytest.approx(loss, rel=1e-9)


def test_repeating_helps_ever_less_and_never_harms() -> None:
    losses = [expected_loss(1e8, 1e9, 1e9 * epochs) for epochs in (1, 2, 4, 8, 16, 64)]
    steps = [before - after for before, after in pairwise(losses)]
    assert all(step > 0 for step in steps)
    assert steps == sorted(steps, reverse=True)


def test_fresh_text_beats_repeated_text_of_the_same_length() -> None:
    assert expected_loss(1e8, 8e9, 8e9) < expected_loss(1e8, 1e9, 8e9)


def test_the_best_model_balances_both_terms() -> None:
    tokens = 1e10
    best = best_parameters(tokens)
    compute = best * tokens

    def plain(parameters: float) -> float:
        data = compute / parameters
        return math.exp(6.255414) / parameters**0.3526596 + math.exp(7.3049974) / data**0.3526596

    assert plain(best) < min(plain(best * 1.1), plain(best / 1.1))


def test_the_next_token_is_worth_the_slope() -> None:
    step = 1e-3
    slope = (effective_tokens(100, 450 + step) - effective_tokens(100, 450 - step)) / (2 * step)
    assert worth_of(100, 450).next_token == pytest.approx(slope, rel=1e-5)
    assert (worth_of(100, 50).epochs, worth_of(100, 50).effective) == (0.5, 50)
    assert (worth_of(100, 50).next_token, worth_of(100, 450).epochs) == (1, 4.5)


@pytest.mark.parametrize("call", [lambda: effective_tokens(0, 1), lambda: effective_tokens(1, -1)])
def test_no_text_has_no_worth(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="valuing"):
        call()
    with pytest.raises(ValueError, match="expecting a loss"):
        expected_loss(0, 1, 1)

"""The data-constrained scaling law at points that its paper prints."""

import pytest

from gainloop.measures.repetition import effective_tokens, worth_of


@pytest.mark.parametrize(
    ("epochs", "times"), [(1, 1.0), (2, 1.968), (4, 3.726), (8, 6.624), (16, 10.58), (40, 15.17), (1e6, 16.39)]
)
def test_so_many_epochs_are_worth_so_many_times_the_data(epochs: float, times: float) -> None:
    assert effective_tokens(100.0, 100.0 * epochs) / 100 == pytest.approx(times, abs=0.006)


def test_less_than_an_epoch_is_worth_what_is_read() -> None:
    assert effective_tokens(100.0, 30.0) == 30
    assert effective_tokens(100.0, 0.0) == 0


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

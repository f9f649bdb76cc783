"""Trainees whose every loss is known: a learner of coins, which memorises nothing, and one that learns by heart."""

import math

import numpy as np
import pytest

from gainloop.measures.learning import learned


def coin_losses(rng: np.random.Generator, num_texts: int, length: int) -> tuple[np.ndarray, ...]:
    """Return online and final losses of texts of coin flips by a learner that counts (Laplace), and held-out ones."""
    flips = rng.random((num_texts, length)) < 0.9
    ones, total = np.cumsum(flips.sum(axis=1)), length * np.arange(1, num_texts + 1)
    before = (np.concatenate([[0], ones[:-1]]) + 1) / (np.concatenate([[0], total[:-1]]) + 2)
    after = (ones[-1] + 1) / (total[-1] + 2)

    def loss(texts: np.ndarray, share: np.ndarray | float) -> np.ndarray:
        heads = texts.sum(axis=1)
        return -(heads * np.log(share) + (length - heads) * np.log1p(-share))

    return loss(flips, before), loss(flips, after), loss(rng.random((num_texts, length)) < 0.9, after)


def test_a_learner_of_one_number_absorbs_some_nats_and_memorises_none() -> None:
    online, final, heldout = coin_losses(np.random.default_rng(0), 400, 20)
    size = np.full(400, 20.0)
    found = learned(online, final, size, heldout, size)
    assert found.absorbed.value == pytest.approx((online - final).sum())
    assert 2 < found.absorbed.value < 30
    assert found.memorised.low < 0 < found.memorised.high
    assert found.generalised.low < found.absorbed.value < found.generalised.high


def test_what_is_known_by_heart_is_memorised() -> None:
    rng = np.random.default_rng(1)
    online, size = rng.normal(100, 5, 50), np.full(50, 80.0)
    found = learned(online, np.zeros(50), size, rng.normal(100, 5, 50), size)
    assert found.absorbed.value == pytest.approx(online.sum())
    assert found.memorised.value == pytest.approx(5000, rel=0.05)
    assert found.generalised.low < 0 < found.generalised.high


def test_the_parts_add_up() -> None:
    rng = np.random.default_rng(2)
    online, final, heldout = rng.gamma(9, 10, 30), rng.gamma(6, 10, 30), rng.gamma(7, 10, 12)
    found = learned(online, final, rng.integers(40, 90, 30), heldout, rng.integers(40, 90, 12))
    assert found.absorbed.value == pytest.approx(found.memorised.value + found.generalised.value)


def test_copies_of_a_held_out_text_make_no_interval_narrower() -> None:
    rng = np.random.default_rng(3)
    online, final, heldout, size = rng.gamma(9, 10, 30), rng.gamma(6, 10, 30), rng.gamma(7, 10, 12), np.full(12, 60)
    once = learned(online, final, np.full(30, 60), heldout, size)
    names = np.repeat(np.arange(12), 8)
    copied = learned(online, final, np.full(30, 60), heldout[names], size[names], owners=(names, np.arange(30)))
    assert copied.memorised.low == pytest.approx(once.memorised.low)
    assert copied.memorised.num_clusters == 12


def test_a_model_that_does_not_learn_absorbs_nothing() -> None:
    losses = np.full(10, 7.0)
    found = learned(losses, losses, np.full(10, 5), losses, np.full(10, 5))
    assert (found.absorbed.value, found.memorised.value, found.generalised.value) == (0, 0, 0)


def test_what_cannot_be_measured_is_said() -> None:
    nothing = learned([1.0, 2.0], [1.0, 1.0], [3, 3], [], [])
    assert nothing.absorbed.value == 1
    assert nothing.memorised.status == nothing.generalised.status == "not measured: no text was held out"
    assert learned([math.inf, 2.0], [1.0, 1.0], [3, 3], [1], [3]).absorbed.status == "invalid: a loss is not finite"
    assert learned([], [], [], [1], [3]).absorbed.status == "not measured: there is no row"
    assert learned([2.0], [1.0], [3], [1], [3]).absorbed.low is None
    with pytest.raises(ValueError, match="2 online losses, 1 final ones"):
        learned([1.0, 2.0], [1.0], [3, 3], [1], [3])


def test_a_part_whose_interval_dwarfs_all_that_was_absorbed_cannot_be_told() -> None:
    rng = np.random.default_rng(5)
    online, final, heldout = rng.normal(300, 60, 17), rng.normal(290, 60, 17), rng.normal(310, 60, 9)
    found = learned(online, final, np.full(17, 100), heldout, np.full(9, 100))
    assert found.absorbed.value is not None
    assert found.memorised.value is found.generalised.value is None
    assert found.memorised.status.startswith("cannot tell: from -")

import math

import numpy as np
import pytest

from gainloop.measures.entropy import bits_per_byte, paired_gain

NATS_PER_BIT = math.log(2)


def test_bits_per_byte_is_a_ratio_of_sums_not_a_mean_of_ratios() -> None:
    found = bits_per_byte([8 * NATS_PER_BIT, 8 * NATS_PER_BIT, NATS_PER_BIT], [2, 8, 0])
    assert found.value == pytest.approx(17 / 10)
    assert (found.n, found.unit) == (3, "bits/byte")


def test_a_uniform_byte_costs_eight_bits() -> None:
    sizes = np.arange(1, 50)
    found = bits_per_byte(sizes * math.log(256), sizes)
    assert (found.value, found.low, found.high) == pytest.approx((8, 8, 8))


def test_records_of_one_anchor_are_one_cluster() -> None:
    rng = np.random.default_rng(0)
    sizes = np.repeat(rng.integers(100, 900, 30), 6)
    nats = sizes * np.repeat(rng.normal(1.4, 0.2, 30), 6)
    alone, together = bits_per_byte(nats, sizes), bits_per_byte(nats, sizes, np.repeat(np.arange(30), 6))
    assert together.value == alone.value
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_pairing_sees_a_gain_that_the_two_intervals_alone_would_hide() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(200, 2000, 120)
    rate = rng.normal(1.5, 0.4, 120)
    before, after = sizes * rate, sizes * (rate - 0.03 + rng.normal(0, 0.01, 120))
    gain = paired_gain(before, after, sizes)
    assert gain.low <= 0.03 / NATS_PER_BIT <= gain.high
    assert gain.low > 0
    assert bits_per_byte(after, sizes).high > bits_per_byte(before, sizes).low


def test_the_gain_is_the_difference_of_the_two_losses() -> None:
    rng = np.random.default_rng(2)
    sizes, before, after = rng.integers(1, 99, 50), rng.gamma(9, 9, 50), rng.gamma(9, 9, 50)
    difference = bits_per_byte(before, sizes).value - bits_per_byte(after, sizes).value
    assert paired_gain(before, after, sizes).value == pytest.approx(difference)
    assert paired_gain(after, before, sizes).value == pytest.approx(-difference)


def test_the_interval_of_a_gain_holds_the_truth_95_times_in_100() -> None:
    rng = np.random.default_rng(11)
    shape = (500, 60)
    sizes = rng.integers(200, 2000, shape)
    saved = sizes * rng.normal(0.02, 0.05, shape) * NATS_PER_BIT
    hard = sizes * rng.normal(1.5, 0.4, shape)
    found = [paired_gain(h, h - s, b) for h, s, b in zip(hard, saved, sizes, strict=True)]
    assert 0.92 <= np.mean([e.low <= 0.02 <= e.high for e in found]) <= 0.98


def test_one_text_has_a_gain_but_no_interval() -> None:
    found = paired_gain([10.0], [9.0], [10])
    assert found.value == pytest.approx(0.1 / NATS_PER_BIT)
    assert (found.low, found.high) == (None, None)


def test_a_text_that_one_model_could_not_score_is_left_out_and_counted() -> None:
    before = np.full(60, 9.0)
    before[0] = np.nan
    found = paired_gain(before, np.full(60, 8.0), np.full(60, 10))
    assert (found.n, found.num_dropped) == (59, 1)

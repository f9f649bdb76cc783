"""A filter on a source that is known: what it does to the distribution is a sum over all outputs."""

import math

import numpy as np
import pytest

from gainloop.measures.filtering import curate
from tests.measures.known_sources import entropy, topic_mixture

RNG = np.random.default_rng


def kept_by(outputs: np.ndarray) -> np.ndarray:
    return outputs % 3 != 0


def test_every_quantity_is_what_enumeration_gives() -> None:
    source = topic_mixture(0, num_prompts=1)
    (table,) = source.table
    kept = kept_by(np.arange(len(table)))
    share = table[kept].sum()
    conditional = table[kept] / share
    prompts = np.zeros(40_000, dtype=int)
    outputs = source.draw(RNG(0), prompts)
    found = curate(-source.score(prompts, outputs), kept_by(outputs), np.arange(len(outputs)))
    assert found.accept_rate.value == pytest.approx(share, abs=0.01)
    assert found.total_variation.value == pytest.approx(1 - share, abs=0.01)
    assert found.divergence.value == pytest.approx((conditional * np.log(conditional / table[kept])).sum(), abs=0.02)
    assert found.entropy.value == pytest.approx(float(entropy(conditional)), rel=0.02)


def test_intervals_hold_the_exact_values_95_times_in_100() -> None:
    source = topic_mixture(0, num_prompts=1)
    (table,) = source.table
    kept = kept_by(np.arange(len(table)))
    share = table[kept].sum()
    exact = float(entropy(table[kept] / share))
    held = []
    for run in range(300):
        outputs = source.draw(RNG(run), np.zeros(120, dtype=int))
        found = curate(-source.score(np.zeros(120, int), outputs), kept_by(outputs), np.arange(120))
        held.append(
            (
                found.accept_rate.low <= share <= found.accept_rate.high,
                found.divergence.low <= -math.log(share) <= found.divergence.high,
                found.entropy.low <= exact <= found.entropy.high,
            )
        )
    assert ((np.mean(held, axis=0) >= 0.91) & (np.mean(held, axis=0) <= 0.98)).all()


def test_what_a_filter_takes_away_of_the_entropy_is_told_output_by_output() -> None:
    source = topic_mixture(0, num_prompts=1)
    (table,) = source.table
    kept, prompts, held = kept_by(np.arange(len(table))), np.zeros(1000, dtype=int), []
    exact = float(entropy(table)) - float(entropy(table[kept] / table[kept].sum()))
    for run in range(200):
        outputs = source.draw(RNG(run), prompts)
        lost = curate(-source.score(prompts, outputs), kept_by(outputs), np.arange(1000)).entropy_lost
        held.append(lost.low <= exact <= lost.high)
    assert 0.91 <= np.mean(held) <= 0.98


def test_a_filter_that_keeps_all_does_nothing() -> None:
    found = curate([2.0, 4.0], [True, True], ["a", "b"])
    assert (found.accept_rate.value, found.total_variation.value, found.divergence.value) == (1, 0, 0)
    assert found.entropy.value == 3
    assert (found.entropy_lost.value, found.entropy_lost.low, found.entropy_lost.high) == (0, 0, 0)
    assert str(found.divergence.value) == "0.0"


def test_a_filter_that_keeps_nothing_leaves_no_distribution() -> None:
    found = curate([2.0, 4.0], [False, False], ["a", "b"])
    assert (found.accept_rate.value, found.total_variation.value) == (0, 1)
    assert found.divergence.status == found.entropy.status == "not measured: nothing was kept"


def test_no_output_at_all_is_said_so() -> None:
    assert curate([], [], []).accept_rate.status == "not measured: there is no row"


def test_prompts_of_which_much_and_little_is_kept_each_count_with_their_own_acceptance() -> None:
    rng, prompts = RNG(1), np.repeat(np.arange(64), 40)
    share = np.where(np.arange(64) < 32, 0.9, 0.1)[prompts]
    kept = rng.random(len(prompts)) < share
    found = curate(np.full(len(prompts), 10.0), kept, prompts)
    exact = 10 + 0.9 * math.log(0.9) + 0.1 * math.log(0.1)  # nine of ten kept outputs are of a generous prompt
    assert found.entropy.value == pytest.approx(exact, abs=0.05)
    assert found.entropy.low < exact < found.entropy.high
    pooled = curate(np.full(64, 10.0), kept[::40], np.arange(64))  # one output each: nothing is known of prompts
    assert pooled.entropy.value == pytest.approx(10 + math.log(pooled.accept_rate.value))


def test_where_everything_is_kept_the_interval_has_a_width() -> None:
    found = curate(np.full(40, 3.0), np.full(40, True), np.repeat(np.arange(10), 4))
    assert (found.accept_rate.low, found.accept_rate.high) == (pytest.approx(0.025**0.1), 1)
    assert found.divergence.high == pytest.approx(-math.log(0.025) / 10)

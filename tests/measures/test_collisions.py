"""Sources whose every output is known: how often draws of one prompt agree is a sum of squares."""

import math

import numpy as np
import pytest

from gainloop.measures.collisions import count_collisions
from tests.measures.known_sources import topic_mixture


def draws(seed: int, replies: int = 8) -> tuple[list[str], np.ndarray, np.ndarray, float]:
    source = topic_mixture(1, sharpness=0.02)
    prompts = np.repeat(np.arange(source.num_prompts), replies)
    outputs = source.draw(np.random.default_rng(seed), prompts)
    exact = replies * (replies - 1) / 2 * (source.table**2).sum()
    return [str(one) for one in outputs], -source.score(prompts, outputs), prompts, float(exact)


def test_as_many_are_expected_as_the_source_has_and_no_fair_batch_is_suspect() -> None:
    found, exact = [], 0.0
    for seed in range(100):
        texts, nll, prompts, exact = draws(seed)
        found.append(count_collisions(texts, nll, prompts))
    assert np.mean([one.expected.value for one in found]) == pytest.approx(exact, rel=0.03)
    assert np.mean([one.observed for one in found]) == pytest.approx(exact, rel=0.05)
    assert not any(one.is_suspect for one in found)


def test_copied_rows_are_suspect() -> None:
    texts, nll, prompts, _ = draws(0)
    found = count_collisions(texts * 8, np.tile(nll, 8), np.tile(prompts, 8))
    assert found.observed > 2 * found.expected.value
    assert found.is_suspect


def test_a_greedy_generator_says_the_same_each_time_and_ought_to() -> None:
    found = count_collisions(["a"] * 6, [-0.0] * 6, ["p"] * 3 + ["q"] * 3)
    assert (found.observed, found.expected.value) == (6, pytest.approx(6))
    assert not found.is_suspect


def test_one_reply_a_prompt_has_no_pair() -> None:
    found = count_collisions(["a", "a"], [1.0, 1.0], ["p", "q"])
    assert (found.observed, found.expected.value, found.is_suspect) == (0, 0, False)


def test_what_cannot_be_measured_accuses_nobody() -> None:
    assert not count_collisions([], [], []).is_suspect
    found = count_collisions(["a", "a"], [math.nan, math.nan], ["p", "p"])
    assert found.expected.status.startswith("invalid: 2 of 2")
    assert found.probability is None
    with pytest.raises(ValueError, match="1 texts, 2 scores"):
        count_collisions(["a"], [1.0, 2.0], ["p"])

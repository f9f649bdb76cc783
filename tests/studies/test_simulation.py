"""The simulation as a whole, smaller than the paper's: the same trends, on any machine and in any order."""

from functools import cache

import numpy as np
import pytest

from gainloop.measures.estimate import Floats
from gainloop.studies.simulation import KINDS, Cell, cells_of, describe, make_settings, measure_gaps, rank_trend
from schemas.studies import Kind, Simulation

COUNTS = range(2, 16)


@cache
def gaps(seed: int) -> dict[Cell, dict[Kind, Floats]]:
    return measure_gaps(seed, COUNTS, 50, 2)


@cache
def simulated(seed: int) -> Simulation:
    return describe(gaps(seed), "test", seed, 50, 2)


def direction(simulation: Simulation, letter: str, kind: str) -> str:
    (trend,) = [one for one in simulation.trends if (one.letter, one.kind) == (letter, kind)]
    return trend.direction


def test_settings_are_what_the_paper_says() -> None:
    settings = make_settings(np.random.default_rng(0), Cell(k=3, j=4, l=5), 6)
    assert settings.anchors.shape == (6, 150, 2)
    assert settings.synthetic.shape == (6, 200, 2)
    assert (settings.truth.num_components, settings.generator.num_components) == (7, 12)
    assert (settings.of_anchors.num_components, settings.of_synthetic.num_components) == (3, 12)
    assert np.array_equal(settings.generator.means[:, 3:7], settings.truth.means[:, 3:])
    assert np.allclose(settings.generator.means[:, :3], settings.truth.means[:, :3], atol=1)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_published_estimator_gives_the_published_trends(seed: int) -> None:
    found = simulated(seed)
    assert [direction(found, letter, "published") for letter in "kjl"] == ["falls", "rises", "falls"]


@pytest.mark.parametrize("seed", [0, 1])
def test_exactly_the_gap_rises_with_k_and_the_loss_on_new_text_falls_with_it(seed: int) -> None:
    found = simulated(seed)
    assert [direction(found, letter, "reverse") for letter in "kjl"] == ["rises", "rises", "falls"]
    assert direction(found, "k", "forward") == "falls"
    assert direction(found, "j", "forward") == "rises"


def test_another_seed_gives_the_same_within_its_intervals() -> None:
    one, other = simulated(0), simulated(1)
    apart = [
        abs(mine.correlation.value - theirs.correlation.value)
        > (mine.correlation.high - mine.correlation.low + theirs.correlation.high - theirs.correlation.low) / 2
        for mine, theirs in zip(one.trends, other.trends, strict=True)
    ]
    assert sum(apart) <= 1
    near = [
        abs(mine.gap.value - theirs.gap.value)
        <= (mine.gap.high - mine.gap.low + theirs.gap.high - theirs.gap.low) / 2 + 1e-9
        for mine, theirs in zip(one.points, other.points, strict=True)
    ]
    assert np.mean(near) > 0.9


def test_a_cell_does_not_depend_on_the_others() -> None:
    alone = measure_gaps(0, range(3, 4), 50, 2)[Cell(k=3)]
    assert all(np.array_equal(alone[kind], gaps(0)[Cell(k=3)][kind]) for kind in KINDS)


def test_each_letter_has_a_cell_for_each_count() -> None:
    for letter in ("k", "j", "l"):
        assert [count for count, _ in cells_of(gaps(0), letter)] == list(COUNTS)


def test_a_rank_trend_is_told_with_an_interval_or_not_at_all() -> None:
    rng = np.random.default_rng(0)
    counts = np.repeat(np.arange(10.0), 30)
    risen = rank_trend(counts, counts + rng.standard_normal(300))
    assert 0.9 < risen.low < risen.value < risen.high < 1
    flat = rank_trend(counts, rng.standard_normal(300))
    assert flat.low < 0 < flat.high
    assert rank_trend(np.ones(300), counts).value is None

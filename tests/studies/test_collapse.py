"""Loops that train on their own text: what is recomputed elsewhere, what can be derived, and what the page shows."""

from functools import cache
from html import unescape
from itertools import pairwise

import numpy as np
import pytest

from gainloop.studies.collapse import (
    LEARNERS,
    LONG,
    PLAIN,
    RUNS_AT_ONCE,
    SHORT,
    draw_without_return,
    simulate_collapse,
)
from gainloop.studies.collapse_known import accumulated, expect, fitted, verified
from gainloop.studies.collapse_page import MEANINGS, TABLED, show_collapse
from schemas.collapse import Collapse, CollapsePoint

RECOMPUTED = {
    ("regression", "replace"): {1: 1.03, 2: 2.05, 5: 5.06, 10: 9.84, 20: 19.67},
    ("regression", "accumulate"): {1: 1.00, 2: 1.20, 5: 1.39, 10: 1.45, 20: 1.48},
    ("spread", "replace"): {1: 0.9917, 10: 0.8979, 50: 0.5893, 100: 0.2777},
    ("spread", "accumulate"): {1: 0.988, 10: 0.980, 50: 0.979, 100: 0.979},
    ("centre", "replace"): {1: 0.085, 10: 0.776, 50: 3.03, 100: 5.12},
    ("centre", "accumulate"): {100: 0.131},
}
"""Means over 200 runs of other programs, in the settings of Gerstgrasser et al. and of Collapse or Thrive; where
their number is not told, 200 is taken for it."""

PRINTED = {
    ("regression", "replace"): {1: 1, 2: 2, 5: 5, 10: 10, 20: 20},
    ("spread", "replace"): {1: 0.9888, 10: 0.8932, 50: 0.5684, 100: 0.3230},
    ("centre", "replace"): {1: 0.0787, 10: 0.7479, 50: 3.02, 100: 4.74},
}
"""Expected values that are known elsewhere."""


@cache
def simulated(seed: int) -> Collapse:
    return simulate_collapse(seed)


def points_of(setting: str, way: str, seed: int = 0) -> dict[int, CollapsePoint]:
    own = [point for point in simulated(seed).points if (point.setting, point.way) == (setting, way)]
    return {point.generation: point for point in own}


def half_width(point: CollapsePoint) -> float:
    assert point.value.low is not None
    assert point.value.high is not None
    return (point.value.high - point.value.low) / 2


def values_of(setting: str, way: str) -> list[float]:
    return [point.value.value or 0.0 for point in points_of(setting, way).values()]


@pytest.mark.parametrize(("setting", "way"), list(RECOMPUTED))
def test_what_others_recomputed_comes_again_within_three_standard_errors_of_both(setting: str, way: str) -> None:
    points = points_of(setting, way)
    for generation, other in RECOMPUTED[setting, way].items():
        own = points[generation]
        of_200_runs = half_width(own) * np.sqrt(own.value.n / 200)
        assert abs(own.value.value - other) < 1.5 * np.hypot(half_width(own), of_200_runs)


@pytest.mark.parametrize(("setting", "way"), list(PRINTED))
def test_the_known_values_are_those_that_are_known_elsewhere(setting: str, way: str) -> None:
    for generation, printed in PRINTED[setting, way].items():
        assert expect(setting, way, generation) == pytest.approx(printed, rel=2e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_intervals_hold_what_is_known_and_say_where_nothing_is(seed: int) -> None:
    points = simulated(seed).points
    known = [point for point in points if point.known is not None]
    for point in known:
        assert point.is_held == (point.value.low <= point.known <= point.value.high)
        assert abs(point.value.value - point.known) < 2 * half_width(point)
    assert np.mean([point.is_held for point in known]) > 0.9
    underived = {(point.setting, point.way) for point in points if point.known is None}
    assert underived == {("regression", "subsample"), ("verifier", "wrong verifier, accumulate")}
    assert {point.is_held for point in points if point.known is None} == {None}


def test_replacing_climbs_and_accumulating_stays_below_its_bound() -> None:
    replaced, kept, drawn = (values_of("regression", way) for way in ("replace", "accumulate", "subsample"))
    assert all(one < other for one, other in pairwise(replaced))
    assert max(kept) < np.pi**2 / 6
    assert kept[-1] < drawn[-1] < replaced[-1]
    assert points_of("regression", "accumulate")[20].value.high < points_of("regression", "replace")[20].value.low
    assert accumulated(100_000) < np.pi**2 / 6
    for setting, order in (("centre", 1), ("spread", -1)):
        last = [order * points_of(setting, way)[100].value.value for way in ("accumulate", "subsample", "replace")]
        assert last == sorted(last)


def test_as_many_rows_as_inputs_allow_bring_the_bound_near() -> None:
    assert accumulated(10_000, num_inputs=1, num_rows=10_000) == pytest.approx(np.pi**2 / 6, rel=1e-3)


def test_a_wrong_verifier_helps_first_and_then_leads_to_its_own_centre() -> None:
    wrong, right = values_of("verifier", "wrong verifier"), values_of("verifier", "right verifier")
    best = int(np.argmin(wrong))
    assert 0 < best < len(wrong) - 1
    assert wrong[best] < 0.8 < 1.2 < wrong[-1]
    assert all(one >= other - 0.02 for one, other in pairwise(right))
    assert verified("wrong verifier", 500) - verified("right verifier", 500) == pytest.approx(1)
    assert verified("wrong verifier", 500) == pytest.approx(verified("wrong verifier", 1000))


def test_accumulating_puts_off_what_a_wrong_verifier_does() -> None:
    kept = values_of("verifier", "wrong verifier, accumulate")
    assert kept[-1] < 0.6
    assert kept[-1] > values_of("verifier", "right verifier")[-1]


def test_the_first_round_reads_real_data_alone_in_every_way() -> None:
    first = [point for point in simulated(0).points if point.generation == 1]
    by_setting = {setting: {one.value.value for one in first if one.setting == setting} for setting in TABLED}
    assert {len(values) for values in by_setting.values()} == {1}
    assert fitted("subsample", 1) == fitted("accumulate", 1) == pytest.approx(fitted("replace", 1))


def test_the_same_seed_gives_the_same_rows_and_another_one_others(monkeypatch: pytest.MonkeyPatch) -> None:
    few = [(learner, loops, RUNS_AT_ONCE) for learner, loops, _ in LEARNERS]
    monkeypatch.setattr("gainloop.studies.collapse.LEARNERS", few)
    one, same, other = (simulate_collapse(seed) for seed in (3, 3, 4))
    assert one == same
    pairs = zip(one.points, other.points, strict=True)
    assert not [mine for mine, theirs in pairs if mine.value.value == theirs.value.value]


def test_rows_are_drawn_once_and_each_as_often_as_any_other() -> None:
    drawn = draw_without_return(np.random.default_rng(0), 20_000, 8, 5)
    assert all(len(set(row)) == 5 for row in drawn[:500].tolist())
    assert np.bincount(drawn.ravel()) / 20_000 == pytest.approx(np.full(8, 5 / 8), abs=0.02)
    assert draw_without_return(np.random.default_rng(0), 2, 3, 3).tolist() == [[0, 1, 2]] * 2


def test_every_way_and_round_is_told() -> None:
    for setting, ways, rounds in (("regression", len(PLAIN), SHORT), ("spread", 3, LONG), ("centre", 3, LONG)):
        own = [point for point in simulated(0).points if point.setting == setting]
        assert len(own) == ways * len(rounds)
    assert set(MEANINGS) == {point.way for point in simulated(0).points}
    assert {point.value.status for point in simulated(0).points} == {"ok"}


def test_the_section_says_what_to_do_and_shows_each_value_beside_the_known_one() -> None:
    found = simulated(0)
    shown = show_collapse(found)
    assert found.headline.startswith("Train each round from the start, on all rounds' text and the real text")
    for way in ("replace", "accumulate"):
        assert points_of("regression", way)[20].value.interval in found.headline
    (table, *_) = shown.tables
    cells = table.rows["replace"]
    assert [cell.generation for cell in cells] == [1, 2, 5, 10, 20]
    assert [float(cell.known) for cell in cells] == [1, 2, 5, 10, 20]
    assert {cell.known for cell in table.rows["subsample"]} == {""}
    assert shown.num_known == sum(point.known is not None for point in found.points)
    assert all("stroke-dasharray" in unescape(drawing.svg) for drawing in shown.drawings)

"""Sources whose I(p; Y) is known exactly: the estimate must be near it, and the interval must hold it."""

import math
from functools import cache

import numpy as np
import pytest

from gainloop.measures.mutual_information import (
    MutualInformation,
    conditional_entropy,
    facet_information,
    mutual_information,
    null_information,
)
from tests.measures.known_sources import Source, families, other_prompts, topic_mixture

NUM_PROMPTS, NUM_OUTPUTS, NUM_SCORED, NUM_RUNS = 64, 256, 32, 200

SHARPNESS = {0: 0.05, 1: 0.02, 2: 0.2}
"""Sources by seed: 1.1, 1.4 and 0.5 nats of I(p; Y)."""


def estimate(source: Source, rng: np.random.Generator, num_scored: int = NUM_SCORED) -> MutualInformation:
    own = np.repeat(np.arange(source.num_prompts), NUM_OUTPUTS // source.num_prompts)
    outputs = source.draw(rng, own)
    others = other_prompts(rng, own, source.num_prompts, num_scored - 1)
    return mutual_information(
        source.score(own, outputs), source.score(others, outputs[:, None]), source.num_prompts, own
    )


@cache
def runs(seed: int) -> tuple[Source, list[MutualInformation]]:
    source = topic_mixture(seed, sharpness=SHARPNESS[seed])
    return source, [estimate(source, np.random.default_rng([seed, run])) for run in range(NUM_RUNS)]


@pytest.mark.parametrize("seed", SHARPNESS)
def test_the_error_is_below_an_eighth_where_there_is_a_nat_to_find(seed: int) -> None:
    source, found = runs(seed)
    errors = np.array([one.fpc_bc.value for one in found]) / source.mutual_nats - 1
    allowed = 0.12 if source.mutual_nats >= 1 else 0.2
    assert math.sqrt(np.mean(errors**2)) < allowed


@pytest.mark.parametrize("seed", SHARPNESS)
def test_the_interval_holds_the_exact_value_at_least_95_times_in_100(seed: int) -> None:
    source, found = runs(seed)
    assert np.mean([one.low <= source.mutual_nats <= one.high for one in found]) >= 0.95


@pytest.mark.parametrize("seed", SHARPNESS)
def test_estimators_err_to_their_sides_and_the_correction_takes_most_of_the_error(seed: int) -> None:
    source, found = runs(seed)
    incl, fpc, corrected = (np.mean([getattr(one, name).value for one in found]) for name in ("incl", "fpc", "fpc_bc"))
    assert incl < source.mutual_nats < fpc
    assert abs(corrected - source.mutual_nats) < 0.6 * (fpc - source.mutual_nats)


def test_delta_i_is_within_six_percent_at_the_same_size() -> None:
    source = topic_mixture(0, num_prompts=2048)
    errors, held = [], []
    for run in range(NUM_RUNS):
        rng = np.random.default_rng(run)
        own = np.repeat(rng.choice(source.num_prompts, NUM_PROMPTS, replace=False), NUM_OUTPUTS // NUM_PROMPTS)
        found = conditional_entropy(-source.score(own, source.draw(rng, own)), own)
        errors.append(found.value / source.conditional_nats - 1)
        held.append(found.low <= source.conditional_nats <= found.high)
    assert math.sqrt(np.mean(np.square(errors))) < 0.06
    assert 0.92 <= np.mean(held) <= 0.98


def test_scores_under_all_prompts_leave_nothing_to_extrapolate() -> None:
    source = topic_mixture(0)
    rng = np.random.default_rng(0)
    found = estimate(source, rng, num_scored=NUM_PROMPTS)
    assert found.incl.value == pytest.approx(found.fpc.value)
    assert found.fpc_bc.value == pytest.approx(found.fpc.value)


def with_families(source: Source, rng: np.random.Generator, num_facets: int = 4) -> tuple[np.ndarray, ...]:
    """Return scores under the own, some other, all near, and some far prompts, and the own prompts."""
    own = np.repeat(np.arange(source.num_prompts), NUM_OUTPUTS // source.num_prompts)
    outputs = source.draw(rng, own)
    first = own // num_facets * num_facets
    family = first[:, None] + np.arange(num_facets)
    near = np.array([[prompt for prompt in row if prompt != mine] for row, mine in zip(family, own, strict=True)])
    far = other_prompts(rng, np.zeros_like(own), source.num_prompts - num_facets + 1, 8) - 1
    far += np.where(far >= first[:, None], num_facets, 0)
    others = other_prompts(rng, own, source.num_prompts, 11)
    return *(source.score(each, outputs[:, None]) for each in (own[:, None], others, near, far)), own


def test_near_prompts_scored_apart_cut_the_bias_fivefold_at_the_same_cost() -> None:
    source = families(5)
    plain, apart, held = [], [], []
    for run in range(100):
        mine, others, near, far, own = with_families(source, np.random.default_rng(run))
        plain.append(mutual_information(mine[:, 0], others, NUM_PROMPTS, own).fpc.value)
        found = mutual_information(mine[:, 0], far, NUM_PROMPTS, own, near)
        apart.append(found.fpc.value)
        held.append(found.low <= source.mutual_nats <= found.high)
    assert abs(np.mean(apart) - source.mutual_nats) < abs(np.mean(plain) - source.mutual_nats) / 5
    assert np.mean(held) >= 0.95


def test_what_outputs_tell_of_facet_and_document_adds_up() -> None:
    source = families(5)
    within = np.mean([Source(source.table[first : first + 4]).mutual_nats for first in range(0, NUM_PROMPTS, 4)])
    found = []
    for run in range(100):
        mine, _, near, _, own = with_families(source, np.random.default_rng(run))
        found.append(facet_information(mine[:, 0], near, own // 4).value)
    assert np.mean(found) == pytest.approx(within, rel=0.05)


def test_a_smaller_family_is_filled_up_with_nan() -> None:
    mine, _, near, far, own = with_families(families(5), np.random.default_rng(0))
    filled = np.column_stack([near, np.full(len(near), np.nan)])
    whole, wider = (mutual_information(mine[:, 0], far, NUM_PROMPTS, own, each) for each in (near, filled))
    assert wider == whole
    assert facet_information(mine[:, 0], filled, own) == facet_information(mine[:, 0], near, own)


def test_an_output_that_identifies_its_prompt_is_worth_log_p() -> None:
    found = mutual_information(np.zeros(32), np.full((32, 7), -np.inf), 16, np.arange(32) % 16)
    assert found.fpc.value == found.fpc_bc.value == pytest.approx(math.log(16))
    assert found.incl.value == pytest.approx(found.cap_log_m) == pytest.approx(math.log(8))
    assert found.ratio_to_log_p == pytest.approx(1)
    assert found.high == pytest.approx(found.cap_log_p)


def test_identical_prompts_tell_nothing_apart() -> None:
    own = np.random.default_rng(0).normal(-40, 5, 32)
    found = mutual_information(own, own[:, None].repeat(7, axis=1), 16, np.arange(32) % 16)
    for one in (found.incl, found.fpc, found.fpc_bc):
        assert one.value == pytest.approx(0, abs=1e-12)
    assert found.low == pytest.approx(0, abs=1e-12)
    assert found.ratio_to_log_p == pytest.approx(0, abs=1e-12)


def test_of_one_prompt_nothing_can_be_told() -> None:
    found = mutual_information([-3.0, -4.0], np.empty((2, 0)), 1, ["a", "a"])
    assert (found.incl.value, found.fpc.value, found.fpc_bc.value) == (0, 0, 0)
    assert (found.cap_log_p, found.ratio_to_log_p, found.low, found.high) == (0, None, None, None)


def test_scores_under_the_own_prompt_alone_bound_nothing_but_the_cap() -> None:
    found = mutual_information([-3.0, -4.0, -2.0], np.empty((3, 0)), 8, ["a", "b", "c"])
    assert (found.incl.value, found.cap_log_m) == (0, 0)
    assert found.fpc.value is found.fpc_bc.value is found.ratio_to_log_p is None
    assert found.fpc.status == "not measured: no output was scored under another prompt"
    assert (found.low, found.high) == (0, math.log(8))


def test_one_other_prompt_gives_no_variance_to_correct_by() -> None:
    found = mutual_information([-3.0, -4.0, -2.0], [[-9.0], [-9.0], [-9.0]], 8, ["a", "b", "c"])
    assert found.fpc.value is not None
    assert found.fpc_bc.status == "not measured: its correction needs scores under two other prompts"
    assert found.ratio_to_log_p is None


def test_fewer_than_two_clusters_have_no_interval() -> None:
    found = mutual_information([-3.0, -4.0], np.full((2, 3), -9.0), 8, ["a", "a"])
    assert found.fpc_bc.value is not None
    assert found.low is found.high is found.incl.low is None


def test_eight_copies_of_each_output_change_nothing() -> None:
    rng = np.random.default_rng(1)
    own, others, prompts = rng.normal(-40, 5, 32), rng.normal(-60, 5, (32, 7)), np.arange(32) % 16
    once = mutual_information(own, others, 16, prompts)
    eight = mutual_information(own.repeat(8), others.repeat(8, axis=0), 16, prompts.repeat(8))
    assert (eight.low, eight.high, eight.fpc_bc.value) == pytest.approx((once.low, once.high, once.fpc_bc.value))
    assert eight.incl.n == 8 * once.incl.n


@pytest.mark.parametrize("bad", [math.nan, -math.inf, math.inf])
def test_a_bad_score_of_the_own_prompt_is_left_out_and_counted(bad: float) -> None:
    own, others = np.full(100, -3.0), np.full((100, 3), -9.0)
    own[7] = bad
    found = mutual_information(own, others, 8, np.arange(100) % 8)
    assert (found.incl.n, found.incl.num_dropped, found.incl.status) == (99, 1, "ok")
    own[8:11] = bad
    assert mutual_information(own, others, 8, np.arange(100) % 8).fpc_bc.status.startswith("invalid: 4 of 100")


def test_an_output_that_another_prompt_cannot_have_is_fine_and_one_not_scored_is_not() -> None:
    others = np.full((100, 3), -9.0)
    others[0, 0], others[1, 1] = -math.inf, math.nan
    found = mutual_information(np.full(100, -3.0), others, 8, np.arange(100) % 8)
    assert (found.fpc.n, found.fpc.num_dropped) == (99, 1)


def test_no_output_gives_no_value_and_says_why() -> None:
    found = mutual_information([], np.empty((0, 3)), 8, [])
    assert found.fpc_bc.status == found.incl.status == "not measured: there is no row"


def test_very_long_outputs_neither_overflow_nor_vanish() -> None:
    own, others = np.full(4, -30_000.0), np.full((4, 3), -30_010.0)
    assert mutual_information(own, others, 4, np.arange(4)).fpc.value == pytest.approx(
        math.log(4) - math.log1p(3 * math.exp(-10))
    )


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"own \(2,\), others \(3, 1\)"):
        mutual_information([-1.0, -2.0], [[-1.0]] * 3, 8, ["a", "b"])
    with pytest.raises(ValueError, match="scored under 9 prompts of 8"):
        mutual_information([-1.0], [[-1.0] * 8], 8, ["a"])


def test_the_document_left_out_bounds_what_it_tells() -> None:
    found = null_information([-10.0, -12.0, -9.0, -11.0], [-30.0, -31.0, -28.0, -35.0], ["a", "a", "b", "b"])
    assert found.value == pytest.approx(20.5)
    assert found.low < 20.5 < found.high

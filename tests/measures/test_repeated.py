"""Repeated answers: estimators against every draw there is, and intervals against a world that is known."""

from itertools import combinations

import numpy as np
import pytest

from gainloop.measures.repeated import Tally, all_of, any_of, pass_all, pass_at, share_right


@pytest.mark.parametrize("num_samples", range(1, 8))
def test_both_chances_are_the_shares_of_all_draws_of_k_samples(num_samples: int) -> None:
    for num_right in range(num_samples + 1):
        samples = [number < num_right for number in range(num_samples)]
        for k in range(1, num_samples + 1):
            draws = list(combinations(samples, k))
            assert any_of(num_right, num_samples, k) == pytest.approx(sum(map(any, draws)) / len(draws))
            assert all_of(num_right, num_samples, k) == pytest.approx(sum(map(all, draws)) / len(draws))


@pytest.mark.parametrize(("num_right", "num_samples", "k"), [(0, 1, 2), (0, 1, 0), (2, 1, 1), (-1, 2, 1)])
def test_what_cannot_be_drawn_is_refused(num_right: int, num_samples: int, k: int) -> None:
    with pytest.raises(ValueError, match="Lower k, or sample more"):
        any_of(num_right, num_samples, k)
    with pytest.raises(ValueError, match="Lower k, or sample more"):
        all_of(num_right, num_samples, k)


def test_with_one_draw_all_three_are_the_share_right_and_further_apart_with_more() -> None:
    tallies = [Tally(c, 4) for c in (0, 1, 1, 2, 3, 4, 4, 0)]
    share = share_right(tallies)

    for one in (pass_at(tallies, 1), pass_all(tallies, 1)):
        assert one.value == pytest.approx(share.value)
        assert one.low == pytest.approx(share.low, abs=0.03)
        assert one.high == pytest.approx(share.high, abs=0.03)
        assert one.num_clusters == share.num_clusters == 8
    values = [pass_all(tallies, k).value or 0 for k in (3, 2, 1)] + [pass_at(tallies, k).value or 0 for k in (2, 3)]
    assert values == sorted(values)
    assert values[0] < values[2] < values[4]


def test_questions_of_too_few_samples_are_left_out_and_none_at_all_is_said() -> None:
    tallies = [Tally(1, 1), Tally(1, 2), Tally(2, 2), Tally(0, 2)]

    assert (pass_all(tallies, 2).value, pass_all(tallies, 2).n) == (pytest.approx(1 / 3), 3)
    assert pass_at(tallies[:1], 2).value is None
    assert pass_at(tallies[:1], 2).status == "not measured: no question has 2 samples"
    assert share_right([]).value is None


def test_nothing_right_has_an_interval_as_wide_as_its_questions_allow() -> None:
    few, many = [Tally(0, 8)] * 12, [Tally(0, 8)] * 120

    for measure in (share_right, lambda tallies: pass_at(tallies, 2), lambda tallies: pass_all(tallies, 2)):
        assert (measure(few).value, measure(few).low) == (0, 0)
        assert measure(few).high == pytest.approx(0.265, abs=0.001)
        assert measure(many).high == pytest.approx(0.030, abs=0.001)


def test_intervals_hold_the_truth_in_about_95_of_100_worlds() -> None:
    """Questions whose chance to be answered rightly is drawn from a beta law; truths are its moments."""
    rng, k, runs, held = np.random.default_rng(7), 3, 400, np.zeros(3)
    a, b = 0.6, 1.4
    truth_all = np.prod([(a + i) / (a + b + i) for i in range(k)])
    truth_any = 1 - np.prod([(b + i) / (a + b + i) for i in range(k)])
    truths = (a / (a + b), truth_all, truth_any)
    for _ in range(runs):
        tallies = [Tally(int(right), 6) for right in rng.binomial(6, rng.beta(a, b, size=50))]
        found = (share_right(tallies), pass_all(tallies, k), pass_at(tallies, k))
        held += [float(one.low or 0) <= truth <= float(one.high or 0) for one, truth in zip(found, truths, strict=True)]
    assert ((held / runs > 0.92) & (held / runs < 0.99)).all(), held / runs

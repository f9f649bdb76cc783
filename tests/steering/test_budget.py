"""The budget over recipes: bandits with known arms, and rules that hold in every round."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gainloop.steering.budget import FLOOR, GROWTH, Belief, Purse, belief_of, chances_of_best, share_out, split_budget
from schemas.figure import Figure

ARMS = (1.0, 0.8, 0.5, 0.2)
NOISE = 1.0
ROUNDS = 100
RUNS = 500


def textbook_regret(rng: np.random.Generator) -> float:
    """Return the regret of Thompson sampling as books have it: draw from each posterior, pull the largest."""
    sums, pulls = np.array([rng.normal(mean, NOISE) for mean in ARMS]), np.ones(len(ARMS))
    regret = 0.0
    for _ in range(ROUNDS):
        arm = int(np.argmax(rng.normal(sums / pulls, NOISE / np.sqrt(pulls))))
        regret += max(ARMS) - ARMS[arm]
        sums[arm] += rng.normal(ARMS[arm], NOISE)
        pulls[arm] += 1
    return regret


def our_regret(rng: np.random.Generator, floor: float, growth: float) -> tuple[float, list[dict[str, float]]]:
    """Return the regret of shares, and the shares: a share of a pull is measured with as much less precision."""
    names = [str(number) for number in range(len(ARMS))]
    beliefs = {name: Belief(rng.normal(mean, NOISE), NOISE**2) for name, mean in zip(names, ARMS, strict=True)}
    regret, shares, seen = 0.0, None, []
    for _ in range(ROUNDS):
        shares = split_budget(beliefs, shares, floor, growth)
        seen.append(shares)
        regret += sum(share * (max(ARMS) - mean) for share, mean in zip(shares.values(), ARMS, strict=True))
        for name, mean in zip(names, ARMS, strict=True):
            variance = NOISE**2 / max(shares[name], 1e-6)
            beliefs[name] = beliefs[name].after(Belief(rng.normal(mean, np.sqrt(variance)), variance))
    return regret, seen


@pytest.fixture(scope="module")
def bound() -> list[tuple[float, list[dict[str, float]]]]:
    """Regret and shares of every run under floor and growth."""
    rng = np.random.default_rng(1)
    return [our_regret(rng, FLOOR, GROWTH) for _ in range(RUNS)]


@pytest.fixture(scope="module")
def free() -> float:
    """Mean regret of shares that nothing bounds."""
    rng = np.random.default_rng(0)
    return float(np.mean([our_regret(rng, 0.0, 1e9)[0] for _ in range(RUNS)]))


def test_regret_is_that_of_textbook_thompson_sampling(free: float) -> None:
    rng = np.random.default_rng(3)
    textbook = float(np.mean([textbook_regret(rng) for _ in range(RUNS)]))
    assert free == pytest.approx(textbook, rel=0.1)


def test_floor_and_growth_cost_no_more_than_the_floor_itself(
    free: float, bound: list[tuple[float, list[dict[str, float]]]]
) -> None:
    floor = ROUNDS * FLOOR * sum(max(ARMS) - mean for mean in ARMS)
    assert free < np.mean([regret for regret, _ in bound]) < free + floor


finite = st.floats(-1e3, 1e3, allow_nan=False)
arms = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.none() | st.builds(Belief, finite, st.floats(1e-9, 1e6)),
    min_size=1,
    max_size=12,
)


@given(arms, st.floats(0, 0.5), st.floats(1, 4), st.data())
@settings(max_examples=500)
def test_shares_keep_floor_and_growth_whatever_was_measured(
    beliefs: dict[str, Belief | None], floor: float, growth: float, data: st.DataObject
) -> None:
    even = 1 / len(beliefs)
    weights = {name: data.draw(st.floats(max(0.01, min(floor, even)), 1)) for name in beliefs}
    before = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    shares = split_budget(beliefs, before, floor, growth)
    assert sum(shares.values()) == pytest.approx(1)
    for name, share in shares.items():
        assert share >= min(floor, even) - 1e-6
        assert share <= max(growth * before[name], min(floor, even)) + 1e-6


@given(st.integers(0, 10**9), arms)
def test_what_is_shared_out_is_never_more_than_there_is(tokens: int, beliefs: dict[str, Belief | None]) -> None:
    assert sum(share_out(tokens, split_budget(beliefs)).values()) <= tokens


def test_rules_hold_in_every_round_of_every_run(bound: list[tuple[float, list[dict[str, float]]]]) -> None:
    for _, seen in bound:
        for before, after in pairwise(seen):
            assert all(after[name] >= FLOOR - 1e-9 for name in after)
            assert all(after[name] <= GROWTH * before[name] + 1e-9 for name in after)


def test_chances_are_those_of_draws() -> None:
    beliefs = {"a": Belief(1.0, 0.04), "b": Belief(0.9, 0.25), "c": Belief(0.2, 0.01)}
    rng = np.random.default_rng(0)
    draws = np.stack([rng.normal(one.mean, np.sqrt(one.variance), 200_000) for one in beliefs.values()])
    drawn = np.bincount(draws.argmax(axis=0), minlength=3) / 200_000
    assert list(chances_of_best(beliefs).values()) == pytest.approx(drawn, abs=0.005)


def test_an_interval_becomes_a_belief_for_a_thousand_tokens() -> None:
    gain = Figure(
        value=2, low=0.04, high=3.96, n=9, clusters=9, dropped=0, unit="points", status="ok", definition="made up"
    )
    found = belief_of(gain, 4_000, 1_000)
    assert found is not None
    assert (found.mean, found.variance) == (pytest.approx(0.5), pytest.approx(0.25**2, rel=1e-3))
    assert belief_of(gain, 0, 1_000) is None
    assert belief_of(gain.model_copy(update={"low": None, "high": None}), 4_000, 1_000) is None


def test_a_loss_does_not_look_smaller_where_more_was_spent() -> None:
    lost = Figure(
        value=-8, low=-26, high=10, n=9, clusters=9, dropped=0, unit="points", status="ok", definition="made up"
    )
    less, more = belief_of(lost, 15_000, 30_000), belief_of(lost, 45_000, 30_000)
    assert less == more
    shares = split_budget({"less": less, "more": more}, {"less": 0.25, "more": 0.75})
    assert shares == pytest.approx({"less": 0.5, "more": 0.5})


def test_what_was_believed_fades() -> None:
    before, seen = Belief(4.0, 1.0), Belief(0.0, 1.0)
    assert before.after(seen) == Belief(2.0, 0.5)
    assert before.after(seen, fading=0.5).mean == pytest.approx(4 / 3)


def test_a_purse_counts_the_dearest_tokens_until_prices_are_paid() -> None:
    assert Purse(1_000).left == 1_000
    assert Purse(1_000, money=1.0, dearest=0.002).left == 500
    assert Purse(1_000, money=1.0, dearest=0.002, spent_tokens=700, spent_money=0.2).left == 300
    assert Purse(1_000, money=1.0, dearest=0.002, spent_tokens=100, spent_money=0.9).left == 49
    assert Purse(1_000, spent_tokens=1_100).left == 0


def test_no_recipe_is_no_budget() -> None:
    with pytest.raises(ValueError, match="there is no recipe"):
        split_budget({})

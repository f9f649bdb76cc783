"""The budget of a round, shared out over recipes by what their text was measured to gain for its tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from schemas.figure import Figure

FLOOR: Final = 0.1
"""Share of a round's tokens that every recipe has, so that what looked bad once is measured again."""

GROWTH: Final = 2.0
"""Times that the share of a recipe may grow from one round to the next."""

STEPS: Final = np.linspace(-6.0, 6.0, 601)
DENSITY: Final = np.exp(-0.5 * STEPS**2)
NORMAL_95: Final = 1.959964
ALMOST_NONE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of the gain of a recipe for 1,000 tokens: a Gaussian.

    Attributes:
        mean: Points, or nats, for 1,000 tokens.
        variance: Square of the standard error.
    """

    mean: float
    variance: float

    def after(self, seen: "Belief", fading: float = 1.0) -> "Belief":
        """Return the belief after one more measurement.

        Args:
            seen: The measurement, with the variance that its interval stands for.
            fading: Weight that what was believed before still has, from 0 to 1: later rounds gain less.
        """
        old, new = fading / self.variance, 1 / seen.variance
        return Belief((old * self.mean + new * seen.mean) / (old + new), 1 / (old + new))


def belief_of(gain: Figure, cost_tokens: int, even_tokens: float) -> Belief | None:
    """Return what one measured gain says of a recipe; None where it has no interval, or nothing was spent.

    A loss is divided by as many tokens whatever its text took: by its own it would look smaller the more was spent.

    Args:
        gain: Gain of a probe run with its 95 % interval.
        cost_tokens: Tokens that the text cost in full: generated, thrown away, scored and judged.
        even_tokens: Tokens that each recipe of the round cost in the mean.
    """
    if gain.value is None or gain.low is None or gain.high is None or cost_tokens <= 0:
        return None
    error = max((gain.high - gain.low) / 2 / NORMAL_95, ALMOST_NONE)
    tokens = cost_tokens if gain.value > 0 else even_tokens
    return Belief(1_000 * gain.value / tokens, (1_000 * error / tokens) ** 2)


def chances_of_best(beliefs: Mapping[str, Belief]) -> dict[str, float]:
    """Return the probability that each recipe gains most: how often Thompson sampling would choose it.

    No number is drawn: P(i is best) is the integral of i's density times the others' distribution functions.

    >>> chances_of_best({"a": Belief(1.0, 4.0), "b": Belief(1.0, 4.0)})
    {'a': 0.5, 'b': 0.5}

    Source: Thompson 1933, by quadrature in place of draws.
    """
    from scipy.special import ndtr  # half a second of every command line that steers nothing

    means = np.array([one.mean for one in beliefs.values()])
    errors = np.sqrt([one.variance for one in beliefs.values()])
    at = (means + errors * STEPS[:, None])[:, :, None]
    below = ndtr((at - means) / errors)  # [step, recipe, other]
    below[:, range(len(means)), range(len(means))] = 1
    chances = DENSITY @ below.prod(axis=2)
    shares = chances / chances.sum()
    return {name: round(float(share), 9) for name, share in zip(beliefs, shares, strict=True)}


def split_budget(
    beliefs: Mapping[str, Belief | None],
    before: Mapping[str, float] | None = None,
    floor: float = FLOOR,
    growth: float = GROWTH,
) -> dict[str, float]:
    """Return each recipe's share of the next round's tokens; shares add up to 1.

    Each has its chance of being the best, but no less than the floor, and no more than ``growth`` times the share that
    it had. Recipes that were not measured yet have an even share.

    Args:
        beliefs: What is known of each recipe that is still in; None where nothing is.
        before: Shares of the round before; recipes that have been dropped since are left out. Default: even shares.
        floor: Least share of each; where that is too much for so many, even shares.
        growth: Largest factor by which a share grows.

    Raises:
        ValueError: There is no recipe.
    """
    if not beliefs:
        raise ValueError("splitting a budget: there is no recipe; one at least is needed. Stop the loop instead.")
    even = 1 / len(beliefs)
    known = {name: one for name, one in beliefs.items() if one is not None}
    chances = chances_of_best(known) if known else {}
    measured = even * len(known)
    wanted = [ALMOST_NONE + (measured * chances[name] if name in chances else even) for name in beliefs]
    had = [(before or {}).get(name, even) for name in beliefs]
    least = [min(floor, even)] * len(had)
    most = [max(growth * share / sum(had), low) for share, low in zip(had, least, strict=True)]
    return dict(zip(beliefs, _between(wanted, least, most), strict=True))


def _between(wanted: list[float], least: list[float], most: list[float]) -> list[float]:
    """Return shares in proportion to what is wanted, each within its bounds, that add up to 1.

    Shares are all multiplied by one factor and cut at their bounds; their sum grows with the factor.
    """

    def shares(factor: float) -> list[float]:
        return [min(max(factor * share, low), high) for share, low, high in zip(wanted, least, most, strict=True)]

    low, high = 0.0, max(bound / share for share, bound in zip(wanted, most, strict=True))
    for _ in range(60):
        factor = (low + high) / 2
        low, high = (low, factor) if sum(shares(factor)) > 1 else (factor, high)
    found = shares(low)
    return [share / sum(found) for share in found]


def share_out(tokens: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Return whole tokens for each share; their sum is never above what there is.

    >>> share_out(1_000, {"a": 2 / 3, "b": 1 / 3})
    {'a': 666, 'b': 333}
    """
    return {name: int(tokens * share) for name, share in shares.items()}


@dataclass(frozen=True, slots=True)
class Purse:
    """What a loop may spend, and what it has spent: tokens, and money where prices are known.

    Attributes:
        tokens: Tokens that may be spent in all.
        money: Money that may be spent in all; None for no limit.
        dearest: Price of the dearest token, in the currency of ``money``.
    """

    tokens: int
    money: float | None = None
    dearest: float = 0.0
    spent_tokens: int = 0
    spent_money: float = 0.0

    @property
    def left(self) -> int:
        """Tokens that may still be spent, were all of them of the dearest kind."""
        left = self.tokens - self.spent_tokens
        if self.money is not None and self.dearest > 0:
            left = min(left, int((self.money - self.spent_money) / self.dearest))
        return max(0, left)

"""What is known of loops that train on their own text: expected values that can be derived, and their constants."""

from functools import cache
from typing import Final

from schemas.collapse import Setting, Way

INPUTS, ROWS = 20, 100
"""Linear regression: d and T; the noise of answers has variance 1."""

FIRST_ERROR: Final = INPUTS / (ROWS - INPUTS - 1)
"""Expected squared distance of a fit to real data from the truth: the trace of an inverse Wishart matrix."""

COORDINATES, POINTS = 7, 89
"""Gaussian fitting: d and n of the released code of Collapse or Thrive."""

VERIFIED_ROWS: Final = 500
"""Rows a round that a verifier passes: as of text, there are more than of the real data."""

PULL: Final = 0.2
"""Part of the way from the generator to the verifier's centre by which the mean of what passes has moved."""

SQUARED_WIDTH: Final = (1 - PULL) / PULL
"""Variance of the verifier's Gaussian window where answers have variance 1: the pull is 1 / (1 + it)."""

WRONG: Final = 1.0
"""Squared distance of the wrong verifier's centre from the truth: as far as a fit to the real data is."""


def expect(setting: Setting, way: Way, generation: int) -> float | None:
    """Return the expected value after a round, exact for these sizes; None where only the simulation says it."""
    if setting in ("spread", "centre"):
        spread, centre = fitted(way, generation)
        return spread if setting == "spread" else centre
    if setting == "verifier":
        return verified(way, generation)
    return {"replace": float(generation), "accumulate": accumulated(generation)}.get(way)


def accumulated(generation: int, num_inputs: int = INPUTS, num_rows: int = ROWS) -> float:
    """Return the error of linear regression on all rounds' rows, by that of the first.

    With A the products of all inputs so far, B those of round i and e their noise, w_i = w_(i-1) + A^-1 X_i' e: every
    round adds E tr(A^-1 B A^-1) = E tr(A^-1) / i = d / (i (i T - d - 1)), since rounds can be exchanged. Were inputs
    the same each round it would add 1 / i^2 of the first, pi^2 / 6 in all; new ones add no more.
    """
    first = num_rows - num_inputs - 1
    return sum(first / (i * (i * num_rows - num_inputs - 1)) for i in range(1, generation + 1))


@cache
def fitted(way: Way, generation: int) -> tuple[float, float]:
    """Return the expected spread (by the true one) and squared error of the mean (in variances) of Gaussian fitting.

    Replace: (1 - 1/n)^t and d (1 - (1 - 1/n)^t). The others step by step, per coordinate, from linearity alone: rows
    have the mean M_t = M_(t-1) + (s_(t-1) + z_t) / t, s what the fitted mean lies from M, z the mean of new noise, all
    uncorrelated; s is 0 where all rows are read, and has variance (1 - 1/t) S / n of n of them, S their variance with
    n t - 1 below it. New rows add the fitted mean's square and the fitted variance to the mean of squares.
    """
    n = POINTS
    if way == "replace":
        spread = (1 - 1 / n) ** generation
        return spread, COORDINATES * (1 - spread)
    squares, centre, spread, shift = 1.0, 0.0, 1.0, 0.0
    for t in range(1, generation + 1):
        squares += (centre + shift + spread - squares) / t if t > 1 else 0.0
        centre += (shift + spread / n) / t**2
        variance = squares - centre
        if way == "accumulate":
            spread = variance
        else:
            of_rows = variance * n * t / (n * t - 1)
            spread, shift = of_rows * (1 - 1 / n), of_rows * (1 - 1 / t) / n
    return spread, COORDINATES * (centre + shift)


def verified(way: Way, generation: int) -> float | None:
    """Return the error of linear regression on the last round's rows, each of which a verifier has passed.

    What passes of N(x w, 1) through a Gaussian window about x v is N(x (a w + (1 - a) v), a), a = 1 - ``PULL``. So
    from the truth the mean of w goes to v as 1 - a^(t-1), and the variance V to a^2 V + a d / (T' - d - 1). On all
    rounds' rows the distance from v falls by about 1 - PULL / t each round, so it goes there as a power of t: how far
    its error is then, only the simulation says.
    """
    centre, pull = {"replace": (0.0, 0.0), "right verifier": (0.0, PULL), "wrong verifier": (WRONG, PULL)}.get(
        way, (None, 0.0)
    )
    if centre is None:
        return None
    stays, variance = 1 - pull, 1.0
    for _ in range(generation - 1):
        variance = stays**2 * variance + stays * (ROWS - INPUTS - 1) / (VERIFIED_ROWS - INPUTS - 1)
    return (1 - stays ** (generation - 1)) ** 2 * centre + variance

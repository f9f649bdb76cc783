"""Growth of a share with text: a line in the log of the text, or C - sum of a_k r_k^x, which ends in a plateau.

With noise of a third of a point, ten points of a true mixture leave its plateau anywhere. So it is at most 100 %, a
criterion has to want it, and its interval is the profile of its likelihood, or none where that reaches 100 %. The slope
of the line is stable.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from gainloop.measures.intervals import Floats, t_quantile

MOST_TERMS: Final = 3
MOST: Final = 100.0
"""The highest plateau that there can be, in per cent."""

NUM_DECAYS: Final = 20
"""Decays that are tried before the best of them are refined."""

EXACT: Final = 1e-5
"""Percentage points below which residuals are arithmetic and no noise."""


@dataclass(frozen=True, slots=True)
class Exponentials:
    """One fitted mixture.

    Attributes:
        plateau: C, in per cent, at most 100.
        amplitudes: [terms] a_k, in percentage points, 0 or more.
        decays: [terms] -log r_k for each unit of x, above 0.
        squares: Weighted sum of squared residuals, in squared percentage points.
    """

    plateau: float
    amplitudes: Floats
    decays: Floats
    squares: float

    def at(self, x: ArrayLike) -> Floats:
        """Return the mixture's values, in per cent."""
        return np.asarray(self.plateau - np.exp(-np.outer(np.asarray(x, dtype=float), self.decays)) @ self.amplitudes)


@dataclass(frozen=True, slots=True)
class Growth:
    """Points that a curve is fitted to.

    Attributes:
        x: [points] Positive, rising, at least two.
        y: [points] Per cent.
        weights: [points] Weight of each squared residual.
    """

    x: Floats
    y: Floats
    weights: Floats

    def slope_row(self) -> Floats:
        """Return what each point counts for in the slope by the log of x."""
        logs, weights = np.log(self.x), self.weights / self.weights.sum()
        centred = logs - weights @ logs
        return np.asarray(weights * centred / (weights @ centred**2))

    def line_rows(self, x: Floats) -> Floats:
        """Return what each point counts for in the line's values at x: [points, places]."""
        weights = self.weights / self.weights.sum()
        return np.asarray(weights[:, None] + np.outer(self.slope_row(), np.log(x) - weights @ np.log(self.x)))

    def choose(self) -> Exponentials | None:
        """Return the mixture that the criterion wants; None where a line in the log does as well.

        Terms are added as long as each is wanted over one fewer.
        """
        left = self.y - self.y @ self.line_rows(self.x)
        best, least = None, np.inf
        for num_terms in range(1, MOST_TERMS + 1):
            if np.isinf(self.aicc(1.0, 2 * num_terms + 1)):
                break
            found = self.fit(num_terms)
            if (criterion := self.aicc(found.squares, 2 * num_terms + 1)) >= least:
                break
            best, least = found, criterion
        return best if least < self.aicc(float(self.weights @ left**2), 2) else None

    def fit(self, num_terms: int, plateau: float | None = None, near: Floats | None = None) -> Exponentials:
        """Return the mixture with the smallest squares.

        Of given decays all else is linear, and with 100 - y = (100 - C) + sum a_k r_k^x no coefficient is below 0. So
        decays alone are searched for: the best of a grid, then refined.

        Args:
            num_terms: Number of exponentials.
            plateau: C, if it is held fast; default: it is fitted.
            near: Decays to begin at, if the best are known to be near them; default: a grid's best.

        Source: Golub & Pereyra 1973 for variable projection; Lawson & Hanson 1974 for non-negative least squares.
        """
        from scipy.optimize import least_squares

        low, high = self._bounds()
        starts = self._best_of_grid(num_terms, plateau) if near is None else [np.clip(np.log(near), low, high)]
        found = [
            least_squares(lambda logs: self._project(np.exp(logs), plateau)[1], start, bounds=(low, high), xtol=1e-12)
            for start in starts
        ]
        return self._mixture(np.exp(min(found, key=lambda one: float(one.cost)).x), plateau)

    def profile(self, best: Exponentials) -> tuple[float, float] | None:
        """Return the 95 % interval of the plateau by the profile of its likelihood, or None where it reaches 100 %.

        Source: Wilks 1938; with F in the place of chi squared, since the noise is estimated of few points.
        """
        from scipy.optimize import brentq

        num_terms, degrees = len(best.decays), len(self.x) - 2 * len(best.decays) - 1
        least = max(best.squares, len(self.x) * EXACT**2)
        limit = least * (1 + t_quantile(degrees) ** 2 / degrees) if degrees > 0 else np.inf

        def beyond(plateau: float) -> float:
            return self.fit(num_terms, plateau).squares - limit

        if best.plateau >= MOST or beyond(MOST) <= 0:
            return None
        lowest = float(self.y.min())
        low = lowest if beyond(lowest) <= 0 else brentq(beyond, lowest, best.plateau, xtol=1e-3)
        return float(low), float(brentq(beyond, best.plateau, MOST, xtol=1e-3))

    def aicc(self, squares: float, num_parameters: int) -> float:
        """Return Akaike's criterion for few points, infinite where they are too few for so many parameters.

        Args:
            squares: Weighted sum of squared residuals.
            num_parameters: Parameters that were fitted; the noise is one more.

        Source: Hurvich & Tsai 1989.
        """
        n, k = len(self.x), num_parameters + 1
        noise = max(squares / n, EXACT**2)
        return float(n * np.log(noise) + 2 * k + 2 * k * (k + 1) / (n - k - 1)) if n > k + 1 else np.inf

    def _bounds(self) -> tuple[float, float]:
        """Return the logs of the slowest decay, a straight line over all points, and the fastest, over at the first."""
        return float(np.log(0.01 / self.x.max())), float(np.log(10 / self.x.min()))

    def _best_of_grid(self, num_terms: int, plateau: float | None, number: int = 3) -> list[Floats]:
        grid = np.linspace(*self._bounds(), NUM_DECAYS)
        chosen = [np.array(logs) for logs in combinations(grid, num_terms)]
        return sorted(chosen, key=lambda logs: float((self._project(np.exp(logs), plateau)[1] ** 2).sum()))[:number]

    def _project(self, decays: Floats, plateau: float | None) -> tuple[Floats, Floats]:
        """Return the best coefficients of given decays, and what they leave of each point, weighted.

        The last coefficient is 100 - C, unless C is held fast.
        """
        from scipy.optimize import nnls

        columns = np.exp(-np.outer(self.x, decays))
        if plateau is None:
            columns = np.column_stack([columns, np.ones_like(self.x)])
        missing, root = (MOST if plateau is None else plateau) - self.y, np.sqrt(self.weights)
        coefficients, _ = nnls(columns * root[:, None], missing * root)
        return coefficients, (columns @ coefficients - missing) * root

    def _mixture(self, decays: Floats, plateau: float | None) -> Exponentials:
        coefficients, left = self._project(decays, plateau)
        top = float(MOST - coefficients[-1]) if plateau is None else plateau
        return Exponentials(top, coefficients[: len(decays)], decays, float(left @ left))

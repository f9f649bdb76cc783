"""Loops that train each round on text of the rounds before, in linear regression and Gaussian fitting, beside what is
known of them: replace, accumulate, subsample, and a verifier with a centre of its own."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from gainloop.measures.estimate import Floats, as_figure, mean_of
from gainloop.studies import collapse_known as known
from schemas.collapse import Collapse, CollapsePoint, Setting, Way

RUNS_AT_ONCE: Final = 100
"""Runs that are computed together: the rows that they keep take 50 MB."""

LONG, SHORT = (1, 2, 5, 10, 20, 50, 100), (1, 2, 3, 4, 5, 7, 10, 14, 20)
"""Rounds that are told, of Gaussian fitting and of linear regression."""

DEFINITIONS: Final[dict[Setting, tuple[str, str]]] = {
    "regression": (
        "squared distance of the fitted line from the true one, by what is expected of the first round: "
        "sigma^2 d / (T - d - 1)",
        "times the first round's",
    ),
    "spread": ("trace of the fitted covariance by that of the true one", "share"),
    "centre": ("squared distance of the fitted mean from the true one, in true variances of a coordinate", "variances"),
    "verifier": (
        "as in regression, with 500 rows a round after the first, each of which a verifier has passed",
        "times the first round's",
    ),
}
"""By setting: what is measured, and its unit; means over runs, with intervals over runs."""


@dataclass(frozen=True, slots=True)
class Loop:
    """One way to go on.

    Attributes:
        way: Name of the way.
        keeps: What a round is trained on: the last round's rows, all rows so far, or as many of all as a round has.
        verifier: Squared distance of the verifier's centre from the truth, by the error that is expected of the first
            round; None without a verifier.
    """

    way: Way
    keeps: Literal["last", "all", "sample"]
    verifier: float | None = None


PLAIN: Final = (Loop("replace", "last"), Loop("accumulate", "all"), Loop("subsample", "sample"))
VERIFIED: Final = (
    Loop("replace", "last"),
    Loop("right verifier", "last", 0.0),
    Loop("wrong verifier", "last", known.WRONG),
    Loop("wrong verifier, accumulate", "all", known.WRONG),
)


class Learner(ABC):
    """What is fitted. A fit is known by sums of products of its rows, and the truth is that of all coordinates 0 (and
    variances 1): no error depends on where it lies."""

    rounds: tuple[int, ...]

    @abstractmethod
    def start(self, num_runs: int) -> Floats:
        """Return the truth as a fit, once a run."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, num_runs: int, generation: int) -> Floats:
        """Return the chance in the rows of a round, [runs, rows, ...]: all ways share it."""

    @abstractmethod
    def write(self, rng: np.random.Generator, chance: Floats, fit: Floats, verifier: float | None) -> Floats:
        """Return rows that a fit generates, [runs, rows, columns]."""

    @abstractmethod
    def fit(self, products: Floats) -> Floats:
        """Return the fit to rows by the sums of their products, [runs, columns, columns]."""

    @abstractmethod
    def measure(self, fit: Floats) -> dict[Setting, Floats]:
        """Return what is told of each run's fit."""


@dataclass(frozen=True, slots=True)
class Regression(Learner):
    """Least squares on inputs that are new each round; a row is an input and its answer.

    Attributes:
        setting: Name of the setting.
        num_rows: Rows of every round after the first, which has ``known.ROWS``.
    """

    setting: Setting
    num_rows: int
    rounds = SHORT

    def start(self, num_runs: int) -> Floats:
        return np.zeros((num_runs, known.INPUTS, 1))

    def draw(self, rng: np.random.Generator, num_runs: int, generation: int) -> Floats:
        num_rows = known.ROWS if generation == 1 else self.num_rows
        return rng.standard_normal((num_runs, num_rows, known.INPUTS + 1))

    def write(self, rng: np.random.Generator, chance: Floats, fit: Floats, verifier: float | None) -> Floats:
        inputs, expected = chance[..., :-1], chance[..., :-1] @ fit
        answers = expected + chance[..., -1:]
        if verifier is not None:
            wanted = inputs[..., :1] * np.sqrt(verifier * known.FIRST_ERROR)
            _ask_until_passed(rng, answers.reshape(-1), expected.reshape(-1), wanted.reshape(-1))
        return np.concatenate([inputs, answers], axis=-1)

    def fit(self, products: Floats) -> Floats:
        return np.asarray(np.linalg.solve(products[:, :-1, :-1], products[:, :-1, -1:]))

    def measure(self, fit: Floats) -> dict[Setting, Floats]:
        return {self.setting: np.square(fit).sum(axis=(1, 2)) / known.FIRST_ERROR}


@dataclass(frozen=True, slots=True)
class Fitting(Learner):
    """A Gaussian by its mean and biased covariance; a row is a 1 and a point.

    A fit is [runs, 1 + coordinates, coordinates]: the mean, and below it the transposed root of the covariance.
    """

    rounds = LONG

    def start(self, num_runs: int) -> Floats:
        whole = np.concatenate([np.zeros((1, known.COORDINATES)), np.eye(known.COORDINATES)])
        return np.tile(whole, (num_runs, 1, 1))

    def draw(self, rng: np.random.Generator, num_runs: int, generation: int) -> Floats:
        chance = rng.standard_normal((num_runs, known.POINTS, 1 + known.COORDINATES))
        chance[..., 0] = 1
        return chance

    def write(self, rng: np.random.Generator, chance: Floats, fit: Floats, verifier: float | None) -> Floats:
        return np.concatenate([chance[..., :1], chance @ fit], axis=-1)

    def fit(self, products: Floats) -> Floats:
        moments = products[:, :, 1:] / products[:, :1, :1]
        mean = moments[:, :1]
        root = np.linalg.cholesky(moments[:, 1:] - mean.swapaxes(1, 2) @ mean)
        return np.concatenate([mean, root.swapaxes(1, 2)], axis=1)

    def measure(self, fit: Floats) -> dict[Setting, Floats]:
        squares = np.square(fit)
        return {"spread": squares[:, 1:].sum(axis=(1, 2)) / known.COORDINATES, "centre": squares[:, 0].sum(axis=1)}


def _ask_until_passed(rng: np.random.Generator, answers: Floats, expected: Floats, wanted: Floats) -> None:
    """Put in the place of every answer that the verifier refuses another one, until it passes.

    It passes an answer with probability exp(-(answer - wanted)^2 / (2 width^2)). What passes is Gaussian then, and its
    mean has come ``known.PULL`` of the way to the verifier's centre.
    """
    waiting = np.arange(len(answers))
    while waiting.size:
        apart = answers[waiting] - wanted[waiting]
        waiting = waiting[rng.random(waiting.size) >= np.exp(-0.5 * apart**2 / known.SQUARED_WIDTH)]
        answers[waiting] = expected[waiting] + rng.standard_normal(waiting.size)


def draw_without_return(rng: np.random.Generator, num_runs: int, num_all: int, num_drawn: int) -> NDArray[np.intp]:
    """Return places of rows, [runs, drawn], none twice in a run: those drawn twice are drawn again."""
    if num_drawn == num_all:
        return np.tile(np.arange(num_all), (num_runs, 1))
    places = rng.integers(num_all, size=(num_runs, num_drawn))
    while True:
        places.sort(axis=1)
        is_twice = np.zeros(places.shape, dtype=bool)
        is_twice[:, 1:] = places[:, 1:] == places[:, :-1]
        if not is_twice.any():
            return places
        places[is_twice] = rng.integers(num_all, size=int(is_twice.sum()))


class _Kept:
    """The rows of the rounds so far, as one way keeps them."""

    def __init__(self, keeps: str, num_rounds: int) -> None:
        self.keeps, self.num_rounds = keeps, num_rounds
        self.num_rows = 0
        self.products: Floats = np.zeros(1)
        self.rows: Floats = np.zeros(1)

    def add(self, rng: np.random.Generator, rows: Floats) -> Floats:
        """Return the sums of products of the rows to train on, now that these have come."""
        if self.keeps == "last":
            return _products(rows)
        if self.keeps == "all":
            self.products = self.products + _products(rows)
            return self.products
        num_runs, num_new, num_columns = rows.shape
        if not self.num_rows:
            self.rows = np.empty((num_runs, self.num_rounds * num_new, num_columns))
        self.rows[:, self.num_rows : self.num_rows + num_new] = rows
        self.num_rows += num_new
        drawn = draw_without_return(rng, num_runs, self.num_rows, num_new)
        return _products(self.rows[np.arange(num_runs)[:, None], drawn])


def _products(rows: Floats) -> Floats:
    return np.asarray(rows.swapaxes(1, 2) @ rows)


def run_loops(
    rng: np.random.Generator, learner: Learner, loops: tuple[Loop, ...], num_runs: int
) -> dict[tuple[Setting, Way, int], Floats]:
    """Return what each way comes to after each round that is told, run by run."""
    last = max(learner.rounds)
    fits = {loop: learner.start(num_runs) for loop in loops}
    kept = {loop: _Kept(loop.keeps, last) for loop in loops}
    found: dict[tuple[Setting, Way, int], Floats] = {}
    for generation in range(1, last + 1):
        chance = learner.draw(rng, num_runs, generation)
        for loop in loops:
            verifier = None if generation == 1 else loop.verifier  # real data are as they are
            rows = learner.write(rng, chance, fits[loop], verifier)
            fits[loop] = learner.fit(kept[loop].add(rng, rows))
            if generation in learner.rounds:
                measured = learner.measure(fits[loop]).items()
                found |= {(setting, loop.way, generation): values for setting, values in measured}
    return found


LEARNERS: Final = (
    (Regression("regression", known.ROWS), PLAIN, 1000),
    (Fitting(), PLAIN, 1000),
    (Regression("verifier", known.VERIFIED_ROWS), VERIFIED, 400),
)
"""What is fitted, in which ways, and in how many runs."""


def simulate_collapse(seed: int) -> Collapse:
    """Return what becomes of every loop, with 95 % intervals over runs, beside what is known of it."""
    found: dict[tuple[Setting, Way, int], list[Floats]] = {}
    for place, (learner, loops, num_runs) in enumerate(LEARNERS):
        for block in range(num_runs // RUNS_AT_ONCE):
            rng = np.random.default_rng([seed, place, block])
            for key, values in run_loops(rng, learner, loops, RUNS_AT_ONCE).items():
                found.setdefault(key, []).append(values)
    points = [_point(*key, np.concatenate(values)) for key, values in found.items()]
    order = list(DEFINITIONS)
    points.sort(key=lambda point: order.index(point.setting))
    return Collapse(headline=_headline(points), seed=seed, points=points)


def _point(setting: Setting, way: Way, generation: int, values: Floats) -> CollapsePoint:
    definition, unit = DEFINITIONS[setting]
    value = as_figure(mean_of(values, np.arange(len(values)), unit), f"{definition}; mean over runs")
    expected = known.expect(setting, way, generation)
    assert value.low is not None
    assert value.high is not None
    is_held = None if expected is None else bool(value.low <= expected <= value.high)
    return CollapsePoint(setting=setting, way=way, generation=generation, value=value, known=expected, is_held=is_held)


def _headline(points: list[CollapsePoint]) -> str:
    """Return what the simulation says for a loop, in one sentence."""
    values = {(point.setting, point.way, point.generation): point.value for point in points}
    last = max(SHORT)
    replaced, kept = (values["regression", way, last] for way in ("replace", "accumulate"))
    wrong = [values["verifier", "wrong verifier", generation] for generation in SHORT]
    best = min(range(len(wrong)), key=lambda place: wrong[place].value or 0.0)
    return (
        "Train each round from the start, on all rounds' text and the real text: "
        f"after {last} rounds the error is {kept.number} {kept.interval} times that of the first round, "
        f"on the last round's text alone {replaced.number} {replaced.interval}; and let no filter judge the gain: one "
        f"that is a little wrong first lowers the error, to {wrong[best].number} in round {SHORT[best]}, then leads to "
        f"its own, {wrong[-1].number} in round {last}."
    )

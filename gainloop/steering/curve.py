"""The curve of knowledge: questions right against tokens of synthetic text, at beginnings of one stream.

Each point is a training of its own on the first so many tokens of one stream of shuffled documents, and is asked the
same questions. So points go together: what another choice of documents would change, it changes at all of them, and
much of it leaves the slope alone. Resamples of documents move all points at once; seeds move each by itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gainloop.measures.estimate import (
    ALL_ALIKE,
    ONE_SEED,
    TOO_FEW,
    Estimate,
    Floats,
    Ids,
    as_figure,
    is_flat,
    not_measured,
    over_seeds,
)
from gainloop.measures.growth import MOST, Exponentials, Growth
from gainloop.measures.intervals import resampled_means, resampled_seeds, tail_of
from schemas.curve import CANNOT_TELL, NO_PLATEAU, Curve, CurvePoint, LinePoint, in_words
from schemas.figure import Figure, words_of

REFITTED: Final = 400
"""Resamples that a mixture of exponentials is fitted to; of a line all are."""

FARTHEST: Final = 1_000
"""Times the tokens of the last point beyond which no number of tokens is told."""

POINTS_FOR_PLATEAU: Final = 8
"""With fewer the criterion hardly ever wants what levels off, whatever the truth; with these in 34 cases of 40."""

TWO_POINTS: Final = "two points: whether growth goes by the log of the tokens is not known; train on a third number"

RULE: Final = "resampled over documents, all points at once, and over seeds where there are several"

DEFINITIONS: Final = {
    "slope": f"least squares of the questions right on the log of the synthetic tokens, weighted by seeds; {RULE}",
    "one_more": f"where the fitted curve is a point above its value at the last tokens, less these; {RULE}",
    "plateau": "C of C - sum a_k r_k^x, by AICc; the wider of its likelihood's profile and resamples of documents",
    "forecast": f"the fitted curve at twice the last tokens, as trainings with as many seeds would show it; {RULE}",
}

Predict = Callable[[Floats, Floats], Floats]
"""Of points [draws, points] and tokens [places], the fitted curves' per cent right [draws, places]."""


def fit_curve(points: Mapping[int, ArrayLike], documents: Ids) -> Curve:
    """Return the curve through trainings on more and more of one stream of synthetic text.

    Args:
        points: By tokens of synthetic text, [seeds, questions] 1 for right, 0 for wrong, NaN for not asked. Questions
            that were not asked at every point are left out. 0 tokens, the start, is shown and no part of the fit.
        documents: [questions] Document of each question.

    Raises:
        ValueError: A number of tokens is negative, or a table is not of seeds by questions.

    Source: Yang et al. 2024, arXiv:2409.07431, for both forms. Differs: C is at most 100 %, and given only where the
    likelihood bounds it (Wilks 1938); AICc chooses the form; points are of the same questions.
    """
    answers = _Answers.of(points, documents)
    if why := answers.why_no_curve:
        return _no_curve(why, answers.shown())
    return _Fit(answers).curve()


@dataclass(frozen=True, slots=True)
class _Answers:
    """The questions that were asked at every point, and all points, with the fewest tokens first.

    Attributes:
        tokens: [points] Tokens of synthetic text.
        tables: [points] of [seeds, questions].
        documents: [questions] Document of each question that is used.
        num_dropped: Questions that were not asked at every point.
    """

    tokens: list[int]
    tables: list[Floats]
    documents: NDArray[Any]
    num_dropped: int

    @classmethod
    def of(cls, points: Mapping[int, ArrayLike], documents: Ids) -> "_Answers":
        names = np.asarray(documents)
        found = {tokens: _asked(tokens, points[tokens], len(names)) for tokens in sorted(points)}
        found = {tokens: table for tokens, table in found.items() if len(table)}
        is_used = np.ones(len(names), dtype=bool)
        for table in found.values():
            is_used &= np.isfinite(table).all(axis=0)
        tables = [table[:, is_used] for table in found.values()]
        return cls(list(found), tables, names[is_used], int((~is_used).sum()))

    @property
    def why_no_curve(self) -> str:
        if self.tokens and not len(self.documents):
            return "not measured: no question was asked at every point"
        if (number := len(self.trained)) < 2:
            trained = "one number" if number else "no number"
            return f"not measured: {trained} of synthetic tokens was trained on and asked; a line takes two"
        return ""

    @property
    def trained(self) -> list[int]:
        """Return the places of the points with synthetic text."""
        return [place for place, tokens in enumerate(self.tokens) if tokens]

    def shown(self) -> list[CurvePoint]:
        if not len(self.documents):
            return []
        definition = "questions right, of those asked at every point; interval over documents, and over seeds"
        estimates = [self._estimate(table) for table in self.tables]
        return [
            CurvePoint(tokens=tokens, right=as_figure(estimate, definition))
            for tokens, estimate in zip(self.tokens, estimates, strict=True)
        ]

    def _estimate(self, table: Floats) -> Estimate:
        found = over_seeds(table, self.documents, "share", is_share=True).mapped(lambda share: 100 * share, "%")
        return replace(found, num_dropped=self.num_dropped)


class _Fit:
    """The form that the points want, and how far resamples of documents and seeds move it."""

    def __init__(self, answers: _Answers) -> None:
        self.answers, places = answers, answers.trained
        self.shown = answers.shown()
        self.tokens = np.array([answers.tokens[place] for place in places], dtype=float)
        self.tables = [answers.tables[place] for place in places]
        self.seeds = np.array([len(table) for table in self.tables], dtype=float)
        self.right = 100 * np.array([table.mean() for table in self.tables])
        self.growth = Growth(self.tokens, self.right, self.seeds / self.seeds.mean())
        self.mixture = self.growth.choose()
        self.moved, self.again = self._resampled()
        self.status, self.tail = self._reliability()

    def curve(self) -> Curve:
        """Return all figures."""
        last = self.tokens[-1]
        line = np.geomspace(self.tokens[0], 2 * last, 33)
        ahead = np.geomspace(last, (1 + FARTHEST) * last, 400)
        predict = _line_of(self.growth) if self.mixture is None else _mixture_of(self.growth, self.mixture)
        drawn = self.moved if self.mixture is None else self.moved[:REFITTED]
        found = predict(np.vstack([self.right, drawn]), np.concatenate([line, ahead, [np.inf]]))
        on_line, beyond, ends = found[:, : len(line)], found[:, len(line) : -1], found[:, -1]
        slope = self._slope()
        figures = {
            "slope": slope,
            "one_more": self._one_more(slope, _tokens_to_next(beyond, ahead)),
            "plateau": self._plateau(ends),
            "forecast": self._forecast(on_line[:, -1]),
        }
        if slope.status == ALL_ALIKE:  # documents may differ and gain alike: what lies ahead is as little known
            figures["forecast"] = replace(figures["forecast"], low=None, high=None, status=ALL_ALIKE)
        return Curve(
            status="ok",
            num_terms=0 if self.mixture is None else len(self.mixture.decays),
            points=self.shown,
            line=[self._place(tokens, column) for tokens, column in zip(line, on_line.T, strict=True)],
            **{name: as_figure(estimate, DEFINITIONS[name]) for name, estimate in figures.items()},
        )

    def _slope(self) -> Estimate:
        drawn = np.vstack([self.right, self.moved]) @ self.growth.slope_row()
        found = self._estimate(drawn, "points/e-fold")
        has_width = not is_flat(float(np.ptp(drawn[1:])) / 2, MOST)
        return found if has_width or found.low is None else replace(found, low=None, high=None, status=ALL_ALIKE)

    def _one_more(self, slope: Estimate, tokens: Floats) -> Estimate:
        """Return the tokens for one more point, where more tokens are known to help and the number has an end."""
        found = self._estimate(tokens, "tokens")
        if slope.low is None or slope.high is None or slope.low <= 0 <= slope.high:
            has = "has no interval" if slope.low is None else "may be 0"
            return found.without_value(f"{CANNOT_TELL}: the gain of more tokens {has}")
        if slope.high < 0:
            return found.without_value("not measured: more tokens lower what is known")
        if found.value == np.inf:
            return found.without_value("not measured: the curve does not rise by a point any more")
        if found.high is not None and found.high == np.inf:
            return found.without_value(f"{CANNOT_TELL}: {in_words(found.low or 0)} at least, with no upper end")
        return found

    def _plateau(self, ends: Floats) -> Estimate:
        nothing = self._estimate(ends, "%")
        if self.mixture is None:
            number = len(self.tokens)
            few = f"{number} points; it takes about {POINTS_FOR_PLATEAU}" if number < POINTS_FOR_PLATEAU else ""
            return nothing.without_value(f"{NO_PLATEAU}: {few or 'a line in the log of the tokens does as well'}")
        profile = self.growth.profile(self.mixture)
        if profile is None or (nothing.high is not None and nothing.high >= MOST):
            return nothing.without_value(f"{NO_PLATEAU}: by these points it may be {MOST:.0f} %")
        if nothing.low is None or nothing.high is None:
            return nothing
        return replace(nothing, low=min(profile[0], nothing.low), high=max(profile[1], nothing.high))

    def _forecast(self, right: Floats) -> Estimate:
        """Return the share foretold; its interval holds what other seeds of that training would change too."""
        again = np.concatenate([[0.0], self.again[: len(right) - 1]])
        return self._estimate(np.clip(right + again, 0, MOST), "%")

    def _place(self, tokens: float, right: Floats) -> LinePoint:
        found = self._estimate(right, "%")
        return LinePoint(tokens=tokens, right=float(right[0]), low=found.low, high=found.high)

    def _estimate(self, drawn: Floats, unit: str) -> Estimate:
        """Return an estimate of what comes first, with an interval of the resamples after it."""
        low, high = (None, None)
        if not self.status.startswith(TOO_FEW):
            low, high = (float(end) for end in np.quantile(drawn[1:], [self.tail, 1 - self.tail], method="nearest"))
        return Estimate(
            float(drawn[0]),
            low,
            high,
            len(self.answers.documents),
            unit,
            self.status,
            len(np.unique(self.answers.documents)),
            self.answers.num_dropped,
            int(self.seeds.min()),
        )

    def _reliability(self) -> tuple[str, float]:
        """Return the status of all figures, and the share of resamples beyond either end of an interval."""
        whole = self.shown[-1].right
        if whole.status.startswith(TOO_FEW):
            return whole.status, 0.0
        if is_flat(float(np.ptp(self.moved, axis=0).max()) / 2, MOST):
            return ALL_ALIKE, 0.0
        notes = [TWO_POINTS] if len(self.tokens) == 2 else []
        notes += [ONE_SEED] if self.seeds.max() == 1 else []
        _, sizes = np.unique(self.answers.documents, return_counts=True)
        return "; ".join(notes) or "ok", tail_of(sizes / sizes.sum())

    def _resampled(self) -> tuple[Floats, Floats]:
        """Return the points of each resample, and what other seeds would add to one more training like the last."""
        rng = np.random.default_rng(0)
        moved = resampled_means(self.tables, self.answers.documents, rng)
        others = resampled_seeds(self.tables, self.answers.documents, rng)
        return 100 * (moved + others[:, :-1]), 100 * others[:, -1]


def _line_of(growth: Growth) -> Predict:
    def predict(right: Floats, tokens: Floats) -> Floats:
        return np.asarray(np.clip(right @ growth.line_rows(np.minimum(tokens, 1e300)), 0, MOST))

    return predict


def _mixture_of(growth: Growth, best: Exponentials) -> Predict:
    def predict(right: Floats, tokens: Floats) -> Floats:
        again = [replace(growth, y=y).fit(len(best.decays), near=best.decays) for y in right]
        return np.array([one.at(tokens) for one in again])

    return predict


def _tokens_to_next(right: Floats, tokens: Floats) -> Floats:
    """Return where each curve is a point above its first value, less the first tokens; infinite if it never is."""
    goals, logs = right[:, 0] + 1, np.log(tokens)
    rises = right[:, -1] >= goals
    after = np.argmax(right[rises] >= goals[rises, None], axis=1)
    below, above = (np.take_along_axis(right[rises], places[:, None], axis=1)[:, 0] for places in (after - 1, after))
    part = (goals[rises] - below) / (above - below)
    found = np.full(len(right), np.inf)
    found[rises] = np.exp((1 - part) * logs[after - 1] + part * logs[after]) - tokens[0]
    return found


def _asked(tokens: int, table: ArrayLike, num_questions: int) -> Floats:
    """Return the seeds of a point that were asked anything."""
    found = np.asarray(table, dtype=float)
    if tokens < 0 or found.ndim != 2 or found.shape[1] != num_questions:
        raise ValueError(
            f"fitting the curve at {tokens} synthetic tokens: a table of shape {found.shape} for {num_questions} "
            "questions with a document; tokens of 0 or more and [seeds, questions] are needed. Pass one row a seed."
        )
    return np.asarray(found[np.isfinite(found).any(axis=1)])


def _no_curve(why: str, points: list[CurvePoint]) -> Curve:
    """Return a curve without a line."""
    figures: dict[str, Figure] = {
        name: as_figure(replace(not_measured(words.unit, ""), status=why), "not measured")
        for name, words in words_of(Curve).items()
    }
    return Curve(status=why, num_terms=0, points=points, line=[], **figures)

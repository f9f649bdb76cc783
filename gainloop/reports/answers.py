"""Answers of many models to one exam, as tables of seeds by questions: what is compared in a report."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, cast

import numpy as np
import polars as pl

from gainloop.measures.estimate import Floats
from gainloop.reports.evidence import Examined
from schemas.knowledge import Answered, AskedAbout, Graded, Learnt, State

GRADED: Final[dict[Graded, str]] = {"judged": "verdict", "exact": "exact", "options": "option_right"}
"""By how answers are right: the column that says so. The first that the start has answers of is the report's."""

START: Final = "start"
SYNTHETIC: Final = "synthetic"
BASELINE: Final = "baseline"

NUM_DOCUMENTS: Final = 20
"""Documents that are listed with what is still missing."""

Lost = tuple[Floats, Floats, list[str]]
"""Of each general text: bits that it costs more than at the start, its bytes, its id."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of one training of an arm: what it knows, and what it has forgotten.

    Attributes:
        right: [questions] 1 right, 0 wrong, NaN not asked.
        nats: [questions] Nats of the right answer, NaN not asked.
        forgotten: Bits by which a byte of general text costs more than at the start; None if it was not scored.
    """

    arm: str
    seed: int
    fraction: float
    right: Floats
    nats: Floats
    forgotten: float | None


class AnswerSheets:
    """The answers of one training's models, question by question in the order of their ids."""

    def __init__(self, examined: Examined) -> None:
        self.examined = examined
        asked = pl.concat([one["question_id"] for one in examined.answers.values()]).unique().sort()
        rows = examined.questions.filter(pl.col("question_id").is_in(asked.implode()))
        self.questions = rows.unique("question_id").sort("question_id")
        self.documents = self.questions["document_id"].to_list()
        self.graded = self._graded()
        self._sheets = {key: self._sheet(one) for key, one in examined.answers.items()}

    def _graded(self) -> Graded:
        start = [one for key, one in self.examined.answers.items() if key.startswith(f"{START}/")]
        for name, column in GRADED.items():
            if any(one[column].is_not_null().any() for one in start or self.examined.answers.values()):
                return name
        return "nats"

    def _sheet(self, answers: pl.DataFrame) -> pl.DataFrame:
        ids = self.questions.select("question_id")
        return ids.join(answers.unique("question_id"), on="question_id", how="left", maintain_order="left")

    def sheet(self, arm: str, seed: int, fraction: float, condition: str = "closed") -> pl.DataFrame | None:
        """Return an arm's answers in the order of the questions, null where one was not asked; None without any."""
        return self._sheets.get(f"{arm}/{seed}/{fraction:g}/{condition}")

    def seeds(self, arm: str, fraction: float | None = None) -> list[int]:
        """Return the seeds of an arm that were asked at its end, or at a fraction of its run."""
        last = self.end(arm) if fraction is None else fraction
        return sorted({seed for one, seed, at in self._points() if (one, at) == (arm, last)})

    def fractions(self, arm: str) -> list[float]:
        return sorted({at for one, _, at in self._points() if one == arm})

    def end(self, arm: str) -> float:
        """Return the last fraction of an arm's run that was examined; the start's is 0."""
        return max(self.fractions(arm), default=0.0)

    def right(self, arm: str, fraction: float | None = None, condition: str = "closed") -> Floats:
        """Return 1, 0 or NaN of each answer: [seeds, questions]."""
        return self._table(arm, fraction, condition, self._right_of)

    def nats(self, arm: str, condition: str = "closed") -> Floats:
        """Return nats of each right answer: [seeds, questions]."""
        return self._table(arm, None, condition, _nats_of)

    @property
    def num_tokens(self) -> Floats:
        """Tokens of each right answer: its weight in nats a token."""
        counts = [one["num_tokens"].cast(pl.Float64).fill_null(np.nan).to_numpy() for one in self._sheets.values()]
        known = np.array(counts)
        return cast(Floats, np.nan_to_num(np.where(np.isnan(known), -np.inf, known).max(axis=0), neginf=0.0))

    @property
    def chance(self) -> Floats:
        """Share right of a blind choice at each question, NaN without options."""
        counts = [len(options or []) for options in self.questions["options"].to_list()]
        return np.array([1 / count if count else np.nan for count in counts])

    def chosen(self, arm: str) -> list[str]:
        """Return what most seeds of an arm chose or wrote at each question, empty where that is not known."""
        sheets = [self.sheet(arm, seed, self.end(arm)) for seed in self.seeds(arm)]
        said = [self._said(sheet) for sheet in sheets if sheet is not None]
        return [Counter(one).most_common(1)[0][0] for one in zip(*said, strict=True)] or [""] * len(self.documents)

    def most(self, arm: str) -> list[bool | None]:
        """Return whether most seeds of an arm have each question right; None where it was not asked."""
        means = self.right(arm)
        if not len(means):
            return [None] * len(self.documents)
        return [None if np.isnan(one) else bool(one > 0.5) for one in means.mean(axis=0)]

    def moments(self) -> Iterator[Moment]:
        """Yield every moment that was examined with the book closed, the start's first, then by arm, seed, fraction."""
        for arm, seed, at in sorted(self._points(), key=lambda one: (one[0] != START, *one)):
            sheet = self.sheet(arm, seed, at)
            if sheet is not None:
                forgotten = self.forgotten(arm, at, seed)
                yield Moment(arm, seed, at, self._right_of(sheet), _nats_of(sheet), _sum_ratio(forgotten))

    def forgotten(self, arm: str, fraction: float, seed: int) -> Lost | None:
        """Return bits that each general text costs more than at the start, its bytes, and its id."""
        before, after = (self.examined.general.get(key) for key in (f"{START}/0/0", f"{arm}/{seed}/{fraction:g}"))
        if before is None or after is None:
            return None
        both = before.join(after.select("text_id", after="nats"), on="text_id", how="inner").sort("text_id")
        sizes = both["num_bytes"].cast(pl.Float64).to_numpy()
        lost = (both["after"] - both["nats"]).to_numpy() / math.log(2)
        return lost, sizes, both["text_id"].to_list()

    def states(self, arm: str) -> list[State]:
        """Return what became of each question in an arm."""
        pairs = zip(self.most(START), self.most(arm), strict=True)
        return [_state_of(before, after) for before, after in pairs]

    def learnt(self, arm: str) -> Learnt | None:
        """Return how many questions of an arm came to what; None if it was not asked."""
        counts = Counter(self.states(arm))
        names = Learnt.model_fields
        return Learnt(**{name: counts[name] for name in names}) if any(counts[name] for name in names) else None  # type: ignore[index]

    def unused(self, made_of: Sequence[str]) -> frozenset[str]:
        """Return the documents asked about that no text was made of; none where those that text is of are not known."""
        return frozenset(self.documents) - {*made_of} if made_of else frozenset()

    def missing(self, unused: frozenset[str]) -> list[AskedAbout]:
        """Return the documents with most questions that the synthetic arm still has wrong."""
        found: dict[str, Counter[str]] = {}
        titles = dict(zip(self.documents, self.questions["title"], strict=True))
        for name, state in zip(self.documents, self.states(SYNTHETIC), strict=True):
            found.setdefault(name, Counter())[state] += 1
        rows = [
            AskedAbout(
                document=name,
                title=titles[name] or "",
                questions=counts.total(),
                known=counts["known"],
                learnt=counts["learnt"],
                missing=counts["missing"] + counts["forgotten"],
                is_used=name not in unused,
            )
            for name, counts in found.items()
        ]
        return sorted(rows, key=lambda row: (-row.missing, row.document))[:NUM_DOCUMENTS]

    def answered(self) -> list[Answered]:
        """Return every question with what the start and both arms said, by document."""
        columns = {
            **{name: self.questions[name].to_list() for name in ("question", "answer", "title")},
            "document": self.documents,
            "before": self.chosen(START),
            "repeating": self.chosen(BASELINE),
            "after": self.chosen(SYNTHETIC),
            "before_right": self.most(START),
            "repeating_right": self.most(BASELINE),
            "after_right": self.most(SYNTHETIC),
            "state": self.states(SYNTHETIC),
        }
        rows = [Answered(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
        return sorted(rows, key=lambda row: (row.document, row.question))

    def _points(self) -> set[tuple[str, int, float]]:
        names = [key.split("/")[:3] for key in self._sheets]
        return {(arm, int(seed), float(fraction)) for arm, seed, fraction in names}

    def _table(self, arm: str, fraction: float | None, condition: str, of: Any) -> Floats:
        last = self.end(arm) if fraction is None else fraction
        sheets = [self.sheet(arm, seed, last, condition) for seed in self.seeds(arm, last)]
        rows = [of(sheet) for sheet in sheets if sheet is not None]
        return np.array(rows, dtype=float).reshape(len(rows), len(self.documents))

    def _right_of(self, sheet: pl.DataFrame) -> Floats:
        if self.graded == "nats":
            return np.full(sheet.height, np.nan)
        column = sheet[GRADED[self.graded]]
        found = (column == "correct") if self.graded == "judged" else column
        return found.cast(pl.Float64).fill_null(np.nan).to_numpy()

    def _said(self, sheet: pl.DataFrame) -> list[str]:
        if self.graded != "options":
            return sheet["answer"].fill_null("").to_list()
        chosen = zip(self.questions["options"].to_list(), sheet["option"], strict=True)
        return ["" if one is None or not options else options[one] for options, one in chosen]


def _state_of(before: bool | None, after: bool | None) -> State:
    if before is None or after is None:
        return "not_asked"
    if before:
        return "known" if after else "forgotten"
    return "learnt" if after else "missing"


def _nats_of(sheet: pl.DataFrame) -> Floats:
    return sheet["nats"].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _sum_ratio(rows: Lost | None) -> float | None:
    return None if rows is None else float(rows[0].sum() / rows[1].sum())


def at_level(path: list[Moment], level: float, of: str) -> Floats:
    """Return what a training knew where it had forgotten so much, question by question, between its moments.

    Args:
        path: Moments of one training in order, the start first; each has its forgetting.
        level: Bits by byte forgotten, between 0 and the most of the path.
        of: Attribute of a moment: right or nats.
    """
    for before, after in pairwise(path):
        low, high = float(before.forgotten or 0), float(after.forgotten or 0)
        if low <= level <= high and high > low:
            share = (level - low) / (high - low)
            return cast(Floats, (1 - share) * getattr(before, of) + share * getattr(after, of))
    return cast(Floats, getattr(path[-1], of))

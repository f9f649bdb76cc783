"""Figures of the loop: what models of several rounds know, by the questions that steer or by those that judge."""

from typing import Final

import numpy as np
import polars as pl

from gainloop.measures.estimate import Estimate, Floats, as_figure, not_measured, over_seeds
from gainloop.reports.answers import START, AnswerSheets
from gainloop.reports.evidence import Examined, as_per_cent
from schemas.curve import Curve
from schemas.exam import Part
from schemas.figure import Figure

OVER: Final = "question by question; interval over documents, and over seeds where there are several"


class Standings:
    """What the models of a loop answered, by one part of the exam.

    Args:
        examined: Answers by ``<model>/<seed>/<fraction>/closed``; models are start, baseline, round1, ..., even.
        part: Part of the exam that is looked at.
    """

    def __init__(self, examined: Examined, part: Part) -> None:
        self.sheets = AnswerSheets(examined.taught.only(pl.col("part") == part))
        self.part = part

    @property
    def unit(self) -> str:
        """Unit of a gain: points where answers are right or wrong, nats where only their likelihood is known."""
        return "nats/token" if self.sheets.graded == "nats" else "points"

    def known(self, model: str) -> Figure:
        """Return what a model knows, in per cent."""
        table = self.sheets.right(model)
        found = self._mean(table, "%", is_share=True)
        return as_figure(as_per_cent(found), f"right from memory, {self.part} part of the exam; {OVER}")

    def gain(self, model: str, other: str) -> Figure:
        """Return what a model knows more than another."""
        definition = f"{model} less {other}, {self.part} part of the exam; {OVER}"
        if self.unit == "points":
            found = self._mean(_difference(self.sheets.right(model), self.sheets.right(other)), "points")
            return as_figure(found.mapped(lambda end: 100 * max(-1.0, min(1.0, end))), definition)
        saved = _difference(self.sheets.nats(other), self.sheets.nats(model))
        return as_figure(self._mean(saved, "nats/token", weights=self.sheets.num_tokens), definition)

    def forgotten(self, model: str, other: str = START) -> Figure:
        """Return how many bits a byte of general text costs more under a model than under another."""
        definition = f"bits per byte of general text, {model} less {other}; interval over texts, and over seeds"
        seeds = self.sheets.seeds(model)
        lost = [self.sheets.forgotten(model, 1, seed) for seed in seeds]
        found = [one for one in lost if one is not None]
        if not found:
            return as_figure(not_measured("bits/byte", "general text was not scored"), definition)
        table, sizes, names = np.array([bits for bits, _, _ in found]), found[0][1], found[0][2]
        if other != START:
            before = [one for seed in self.sheets.seeds(other) if (one := self.sheets.forgotten(other, 1, seed))]
            if not before:
                return as_figure(not_measured("bits/byte", "there is no earlier model"), definition)
            table = _difference(table, np.array([bits for bits, _, _ in before]))
        return as_figure(over_seeds(table, names, "bits/byte", weights=sizes), definition)

    def rights_by_document(self, model: str) -> dict[str, list[bool]]:
        """Return what most seeds of a model have right, by document; questions that were not asked are left out."""
        found: dict[str, list[bool]] = {}
        for document, is_right in zip(self.sheets.documents, self.sheets.most(model), strict=True):
            if is_right is not None:
                found.setdefault(document, []).append(is_right)
        return found

    def wrong(self, model: str) -> dict[str, list[str]]:
        """Return question and answer of each question that a model has wrong, by document."""
        rows = self.sheets.questions.select("document_id", "question", "answer").iter_rows()
        found: dict[str, list[str]] = {}
        for (document, question, answer), is_right in zip(rows, self.sheets.most(model), strict=True):
            if is_right is False:
                found.setdefault(document, []).append(f"{question} {answer}")
        return found

    def curve(self, tokens: dict[str, int]) -> Curve:
        """Return what is known against tokens of synthetic text.

        Args:
            tokens: Tokens of the synthetic text that each model was trained on; the start's are 0.
        """
        from gainloop.steering.curve import fit_curve  # scipy's optimiser: half a second

        return fit_curve({tokens[name]: self.sheets.right(name) for name in tokens}, self.sheets.documents)

    def _mean(self, table: Floats, unit: str, is_share: bool = False, weights: Floats | None = None) -> Estimate:
        asked = np.isfinite(table).all(axis=0) if len(table) else np.zeros(0, dtype=bool)
        if not asked.any():
            return not_measured(unit, "nothing was asked, or nothing is right or wrong")
        documents = [self.sheets.documents[place] for place in np.flatnonzero(asked)]
        chosen = None if weights is None else weights[asked]
        return over_seeds(table[:, asked], documents, unit, weights=chosen, is_share=is_share)


def _difference(first: Floats, second: Floats) -> Floats:
    """Return the first table less the second, seed by seed; a model of one seed, the start, stands beside each."""
    if not len(first) or not len(second):
        return np.empty((0, first.shape[1]))
    number = max(len(first), len(second)) if 1 in (len(first), len(second)) else min(len(first), len(second))
    return first[:number] - second[:number]

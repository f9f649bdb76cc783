"""The report's figures of an exam: what models know of the documents, before and after, and what they forgot."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from gainloop.measures.estimate import Estimate, Floats, as_figure, not_measured, over_seeds, paired_ratio
from gainloop.reports.answers import BASELINE, START, SYNTHETIC, AnswerSheets, Lost, Moment, at_level
from gainloop.reports.evidence import Evidence, Examined, as_per_cent
from gainloop.reports.gain import rule_of, saved, seeds_of, verdict_of
from schemas.figure import Figure, words_of
from schemas.knowledge import FrontierPoint, Graded, Knowledge

CONTROL: Final = "replay_control"

OVER: Final = "over questions; interval over documents, and over seeds where there are several"

HOW: Final[dict[Graded, str]] = {
    "options": "the likeliest of the options, by the sum of nats, is the right one",
    "exact": "the short answer is an accepted one, in words",
    "judged": "a judge calls the answer correct",
    "nats": "not graded: there are no options, and no answers were written",
    "": "",
}

FORGETTING: Final = {"forgetting": SYNTHETIC, "forgetting_repeating": BASELINE, "forgetting_control": CONTROL}
"""The figures of what arms forgot."""

LOST: Final = "bits per byte of general text after less before"

NO_HELDOUT: Final = "no question is about a held-out document"

Tables = tuple[Floats, Floats]


def measure_knowledge(evidence: Evidence) -> Knowledge:
    """Return the figures of the exam that a training's models sat; without one each says why it has no value."""
    if not evidence.examined or evidence.examined[0].training_id != evidence.training_id:
        why = "there is no exam" if evidence.training_id else "no model was trained yet"
        return _with_forgetting(not_examined(f"not measured: {why}"), evidence)
    first, *others = evidence.examined
    exams = [(_Exam(one.taught, evidence.documents), one.training_id) for one in others]
    other_points = [point for exam, training_id in exams for point in exam.frontier(training_id)]
    exam = _Exam(first.taught, evidence.documents)
    found = exam.measure(other_points, _control_of(first), exam.sheets.unused(evidence.made_of))
    return _with_forgetting(found, evidence)


def _control_of(examined: Examined) -> dict[str, Any]:
    """Return what models know of documents that were held out: what training taught of no document shows here."""
    exam = _Exam(examined.control, {})
    shares = {name: exam.share(arm) for name, arm in (("heldout_before", START), ("heldout_after", SYNTHETIC))}
    if not exam.sheets.documents:
        shares = dict.fromkeys(shares, as_figure(not_measured("%", NO_HELDOUT), "not measured"))
    return {"heldout_questions": len(exam.sheets.documents), **shares}


def not_examined(why: str) -> Knowledge:
    """Return the figures of an exam that nobody sat."""
    figures = {
        name: as_figure(replace(not_measured(words.unit, ""), status=why), "not measured")
        for name, words in words_of(Knowledge).items()
    }
    return Knowledge(
        status=why,
        verdict="not_asked",
        **dict.fromkeys(("exam", "kind", "graded"), ""),
        **dict.fromkeys(("questions", "documents", "seeds", "heldout_questions"), 0),
        **dict.fromkeys(("titled", "tokens", "equal_level")),
        arms={},
        missing=[],
        frontier=[],
        answers=[],
        **figures,
    )


def _with_forgetting(knowledge: Knowledge, evidence: Evidence) -> Knowledge:
    """Return the same with what the training itself says of forgetting, where no exam has measured it."""
    found = {}
    for name, arm in FORGETTING.items():
        if getattr(knowledge, name).value is None:
            found[name] = as_figure(saved(evidence, arm, START, "general"), f"{LOST}, {rule_of(seeds_of(evidence))}")
    return knowledge.model_copy(update=found)


def measure_gained(examined: Examined) -> Estimate:
    """Return the gain over repeating by an exam's questions: points right, or nats a token where nothing is graded."""
    exam = _Exam(examined, {})
    if exam.sheets.graded == "nats":
        return exam.saved(exam.paired(BASELINE, exam.sheets.nats))
    return exam.points(exam.paired(BASELINE, exam.sheets.right))


class _Exam:
    """One exam and what it says.

    Args:
        documents: Document of each general text; one that is missing is its own.
    """

    def __init__(self, examined: Examined, documents: Mapping[str, str]) -> None:
        self.sheets, self.general = AnswerSheets(examined), documents
        self.how = HOW[self.sheets.graded]

    def measure(
        self, other_points: Sequence[FrontierPoint], control: dict[str, Any], unused: frozenset[str]
    ) -> Knowledge:
        """Return all figures.

        Args:
            other_points: Moments of the batch's other trainings.
            control: Figures of the questions about held-out documents, by their fields.
            unused: Documents asked about that no text of the batch was made of.
        """
        sheets, examined = self.sheets, self.sheets.examined
        level, right, nats = self._at_equal_forgetting()
        ends = [point for run in examined.arms for point in run["points"] if run["arm"] == SYNTHETIC]
        found = Knowledge(
            status="ok" if sheets.seeds(SYNTHETIC) else "not measured: no model was trained on the batch",
            verdict="undecided",
            exam=examined.exam_id,
            kind=examined.kind,
            graded=sheets.graded,
            titled=examined.asking.get("titled"),
            questions=len(sheets.documents),
            documents=len(set(sheets.documents)),
            untied_rows=sum(examined.drops.get(reason, 0) for reason in ("no_document", "ambiguous_document")),
            unused_questions=sum(one in unused for one in sheets.documents),
            seeds=len(sheets.seeds(SYNTHETIC)),
            **control,
            tokens=max((point["tokens"] for point in ends), default=None),
            equal_level=level,
            arms={arm: counts for arm in (SYNTHETIC, BASELINE, CONTROL) if (counts := sheets.learnt(arm))},
            missing=sheets.missing(unused),
            frontier=[*self.frontier(), *other_points],
            answers=sheets.answered(),
            before=self.share(START),
            repeating=self.share(BASELINE),
            control=self.share(CONTROL),
            after=self.share(SYNTHETIC),
            open_book=self.share(START, "open"),
            retrieved=self.share(START, "retrieved"),
            guess=self._guess(),
            advantage=self._points(self.paired(BASELINE, sheets.right), "less known after repeating"),
            advantage_control=self._points(self.paired(CONTROL, sheets.right), "less known after unrelated text"),
            advantage_equal=self._points(
                right, "less known after repeating, both at equal forgetting, read off between"
            ),
            advantage_best=self._points(self._best(), "less known after repeating, each at its best moment by dev"),
            recovered=self._recovered(),
            nats_before=self._nats(START),
            nats_repeating=self._nats(BASELINE),
            nats_control=self._nats(CONTROL),
            nats_after=self._nats(SYNTHETIC),
            nats_open_book=self._nats(START, "open"),
            nats_advantage=self._saved(self.paired(BASELINE, sheets.nats), "repeating"),
            nats_advantage_control=self._saved(self.paired(CONTROL, sheets.nats), "unrelated text"),
            nats_advantage_equal=self._saved(nats, "repeating, both at equal forgetting, read off between"),
            **{name: self._forgetting(arm) for name, arm in FORGETTING.items()},
        )
        return found.model_copy(update={"verdict": verdict_of(found.gained)})

    def frontier(self, training: str = "") -> list[FrontierPoint]:
        """Return knowledge and forgetting at every moment that was examined.

        Args:
            training: Id of the training; empty for the report's own.
        """
        runs = {(run["arm"], run["seed"]): run for run in self.sheets.examined.arms}
        return [self._point(one, runs.get((one.arm, one.seed), {}), training) for one in self.sheets.moments()]

    def _point(self, moment: Moment, run: dict[str, Any], training: str) -> FrontierPoint:
        points = run.get("points", [])
        same = (int(one["tokens"]) for one in points if f"{one['fraction']:g}" == f"{moment.fraction:g}")
        lost = self.sheets.forgotten(moment.arm, moment.fraction, moment.seed)
        return FrontierPoint(
            arm=moment.arm,
            seed=moment.seed,
            fraction=moment.fraction,
            tokens=next(same, None),
            learning_rate=run.get("learning_rate"),
            training=training,
            right=as_figure(as_per_cent(self._mean(moment.right[None], "%", is_share=True)), f"right: {self.how}"),
            nats=as_figure(self._mean_nats(moment.nats[None]), "nats of the right answers by their tokens"),
            forgetting=self._lost([] if lost is None else [lost], "general text was not scored"),
        )

    def share(self, arm: str, condition: str = "closed") -> Figure:
        table = self.sheets.right(arm, condition=condition)
        found = self._mean(table, "%", is_share=True, missing=_why(arm, condition, self.sheets))
        return as_figure(as_per_cent(found), f"right, {condition} book: {self.how}; {OVER}")

    def _guess(self) -> Figure:
        found = self._mean(self.sheets.chance[None], "%", missing="the questions have no options")
        exact = replace(as_per_cent(found), low=None, high=None, num_seeds=0)
        return as_figure(exact if exact.value is None else replace(exact, status="ok"), "1 by the number of options")

    def _nats(self, arm: str, condition: str = "closed") -> Figure:
        found = self._mean_nats(self.sheets.nats(arm, condition=condition), _why(arm, condition, self.sheets))
        return as_figure(found, f"nats of the right answers by their tokens, {condition} book; {OVER}")

    def paired(self, other: str, of: Callable[[str], Floats]) -> Tables | str:
        """Return the tables of the synthetic arm and another one at their ends, for the seeds that both have."""
        seeds = [one for one in self.sheets.seeds(SYNTHETIC) if one in self.sheets.seeds(other)]
        if not seeds:
            return _why(other if self.sheets.seeds(SYNTHETIC) else SYNTHETIC, "closed", self.sheets)
        first, second = (_rows(of(arm), self.sheets.seeds(arm), seeds) for arm in (SYNTHETIC, other))
        return first, second

    def points(self, tables: Tables | str) -> Estimate:
        """Return how many points more are right in the first table than in the second, or why that is not known."""
        if isinstance(tables, str):
            return not_measured("points", tables)
        return self._mean(tables[0] - tables[1], "points").mapped(_as_points)

    def saved(self, tables: Tables | str) -> Estimate:
        """Return how many nats a token less right answers cost in the first table than in the second."""
        return not_measured("nats/token", tables) if isinstance(tables, str) else self._mean_nats(tables[1] - tables[0])

    def _points(self, tables: Tables | str, less: str) -> Figure:
        return as_figure(self.points(tables), f"known after the synthetic text {less}, question by question; {OVER}")

    def _saved(self, tables: Tables | str, over: str) -> Figure:
        return as_figure(
            self.saved(tables), f"nats of right answers after {over} less those after the synthetic text; {OVER}"
        )

    def _recovered(self) -> Figure:
        before, after = self.sheets.right(START), self.sheets.right(SYNTHETIC)
        most = self.sheets.right(START, condition="open")
        definition = f"(after - before) / (open book - before); {OVER}, by bootstrap"
        for table, arm, condition in ((before, START, "closed"), (after, SYNTHETIC, "closed"), (most, START, "open")):
            if not len(table):
                return as_figure(not_measured("%", _why(arm, condition, self.sheets)), definition)
        asked = np.isfinite(np.concatenate([before, after, most])).all(axis=0)
        if not asked.any():
            return as_figure(not_measured("%", self.how), definition)
        found = paired_ratio(before[:, asked], after[:, asked], most[:, asked], self._documents(asked))
        return as_figure(as_per_cent(found), definition)

    def _at_equal_forgetting(self) -> tuple[float | None, Tables | str, Tables | str]:
        """Return the mean level, and what both arms knew there by seed: rights, and nats."""
        paths = {arm: self._paths(arm) for arm in (SYNTHETIC, BASELINE)}
        seeds = sorted(paths[SYNTHETIC].keys() & paths[BASELINE].keys())
        if not seeds:
            why = "moments of both arms with forgetting are needed, for the same seeds"
            return None, why, why
        both = [(paths[SYNTHETIC][seed], paths[BASELINE][seed]) for seed in seeds]
        levels = [min(max(float(one.forgotten or 0) for one in path) for path in pair) for pair in both]
        if min(levels) <= 0:
            why = "an arm forgot nothing of general text, so that only the start is at equal forgetting"
            return None, why, why
        first, second = (
            tuple(
                np.array([at_level(pair[arm], level, of) for pair, level in zip(both, levels, strict=True)])
                for arm in (0, 1)
            )
            for of in ("right", "nats")
        )
        return float(np.mean(levels)), (first[0], first[1]), (second[0], second[1])

    def _paths(self, arm: str) -> dict[int, list[Moment]]:
        moments = list(self.sheets.moments())
        start = [replace(one, forgotten=0.0) for one in moments if one.arm == START]
        found = {
            seed: [one for one in moments if (one.arm, one.seed) == (arm, seed)] for seed in self.sheets.seeds(arm)
        }
        whole = {seed: path for seed, path in found.items() if path and all(m.forgotten is not None for m in path)}
        return {seed: start + path for seed, path in whole.items() if start}

    def _best(self) -> Tables | str:
        """Return rights of both arms, each at the moment that is best by the dev part, for the final part alone."""
        is_dev = (self.sheets.questions["part"] == "dev").to_numpy()
        chosen = []
        for arm in (SYNTHETIC, BASELINE):
            tables = {at: self.sheets.right(arm, at) for at in self.sheets.fractions(arm)}
            if len(tables) < 2:
                return f"{_why(arm, 'closed', self.sheets)}" if not tables else "each arm was examined once, at its end"
            if not is_dev.any() or is_dev.all() or not all(np.isfinite(t[:, is_dev]).any() for t in tables.values()):
                return "a dev and a final part are needed, with answers that are right or wrong"
            best = max(tables, key=lambda at: float(np.nanmean(tables[at][:, is_dev])))
            chosen.append((tables[best], self.sheets.seeds(arm, best)))
        (first, own), (second, other) = chosen
        seeds = [seed for seed in own if seed in other]
        tables_of = [np.where(is_dev, np.nan, _rows(t, s, seeds)) for t, s in ((first, own), (second, other))]
        return (tables_of[0], tables_of[1]) if seeds else "the arms have no seed in common"

    def _forgetting(self, arm: str) -> Figure:
        found = [self.sheets.forgotten(arm, self.sheets.end(arm), seed) for seed in self.sheets.seeds(arm)]
        why = "general text was not scored" if found else _why(arm, "closed", self.sheets)
        return self._lost([one for one in found if one is not None], why)

    def _lost(self, rows: Sequence[Lost], why: str) -> Figure:
        """Return what general text costs more than at the start: the bits of its texts under each seed."""
        definition = f"{LOST}; interval over documents, and over seeds"
        if not rows:
            return as_figure(not_measured("bits/byte", why), definition)
        lost, sizes, names = np.array([bits for bits, _, _ in rows]), rows[0][1], rows[0][2]
        documents = [self.general.get(name, name) for name in names]
        return as_figure(over_seeds(lost, documents, "bits/byte", weights=sizes), definition)

    def _mean(self, table: Floats, unit: str, is_share: bool = False, missing: str = "") -> Estimate:
        asked = np.isfinite(table).all(axis=0) if len(table) else np.zeros(0, dtype=bool)
        if not asked.any():
            return not_measured(unit, missing or self.how)
        return over_seeds(table[:, asked], self._documents(asked), unit, is_share=is_share)

    def _mean_nats(self, table: Floats, missing: str = "") -> Estimate:
        asked = np.isfinite(table).all(axis=0) if len(table) else np.zeros(0, dtype=bool)
        if not asked.any():
            return not_measured("nats/token", missing or "right answers were not scored")
        weights = self.sheets.num_tokens[asked]
        return over_seeds(table[:, asked], self._documents(asked), "nats/token", weights=weights)

    def _documents(self, asked: Any) -> list[str]:
        return [name for name, is_asked in zip(self.sheets.documents, asked, strict=True) if is_asked]


def _rows(table: Floats, seeds: Sequence[int], wanted: Sequence[int]) -> Floats:
    return table[[list(seeds).index(seed) for seed in wanted]]


def _as_points(difference: float) -> float:
    """Return a difference of shares in points; an interval from few documents ends where shares do."""
    return 100 * min(1.0, max(-1.0, difference))


def _why(arm: str, condition: str, sheets: AnswerSheets) -> str:
    """Return why there is nothing of an arm under a condition."""
    if arm != START and not sheets.seeds(arm):
        return f"the arm {arm} was not trained, or not asked"
    if condition == "closed":
        return ""
    if sheets.sheet(arm, 0, sheets.end(arm), condition) is not None:
        return "no question fits the model's context with what stands in front of it"
    return f"nothing was asked {condition} book"

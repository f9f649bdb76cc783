"""The report's figures of an exam: what models know of the documents, before and after, and what they forgot."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from gainloop.measures.estimate import Estimate, Floats, as_figure, over_seeds, paired_ratio
from gainloop.reports.answers import START, AnswerSheets, Moment, at_level
from gainloop.reports.evidence import Evidence, Examined
from gainloop.reports.gain import rule_of, saved, seeds_of
from schemas.figure import Figure, words_of
from schemas.knowledge import Answered, AskedAbout, FrontierPoint, Graded, Knowledge, KnowledgeVerdict, Learnt, State

SYNTHETIC: Final = "synthetic"
BASELINE: Final = "baseline"
CONTROL: Final = "replay_control"

NUM_DOCUMENTS: Final = 20
"""Documents that are listed with what is still missing."""

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
    others_points = [point for one in others for point in frontier(one.taught, one.training_id)]
    found = _Exam(AnswerSheets(first.taught)).measure(others_points)
    return _with_forgetting(found.model_copy(update=_control_of(first)), evidence)


def _control_of(examined: Examined) -> dict[str, Any]:
    """Return what models know of documents that were held out: what training taught of no document shows here."""
    sheets = AnswerSheets(examined.control)
    exam = _Exam(sheets)
    shares = {name: exam.share(arm) for name, arm in (("heldout_before", START), ("heldout_after", SYNTHETIC))}
    if not sheets.documents:
        none = as_figure(_none("%", NO_HELDOUT), "not measured")
        shares = dict.fromkeys(shares, none)
    return {"heldout_questions": len(sheets.documents), **shares}


def not_examined(why: str) -> Knowledge:
    """Return the figures of an exam that nobody sat."""
    figures = {
        name: as_figure(Estimate(None, None, None, 0, words.unit, why), "not measured")
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


def verdict_of(gained: Figure) -> KnowledgeVerdict:
    """Return which arm knows more, by the interval of the gain over repeating."""
    if gained.low is not None and gained.low > 0:
        return "synthetic_wins"
    return "baseline_wins" if gained.high is not None and gained.high < 0 else "undecided"


def frontier(examined: Examined, training: str = "") -> list[FrontierPoint]:
    """Return knowledge and forgetting at every moment of a training that was examined.

    Args:
        training: Id of the training; empty for the report's own.
    """
    sheets = AnswerSheets(examined)
    exam = _Exam(sheets)
    runs = {(run["arm"], run["seed"]): run for run in examined.arms}
    return [exam.point(one, runs.get((one.arm, one.seed), {}), training) for one in sheets.moments()]


def measure_gained(examined: Examined) -> Estimate:
    """Return the gain over repeating by an exam's questions: points right, or nats a token where nothing is graded."""
    exam = _Exam(AnswerSheets(examined))
    if exam.sheets.graded == "nats":
        return exam.saved(exam.paired(BASELINE, exam.sheets.nats))
    return exam.points(exam.paired(BASELINE, exam.sheets.right))


class _Exam:
    """One exam and what it says."""

    def __init__(self, sheets: AnswerSheets) -> None:
        self.sheets = sheets
        self.how = HOW[sheets.graded]

    def measure(self, other_points: Sequence[FrontierPoint]) -> Knowledge:
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
            seeds=len(sheets.seeds(SYNTHETIC)),
            heldout_questions=0,
            tokens=max((point["tokens"] for point in ends), default=None),
            equal_level=level,
            arms={arm: counts for arm in (SYNTHETIC, BASELINE, CONTROL) if (counts := self._learnt(arm))},
            missing=self._missing(),
            frontier=[*frontier(examined), *other_points],
            answers=self._answers(),
            before=self.share(START),
            repeating=self.share(BASELINE),
            control=self.share(CONTROL),
            after=self.share(SYNTHETIC),
            open_book=self.share(START, "open"),
            retrieved=self.share(START, "retrieved"),
            guess=self._guess(),
            **dict.fromkeys(("heldout_before", "heldout_after"), as_figure(_none("%", NO_HELDOUT), "not measured")),
            advantage=self._points(self.paired(BASELINE, sheets.right), "less known after repeating"),
            advantage_control=self._points(self.paired(CONTROL, sheets.right), "less known after the replay control"),
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
            nats_advantage_control=self._saved(self.paired(CONTROL, sheets.nats), "the replay control"),
            nats_advantage_equal=self._saved(nats, "repeating, both at equal forgetting, read off between"),
            **{name: self._forgetting(arm) for name, arm in FORGETTING.items()},
        )
        return found.model_copy(update={"verdict": verdict_of(found.gained)})

    def point(self, moment: Moment, run: dict[str, object], training: str) -> FrontierPoint:
        points: Sequence[dict[str, float]] = run.get("points", [])  # type: ignore[assignment]
        same = (int(one["tokens"]) for one in points if f"{one['fraction']:g}" == f"{moment.fraction:g}")
        rate: float | None = run.get("learning_rate")  # type: ignore[assignment]
        lost = self.sheets.forgotten(moment.arm, moment.fraction, moment.seed)
        return FrontierPoint(
            arm=moment.arm,
            seed=moment.seed,
            fraction=moment.fraction,
            tokens=next(same, None),
            learning_rate=rate,
            training=training,
            right=as_figure(_times(self._mean(moment.right[None], "%", is_share=True), 100), f"right: {self.how}"),
            nats=as_figure(self._mean_nats(moment.nats[None]), "nats of the right answers by their tokens"),
            forgetting=as_figure(
                _none("bits/byte", "general text was not scored")
                if lost is None
                else over_seeds(lost[0][None], lost[2], "bits/byte", weights=lost[1]),
                "bits per byte of general text more than at the start; interval over texts",
            ),
        )

    def share(self, arm: str, condition: str = "closed") -> Figure:
        table = self.sheets.right(arm, condition=condition)
        found = self._mean(table, "%", is_share=True, missing=_why(arm, condition, self.sheets))
        return as_figure(_times(found, 100), f"right, {condition} book: {self.how}; {OVER}")

    def _guess(self) -> Figure:
        found = self._mean(self.sheets.chance[None], "%", missing="the questions have no options")
        exact = replace(_times(found, 100), low=None, high=None, num_seeds=0)
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
            return _none("points", tables)
        return _times(self._mean(tables[0] - tables[1], "points"), 100)

    def saved(self, tables: Tables | str) -> Estimate:
        """Return how many nats a token less right answers cost in the first table than in the second."""
        return _none("nats/token", tables) if isinstance(tables, str) else self._mean_nats(tables[1] - tables[0])

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
                return as_figure(_none("%", _why(arm, condition, self.sheets)), definition)
        asked = np.isfinite(np.concatenate([before, after, most])).all(axis=0)
        if not asked.any():
            return as_figure(_none("%", self.how), definition)
        found = paired_ratio(before[:, asked], after[:, asked], most[:, asked], self._documents(asked))
        return as_figure(replace(_times(found, 100), unit="%"), definition)

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
        rows = [one for one in found if one is not None]
        definition = f"{LOST}; interval over texts, and over seeds"
        if not rows:
            why = "general text was not scored" if found else _why(arm, "closed", self.sheets)
            return as_figure(_none("bits/byte", why), definition)
        lost = np.array([one[0] for one in rows])
        return as_figure(over_seeds(lost, rows[0][2], "bits/byte", weights=rows[0][1]), definition)

    def _mean(self, table: Floats, unit: str, is_share: bool = False, missing: str = "") -> Estimate:
        asked = np.isfinite(table).all(axis=0) if len(table) else np.zeros(0, dtype=bool)
        if not asked.any():
            return _none(unit, missing or self.how)
        return over_seeds(table[:, asked], self._documents(asked), unit, is_share=is_share)

    def _mean_nats(self, table: Floats, missing: str = "") -> Estimate:
        asked = np.isfinite(table).all(axis=0) if len(table) else np.zeros(0, dtype=bool)
        if not asked.any():
            return _none("nats/token", missing or "right answers were not scored")
        weights = self.sheets.num_tokens[asked]
        return over_seeds(table[:, asked], self._documents(asked), "nats/token", weights=weights)

    def _documents(self, asked: Any) -> list[str]:
        return [name for name, is_asked in zip(self.sheets.documents, asked, strict=True) if is_asked]

    def _states(self, arm: str) -> list[State]:
        pairs = zip(self.sheets.most(START), self.sheets.most(arm), strict=True)
        return [_state_of(before, after) for before, after in pairs]

    def _learnt(self, arm: str) -> Learnt | None:
        counts = Counter(self._states(arm))
        names = Learnt.model_fields
        return Learnt(**{name: counts[name] for name in names}) if any(counts[name] for name in names) else None  # type: ignore[index]

    def _missing(self) -> list[AskedAbout]:
        found: dict[str, Counter[str]] = {}
        titles = dict(zip(self.sheets.documents, self.sheets.questions["title"], strict=True))
        for name, state in zip(self.sheets.documents, self._states(SYNTHETIC), strict=True):
            found.setdefault(name, Counter())[state] += 1
        rows = [
            AskedAbout(
                document=name,
                title=titles[name] or "",
                questions=counts.total(),
                known=counts["known"],
                learnt=counts["learnt"],
                missing=counts["missing"] + counts["forgotten"],
            )
            for name, counts in found.items()
        ]
        return sorted(rows, key=lambda row: (-row.missing, row.document))[:NUM_DOCUMENTS]

    def _answers(self) -> list[Answered]:
        sheets = self.sheets
        columns = {
            **{name: sheets.questions[name].to_list() for name in ("question", "answer", "title")},
            "document": sheets.documents,
            "before": sheets.chosen(START),
            "repeating": sheets.chosen(BASELINE),
            "after": sheets.chosen(SYNTHETIC),
            "before_right": sheets.most(START),
            "repeating_right": sheets.most(BASELINE),
            "after_right": sheets.most(SYNTHETIC),
            "state": self._states(SYNTHETIC),
        }
        rows = [Answered(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
        return sorted(rows, key=lambda row: (row.document, row.question))


def _state_of(before: bool | None, after: bool | None) -> State:
    if before is None or after is None:
        return "not_asked"
    if before:
        return "known" if after else "forgotten"
    return "learnt" if after else "missing"


def _rows(table: Floats, seeds: Sequence[int], wanted: Sequence[int]) -> Floats:
    return table[[list(seeds).index(seed) for seed in wanted]]


def _times(estimate: Estimate, factor: float) -> Estimate:
    value, low, high = (None if one is None else factor * one for one in (estimate.value, estimate.low, estimate.high))
    return replace(estimate, value=value, low=low, high=high)


def _none(unit: str, why: str) -> Estimate:
    return Estimate(None, None, None, 0, unit, f"not measured: {why}")


def _why(arm: str, condition: str, sheets: AnswerSheets) -> str:
    """Return why there is nothing of an arm under a condition."""
    if arm != START and not sheets.seeds(arm):
        return f"the arm {arm} was not trained, or not asked"
    if condition == "closed":
        return ""
    if sheets.sheet(arm, 0, sheets.end(arm), condition) is not None:
        return "no question fits the model's context with what stands in front of it"
    return f"nothing was asked {condition} book"

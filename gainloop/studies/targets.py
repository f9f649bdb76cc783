"""Targets: the gain of a training that predictors are to foretell, on two halves that share no text or document."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import numpy as np
import polars as pl

from gainloop.evaluation.likelihoods import key_of
from gainloop.measures.entropy import paired_gain
from gainloop.measures.estimate import Estimate, mean_of
from gainloop.reports.evidence import Examined
from gainloop.reports.examined import gather_exams
from gainloop.reports.knowledge import measure_gained
from gainloop.reports.paragraph import GRADED_BY
from gainloop.store import Store
from gainloop.store.batches import stage_summary
from gainloop.store.checkpoints import checkpoint_folder
from gainloop.store.files import exists, read_file, read_frame, write_frame
from gainloop.store.scores import find_scores
from schemas.errors import BadInput
from schemas.knowledge import Graded
from schemas.report import Report
from schemas.rows import content_hash, unit_draw
from schemas.studies import OwnBatches, Predictor

Half = Literal["gate", "verdict"]

HALVES: Final[tuple[Half, ...]] = ("gate", "verdict")

PARTS: Final[dict[Half, str]] = {"gate": "dev", "verdict": "final"}
"""The part of an exam that is each half: its documents are not the other's."""

ARMS: Final = ("synthetic", "baseline")

PRIMARY: Final = "gate_gain"
"""The one hypothesis: what a batch gains on one half of the questions foretells what it gains on the other."""


class Training(Protocol):
    """One training that has a report; ``definition`` is that of its gain."""

    @property
    def report(self) -> Report: ...

    @property
    def definition(self) -> str: ...

    def gain(self, half: Half) -> Estimate: ...


class Target(Protocol):
    """What is to be foretold. Predictors whose path begins with ``itself`` would be half the verdict.

    ``asked`` are the ids of what was asked beyond reports.
    """

    @property
    def verdict(self) -> str: ...

    @property
    def hypothesis(self) -> Predictor: ...

    @property
    def itself(self) -> tuple[str, ...]: ...

    @property
    def asked(self) -> Sequence[str]: ...

    def measures(self, report: Report) -> bool: ...

    def open(self, report: Report) -> Training: ...


def choose_target(store: Store, device: str, subject: OwnBatches, reports: list[Report]) -> Target:
    """Return the target that a subject names; without one the exam that most batches have, and held-out text if none.

    Raises:
        BadInput: The file of questions cannot be read, or the exam is named and no report has one.
    """
    if subject.questions:
        return Questions(store, device, read_questions(subject.questions))
    sat = {(report.batch, report.knowledge.exam, report.knowledge.graded) for report in reports if _gained(report)}
    exams = Counter((exam, graded) for _, exam, graded in sorted(sat))
    if subject.target == "text" or not (exams or subject.target):
        return HeldoutTexts(store)
    if not exams:
        raise BadInput(
            f"verifying by an exam: of {len(reports)} reports of trainings none has one; an exam that models of both "
            "arms sat is needed. Run the flow evaluate and then report, or set subject.target to text."
        )
    (chosen, _), *_ = exams.most_common(1)
    return ExamGains(store, *chosen)


def _gained(report: Report) -> bool:
    return report.knowledge.gained.value is not None


def _hypothesis(name: str, meaning: str) -> Predictor:
    return Predictor(key=PRIMARY, name=name, meaning=meaning, expected="rises", is_early=False)


@dataclass(frozen=True, slots=True)
class ExaminedTraining:
    """One training whose models sat an exam.

    Attributes:
        report: Newest report of the training.
        examined: Answers of its models.
    """

    report: Report
    examined: Examined
    definition: str = (
        "known after the synthetic text less after repeating, question by question; interval over documents and seeds"
    )

    def gain(self, half: Half) -> Estimate:
        """Return what the batch taught beyond repeating, by the part of the exam that is this half."""
        return measure_gained(self.examined.taught.only(pl.col("part") == PARTS[half]))


@dataclass(frozen=True, slots=True)
class ExamGains:
    """The gain over repeating by one exam, graded in one way."""

    store: Store
    exam: str
    graded: Graded

    itself = ("knowledge.",)

    @property
    def asked(self) -> list[str]:
        return [self.exam]

    @property
    def verdict(self) -> str:
        what = "surprise saved" if self.graded == "nats" else "knowledge gained"
        return (
            f"{what} over repeating by exam {self.exam}, {GRADED_BY[self.graded]}, on its final part: what is known "
            "after training on the batch less what is known after training on its own documents; mean over the batch's "
            "trainings"
        )

    @property
    def hypothesis(self) -> Predictor:
        return _hypothesis(
            f"Gain on the dev part of exam {self.exam}",
            "The same gain by questions about the other half of the documents, of the same trainings.",
        )

    def measures(self, report: Report) -> bool:
        return _gained(report) and (report.knowledge.exam, report.knowledge.graded) == (self.exam, self.graded)

    def open(self, report: Report) -> ExaminedTraining:
        snapshot_id = report.recipe["snapshot_id"]
        own, *_ = gather_exams(self.store, snapshot_id, report.batch, report.training, self.exam)
        return ExaminedTraining(report, own)


@dataclass(frozen=True, slots=True)
class HeldoutTexts:
    """The gain over the matched baseline on held-out text."""

    store: Store

    itself = ("gain.",)
    asked = ()

    @property
    def verdict(self) -> str:
        return (
            "gain on held-out text, on the verdict's half of the texts: what they cost the matched baseline less what "
            "they cost the model trained on the batch; mean over the batch's trainings"
        )

    @property
    def hypothesis(self) -> Predictor:
        return _hypothesis(
            "Gain on the gate's half of held-out text",
            "The same gain on the other half of the texts, of the same trainings.",
        )

    def measures(self, report: Report) -> bool:
        return True

    def open(self, report: Report) -> "ScoredTraining":
        return ScoredTraining(report, _beside(_heldout_losses(self.store, report)), is_text=True)


@dataclass(frozen=True, slots=True)
class Questions:
    """The gain over the matched baseline on the answers of a file of questions, which every model is asked."""

    store: Store
    device: str
    questions: pl.DataFrame

    itself = ()

    @property
    def asked(self) -> list[str]:
        return self.questions["text_id"].to_list()

    @property
    def verdict(self) -> str:
        return (
            "gain on a file of questions, on the verdict's half of them: what the answers cost the matched baseline "
            "less what they cost the model trained on the batch; mean over the batch's trainings"
        )

    @property
    def hypothesis(self) -> Predictor:
        return _hypothesis(
            "Gain on the gate's half of the questions", "The same gain on the other half, of the same trainings."
        )

    def measures(self, report: Report) -> bool:
        return True

    def open(self, report: Report) -> "ScoredTraining":
        arms = score_arms(self.store, self.device, report, self.questions)
        return ScoredTraining(report, _beside(arms), is_text=False)


@dataclass(frozen=True, slots=True)
class ScoredTraining:
    """One training that has a report, and the loss in nats of each text, or answer to a question, under both arms.

    Attributes:
        report: Newest report of the training.
        losses: Columns text_id, num_bytes, synthetic, baseline.
        is_text: True of texts, in bits by byte; False of answers, in nats each.
    """

    report: Report
    losses: pl.DataFrame
    is_text: bool
    definition: str = "baseline's loss less the model's; interval over texts"

    def gain(self, half: Half) -> Estimate:
        """Return what the batch saved beyond the matched baseline on half of the texts or answers."""
        own = self.losses.filter(pl.col("text_id").map_elements(half_of, return_dtype=pl.String) == half)
        if self.is_text:
            return paired_gain(own["baseline"], own["synthetic"], own["num_bytes"])
        return mean_of((own["baseline"] - own["synthetic"]).to_numpy(), np.arange(own.height), "nats/answer")


def half_of(text_id: str) -> Half:
    """Return whether a text is the gate's or the verdict's; its name alone decides."""
    return "gate" if unit_draw("verdict", text_id) < 0.5 else "verdict"


def read_questions(path: str) -> pl.DataFrame:
    """Return a file of questions: columns text_id, prompt, answer.

    Raises:
        BadInput: There is no such file, or a line is no object with a prompt and an answer.
    """
    allowed = 'every line must be an object like {"prompt": "The capital of Norway is", "answer": "Oslo"}'
    try:
        lines = read_file(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(
            f"reading the questions {path}: {reason}; {allowed}. Set subject.questions to such a file."
        ) from error
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            prompt, given = row["prompt"], row["answer"]
            if not (isinstance(prompt, str) and isinstance(given, str) and prompt and given):
                raise TypeError
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"reading the questions {path}: line {number} is {line[:80]!r}; {allowed}. Correct that line."
            ) from error
        rows.append({"text_id": content_hash("probe", prompt, given), "prompt": prompt, "answer": given})
    if not rows:
        raise BadInput(f"reading the questions {path}: the file is empty; {allowed}. Write some, better hundreds.")
    return pl.DataFrame(rows).unique("text_id").sort("text_id")


def score_arms(store: Store, device: str, report: Report, questions: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the loss of every answer under both arms of a training; those scored before are read."""
    from gainloop.models.scoring import score_answers

    found = {}
    for arm in ARMS:
        checkpoint_id = report.checkpoints[arm]
        # "probe", here and in text_id, names files that stores have: under another word all would be scored anew.
        url = f"{store.folder}/scores/{checkpoint_id}-probes-{content_hash(questions['text_id'].to_list())}.parquet"
        if not exists(url):
            folder = checkpoint_folder(store, checkpoint_id)
            nats = score_answers(folder, questions["prompt"].to_list(), questions["answer"].to_list(), device)
            size = questions["answer"].str.len_bytes().cast(pl.Int64)
            write_frame(url, questions.select("text_id", nats=pl.Series(nats), num_bytes=size))
        found[arm] = read_frame(url)
    return found


def _heldout_losses(store: Store, report: Report) -> dict[str, pl.DataFrame]:
    summary: dict[str, Any] = stage_summary(store, report.batch, "train", report.training) or {}
    urls = summary.get("scores", {})
    keys = {arm: [key_of(arm, "heldout", seed) for seed in range(summary.get("seeds", 1))] for arm in ARMS}
    wanted = {key: urls[key] for one in keys.values() for key in one if key in urls}
    found = find_scores(store, report.batch, wanted)
    nothing = pl.DataFrame(schema={"text_id": pl.String, "nats": pl.Float64, "num_bytes": pl.Int64})
    return {arm: _mean_losses([found.get(key, nothing) for key in own]) for arm, own in keys.items()}


def _mean_losses(seeds: list[pl.DataFrame]) -> pl.DataFrame:
    """Return each text's mean loss over the seeds of an arm: all of them count."""
    some = pl.concat([one.select("text_id", "nats", "num_bytes") for one in seeds])
    return some.group_by("text_id", maintain_order=True).agg(pl.col("nats").mean(), pl.col("num_bytes").first())


def _beside(arms: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Return each text's loss under both arms, in one row."""
    first, second = (arms[arm].select("text_id", "num_bytes", pl.col("nats").alias(arm)) for arm in ARMS)
    return first.join(second.drop("num_bytes"), on="text_id").sort("text_id")

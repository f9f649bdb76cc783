"""The store's own batches: what their reports said, beside what held-out texts or a file of questions then showed."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import numpy as np
import polars as pl

from gainloop.measures.entropy import paired_gain
from gainloop.measures.estimate import Estimate, as_figure, mean_of, share_of
from gainloop.store import Store
from gainloop.store.batches import stage_summary
from gainloop.store.checkpoints import checkpoint_folder
from gainloop.store.files import exists, read_file, read_frame, write_frame
from gainloop.store.measurements import parse_report
from gainloop.store.scores import find_scores
from gainloop.studies.findings import describe
from schemas.errors import BadInput
from schemas.report import FORMAT as REPORT_FORMAT
from schemas.report import WORDS, Report
from schemas.rows import content_hash, unit_draw
from schemas.studies import VERIFICATION_FORMAT, BatchOutcome, OwnBatches, Predictor, Verification

ARMS: Final = ("synthetic", "baseline")

NEWEST: Final = """
with reports as (select *, json_extract_string(report, '$.training') as training from measurements
    where json_extract_string(report, '$.format') = ?)
select report from reports where training != ''
qualify row_number() over (partition by batch_id, training order by measured_at desc, measurement_id) = 1
order by batch_id, training
"""
"""The newest report of each training: a batch that was scored since has several of one training."""

PRIMARY: Final = "gate_gain"
"""The one hypothesis: what a batch gains on one half of the questions foretells what it gains on the other."""

GATE_GAIN: Final = Predictor(
    key=PRIMARY,
    name="Gain on the gate's half",
    meaning="The same gain on the other half of the texts or questions, of the same trainings.",
    expected="rises",
    is_early=False,
)

OF_REPORTS: Final = tuple(
    Predictor(key=path, name=words.title, meaning=words.meaning, expected=words.predicts, is_early=words.is_early)
    for path, words in WORDS.items()
    if words.predicts
)
"""Every figure whose field says what it predicts; the key is its path."""

ACCEPTED: Final = Predictor(
    key="accepted", name="Accept rate", meaning="Part of the records that validation kept.", expected="rises"
)


@dataclass(frozen=True, slots=True)
class ScoredTraining:
    """One training that has a report, and the loss in nats of each text, or answer to a question, under both arms.

    Attributes:
        report: Newest report of the training.
        losses: Columns text_id, num_bytes, synthetic, baseline.
    """

    report: Report
    losses: pl.DataFrame

    def gain(self, part: str, is_text: bool) -> Estimate:
        """Return what the batch saved beyond the matched baseline on the part's texts, ``gate`` or ``verdict``."""
        own = self.losses.filter(pl.col("text_id").map_elements(part_of, return_dtype=pl.String) == part)
        if is_text:
            return paired_gain(own["baseline"], own["synthetic"], own["num_bytes"])
        return mean_of((own["baseline"] - own["synthetic"]).to_numpy(), np.arange(own.height), "nats/answer")


def part_of(text_id: str) -> str:
    """Return whether a text is the gate's or the verdict's; its name alone decides."""
    return "gate" if unit_draw("verdict", text_id) < 0.5 else "verdict"


def describe_own_batches(
    store: Store, device: str, subject: OwnBatches, on_progress: Callable[[int, int], None]
) -> Verification:
    """Return the verification over all batches of which a training has a report.

    Args:
        device: Torch device on which the models answer.
        on_progress: Called with the trainings scored, and all of them.

    Raises:
        BadInput: The file of questions cannot be read.
        StoreError: A file of scores is gone.
    """
    questions = read_questions(subject.questions) if subject.questions else None
    reports = read_reports(store)
    trainings = []
    for report in reports:
        arms = score_arms(store, device, report, questions) if questions is not None else _heldout_losses(store, report)
        trainings.append(ScoredTraining(report, _beside(arms)))
        on_progress(len(trainings), len(reports))
    by_batch: dict[str, list[ScoredTraining]] = {}
    for training in trainings:
        by_batch.setdefault(training.report.batch, []).append(training)
    batches = [outcome_of(own, questions is None) for own in by_batch.values()]
    predictors = [GATE_GAIN, *OF_REPORTS, ACCEPTED]
    if questions is None:  # half of these would be the verdict itself
        predictors = [each for each in predictors if not each.key.startswith("gain.")]
    known = [
        each
        for each in predictors
        if each.key == PRIMARY or all(batch.predictors[each.key].value is not None for batch in batches)
    ]
    about = subject.model_dump(mode="json") | {"trainings": [report.training for report in reports]}
    what = "held-out texts" if questions is None else "questions"
    return describe(
        content_hash(
            "verification", VERIFICATION_FORMAT, about, [] if questions is None else questions["text_id"].to_list()
        ),
        about,
        f"gain on the verdict's half of the {what}: what they cost the matched baseline less what they cost the model "
        "trained on the batch; mean over the batch's trainings",
        known,
        PRIMARY,
        batches,
    )


def read_reports(store: Store) -> list[Report]:
    """Return the newest report of each training, in the order of batch and training; those with other figures not."""
    rows = store.query(NEWEST, str(REPORT_FORMAT))["report"]
    return [report for row in rows if (report := parse_report(row))]


def outcome_of(trainings: list[ScoredTraining], is_text: bool) -> BatchOutcome:
    """Return the predictors of a batch, and its verdict: the mean over its trainings."""
    report = trainings[0].report
    halves = {part: [training.gain(part, is_text) for training in trainings] for part in ("gate", "verdict")}
    counts = report.counts
    kept = np.repeat([1.0, 0.0], [counts.kept, counts.records - counts.kept])
    figures = {each.key: attrgetter(each.key)(report) for each in OF_REPORTS}
    figures[PRIMARY] = as_figure(_mean(halves["gate"]), "as the verdict, the other half; interval over texts")
    figures["accepted"] = as_figure(share_of(kept, np.arange(len(kept))), "kept records by all; interval over records")
    return BatchOutcome(
        name=report.batch,
        method=str(report.recipe["method"].get("kind", "")),
        predictors=figures,
        verdict=as_figure(_mean(halves["verdict"]), "baseline's loss less the model's; interval over texts"),
        by_seed=[gain.value for gain in halves["verdict"] if gain.value is not None],
    )


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
    found = find_scores(store, report.batch, {arm: urls[f"{arm}/heldout"] for arm in ARMS if f"{arm}/heldout" in urls})
    nothing = pl.DataFrame(schema={"text_id": pl.String, "nats": pl.Float64, "num_bytes": pl.Int64})
    return {arm: found.get(arm, nothing) for arm in ARMS}


def _beside(arms: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Return each text's loss under both arms, in one row."""
    first, second = (arms[arm].select("text_id", "num_bytes", pl.col("nats").alias(arm)) for arm in ARMS)
    return first.join(second.drop("num_bytes"), on="text_id").sort("text_id")


def _mean(gains: list[Estimate]) -> Estimate:
    """Return the mean over a batch's trainings. They share their texts, so the widest interval is the mean's."""
    if len(gains) == 1 or any(gain.value is None for gain in gains):
        return gains[0]
    value = float(np.mean([gain.value for gain in gains if gain.value is not None]))
    halves = [gain.value - gain.low for gain in gains if gain.value is not None and gain.low is not None]
    low, high = (value - max(halves), value + max(halves)) if halves else (None, None)
    return Estimate(value, low, high, gains[0].n, gains[0].unit, num_clusters=gains[0].num_clusters)

"""The store's own batches: what their reports said, beside what an exam, held-out texts or questions then showed."""

from collections.abc import Callable
from operator import attrgetter
from typing import Final

import numpy as np

from gainloop.measures.estimate import Estimate, as_figure, share_of
from gainloop.store import Store
from gainloop.store.measurements import parse_report
from gainloop.studies.findings import describe
from gainloop.studies.targets import HALVES, PRIMARY, Training, choose_target
from schemas.report import FORMAT as REPORT_FORMAT
from schemas.report import WORDS, Report
from schemas.rows import content_hash
from schemas.studies import VERIFICATION_FORMAT, BatchOutcome, OwnBatches, Predictor, Verification

NEWEST: Final = """
with reports as (select *, rowid as place, json_extract_string(report, '$.training') as training from measurements
    where json_extract_string(report, '$.format') = ?)
select report from reports where training != ''
qualify row_number() over (partition by batch_id, training order by place desc) = 1
order by batch_id, training
"""
"""The newest report of each training: a batch that was scored since has several of one training."""

OF_REPORTS: Final = tuple(
    Predictor(key=path, name=words.title, meaning=words.meaning, expected=words.predicts, is_early=words.is_early)
    for path, words in WORDS.items()
    if words.predicts
)
"""Every figure whose field says what it predicts; the key is its path."""

ACCEPTED: Final = Predictor(
    key="accepted", name="Accept rate", meaning="Part of the records that validation kept.", expected="rises"
)


def describe_own_batches(
    store: Store, device: str, subject: OwnBatches, on_progress: Callable[[int, int], None]
) -> Verification:
    """Return the verification over all batches of which a training has a report that the target can measure.

    Args:
        device: Torch device on which the models answer.
        on_progress: Called with the trainings measured, and all of them.

    Raises:
        BadInput: The file of questions cannot be read, or the exam is asked for and no report has one.
        StoreError: A file of scores or answers is gone.
    """
    reports = read_reports(store)
    target = choose_target(store, device, subject, reports)
    measured = [report for report in reports if target.measures(report)]
    by_batch: dict[str, list[Training]] = {}
    for done, report in enumerate(measured, start=1):
        by_batch.setdefault(report.batch, []).append(target.open(report))
        on_progress(done, len(measured))
    batches = [outcome_of(own) for own in by_batch.values()]
    predictors = [target.hypothesis, *(one for one in OF_REPORTS if not one.key.startswith(target.itself)), ACCEPTED]
    known = [
        each
        for each in predictors
        if each.key == PRIMARY or all(batch.predictors[each.key].value is not None for batch in batches)
    ]
    about = subject.model_dump(mode="json") | {"trainings": [report.training for report in measured]}
    left_out = len({report.batch for report in reports}) - len(batches)
    verdict = target.verdict + (f"; {left_out} batches that it does not measure are left out" if left_out else "")
    name = content_hash("verification", VERIFICATION_FORMAT, about, target.verdict, list(target.asked))
    return describe(name, about, verdict, known, PRIMARY, batches)


def read_reports(store: Store) -> list[Report]:
    """Return the newest report of each training, in the order of batch and training; those with other figures not."""
    rows = store.query(NEWEST, str(REPORT_FORMAT))["report"]
    return [report for row in rows if (report := parse_report(row))]


def outcome_of(trainings: list[Training]) -> BatchOutcome:
    """Return the predictors of a batch, and its verdict: the mean over its trainings."""
    report = trainings[0].report
    halves = {part: [training.gain(part) for training in trainings] for part in HALVES}
    counts = report.counts
    kept = np.repeat([1.0, 0.0], [counts.kept, counts.records - counts.kept])
    figures = {each.key: attrgetter(each.key)(report) for each in OF_REPORTS}
    figures[PRIMARY] = as_figure(_mean(halves["gate"]), "as the verdict, the other half")
    figures["accepted"] = as_figure(share_of(kept, np.arange(len(kept))), "kept records by all; interval over records")
    return BatchOutcome(
        name=report.batch,
        method=str(report.recipe["method"].get("kind", "")),
        predictors=figures,
        verdict=as_figure(_mean(halves["verdict"]), trainings[0].definition),
        by_seed=[gain.value for gain in halves["verdict"] if gain.value is not None],
    )


def _mean(gains: list[Estimate]) -> Estimate:
    """Return the mean over a batch's trainings. They share their texts, so the widest interval is the mean's."""
    if len(gains) == 1 or any(gain.value is None for gain in gains):
        return gains[0]
    value = float(np.mean([gain.value for gain in gains if gain.value is not None]))
    halves = [gain.value - gain.low for gain in gains if gain.value is not None and gain.low is not None]
    low, high = (value - max(halves), value + max(halves)) if halves else (None, None)
    return Estimate(value, low, high, gains[0].n, gains[0].unit, num_clusters=gains[0].num_clusters)

"""Batches of a store as an overview has them, made from one report whose figures are moved."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gainloop.reports.evidence import Begun
from gainloop.store.digests import digest_of
from schemas.figure import Figure
from schemas.knowledge import Graded
from schemas.report import DEPENDENCE, KNOWLEDGE, SURPRISE, Report

FIRST_DAY = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
STAGES = ("generate", "score", "train", "validate")


def moved(figure: Figure, value: float, half: float) -> Figure:
    """Return a figure with another value and interval."""
    return figure.model_copy(update={"value": value, "low": value - half, "high": value + half, "status": "ok"})


def unmeasured(figure: Figure, why: str) -> Figure:
    return figure.model_copy(update={"value": None, "low": None, "high": None, "n": 0, "status": why})


def make_batch(
    report: Report,
    number: int,
    gain: float | None = 0.01,
    delta_i: float | None = 2.0,
    dependence: float = 0.9,
    half: float = 0.004,
    non_factual: float | None = 8.0,
    **recipe: Any,
) -> Begun:
    """Return the batch of a day, trained on if it has a gain."""
    advantage, bits = report.gain.advantage, report.delta_i.bits_per_byte
    untrained, without_logprobs = (
        f"not measured: {why}" for why in ("no training yet", "no log-probabilities were asked for")
    )
    gains = {
        "advantage": unmeasured(advantage, untrained) if gain is None else moved(advantage, gain, half),
        "synthetic": unmeasured(advantage, untrained)
        if gain is None
        else moved(advantage, gain + 0.02 + 0.004 * (number % 3), half),
    }
    rate = {"bits_per_byte": unmeasured(bits, without_logprobs) if delta_i is None else moved(bits, delta_i, 0.08)}
    quality = {} if non_factual is None else {"non_factual": moved(report.quality.non_factual, non_factual, 5)}
    changes = {
        "quality": report.quality.model_copy(update=quality),
        "gain": report.gain.model_copy(update=gains),
        "delta_i": report.delta_i.model_copy(update=rate),
        "faithfulness": report.faithfulness.model_copy(
            update={"novelty": moved(report.faithfulness.novelty, 0.5 + 0.07 * (5 * number % 7), 0.02)}
        ),
        "mi": report.mi.model_copy(update={"ratio_to_log_p": moved(report.mi.ratio_to_log_p, dependence, 0.05)}),
    }
    return Begun(
        batch_id=f"{number:016x}",
        recipe=report.recipe | recipe,
        begun=FIRST_DAY + timedelta(days=number),
        place=number,
        stages=STAGES,
        digest=digest_of(report.model_copy(update=changes)),
        requests=report.counts.requests,
        records=report.counts.records,
        drops=report.counts.drops_by_reason | {"cut_off": 5 + number},
        quarantine=report.counts.quarantined_by_reason,
    )


def with_exam(batch: Begun, exam: str, gained: float, graded: Graded = "options", half: float = 1.0) -> Begun:
    """Return a batch whose models sat another exam and gained so much over repeating; its report has one already."""
    assert batch.digest
    path = SURPRISE if graded == "nats" else KNOWLEDGE
    figures = {**batch.digest.figures, path: moved(batch.digest.figures[path], gained, half)}
    return replace(batch, digest=replace(batch.digest, exam=exam, graded=graded, figures=figures))


def make_store(report: Report) -> list[Begun]:
    """Return batches of four recipes: one was never trained on, one is outdated, one is under way."""
    two, one = (
        {"method": {"kind": "rephrase", "styles": list(styles)}} for styles in (("story", "summary"), ("story",))
    )
    sbp = {"method": {"kind": "sbp", "draws": 2}}
    batches = [
        make_batch(report, 1, 0.011, 2.1, 0.93, **two),
        make_batch(report, 2, -0.006, 2.3, 0.86, **one),
        make_batch(report, 3, 0.014, 1.9, 0.9, **two),
        make_batch(report, 4, -0.004, 0.4, 0.6, **one),
        make_batch(report, 5, -0.012, 3.1, 0.2, **sbp),
        make_batch(report, 6, 0.004, 2.4, 0.31, **sbp),
        make_batch(report, 7, None, 2.2, 0.8, **two | {"sampling": report.recipe["sampling"] | {"temperature": 0.7}}),
    ]
    outdated = replace(make_batch(report, 8, **sbp), digest=None, is_outdated=True)
    running = replace(make_batch(report, 9, **one), digest=None, stages=())
    return [*batches, outdated, running]


def without_scores(batches: Sequence[Begun]) -> list[Begun]:
    """Return the same batches before outputs were scored under other prompts."""
    found = []
    for batch in batches:
        assert batch.digest
        ratio = unmeasured(batch.digest.figures[DEPENDENCE], "not measured: no output was scored")
        figures = {**batch.digest.figures, DEPENDENCE: ratio}
        found.append(replace(batch, digest=replace(batch.digest, figures=figures)))
    return found

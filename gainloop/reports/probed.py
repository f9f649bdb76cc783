"""The report's figures of a probe run."""

from typing import Any

import polars as pl

from gainloop.measures.estimate import as_figure, not_measured
from gainloop.reports.answers import AnswerSheets
from gainloop.reports.evidence import Evidence, Examined
from gainloop.reports.knowledge import measure_gained
from gainloop.steering.probe import probe_verdict
from schemas.steering import Probed

DEFINITION = "known after the batch less known after repeating, after a part of the updates; by the dev part alone"


def measure_probe(evidence: Evidence) -> Probed:
    """Return what the latest probe run of a batch found."""
    if evidence.probed is None:
        why = "not run: there is no exam, its share is 0, or the batch was released"
        return probe_of(None, {}, why)
    return probe_of(evidence.probed, evidence.summaries["probe"])


def probe_of(examined: Examined | None, summary: dict[str, Any], status: str = "ok") -> Probed:
    """Return the figures of a probe run.

    Args:
        examined: Answers of the start and of both arms; None without a probe run.
        summary: Summary of the stage probe.
        status: Reason why there was none.
    """
    why = "the other figure of the probe run decides" if examined else status.removeprefix("not run: ")
    figures = {
        name: as_figure(not_measured(unit, why), DEFINITION)
        for name, unit in (("gain", "points"), ("nats_gain", "nats/token"))
    }
    counts = {"share": 0.0, "seeds": 0, "questions": 0, "tokens": 0, "full_tokens": 0, "seconds": 0.0}
    if examined is None:
        return Probed(status=status, verdict="not run", **counts, **figures)
    steering = examined.taught.only(pl.col("part") == "dev")
    sheets = AnswerSheets(steering)
    name = "nats_gain" if sheets.graded == "nats" else "gain"
    figures[name] = as_figure(measure_gained(steering), DEFINITION)
    counts |= {key: summary[key] for key in ("share", "tokens", "full_tokens", "seconds")}
    counts |= {"seeds": len(sheets.seeds("synthetic")), "questions": figures[name].n}
    return Probed(status="ok", verdict=probe_verdict(figures[name]), **counts, **figures)

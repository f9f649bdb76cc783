"""What trained models lose and what they took in: the report's figures, from scores of texts and of training rows."""

import math
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from schemas.figure import Figure
from schemas.information import LossPoint, Trainee
from schemas.rows import heldout_draw
from tasks.measures.estimate import Estimate, as_figure
from tasks.measures.evidence import Evidence
from tasks.measures.learning import Learned, learned
from tasks.measures.likelihood import bits_per_byte

CURVE_POINTS: Final = 24

LOSS: Final = "sum of -log2 p by sum of UTF-8 bytes over {}; interval over texts"
TAKEN_IN: Final = (
    "{}, summed over packed rows of {} that were read for the first time; each is predicted by the model of the moment "
    "before it is learnt from (prequential) and by the final one; interval over rows"
)


def measure_trainee(evidence: Evidence) -> Trainee:
    """Return what the trained models lose and took in; each figure says why where it has no value."""
    found = learned_of(evidence, "synthetic", "synthetic")
    anchors = learned_of(evidence, "baseline", "anchors")
    return Trainee(
        heldout_start=loss(evidence, "start/heldout", "the held-out anchors, before training"),
        heldout_synthetic=loss(evidence, "synthetic/heldout", "the held-out anchors, after training on the batch"),
        heldout_baseline=loss(
            evidence, "baseline/heldout", "the held-out anchors, after as many tokens of repeated anchors"
        ),
        anchors_synthetic=loss(evidence, "synthetic/anchors", "anchors of the batch, after training on it"),
        anchors_baseline=loss(evidence, "baseline/anchors", "anchors of the batch, after repeated anchors"),
        records_in=_records(evidence, False),
        records_out=_records(evidence, True),
        absorbed=as_figure(found.absorbed, TAKEN_IN.format("prequential less final loss", "synthetic text")),
        memorised=as_figure(
            found.memorised,
            TAKEN_IN.format("loss per byte of held-out less that of trained records, times bytes", "synthetic text"),
        ),
        generalised=as_figure(found.generalised, TAKEN_IN.format("absorbed less memorised", "synthetic text")),
        absorbed_anchors=as_figure(
            anchors.absorbed, TAKEN_IN.format("prequential less final loss of the matched baseline", "anchors")
        ),
        curve=_curve(evidence),
        curve_heldout=_heldout_rows(evidence),
    )


def loss(evidence: Evidence, key: str, of: str) -> Figure:
    """Return the loss of a model on some texts, in bits per byte."""
    scores = evidence.scores.get(key)
    estimate = not_scored(evidence, key) if scores is None else bits_per_byte(scores["nats"], scores["num_bytes"])
    return as_figure(estimate, LOSS.format(of))


def not_scored(evidence: Evidence, key: str, unit: str = "bits/byte") -> Estimate:
    """Return the estimate of what was not scored, with the reason."""
    why = f"there are no scores {key}" if "train" in evidence.summaries else "no model was trained on this batch yet"
    return Estimate(None, None, None, 0, unit, f"not measured: {why}")


def learned_of(evidence: Evidence, role: str, part: str) -> Learned:
    """Return what a model took in of one part of its training text, in nats over all its rows."""
    rows = evidence.scores.get(key := f"{role}/learned")
    if rows is None:
        nothing = not_scored(evidence, key, "nats")
        return Learned(nothing, nothing, nothing)
    trained, left = _split(rows, part)
    return learned(
        trained["online_nats"], trained["final_nats"], trained["num_bytes"], left["final_nats"], left["num_bytes"]
    )


def texts_read(evidence: Evidence, role: str, part: str) -> float:
    """Return how many texts of a part a model read to their ends for the first time."""
    return float(_split(evidence.scores[f"{role}/learned"], part)[0]["num_ends"].sum())


def _split(rows: pl.DataFrame, part: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows of a part that were trained on, in their order, and those held out."""
    own = rows.filter(part=part)
    return own.filter(pl.col("position").is_not_null()).sort("position"), own.filter(pl.col("position").is_null())


def _records(evidence: Evidence, held_out: bool) -> Figure:
    which = "kept records that were held out of training" if held_out else "kept records that were trained on"
    scores = evidence.scores.get("synthetic/records")
    if scores is None:
        return as_figure(not_scored(evidence, "synthetic/records"), LOSS.format(which))
    share = evidence.summaries["train"].get("heldout_records", 0.0)
    is_out = pl.Series([heldout_draw(one) < share for one in scores["text_id"]], dtype=pl.Boolean)
    chosen = scores.filter(is_out if held_out else ~is_out)
    owners = evidence.kept.select("anchor_id", text_id="record_id")
    owned = chosen.join(owners, on="text_id", maintain_order="left")
    return as_figure(
        bits_per_byte(owned["nats"], owned["num_bytes"], owned["anchor_id"].to_numpy()),
        LOSS.format(which).replace("over texts", "over anchors"),
    )


def _heldout_rows(evidence: Evidence) -> Figure:
    definition = LOSS.format("packed rows of records that were held out of training").replace("texts", "rows")
    rows = evidence.scores.get("synthetic/learned")
    if rows is None:
        return as_figure(not_scored(evidence, "synthetic/learned"), definition)
    _, left = _split(rows, "synthetic")
    return as_figure(bits_per_byte(left["final_nats"], left["num_bytes"]), definition)


def _curve(evidence: Evidence) -> list[LossPoint]:
    rows = evidence.scores.get("synthetic/learned")
    if rows is None:
        return []
    trained, _ = _split(rows, "synthetic")
    finite = trained.filter(pl.col("online_nats").is_finite())
    ends = np.linspace(0, finite.height, min(CURVE_POINTS, finite.height) + 1).round().astype(int)
    points, tokens = [], 0
    for first, last in pairwise(ends):
        some = finite[int(first) : int(last)]
        tokens += int(some["num_tokens"].sum())
        bits = math.log(2) * float(some["num_bytes"].sum())
        if bits:
            online, final = (float(some[name].sum()) / bits for name in ("online_nats", "final_nats"))
            points.append(LossPoint(tokens=tokens, online=online, final=final))
    return points

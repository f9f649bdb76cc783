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

_NO_TEXT: Final = pl.DataFrame(
    schema={"text_id": pl.String, "nats": pl.Float64, "num_bytes": pl.Int64, "anchor_id": pl.String}
)

LOSS: Final = "sum of -log2 p by sum of UTF-8 bytes over {}; interval over texts"
TAKEN_IN: Final = (
    "{}, summed over packed rows of {} that were read for the first time; each is predicted by the model of the moment "
    "before it is learnt from (prequential) and by the final one; interval over {}"
)
OF_RECORDS: Final = "anchors of the records that the gap is of, half widths added in quadrature"


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
        absorbed=as_figure(found.absorbed, TAKEN_IN.format("prequential less final loss", "synthetic text", "rows")),
        memorised=as_figure(
            found.memorised,
            TAKEN_IN.format(
                "loss per byte of held-out less that of trained records, times bytes", "synthetic text", OF_RECORDS
            ),
        ),
        generalised=as_figure(
            found.generalised, TAKEN_IN.format("absorbed less memorised", "synthetic text", f"rows, and {OF_RECORDS}")
        ),
        absorbed_anchors=as_figure(
            anchors.absorbed, TAKEN_IN.format("prequential less final loss of the matched baseline", "anchors", "rows")
        ),
        curve=_curve(evidence),
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
    own = rows.filter(part=part)
    out, trained = _split_records(evidence) if part == "synthetic" else (_NO_TEXT, _NO_TEXT)
    return learned(
        own["online_nats"],
        own["final_nats"],
        own["num_bytes"],
        out["nats"],
        out["num_bytes"],
        (trained["nats"], trained["num_bytes"]),
        (out["anchor_id"].to_numpy(), trained["anchor_id"].to_numpy()),
    )


def texts_read(evidence: Evidence, role: str, part: str) -> float:
    """Return how many texts of a part a model read to their ends for the first time."""
    return float(evidence.scores[f"{role}/learned"].filter(part=part)["num_ends"].sum())


def _split_records(evidence: Evidence) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the final model's scores of records held out of its training, and of those trained on."""
    scores, share = evidence.scores.get("synthetic/records", _NO_TEXT), evidence.summaries["train"]["heldout_records"]
    is_out = pl.Series([heldout_draw(one) < share for one in scores["text_id"]], dtype=pl.Boolean)
    owners = evidence.kept.select("anchor_id", text_id="record_id")
    owned = scores.with_columns(is_out=is_out).join(owners, on="text_id", maintain_order="left")
    return owned.filter("is_out"), owned.filter(~pl.col("is_out"))


def _records(evidence: Evidence, held_out: bool) -> Figure:
    which = "kept records that were held out of training" if held_out else "kept records that were trained on"
    definition = LOSS.format(which).replace("over texts", "over anchors")
    if "synthetic/records" not in evidence.scores:
        return as_figure(not_scored(evidence, "synthetic/records"), definition)
    chosen = _split_records(evidence)[0 if held_out else 1]
    return as_figure(bits_per_byte(chosen["nats"], chosen["num_bytes"], chosen["anchor_id"].to_numpy()), definition)


def _curve(evidence: Evidence) -> list[LossPoint]:
    rows = evidence.scores.get("synthetic/learned")
    if rows is None:
        return []
    finite = rows.filter(part="synthetic").sort("position").filter(pl.col("online_nats").is_finite())
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

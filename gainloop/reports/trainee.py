"""The report's figures of trained models: losses, what they took in, and the paper's quantities."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
import polars as pl

from gainloop.measures.entropy import bits_per_byte
from gainloop.measures.estimate import Estimate, Floats, as_figure, mean_of, not_measured, ratio_of_sums, weighted_sum
from gainloop.measures.learning import Learned, learned
from gainloop.reports.evidence import Evidence
from gainloop.reports.gain import OWN, loss_over_seeds, not_scored
from gainloop.reports.information import curation_of
from schemas.figure import Figure
from schemas.information import DeltaI, Dependence, FilterEffect, Paper
from schemas.rows import heldout_draw
from schemas.sections import LossPoint, Trainee

CURVE_POINTS: Final = 24

_NO_TEXT: Final = pl.DataFrame(
    schema={"text_id": pl.String, "nats": pl.Float64, "num_bytes": pl.Int64, "anchor_id": pl.String}
)

LOSS: Final = "sum of -log2 p by sum of UTF-8 bytes over {}; interval over texts"
TAKEN_IN: Final = (
    "{}, summed over packed rows of {} that neither the start, as far as is known, nor this training had read before; "
    "each is predicted by the model of the moment before it is learnt from (prequential) and by the final one; "
    "interval over {}"
)
OF_RECORDS: Final = "anchors of the records that the gap is of, half widths added in quadrature"

UNIT: Final = "nats/text"
OVER: Final = "over anchors that have a kept record; interval over anchors"


def measure_trainee(evidence: Evidence) -> Trainee:
    """Return losses and what models took in; a figure without a value has the reason in its status."""
    found = learned_of(evidence, "synthetic", "synthetic")
    anchors = learned_of(evidence, "baseline", "anchors")
    return Trainee(
        heldout_start=loss_over_seeds(evidence, "start", "the held-out anchors, before training"),
        heldout_synthetic=loss_over_seeds(evidence, "synthetic", "the held-out anchors, after training on the batch"),
        heldout_baseline=loss_over_seeds(evidence, "baseline", f"the held-out anchors, after {OWN}"),
        anchors_synthetic=loss(evidence, "synthetic/anchors", "anchors of the batch, after training on it"),
        anchors_baseline=loss(evidence, "baseline/anchors", f"anchors of the batch, after {OWN}"),
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
            anchors.absorbed, TAKEN_IN.format("prequential less final loss of repeating", "anchors", "rows")
        ),
        curve=_curve(evidence),
    )


def loss(evidence: Evidence, key: str, of: str) -> Figure:
    """Return the loss of a model on some texts, in bits per byte.

    Args:
        key: Key of the scores, ``<role>/<texts>``.
        of: Words for the texts, in the definition.
    """
    scores = evidence.scores.get(key)
    estimate = not_scored(evidence, key) if scores is None else bits_per_byte(scores["nats"], scores["num_bytes"])
    return as_figure(estimate, LOSS.format(of))


def learned_of(evidence: Evidence, role: str, part: str) -> Learned:
    """Return what a model took in of one part of its training text, in nats over all its rows."""
    rows = evidence.scores.get(key := f"{role}/learned")
    if rows is None:
        nothing = not_scored(evidence, key, "nats")
        return Learned(nothing, nothing, nothing)
    own = rows.filter(part=part)
    if own.is_empty():
        nothing = Estimate(None, None, None, 0, "nats", f"not measured: every row of {part} had been read before")
        return Learned(nothing, nothing, nothing)
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


def measure_paper(evidence: Evidence, delta_i: DeltaI, dependence: Dependence, curation: FilterEffect) -> Paper:
    """Return the paper's quantities of a batch and its two trainees."""
    added = delta_i.nats_per_record
    anchors = _Anchors.of(evidence)
    synthetic = weighted_sum([(1, curation.entropy), (1, dependence.covering)], UNIT)
    given_trainee = _records_given_trainee(evidence)
    known = anchors.mean(lambda a: a.start - (a.trainee - (a.closed - a.open)))
    return Paper(
        anchors=as_figure(anchors.mean(lambda a: a.start), f"H(S_anchor): loss of the start checkpoint, {OVER}"),
        synthetic=as_figure(synthetic, "H(S_gen): Delta I after curation + I(p; Y); half widths added in quadrature"),
        delta_h=as_figure(
            weighted_sum([(1, anchors.mean(lambda a: a.start)), (-1, synthetic)], UNIT), "H(S_anchor) - H(S_gen)"
        ),
        alpha=as_figure(anchors.alpha, f"loss of the baseline by loss of the synthetic model, {OVER}"),
        eps=as_figure(
            anchors.mean(lambda a: a.closed - a.open),
            f"loss without less loss with a record of the anchor before it, the synthetic model, {OVER}",
        ),
        ggmi=as_figure(
            _ggmi(evidence),
            "absorbed of the anchors by the baseline less absorbed of the batch, both by text read of the batch",
        ),
        bound=as_figure(
            weighted_sum(
                [
                    (1, added),
                    (1, anchors.mean(lambda a: 2 * a.start - a.baseline - a.trainee + a.closed - a.open)),
                    (-2, synthetic),
                    (1, given_trainee),
                ],
                UNIT,
            ),
            "Delta I - (alpha + 1) H(S_anchor | W) + 2 Delta H + H(S_gen | W) + eps; half widths added in quadrature",
        ),
        curation_slack=as_figure(
            replace(curation_of(evidence).entropy_lost, unit=UNIT),
            "H(M(p)) - H(S_gen), as Delta I less Delta I after curation, reply by reply: below 0 the bound may fail; "
            "interval over prompts",
        ),
        prompt_slack=as_figure(
            weighted_sum([(1, known), (-1, dependence.covering)], UNIT),
            "I(S_anchor; M(p)) - I(h(e_p); M(p)): below 0 the bound may fail",
        ),
    )


class _Anchors:
    """Losses of anchors: before training, after it in both arms, with the book closed and open; NaN if not scored."""

    def __init__(self, losses: dict[str, Floats], missing: Estimate | None) -> None:
        self.start, self.trainee, self.baseline, self.closed, self.open = losses.values()
        self._missing = missing

    @classmethod
    def of(cls, evidence: Evidence) -> "_Anchors":
        keys = ("start/anchors", "synthetic/anchors", "baseline/anchors", "synthetic/closed", "synthetic/open")
        for key in keys:
            if key not in evidence.scores:
                return cls({one: np.array([]) for one in keys}, not_scored(evidence, key, UNIT))
        joined = evidence.scores[keys[-1]].select("text_id")
        for key in keys:
            scores = evidence.scores[key].select("text_id", pl.col("nats").alias(key))
            joined = joined.join(scores, on="text_id", how="left", maintain_order="left")
        return cls({key: joined[key].cast(pl.Float64).fill_null(np.nan).to_numpy() for key in keys}, None)

    def mean(self, of: Any) -> Estimate:
        """Return the mean of a function of the losses over anchors."""
        return self._missing or mean_of(rows := of(self), np.arange(len(rows)), UNIT)

    @property
    def alpha(self) -> Estimate:
        if self._missing:
            return replace(self._missing, unit="ratio")
        return ratio_of_sums(self.baseline, self.trainee, np.arange(len(self.trainee)), "ratio")


def _records_given_trainee(evidence: Evidence) -> Estimate:
    """Return H(S_gen | W): what a record costs the model that was trained on the batch."""
    scores = evidence.scores.get("synthetic/records")
    if scores is None:
        return not_scored(evidence, "synthetic/records", UNIT)
    owners = evidence.kept.select("anchor_id", text_id="record_id")
    owned = scores.join(owners, on="text_id", maintain_order="left")
    return mean_of(owned["nats"].to_numpy(), owned["anchor_id"].to_numpy(), UNIT)


def _ggmi(evidence: Evidence) -> Estimate:
    """Return what the baseline absorbed more than the batch's model, in all, shared out over the batch's texts.

    Both arms read as many tokens, of texts of other lengths: by its own number of texts each, they would be compared
    by how long their texts are.
    """
    arms = (("baseline", "anchors"), ("synthetic", "synthetic"))
    absorbed = [learned_of(evidence, role, part).absorbed for role, part in arms]
    if missing := next((one for one in absorbed if one.value is None), None):
        return replace(missing, unit=UNIT)
    num_texts = texts_read(evidence, "synthetic", "synthetic")
    if not num_texts:
        return not_measured(UNIT, "no whole text of the batch was read")
    return weighted_sum([(sign / num_texts, one) for sign, one in zip((1, -1), absorbed, strict=True)], UNIT)

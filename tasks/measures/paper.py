"""The quantities of Gan & Liu 2024 on real models: GGMI, alpha, eps, and Theorem 4.10 with its slack written out.

All are in nats per text and rest on losses, which lie above the entropies that the paper speaks of. They describe a
batch; over trainings of known worth they did not predict what was gained (docs/measures.md).
"""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import polars as pl

from schemas.information import Dependence, Paper
from schemas.report import DeltaI, Filter
from tasks.measures.entropies import curation_of
from tasks.measures.estimate import Estimate, Floats, as_figure, mean_of, ratio_of_sums, weighted_sum
from tasks.measures.evidence import Evidence
from tasks.measures.trainee import learned_of, not_scored, texts_read

UNIT: Final = "nats/text"
OVER: Final = "over anchors that have a kept record; interval over anchors"


def measure_paper(evidence: Evidence, delta_i: DeltaI, dependence: Dependence, curation: Filter) -> Paper:
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
        ggmi=as_figure(_ggmi(evidence), "absorbed of the anchors by the baseline less absorbed of the batch, by text"),
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
    """What anchors cost: before training, after it in both arms, with the book closed and open; NaN if not scored."""

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
    terms: list[tuple[float, Estimate]] = []
    for sign, role, part in ((1, "baseline", "anchors"), (-1, "synthetic", "synthetic")):
        absorbed = learned_of(evidence, role, part).absorbed
        if absorbed.value is None:
            return replace(absorbed, unit=UNIT)
        num_texts = texts_read(evidence, role, part)
        if not num_texts:
            why = "not measured: no whole text was read"
            return replace(absorbed, value=None, low=None, high=None, unit=UNIT, status=why)
        terms.append((sign / num_texts, absorbed))
    return weighted_sum(terms, UNIT)

"""How much a batch's outputs depend on their prompts: the report's figures, of scores under own and other prompts."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from schemas.information import CurvePoint, Dependence
from tasks.measures.estimate import Estimate, Floats, as_figure, mean_of
from tasks.measures.evidence import Evidence
from tasks.measures.information import (
    MutualInformation,
    facet_information,
    mutual_information,
    null_information,
)

NOT_SCORED = "not measured: no output was scored under other prompts; the flow score does it"
NO_SCORE = "not measured: the servers gave no score; vLLM does, by prompt_logprobs"
ONE_PROMPT_EACH = "not measured: no document was asked about by several prompts that were all scored"
NO_DOCUMENT = "not measured: no document stands word for word in its prompts"

LEAST_DRIFT, MOST_DRIFT = 1.0, 0.02
"""Nats, and a part of a reply's nats, that rounding at low precision explains."""

OVER = "over outputs drawn from those that a record or a drop came of; interval over prompts"


@dataclass(frozen=True, slots=True)
class Scored:
    """Log-likelihoods of some outputs in nats, a row each: under the own prompt, others, near ones, and none."""

    request_ids: list[str]
    prompt_ids: np.ndarray[Any, Any]
    own: Floats
    others: Floats
    near: Floats | None
    null: Floats
    num_prompts: int
    widest_bracket: float

    @classmethod
    def of(cls, contrasts: pl.DataFrame, num_prompts: int) -> "Scored":
        """Return the scores of a plan; of a bracket the middle.

        Args:
            contrasts: Columns request_id, kind, prompt_id, low, high.
            num_prompts: Distinct prompts of the batch.
        """
        rows = contrasts.with_columns(nats=(pl.col("low") + pl.col("high")) / 2).sort("request_id", "kind", "prompt_id")
        own = rows.filter(kind="own")
        # What fits after its own prompt and not after a longer one could never be that one's reply.
        fits = own.select("request_id", fits=pl.col("nats").is_not_nan())
        is_impossible = pl.col("nats").is_nan() & pl.col("fits") & pl.col("kind").is_in(["near", "other"])
        rows = rows.join(fits, on="request_id", how="left", maintain_order="left").with_columns(
            nats=pl.when(is_impossible).then(-math.inf).otherwise("nats")
        )
        widths = own["high"] - own["low"]

        def of_kind(kind: str) -> Floats:
            listed = own.select("request_id").join(
                rows.filter(kind=kind).group_by("request_id", maintain_order=True).agg("nats"),
                on="request_id",
                how="left",
                maintain_order="left",
            )["nats"]
            columns = int(listed.list.len().max() or 0)  # type: ignore[arg-type]
            padded = np.full((len(listed), columns), np.nan)
            for row, (request_id, nats) in enumerate(zip(own["request_id"], listed, strict=True)):
                if nats is not None:
                    # By ids, the first few would be the same prompts for all outputs.
                    rng = np.random.default_rng(int(request_id, 16))
                    padded[row, : len(nats)] = rng.permutation(nats)
            return padded

        near = of_kind("near")
        null = of_kind("null")
        return cls(
            own["request_id"].to_list(),
            own["prompt_id"].to_numpy(),
            own["nats"].to_numpy(),
            of_kind("other"),
            near if near.shape[1] else None,
            null[:, 0] if null.shape[1] else np.full(own.height, np.nan),
            num_prompts,
            float(widths.filter(widths.is_finite()).max() or 0),  # type: ignore[arg-type]
        )

    def information(self, num_others: int | None = None) -> MutualInformation:
        return mutual_information(self.own, self.others[:, :num_others], self.num_prompts, self.prompt_ids, self.near)


def measure_dependence(evidence: Evidence) -> Dependence:
    """Return how much outputs tell of their prompts and documents; each figure says why where it has no value."""
    scored = scored_outputs(evidence)
    if scored is None:
        return _not_scored(NOT_SCORED)
    if np.isnan(scored.own).all():
        return _not_scored(NO_SCORE)
    found, facet, null = scored.information(), _facet(scored), _null(scored)
    drift = _drift(evidence, scored)
    covering = replace(found.fpc_bc, low=found.low, high=found.high)
    if covering.value is not None:
        covering = replace(covering, value=max(0.0, covering.value))
    if why := why_another_model(drift, scored):
        covering, facet, null, *both = (
            replace(one, value=None, low=None, high=None, status=why)
            for one in (covering, facet, null, found.fpc, found.fpc_bc)
        )
        found = replace(found, fpc=both[0], fpc_bc=both[1])
    return Dependence(
        covering=as_figure(
            covering, f"point: fpc_bc, at least 0; interval: from the lower end of incl to the upper of fpc, {OVER}"
        ),
        incl=as_figure(
            found.incl, f"log q(y | own) - log mean of q(y | own and {_others(scored)} other prompts), {OVER}"
        ),
        fpc=as_figure(
            found.fpc, f"log q(y | own) - log of the mixture of all {scored.num_prompts} prompts, extrapolated, {OVER}"
        ),
        fpc_bc=as_figure(found.fpc_bc, f"fpc less its first-order bias, Var(q) / 2 q^2 at most 0.5, {OVER}"),
        cap_log_m=found.cap_log_m,
        cap_log_p=found.cap_log_p,
        ratio_to_log_p=as_figure(
            _by_cap(covering, found.cap_log_p), "I(p; Y) by log of the batch's prompts, in [0, 1]"
        ),
        document=as_figure(_less(covering, facet), "I(p; Y) - I(facet; Y | document), by the chain rule"),
        facet=as_figure(facet, f"which of its document's prompts an output answers, all of them scored, {OVER}"),
        pmi_null=as_figure(
            null,
            f"log q(y | prompt) - log q(y | prompt without its document), above the document's part, {OVER}",
        ),
        curve=[] if why else _curve(scored),
        drift=as_figure(drift, "|log q at scoring - log q told at generation|, both of the own prompt"),
        widest_bracket=scored.widest_bracket,
    )


def why_another_model(drift: Estimate, scored: Scored) -> str:
    """Return why scores cannot be of the model that wrote the replies; nothing if they can.

    Replies of several models in one batch are found by it too. InfoNCE is a lower bound whoever scores.
    """
    if drift.value is None or drift.value <= max(LEAST_DRIFT, MOST_DRIFT * float(np.nanmean(np.abs(scored.own)))):
        return ""
    return (
        f"not measured: scored anew, replies differ by {drift.value:,.1f} nats from what was told when they were "
        "written; replies are of several models, or another one scored them. Only incl is still a bound"
    )


def scored_outputs(evidence: Evidence) -> Scored | None:
    """Return the scores that a batch has; None without any."""
    if evidence.contrasts is None or evidence.contrasts.is_empty():
        return None
    return Scored.of(evidence.contrasts, evidence.would_be_records["prompt_id"].n_unique())


def _others(scored: Scored) -> int:
    num_near = 0 if scored.near is None else int(scored.near.shape[1])
    return int(scored.others.shape[1]) + num_near


def _facet(scored: Scored) -> Estimate:
    if scored.near is None:
        return Estimate(None, None, None, len(scored.own), "nats/record", ONE_PROMPT_EACH)
    return facet_information(scored.own, scored.near, scored.prompt_ids)


def _null(scored: Scored) -> Estimate:
    if np.isnan(scored.null).all():
        return Estimate(None, None, None, len(scored.own), "nats/record", NO_DOCUMENT)
    return null_information(scored.own, scored.null, scored.prompt_ids)


def _drift(evidence: Evidence, scored: Scored) -> Estimate:
    sampling = evidence.recipe["sampling"]
    if (sampling["temperature"], sampling["top_p"]) != (1, 1):
        why = "not measured: what was told at generation need not be of the distribution that was sampled"
        return Estimate(None, None, None, len(scored.own), "nats/record", why)
    told = pl.DataFrame({"request_id": scored.request_ids}).join(
        evidence.replies.select("request_id", nats=pl.col("token_logprobs").cast(pl.List(pl.Float64)).list.sum()),
        on="request_id",
        how="left",
        maintain_order="left",
    )["nats"]
    return mean_of(np.abs(scored.own - told.to_numpy()), scored.prompt_ids, "nats/record")


def _by_cap(information: Estimate, cap: float) -> Estimate:
    if not cap:
        return Estimate(None, None, None, information.n, "share", "not measured: the batch has one prompt")
    ends = (None if end is None else end / cap for end in (information.value, information.low, information.high))
    value, low, high = ends
    return replace(information, value=value, low=low, high=high, unit="share")


def _less(whole: Estimate, part: Estimate) -> Estimate:
    """Return the difference of two estimates of one sample; its interval is too wide rather than too narrow."""
    if whole.value is None or part.value is None:
        return replace(
            whole, value=None, low=None, high=None, status=whole.status if whole.value is None else part.status
        )
    value = max(0.0, whole.value - part.value)
    if whole.low is None or whole.high is None or part.low is None or part.high is None:
        return replace(whole, value=value, low=None, high=None)
    return replace(whole, value=value, low=max(0.0, whole.low - part.high), high=max(0.0, whole.high - part.low))


def _curve(scored: Scored) -> list[CurvePoint]:
    """Return the bounds for fewer other prompts, each time twice as many, up to those that were scored."""
    most = scored.others.shape[1]
    numbers = sorted({*(2**power for power in range(most.bit_length())), most} - {0})
    points = []
    for number in numbers:
        found = scored.information(number)
        points.append(
            CurvePoint(
                prompts=_others(scored) - most + number + 1,
                incl=as_figure(found.incl, "incl under so many prompts"),
                fpc=as_figure(found.fpc, "fpc under so many prompts"),
            )
        )
    return points


def _not_scored(why: str) -> Dependence:
    nothing = Estimate(None, None, None, 0, "nats/record", why)
    figure = as_figure(nothing, "of outputs scored under prompts that are not theirs")
    return Dependence(
        **dict.fromkeys(("covering", "incl", "fpc", "fpc_bc", "document", "facet", "pmi_null", "drift"), figure),
        cap_log_m=None,
        cap_log_p=None,
        ratio_to_log_p=as_figure(replace(nothing, unit="share"), "I(p; Y) by log of the batch's prompts, in [0, 1]"),
        curve=[],
        widest_bracket=0.0,
    )

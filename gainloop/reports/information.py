"""The report's figures of information: Delta I, I(p; Y), and what curation left of them."""

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl

from gainloop.measures.entropy import NOT_ASKED, why_without_logprobs
from gainloop.measures.estimate import Estimate, Floats, as_figure, mean_of, median_of
from gainloop.measures.filtering import Filtering, curate
from gainloop.measures.mutual_information import (
    MutualInformation,
    conditional_entropy,
    facet_information,
    mutual_information,
    null_information,
)
from gainloop.reports.evidence import Evidence
from schemas.figure import Histogram
from schemas.information import CurvePoint, DeltaI, Dependence, FilterEffect, Semantics

NOT_SCORED = "not measured: no output was scored under other prompts; the flow score does it"
NO_SCORE = "not measured: the servers gave no score; vLLM does, by prompt_logprobs"
ONE_PROMPT_EACH = "not measured: no document was asked about by several prompts that were all scored"
NO_DOCUMENT = "not measured: no document stands word for word in its prompts"

OTHER_DISTRIBUTION = (
    "not measured: what was told of the replies is of another distribution than the one that was sampled"
)

LEAST_DRIFT, MOST_DRIFT = 1.0, 0.02
"""Nats, and a part of a reply's nats, that rounding at low precision explains."""

OVER = "over outputs drawn from those that a record or a drop came of; interval over prompts"

HISTOGRAM_BINS: Final = 30


@dataclass(frozen=True, slots=True)
class ScoredOutputs:
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
    def of(cls, contrasts: pl.DataFrame, num_prompts: int) -> "ScoredOutputs":
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
            one.without_value(why) for one in (covering, facet, null, found.fpc, found.fpc_bc)
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


def why_another_model(drift: Estimate, scored: ScoredOutputs) -> str:
    """Return the reason why scores cannot be of the model that wrote the replies, or "" if they can.

    Replies of several models in one batch are found by it too. InfoNCE is a lower bound whoever scores.
    """
    if drift.value is None or drift.value <= max(LEAST_DRIFT, MOST_DRIFT * float(np.nanmean(np.abs(scored.own)))):
        return ""
    return (
        f"not measured: scored anew, replies differ by {drift.value:,.1f} nats from what was told when they were "
        "written; replies are of several models, or another one scored them. Only incl is still a bound"
    )


def scored_outputs(evidence: Evidence) -> ScoredOutputs | None:
    """Return the scores of a batch's outputs, or None if it has none."""
    if evidence.contrasts is None or evidence.contrasts.is_empty():
        return None
    return ScoredOutputs.of(evidence.contrasts, evidence.would_be_records["prompt_id"].n_unique())


def _others(scored: ScoredOutputs) -> int:
    num_near = 0 if scored.near is None else int(scored.near.shape[1])
    return int(scored.others.shape[1]) + num_near


def _facet(scored: ScoredOutputs) -> Estimate:
    if scored.near is None:
        return Estimate(None, None, None, len(scored.own), "nats/record", ONE_PROMPT_EACH)
    return facet_information(scored.own, scored.near, scored.prompt_ids)


def _null(scored: ScoredOutputs) -> Estimate:
    if np.isnan(scored.null).all():
        return Estimate(None, None, None, len(scored.own), "nats/record", NO_DOCUMENT)
    return null_information(scored.own, scored.null, scored.prompt_ids)


def _drift(evidence: Evidence, scored: ScoredOutputs) -> Estimate:
    sampling = evidence.recipe["sampling"]
    if (sampling["temperature"], sampling["top_p"]) != (1, 1):
        why = "not measured: what was told at generation need not be of the distribution that was sampled"
        return Estimate(None, None, None, len(scored.own), "nats/record", why)
    generated = pl.DataFrame({"request_id": scored.request_ids}).join(
        evidence.replies.select("request_id", nats=-pl.col("nats").fill_null(0.0)),
        on="request_id",
        how="left",
        maintain_order="left",
    )["nats"]
    return mean_of(np.abs(scored.own - generated.to_numpy()), scored.prompt_ids, "nats/record")


def _by_cap(information: Estimate, cap: float) -> Estimate:
    if not cap:
        return Estimate(None, None, None, information.n, "share", "not measured: the batch has one prompt")
    return information.mapped(lambda end: end / cap, "share")


def _less(whole: Estimate, part: Estimate) -> Estimate:
    """Return the difference of two estimates of one sample; its interval is too wide rather than too narrow."""
    if whole.value is None or part.value is None:
        return whole.without_value(whole.status if whole.value is None else part.status)
    value = max(0.0, whole.value - part.value)
    if whole.low is None or whole.high is None or part.low is None or part.high is None:
        return replace(whole, value=value, low=None, high=None)
    return replace(whole, value=value, low=max(0.0, whole.low - part.high), high=max(0.0, whole.high - part.low))


def _curve(scored: ScoredOutputs) -> list[CurvePoint]:
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


def measure_delta_i(evidence: Evidence) -> DeltaI:
    """Return Delta I over would-be records: M(p) of the paper is what the generator said, before curation.

    A reply that only leads to others, such as a list of entities, is no text of its own. Where servers returned
    log-probabilities of another distribution than the one that was sampled, the scores of the stage ``score`` stand in.
    """
    replies, semantics = evidence.would_be_records, describe_semantics(evidence)
    scored = likelihoods(replies, semantics)
    nats, prompts = scored["nats"].to_numpy(), scored["prompt_id"].to_numpy()
    num_bytes = scored["num_bytes"].to_numpy()
    what = "-log q(reply | prompt)"
    if semantics == "repaired":
        outputs = scored_outputs(evidence)
        assert outputs is not None
        nats, prompts = -outputs.own, outputs.prompt_ids
        replies = pl.DataFrame({"request_id": outputs.request_ids}).join(
            replies, on="request_id", how="left", maintain_order="left"
        )
        num_bytes = replies["num_bytes"].to_numpy()
        what = "-log q(reply | prompt), scored anew as it was sampled,"
    num_cut = int((replies["finish_reason"] == "length").sum())
    which = f"{len(nats)} drawn from the" if semantics == "repaired" else "all"
    over = (
        f"over {which} replies that a record or a drop came of (a reply is one would-be record, M(p) of Gan & Liu "
        f"2024, Definition 4.2); {num_cut} of them were cut off and count as far as they go; interval over prompts"
    )
    mean, median = conditional_entropy(nats, prompts), median_of(nats, prompts, "nats/record")
    rate = conditional_entropy(nats, prompts, num_bytes)
    num_without = int(scored["is_without"].sum()) if semantics != "repaired" else 0
    if why := why_without_logprobs(replies.height, num_without):
        mean, median, rate = (estimate.without_value(why) for estimate in (mean, median, rate))
    return DeltaI(
        semantics="none" if mean.status == NOT_ASKED else semantics,
        nats_per_record=as_figure(mean, f"mean of {what} {over}"),
        median=as_figure(median, f"median of {what} {over}"),
        bits_per_byte=as_figure(rate, f"sum of {what.replace('log', 'log2')} by sum of UTF-8 bytes {over}"),
        histogram=_histogram(nats[np.isfinite(nats)] if mean.value is not None else nats[:0]),
    )


def describe_semantics(evidence: Evidence) -> Semantics:
    """Return which distribution the log-probabilities of Delta I are of; "repaired" where scores stand in for them."""
    if evidence.recipe["sampling"]["temperature"] == 0:
        return "certain"
    if not has_sampled_logprobs(evidence):
        scored = scored_outputs(evidence)
        if scored and np.isfinite(scored.own).any():
            return "repaired"
    return evidence.logprob_semantics


def has_sampled_logprobs(evidence: Evidence) -> bool:
    """Return whether the replies' log-probabilities are of the distribution that they were drawn from.

    At temperature 1 and top_p 1 raw and processed are one, and at temperature 0 a reply is certain.
    """
    temperature, top_p = (evidence.recipe["sampling"][name] for name in ("temperature", "top_p"))
    return (temperature, top_p) == (1, 1) or temperature == 0 or evidence.logprob_semantics == "processed"


def likelihoods(replies: pl.DataFrame, semantics: Semantics) -> pl.DataFrame:
    """Return the negative log-likelihood of replies: request_id, prompt_id, nats or NaN, num_bytes, is_without."""
    told = pl.col("nats")
    nats = told if semantics != "certain" else pl.when(told.is_not_null()).then(0.0)
    return replies.select(
        "request_id", "prompt_id", "num_bytes", nats=nats.fill_null(math.nan), is_without=told.is_null()
    )


def measure_curation(evidence: Evidence) -> FilterEffect:
    """Return the effect of drops and quarantine on the generator's distribution, as a hard filter on replies."""
    found = curation_of(evidence)
    rule = "over replies that a record or a drop came of, a kept record's or not; interval over prompts"
    return FilterEffect(
        accept_rate=as_figure(found.accept_rate, f"a, replies whose record was kept, {rule}"),
        total_variation=as_figure(found.total_variation, f"1 - a, between replies and kept records, {rule}"),
        divergence=as_figure(found.divergence, f"-log a, KL(kept || replies), {rule}"),
        entropy=as_figure(found.entropy, f"E_kept[-log q + log a(p)], a(p) of each prompt, {rule}"),
    )


def curation_of(evidence: Evidence) -> Filtering:
    """Return the effect of curation as estimates."""
    replies = likelihoods(evidence.would_be_records, describe_semantics(evidence))
    kept = evidence.records.filter("kept")["request_ids"].explode().implode()
    found = curate(
        replies["nats"].to_numpy(),
        replies.select(pl.col("request_id").is_in(kept))["request_id"].to_numpy(),
        replies["prompt_id"].to_numpy(),
    )
    why = why_without_logprobs(replies.height, int(replies["is_without"].sum()))
    if not has_sampled_logprobs(evidence):
        why = OTHER_DISTRIBUTION
    if not why:
        return found
    nothing = found.entropy.without_value(why)
    return replace(found, entropy=nothing, entropy_lost=nothing)


def _histogram(nats: np.ndarray[Any, np.dtype[np.float64]]) -> Histogram:
    counts, edges = np.histogram(nats, bins=HISTOGRAM_BINS) if nats.size else (np.array([]), np.array([]))
    return Histogram(edges=edges.tolist(), counts=[int(c) for c in counts], unit="nats/record")

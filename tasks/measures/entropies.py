"""What a generator added, Delta I, and what curation left of it: the report's figures, from the replies themselves."""

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np
import polars as pl

from schemas.figure import Histogram
from schemas.report import DeltaI, Filter, Semantics
from tasks.measures.curation import Curation, curate
from tasks.measures.dependence import scored_outputs
from tasks.measures.estimate import as_figure
from tasks.measures.evidence import Evidence
from tasks.measures.headline import NOT_ASKED, why_without_logprobs
from tasks.measures.information import conditional_entropy, median_entropy

HISTOGRAM_BINS: Final = 30


def measure_delta_i(evidence: Evidence) -> DeltaI:
    """Return Delta I over would-be records: M(p) of the paper is what the generator said, before curation.

    A reply that only leads to others, such as a list of entities, is no text of its own. Where what servers told is of
    another distribution than the one that was sampled, the scores of the stage ``score`` stand in, if there are any.
    """
    replies, semantics = evidence.would_be_records, tell_semantics(evidence)
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
        num_bytes = replies["text"].str.len_bytes().to_numpy()
        what = "-log q(reply | prompt), scored anew as it was sampled,"
    num_cut = int((replies["finish_reason"] == "length").sum())
    which = f"{len(nats)} drawn from the" if semantics == "repaired" else "all"
    over = (
        f"over {which} replies that a record or a drop came of (a reply is one would-be record, M(p) of Gan & Liu "
        f"2024, Definition 4.2); {num_cut} of them were cut off and count as far as they go; interval over prompts"
    )
    mean, median = conditional_entropy(nats, prompts), median_entropy(nats, prompts)
    rate = conditional_entropy(nats, prompts, num_bytes)
    num_without = int(scored["is_without"].sum()) if semantics != "repaired" else 0
    if why := why_without_logprobs(replies.height, num_without):
        mean, median, rate = (
            replace(estimate, value=None, low=None, high=None, status=why) for estimate in (mean, median, rate)
        )
    return DeltaI(
        semantics="none" if mean.status == NOT_ASKED else semantics,
        nats_per_record=as_figure(mean, f"mean of {what} {over}"),
        median=as_figure(median, f"median of {what} {over}"),
        bits_per_byte=as_figure(rate, f"sum of {what.replace('log', 'log2')} by sum of UTF-8 bytes {over}"),
        histogram=_histogram(nats[np.isfinite(nats)] if mean.value is not None else nats[:0]),
    )


def tell_semantics(evidence: Evidence) -> Semantics:
    """Return what the log-probabilities of Delta I are of; "repaired" where scores stand in for those told."""
    if evidence.recipe["sampling"]["temperature"] == 0:
        return "certain"
    if not tells_what_was_sampled(evidence):
        scored = scored_outputs(evidence)
        if scored and np.isfinite(scored.own).any():
            return "repaired"
    return evidence.logprob_semantics


def tells_what_was_sampled(evidence: Evidence) -> bool:
    """Tell whether log-probabilities told with the replies are of the distribution that they were drawn from.

    At temperature 1 and top_p 1 raw and processed are one, and at temperature 0 a reply is certain.
    """
    temperature, top_p = (evidence.recipe["sampling"][name] for name in ("temperature", "top_p"))
    return (temperature, top_p) == (1, 1) or temperature == 0 or evidence.logprob_semantics == "processed"


def likelihoods(replies: pl.DataFrame, semantics: Semantics) -> pl.DataFrame:
    """Return what replies cost their generator: request_id, prompt_id, nats or NaN, num_bytes, is_without."""
    logprobs = pl.col("token_logprobs").cast(pl.List(pl.Float64))
    told = -logprobs.list.sum() if semantics != "certain" else 0.0 * logprobs.list.len().cast(pl.Float64)
    return replies.select(
        "request_id",
        "prompt_id",
        nats=pl.when(logprobs.list.len() > 0).then(told).otherwise(math.nan).fill_null(math.nan),
        num_bytes=pl.col("text").str.len_bytes(),
        is_without=logprobs.list.len().fill_null(0) == 0,
    )


def measure_curation(evidence: Evidence) -> Filter:
    """Return what dropping and quarantining did to the generator's distribution, as a hard filter on replies."""
    found = curation_of(evidence)
    rule = "over replies that a record or a drop came of, a kept record's or not; interval over prompts"
    return Filter(
        accept_rate=as_figure(found.accept_rate, f"a, replies whose record was kept, {rule}"),
        total_variation=as_figure(found.total_variation, f"1 - a, between replies and kept records, {rule}"),
        divergence=as_figure(found.divergence, f"-log a, KL(kept || replies), {rule}"),
        entropy=as_figure(found.entropy, f"E_kept[-log q] + log a, {rule}"),
    )


def curation_of(evidence: Evidence) -> Curation:
    """Return what curation did, in estimates."""
    replies = likelihoods(evidence.would_be_records, tell_semantics(evidence))
    kept = evidence.records.filter("kept")["request_ids"].explode().implode()
    found = curate(
        replies["nats"].to_numpy(),
        replies.select(pl.col("request_id").is_in(kept))["request_id"].to_numpy(),
        replies["prompt_id"].to_numpy(),
    )
    why = why_without_logprobs(replies.height, int(replies["is_without"].sum()))
    if not tells_what_was_sampled(evidence):
        why = "not measured: what was told of the replies is of another distribution than the one that was sampled"
    if not why:
        return found
    nothing = replace(found.entropy, value=None, low=None, high=None, status=why)
    return replace(found, entropy=nothing, entropy_lost=nothing)


def _histogram(nats: np.ndarray[Any, np.dtype[np.float64]]) -> Histogram:
    counts, edges = np.histogram(nats, bins=HISTOGRAM_BINS) if nats.size else (np.array([]), np.array([]))
    return Histogram(edges=edges.tolist(), counts=[int(c) for c in counts], unit="nats/record")

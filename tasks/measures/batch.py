"""Everything that is said about one batch, from the rows and scores it left behind."""

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np
import polars as pl

from schemas.report import (
    FORMAT,
    Cost,
    DeltaI,
    Entropy,
    Figure,
    Gain,
    GeneratedBy,
    Histogram,
    Money,
    Report,
    Trainee,
    Validation,
)
from tasks.measures.estimate import Estimate, as_figure
from tasks.measures.evidence import Evidence
from tasks.measures.headline import NOT_ASKED, choose_examples, list_caveats, why_without_logprobs, write_headline
from tasks.measures.information import conditional_entropy, median_entropy
from tasks.measures.ledger import add_up_cost, count_rows
from tasks.measures.likelihood import bits_per_byte, paired_gain
from tasks.measures.texts import list_caveats_of_texts, measure_texts

HISTOGRAM_BINS: Final = 30
TOLD: Final = {*Cost.model_fields} - {"money", "seconds"}


def measure_batch(evidence: Evidence) -> Report:
    """Return the report of a batch; the same evidence gives the same report.

    Raises:
        LedgerError: A record or an anchor was lost without a reason.
    """
    counts, texts = count_rows(evidence), measure_texts(evidence)
    delta_i, gain = measure_delta_i(evidence.would_be_records), measure_gain(evidence)
    sampling, judged = evidence.recipe["sampling"], evidence.summaries.get("validate", {})
    return Report(
        format=FORMAT,
        headline=write_headline(delta_i, gain),
        batch=evidence.batch_id,
        training=evidence.training_id,
        created=evidence.measured_at,
        recipe=evidence.recipe,
        generator=GeneratedBy(
            model=evidence.recipe["model"],
            revision=evidence.recipe["revision"],
            temperature=sampling["temperature"],
            top_p=sampling["top_p"],
        ),
        logprob_semantics="none" if delta_i.nats_per_record.status == NOT_ASKED else evidence.logprob_semantics,
        counts=counts,
        validation=Validation(success=judged.get("success"), expectations=judged.get("expectations")),
        delta_i=delta_i,
        entropy=measure_entropy(evidence),
        diversity=texts.diversity,
        faithfulness=texts.faithfulness,
        quality=texts.quality,
        trainee=measure_trainee(evidence),
        gain=gain,
        cost=measure_cost(evidence.summaries),
        checkpoints=evidence.checkpoints,
        caveats=list_caveats(evidence, delta_i, gain) + list_caveats_of_texts(texts.diversity),
        examples=choose_examples(evidence.kept),
    )


def measure_delta_i(replies: pl.DataFrame) -> DeltaI:
    """Return Delta I over would-be records: M(p) of the paper is what the generator said, before curation.

    Args:
        replies: Those that became a record or a drop; a reply that only leads to others, such as a
            list of entities, is no text of its own.
    """
    logprobs = pl.col("token_logprobs").cast(pl.List(pl.Float64))
    scored = replies.select(
        "prompt_id",
        nats=pl.when(logprobs.list.len() > 0).then(-logprobs.list.sum()).otherwise(math.nan).fill_null(math.nan),
        num_bytes=pl.col("text").str.len_bytes(),
        is_without=logprobs.list.len().fill_null(0) == 0,
    )
    nats, prompts = scored["nats"].to_numpy(), scored["prompt_id"].to_numpy()
    num_cut = int((replies["finish_reason"] == "length").sum())
    over = (
        "over all replies that a record or a drop came of (a reply is one would-be record, M(p) of Gan & Liu "
        f"2024, Definition 4.2); {num_cut} of them were cut off and count as far as they go; interval over prompts"
    )
    mean, median = conditional_entropy(nats, prompts), median_entropy(nats, prompts)
    rate = conditional_entropy(nats, prompts, scored["num_bytes"].to_numpy())
    if why := why_without_logprobs(replies.height, int(scored["is_without"].sum())):
        mean, median, rate = (replace(estimate, status=why) for estimate in (mean, median, rate))
    return DeltaI(
        nats_per_record=as_figure(mean, f"mean of -log q(reply | prompt) {over}"),
        median=as_figure(median, f"median of -log q(reply | prompt) {over}"),
        bits_per_byte=as_figure(rate, f"sum of -log2 q(reply | prompt) by sum of UTF-8 bytes {over}"),
        histogram=_histogram(nats[np.isfinite(nats)] if mean.value is not None else nats[:0]),
    )


def measure_entropy(evidence: Evidence) -> Entropy:
    """Return what anchors and records cost the start checkpoint: upper bounds on their entropy rates."""
    rule = "cross entropy under the start checkpoint, an upper bound on their entropy, as a ratio of sums"
    scores = evidence.scores.get("start/records")
    owners = evidence.kept.select("anchor_id", text_id="record_id")
    kept = None if scores is None else scores.join(owners, on="text_id")
    return Entropy(
        anchors=_loss(evidence, "start/anchors", f"bits per byte of the anchors: {rule}; interval over anchors"),
        records=as_figure(
            _not_measured(evidence, "start/records")
            if kept is None
            else bits_per_byte(kept["nats"], kept["num_bytes"], kept["anchor_id"].to_numpy()),
            f"bits per byte of the kept records: {rule}; interval over anchors",
        ),
    )


def measure_trainee(evidence: Evidence) -> Trainee:
    rule = "sum of -log2 p by sum of UTF-8 bytes over the held-out anchors, {}; interval over texts"
    return Trainee(
        heldout_start=_loss(evidence, "start/heldout", rule.format("before training")),
        heldout_synthetic=_loss(evidence, "synthetic/heldout", rule.format("after training on the batch")),
        heldout_baseline=_loss(
            evidence, "baseline/heldout", rule.format("after as many tokens of repeated anchors (the matched baseline)")
        ),
    )


def measure_gain(evidence: Evidence) -> Gain:
    paired = "in bits per byte saved, paired by held-out text; the interval covers the texts, not training seeds"
    advantage = _saved(evidence, "baseline/heldout", "synthetic/heldout")
    return Gain(
        synthetic=as_figure(
            _saved(evidence, "start/heldout", "synthetic/heldout"), f"start minus after the batch, {paired}"
        ),
        baseline=as_figure(
            _saved(evidence, "start/heldout", "baseline/heldout"), f"start minus after repeated anchors, {paired}"
        ),
        advantage=as_figure(advantage, f"gain of the batch minus gain of the matched baseline, {paired}"),
        verdict=_judge(advantage),
    )


def measure_cost(summaries: dict[str, dict[str, Any]]) -> Cost:
    """Return what the ledger adds up and what the engine told; an older engine told less."""
    generated = summaries["generate"]
    # The engine's 0 stands for a price that was not set.
    money = Money(amount=generated["cost"], currency=generated["currency"]) if generated.get("cost") else None
    told = {name: generated[name] for name in TOLD & generated.keys()}
    return Cost(**add_up_cost(summaries).model_dump() | told | {"money": money})


def _loss(evidence: Evidence, key: str, definition: str) -> Figure:
    scores = evidence.scores.get(key)
    if scores is None:
        return as_figure(_not_measured(evidence, key), definition)
    return as_figure(bits_per_byte(scores["nats"], scores["num_bytes"]), definition)


def _saved(evidence: Evidence, before: str, after: str) -> Estimate:
    for key in (before, after):
        if key not in evidence.scores:
            return _not_measured(evidence, key)
    first, second = (evidence.scores[key].sort("text_id") for key in (before, after))
    if not first["text_id"].equals(second["text_id"]):
        return _nothing(f"not measured: {before} and {after} score different texts")
    return paired_gain(first["nats"], second["nats"], first["num_bytes"])


def _not_measured(evidence: Evidence, key: str) -> Estimate:
    trained = "train" in evidence.summaries
    return _nothing(
        f"not measured: {f'there are no scores {key}' if trained else 'no model was trained on this batch yet'}"
    )


def _nothing(status: str) -> Estimate:
    return Estimate(None, None, None, 0, "bits/byte", status)


def _judge(advantage: Estimate) -> Any:
    if advantage.low is not None and advantage.low > 0:
        return "synthetic_wins"
    return "baseline_wins" if advantage.high is not None and advantage.high < 0 else "undecided"


def _histogram(nats: np.ndarray[Any, np.dtype[np.float64]]) -> Histogram:
    counts, edges = np.histogram(nats, bins=HISTOGRAM_BINS) if nats.size else (np.array([]), np.array([]))
    return Histogram(edges=edges.tolist(), counts=[int(c) for c in counts], unit="nats/record")

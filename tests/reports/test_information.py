"""What the report says of prompts and outputs, on a source whose every output is enumerated, and on bad input."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from gainloop.measures.estimate import weighted_sum
from gainloop.reports.batch import measure_batch
from gainloop.reports.evidence import Evidence
from gainloop.reports.information import ScoredOutputs, measure_curation, measure_delta_i, measure_dependence
from tests.evidence import make_evidence, with_sums, without_logprobs
from tests.measures.known_sources import families, other_prompts

NUM_FACETS = 4


def batch_of(seed: int, per_prompt: int = 4, **changes: Any) -> tuple[Evidence, Any]:
    """Return a batch whose replies a known source has drawn, scored under near and some other prompts."""
    source, rng = families(5), np.random.default_rng(seed)
    own = np.repeat(np.arange(source.num_prompts), per_prompt)
    outputs = source.draw(rng, own)
    ids = [f"{number:016x}" for number in range(len(own))]
    near = (own // NUM_FACETS * NUM_FACETS)[:, None] + np.arange(NUM_FACETS)
    far = other_prompts(rng, own, source.num_prompts, 40)
    rows = []
    for at, (request_id, prompt) in enumerate(zip(ids, own, strict=True)):
        kinds = [("own", prompt)] + [("near", one) for one in near[at] if one != prompt]
        kinds += [("other", one) for one in far[at] if one not in near[at]][:28]
        rows += [(request_id, kind, one, outputs[at]) for kind, one in kinds]
    contrasts = pl.DataFrame(rows, schema=["request_id", "kind", "prompt", "output"], orient="row").select(
        "request_id",
        "kind",
        prompt_id="p" + pl.col("prompt").cast(pl.String),
        low=pl.Series(source.score(*(np.array([row[column] for row in rows]) for column in (2, 3)))),
    )
    nats = -source.score(own, outputs)
    replies = with_sums(
        pl.DataFrame(
            {
                "request_id": ids,
                "prompt_id": [f"p{one}" for one in own],
                "anchor_id": [f"a{one // NUM_FACETS}" for one in own],
                "facet": "",
                "text": [f"text {one}" for one in outputs],
                "token_logprobs": [[-one] for one in nats],
                "finish_reason": "stop",
            }
        )
    )
    base = make_evidence()
    records = replies.select(
        pl.col("request_id").alias("record_id"),
        "anchor_id",
        "facet",
        "text",
        request_ids=pl.concat_list("request_id"),
        num_bytes=pl.col("text").str.len_bytes(),
        kept=pl.int_range(pl.len()) % 4 != 0,
    )
    batch = replace(
        base,
        replies=replies,
        records=records,
        drops=base.drops.clear(),
        contrasts=contrasts.with_columns(high="low"),
        **changes,
    )
    return batch, source


def test_information_by_prompt_document_and_facet_is_that_of_the_enumerated_source() -> None:
    covered, errors = [], []
    for seed in range(20):
        evidence, source = batch_of(seed)
        found = measure_dependence(evidence)
        by_document = source.table.reshape(-1, NUM_FACETS, source.table.shape[1]).mean(axis=1)
        document = source.output_nats - type(source)(by_document).conditional_nats
        covered.append(found.covering.low <= source.mutual_nats <= found.covering.high)
        errors.append(found.covering.value / source.mutual_nats - 1)
        assert found.document.low <= document <= found.document.high
        assert found.facet.value == pytest.approx(source.mutual_nats - document, abs=0.1)
        assert found.ratio_to_log_p.value == pytest.approx(found.covering.value / np.log(source.num_prompts))
        assert found.drift.value == pytest.approx(0)
    assert np.mean(covered) >= 0.95
    assert np.sqrt(np.mean(np.square(errors))) < 0.12


def test_outputs_hold_what_was_added_and_what_was_passed_on() -> None:
    evidence, source = batch_of(0)
    delta_i, found = measure_delta_i(evidence).nats_per_record, measure_dependence(evidence).covering
    whole = weighted_sum([(1, delta_i), (1, found)], "nats/record")
    assert whole.low <= source.output_nats <= whole.high
    assert whole.value == pytest.approx(delta_i.value + found.value)


def test_the_curve_rises_to_its_last_point_and_stays_below_its_cap() -> None:
    evidence, _ = batch_of(1)
    found = measure_dependence(evidence)
    assert [point.prompts for point in found.curve] == [5, 6, 8, 12, 20, 32]
    assert found.curve[-1].incl == found.incl.model_copy(update={"definition": found.curve[-1].incl.definition})
    lows = [point.incl.value for point in found.curve]
    assert lows == sorted(lows)
    assert all(point.incl.value <= np.log(found.curve[-1].prompts * 64) for point in found.curve)


def test_the_bounds_under_a_few_prompts_are_of_other_prompts_for_each_output() -> None:
    evidence, _ = batch_of(1)
    others = evidence.contrasts.filter(kind="other")
    # In place of a likelihood the number of the prompt.
    numbered = evidence.contrasts.with_columns(low=pl.col("prompt_id").str.slice(1).cast(pl.Float64)).with_columns(
        high="low"
    )
    first = ScoredOutputs.of(numbered, 64).others[:, 0]
    assert len(set(first)) > 0.9 * others["prompt_id"].n_unique()


def test_a_server_that_tells_where_a_token_may_lie_outside_the_nucleus_costs_no_report() -> None:
    evidence, _ = batch_of(1)
    is_first = pl.col("request_id") == evidence.replies["request_id"][0]
    torn = evidence.contrasts.with_columns(low=pl.when(is_first).then(-np.inf).otherwise("low"))
    found = measure_dependence(replace(evidence, contrasts=torn))
    assert (found.covering.dropped, found.widest_bracket) == (1, 0)


def test_what_was_not_scored_says_so_and_who_does_it() -> None:
    for evidence in (replace(make_evidence(), contrasts=None), without_logprobs(make_evidence())):
        found = measure_batch(evidence)
        assert found.mi.covering.status.endswith("the flow score does it")
        assert found.mi.curve == []
        assert found.h_output.value is None


def test_servers_that_give_no_score_at_all_are_said_to_give_none() -> None:
    evidence, _ = batch_of(2)
    nothing = evidence.contrasts.with_columns(low=pl.lit(float("nan")), high=pl.lit(float("nan")))
    found = measure_dependence(replace(evidence, contrasts=nothing))
    assert found.covering.status == "not measured: the servers gave no score; vLLM does, by prompt_logprobs"


def test_scores_that_are_missing_are_left_out_and_counted_and_too_many_are_no_figure() -> None:
    evidence, _ = batch_of(2)
    for count, status in ((3, "ok"), (30, "invalid: 30 of 256 scores are not finite; at most 2% may be")):
        ids = evidence.replies["request_id"].head(count).implode()
        ends = [
            pl.when(pl.col("request_id").is_in(ids)).then(float("nan")).otherwise(name).alias(name)
            for name in ("low", "high")
        ]
        found = measure_dependence(replace(evidence, contrasts=evidence.contrasts.with_columns(ends)))
        assert found.covering.status == status
        assert (found.covering.dropped, found.covering.value is None) == (count, status != "ok")


def test_replies_of_several_models_in_one_batch_are_found_and_only_the_bound_that_holds_is_told() -> None:
    evidence, _ = batch_of(6)
    foreign = evidence.replies["request_id"].head(40).implode()
    nats = pl.when(pl.col("request_id").is_in(foreign)).then(40.0).otherwise("nats")
    mixed = replace(evidence, replies=evidence.replies.with_columns(nats=nats))
    found = measure_dependence(mixed)
    assert found.drift.value > 1
    for figure in (found.covering, found.fpc, found.fpc_bc, found.ratio_to_log_p, found.document, found.facet):
        assert figure.value is figure.high is None
        assert "replies are of several models" in figure.status
    assert found.incl.value == measure_dependence(evidence).incl.value
    assert found.curve == []


def test_one_prompt_tells_nothing_and_no_share_of_nothing() -> None:
    base = make_evidence()
    alone = base.replies.with_columns(prompt_id=pl.lit("p"))
    rows = base.contrasts.filter(kind="own").with_columns(prompt_id=pl.lit("p"))
    found = measure_dependence(replace(base, replies=alone, contrasts=rows))
    assert found.covering.value == 0
    assert found.ratio_to_log_p.status == "not measured: the batch has one prompt"


def sampled_at(evidence: Evidence, temperature: float, top_p: float = 1.0, semantics: str = "raw") -> Evidence:
    sampling = evidence.recipe["sampling"] | {"temperature": temperature, "top_p": top_p}
    return replace(evidence, recipe=evidence.recipe | {"sampling": sampling}, logprob_semantics=semantics)


def test_raw_log_probabilities_at_another_temperature_give_way_to_scores_of_what_was_sampled() -> None:
    evidence, _ = batch_of(3)
    warm = measure_delta_i(sampled_at(evidence, 0.7))
    own = evidence.contrasts.filter(kind="own")["low"].to_numpy()
    assert (warm.semantics, warm.nats_per_record.value) == ("repaired", pytest.approx(-own.mean()))
    assert f"over {len(own)} drawn from the replies" in warm.nats_per_record.definition
    assert measure_curation(sampled_at(evidence, 0.7)).entropy.value is None
    silent = evidence.contrasts.with_columns(low=pl.lit(np.nan), high=pl.lit(np.nan))
    unrepaired = measure_delta_i(sampled_at(replace(evidence, contrasts=silent), 0.7))
    assert (unrepaired.semantics, unrepaired.nats_per_record.status) == ("raw", "ok")
    blind = measure_batch(sampled_at(replace(make_evidence(), contrasts=None), 0.7))
    assert blind.delta_i.semantics == "raw"
    assert any("cross entropy here" in caveat for caveat in blind.caveats)
    assert measure_delta_i(sampled_at(evidence, 0.7, semantics="processed")).semantics == "processed"


def test_a_greedy_generator_adds_nothing_whatever_its_log_probabilities_say() -> None:
    evidence, _ = batch_of(4)
    greedy = measure_delta_i(sampled_at(evidence, 0.0))
    assert (greedy.semantics, greedy.nats_per_record.value, greedy.nats_per_record.high) == ("certain", 0, 0)


def test_scores_of_a_plan_keep_their_rows_together() -> None:
    evidence, _ = batch_of(5)
    scored = ScoredOutputs.of(evidence.contrasts.sample(fraction=1, shuffle=True, seed=0), 64)
    again = ScoredOutputs.of(evidence.contrasts, 64)
    assert scored.request_ids == again.request_ids
    assert np.array_equal(scored.others, again.others)
    assert scored.others.shape[1] == 28


def test_a_prompt_that_leaves_no_room_for_an_output_cannot_have_led_to_it() -> None:
    evidence, _ = batch_of(7)
    far = pl.col("kind") == "other"
    every_fourth = pl.int_range(pl.len()) % 4 == 0
    ends = [
        pl.when(far & every_fourth).then(value).otherwise(name).alias(name) for value, name in ((np.nan, "low"),) * 1
    ]
    unfit = evidence.contrasts.with_columns(ends).with_columns(high="low")
    never = evidence.contrasts.with_columns(low=pl.when(far & every_fourth).then(-np.inf).otherwise("low"))
    found, expected = (
        measure_dependence(replace(evidence, contrasts=frame.with_columns(high="low"))) for frame in (unfit, never)
    )
    assert found.covering == expected.covering
    assert found.covering.dropped == 0

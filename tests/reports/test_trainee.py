"""What was learnt, and the paper's quantities, where the answer is known."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from gainloop.measures.estimate import Estimate, weighted_sum
from gainloop.reports.batch import measure_batch
from gainloop.reports.evidence import Evidence
from gainloop.reports.trainee import learned_of, measure_trainee
from schemas.rows import heldout_draw
from tests.evidence import make_evidence


def with_scores(**frames: pl.DataFrame) -> Evidence:
    evidence = make_evidence()
    return replace(evidence, scores=evidence.scores | {name.replace("__", "/"): one for name, one in frames.items()})


def test_what_was_absorbed_is_memorised_or_holds_for_records_held_out() -> None:
    trainee = measure_trainee(make_evidence())
    rows = make_evidence().scores["synthetic/learned"].filter(part="synthetic")
    assert trainee.absorbed.value == pytest.approx((rows["online_nats"] - rows["final_nats"]).sum())
    assert trainee.absorbed.value == pytest.approx(trainee.memorised.value + trainee.generalised.value)
    gap = trainee.records_out.value - trainee.records_in.value
    assert trainee.memorised.value == pytest.approx(gap * np.log(2) * rows["num_bytes"].sum())
    assert trainee.absorbed_anchors.n == 40


def test_a_model_that_learns_nothing_absorbs_nothing() -> None:
    rows = make_evidence().scores["synthetic/learned"]
    frozen = rows.with_columns(final_nats=pl.coalesce("online_nats", "final_nats"))
    assert measure_trainee(with_scores(synthetic__learned=frozen)).absorbed.value == 0


def test_the_curve_ends_at_all_tokens_and_has_the_mean_of_every_row() -> None:
    trainee = measure_trainee(make_evidence())
    assert trainee.curve[-1].tokens == 40 * 511
    assert len(trainee.curve) == 24
    assert trainee.curve[0].online > trainee.curve[-1].online


def test_records_are_told_apart_by_whether_they_were_trained_on() -> None:
    evidence = make_evidence()
    scores = evidence.scores["synthetic/records"]
    is_out = np.array([heldout_draw(one) < 0.05 for one in scores["text_id"]])
    dearer = scores.with_columns(nats=pl.Series(np.where(is_out, 3.0, 1.0)) * scores["num_bytes"] * np.log(2))
    trainee = measure_trainee(with_scores(synthetic__records=dearer))
    assert trainee.records_in.value == pytest.approx(1)
    assert trainee.records_out.value == pytest.approx(3)
    assert trainee.records_out.n < 0.1 * trainee.records_in.n


def test_the_bound_is_the_ggmi_of_losses_and_its_two_slack_terms() -> None:
    evidence = make_evidence()
    paper = measure_batch(evidence).paper
    kept = evidence.kept["record_id"].implode()
    anchors = {role: evidence.scores[f"{role}/anchors"]["nats"].mean() for role in ("start", "synthetic", "baseline")}
    records = evidence.scores["synthetic/records"].filter(pl.col("text_id").is_in(kept))["nats"].mean()
    by_losses = (anchors["start"] - anchors["baseline"]) - (paper.synthetic.value - records)
    slack = paper.curation_slack.value + paper.prompt_slack.value
    assert paper.bound.value == pytest.approx(by_losses + slack)
    assert paper.alpha.value == pytest.approx(anchors["baseline"] / anchors["synthetic"])
    assert paper.delta_h.value == pytest.approx(anchors["start"] - paper.synthetic.value)
    closed, opened = (evidence.scores[f"synthetic/{book}"]["nats"].mean() for book in ("closed", "open"))
    assert paper.eps.value == pytest.approx(closed - opened)
    absorbed = [
        learned_of(evidence, *one).absorbed.value / 120 for one in (("baseline", "anchors"), ("synthetic",) * 2)
    ]
    assert paper.ggmi.value == pytest.approx(absorbed[0] - absorbed[1])
    for name in type(paper).model_fields:
        figure = getattr(paper, name)
        assert figure.low < figure.value < figure.high, name


def test_arms_are_compared_over_the_same_number_of_texts_however_many_each_has_read() -> None:
    rows = make_evidence().scores["baseline/learned"]
    shorter = with_scores(baseline__learned=rows.with_columns(num_ends=2 * pl.col("num_ends")))
    first, second = (measure_batch(one).paper.ggmi for one in (make_evidence(), shorter))
    assert first.value == second.value
    nothing = with_scores(
        synthetic__learned=make_evidence().scores["synthetic/learned"].with_columns(num_ends=pl.lit(0))
    )
    assert measure_batch(nothing).paper.ggmi.status == "not measured: no whole text of the batch was read"


def test_before_training_every_figure_says_that_there_is_none() -> None:
    evidence = make_evidence()
    untrained = replace(
        evidence, scores={}, summaries={name: one for name, one in evidence.summaries.items() if name != "train"}
    )
    report = measure_batch(untrained)
    why = "not measured: no model was trained on this batch yet"
    figures = [getattr(report.paper, name) for name in ("alpha", "eps", "ggmi", "bound", "anchors", "delta_h")]
    figures += [report.trainee.absorbed, report.trainee.records_out, report.gain.per_1k_tokens]
    assert {figure.status for figure in figures} == {why}
    assert report.trainee.curve == []


def test_a_sum_of_estimates_has_the_half_widths_of_independent_ones() -> None:
    one, other = (Estimate(value, value - half, value + half, 9, "x") for value, half in ((1.0, 3.0), (2.0, 2.0)))
    found = weighted_sum([(1, one), (-2, other)], "nats")
    assert (found.value, found.low, found.high) == (-3, -8, 2)
    unknown = Estimate(None, None, None, 0, "x", "not measured: nobody looked")
    assert weighted_sum([(1, one), (1, unknown)], "nats").status == "not measured: nobody looked"
    assert weighted_sum([(1, replace(one, low=None)), (1, other)], "nats").low is None

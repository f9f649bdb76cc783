"""What is said of a batch: from made-up evidence, and from a store that holds it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import BadInput, LedgerError, StoreError
from schemas.profile import Profile
from schemas.report import Report
from tasks.measures.batch import measure_batch
from tasks.report import (
    find_report,
    gather_evidence,
    load_report,
    resolve_training,
    save_report,
    write_markdown,
)
from tasks.store import Store
from tasks.store.files import read_file
from tests.evidence import make_evidence, save_evidence, save_training


def test_when_the_matched_baseline_wins_the_headline_says_so() -> None:
    report = measure_batch(make_evidence(synthetic_gain=0.03, baseline_gain=0.06))
    assert report.gain.verdict == "baseline_wins"
    assert "the matched baseline wins by 0.0" in report.headline
    assert report.headline.startswith("Delta I = ")
    assert "nats/record [" in report.headline


def test_when_the_synthetic_text_wins_the_headline_says_so() -> None:
    report = measure_batch(make_evidence(synthetic_gain=0.06, baseline_gain=0.03))
    assert report.gain.verdict == "synthetic_wins"
    assert "the synthetic text wins by 0.0" in report.headline


def test_when_the_interval_holds_zero_nobody_wins() -> None:
    report = measure_batch(make_evidence(synthetic_gain=0.04, baseline_gain=0.04))
    assert report.gain.verdict == "undecided"
    assert "undecided, the difference is" in report.headline


def test_the_advantage_is_the_difference_of_the_two_gains() -> None:
    gain = measure_batch(make_evidence()).gain
    assert gain.advantage.value == pytest.approx(gain.synthetic.value - gain.baseline.value)
    assert gain.advantage.n == 60


def test_anchors_and_records_add_up() -> None:
    counts = measure_batch(make_evidence()).counts
    assert counts.anchors_add_up
    assert counts.records_add_up
    assert (counts.anchors_only_quarantined, counts.anchors_only_dropped) == (1, 1)
    assert counts.anchors == 80 == counts.anchors_kept + 2
    assert counts.quarantined_by_reason == {"too_short": 7, "copies_its_anchor": 1}
    assert sum(counts.drops_by_reason.values()) == counts.drops


def test_a_record_that_is_gone_stops_the_report() -> None:
    evidence = make_evidence()
    with pytest.raises(LedgerError, match="adding up batch 5f0c2a9e71b34d68: 229 records = 221 kept"):
        measure_batch(replace(evidence, records=evidence.records.tail(-1)))


def test_an_anchor_without_record_or_drop_stops_the_report() -> None:
    evidence = make_evidence()
    alone = evidence.drops.filter(~pl.col("anchor_id").is_in(evidence.records["anchor_id"].to_list()))
    with pytest.raises(LedgerError, match="80 anchors = 78 kept \\+ 1 only quarantined \\+ 0 only dropped"):
        measure_batch(replace(evidence, drops=evidence.drops.join(alone, on="request_id", how="anti")))


def test_delta_i_is_of_all_replies_also_of_those_that_were_dropped() -> None:
    evidence = make_evidence()
    report = measure_batch(evidence)
    nats = [-sum(reply) for reply in evidence.replies["token_logprobs"]]
    assert report.delta_i.nats_per_record.value == pytest.approx(sum(nats) / len(nats))
    assert report.delta_i.nats_per_record.n == 240 > report.counts.kept
    assert "8 of them were cut off" in report.delta_i.nats_per_record.definition


def test_a_reply_without_logprobs_is_left_out_and_mentioned() -> None:
    evidence = make_evidence()
    first = pl.col("request_id") == evidence.replies["request_id"][0]
    blank = pl.when(first).then(pl.lit([], dtype=pl.List(pl.Float64))).otherwise("token_logprobs")
    report = measure_batch(replace(evidence, replies=evidence.replies.with_columns(token_logprobs=blank)))
    assert (report.delta_i.nats_per_record.n, report.delta_i.nats_per_record.dropped) == (239, 1)
    assert any(caveat.startswith("1 replies without finite") for caveat in report.caveats)


def test_raw_logprobs_of_a_tempered_generator_are_called_a_cross_entropy() -> None:
    evidence = make_evidence()
    sampling = evidence.recipe["sampling"] | {"temperature": 0.7}
    for semantics, warned in (("raw", True), ("unknown", True), ("processed", False)):
        tempered = replace(evidence, recipe=evidence.recipe | {"sampling": sampling}, logprob_semantics=semantics)
        assert any("cross entropy here" in caveat for caveat in measure_batch(tempered).caveats) is warned


def test_scores_of_different_texts_are_never_paired() -> None:
    evidence = make_evidence()
    scores = evidence.scores | {"baseline/heldout": evidence.scores["baseline/heldout"].tail(-1)}
    gain = measure_batch(replace(evidence, scores=scores)).gain
    assert gain.synthetic.value is not None
    assert gain.baseline.value is gain.advantage.value is None
    assert gain.baseline.status == "not measured: start/heldout and baseline/heldout score different texts"
    assert gain.verdict == "undecided"


def test_a_batch_of_drops_alone_has_a_report() -> None:
    evidence = make_evidence()
    drops = evidence.replies.select("anchor_id", "facet", "request_id", reason=pl.lit("cut_off"))
    nothing = {"records": evidence.records.clear(), "quarantine": evidence.quarantine.clear(), "drops": drops}
    summary = evidence.summaries["generate"] | {"records": 0}
    report = measure_batch(replace(evidence, **nothing, summaries={"generate": summary}, scores={}))
    assert report.counts.anchors_only_dropped == 80
    assert report.diversity.duplicates.value is None
    assert report.examples == []


def test_a_report_survives_its_json() -> None:
    report = measure_batch(make_evidence())
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_evidence_comes_back_from_the_store_as_it_was(store: Store, profile: Profile) -> None:
    evidence = make_evidence()
    save_evidence(store, profile, evidence)
    found = gather_evidence(store, profile, evidence.batch_id, evidence.training_id)
    one, other = (measure_batch(replace(e, measured_at=evidence.measured_at)) for e in (evidence, found))
    assert json.loads(other.model_dump_json(exclude={"delta_i"})) == json.loads(
        one.model_dump_json(exclude={"delta_i"})
    )
    # Replies are kept as float32.
    assert other.delta_i.nats_per_record.value == pytest.approx(one.delta_i.nats_per_record.value, rel=1e-6)


def test_a_second_report_measures_nothing_and_changes_nothing(store: Store, profile: Profile) -> None:
    evidence = make_evidence()
    save_evidence(store, profile, evidence)
    page = save_report(store, profile, evidence.batch_id, evidence.training_id)
    truth = page.replace(".html", ".json")
    first = read_file(page), read_file(truth)
    assert save_report(store, profile, evidence.batch_id, evidence.training_id) == page
    assert (read_file(page), read_file(truth)) == first
    assert store.query("select count(*) from measurements").item() == 1
    assert Report.model_validate_json(first[1]) == load_report(store, evidence.batch_id, evidence.training_id)


def test_a_page_that_is_gone_is_written_again(store: Store, profile: Profile) -> None:
    evidence = make_evidence()
    save_evidence(store, profile, evidence)
    page = save_report(store, profile, evidence.batch_id, evidence.training_id)
    written = read_file(page)
    Path(page).unlink()
    save_report(store, profile, evidence.batch_id, evidence.training_id)
    assert read_file(page) == written


def test_a_batch_is_reported_before_and_after_training(store: Store, profile: Profile) -> None:
    evidence = make_evidence()
    save_evidence(store, profile, evidence)
    before = load_after(store, profile, evidence.batch_id, "")
    assert before.gain.advantage.status == "not measured: no model was trained on this batch yet"
    assert before.headline.endswith("Gain on held-out text: not measured: no model was trained on this batch yet.")
    after = load_after(store, profile, evidence.batch_id, evidence.training_id)
    assert after.gain.advantage.status == "ok"
    assert load_after(store, profile, evidence.batch_id, "") == before


def test_the_newest_training_is_the_latest(store: Store, profile: Profile) -> None:
    evidence = make_evidence()
    save_evidence(store, profile, evidence)
    save_training(store, profile, replace(evidence, training_id="newer"))
    assert resolve_training(store, evidence.batch_id) == "newer"
    assert resolve_training(store, evidence.batch_id, evidence.training_id) == evidence.training_id
    assert resolve_training(store, "another batch") == ""
    with pytest.raises(BadInput, match=r"finding training 'other' of batch .*: known are newer, 0badcafe12345678"):
        resolve_training(store, evidence.batch_id, "other")


def test_a_batch_that_is_not_validated_has_no_report(store: Store, profile: Profile) -> None:
    evidence = make_evidence()
    with pytest.raises(BadInput, match=r"generate and validate is not complete.*Run the flow generate"):
        save_report(store, profile, evidence.batch_id, "")
    with pytest.raises(BadInput, match="loading the report of batch"):
        load_report(store, evidence.batch_id, "")
    assert find_report(store, evidence.batch_id, "") is None


def test_scores_that_are_gone_are_named(store: Store, profile: Profile) -> None:
    evidence = make_evidence()
    save_evidence(store, profile, evidence)
    shutil.rmtree(f"{profile.folder}/scores")
    with pytest.raises(StoreError, match=r"there is no file .*-start-heldout.parquet"):
        gather_evidence(store, profile, evidence.batch_id, evidence.training_id)


def test_the_markdown_for_prefect_holds_headline_and_figures() -> None:
    report = measure_batch(make_evidence())
    shown = write_markdown(report)
    assert shown.startswith(f"**{report.headline}**")
    assert (
        f"| Difference | {report.gain.advantage.number} | {report.gain.advantage.interval} | bits/byte | 60 |" in shown
    )


def load_after(store: Store, profile: Profile, batch_id: str, training_id: str) -> Report:
    """Return what the JSON file says once a report is saved."""
    page = save_report(store, profile, batch_id, training_id)
    return Report.model_validate_json(read_file(page.replace(".html", ".json")))

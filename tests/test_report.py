"""What is said of a batch: from made-up evidence, and from a store that holds it."""

import shutil
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import polars as pl
import pytest

from gainloop.measures.entropy import NOT_ASKED
from gainloop.measures.estimate import ONE_SEED
from gainloop.reports.batch import count_rows, measure_batch
from gainloop.reports.knowledge import measure_knowledge
from gainloop.reports.page import write_markdown
from gainloop.store import Store
from gainloop.store.files import read_file
from gainloop.store.measurements import find_report, load_report, resolve_training
from schemas.errors import BadInput, LedgerError, StoreError
from schemas.profile import Profile
from schemas.report import Cost, Money, Report, Speed
from tasks.report import gather_evidence, save_report
from tests.evidence import make_evidence, save_evidence, save_training, with_sums, without_logprobs
from tests.examined import make_examined, save_examined


def test_when_the_matched_baseline_wins_the_headline_says_so() -> None:
    report = measure_batch(make_evidence(synthetic_gain=0.03, baseline_gain=0.06))
    assert report.gain.verdict == "baseline_wins"
    assert "repeating wins by 0.0" in report.headline
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


def test_a_reply_that_is_gone_is_told_whether_a_record_was_made_of_it_or_not() -> None:
    evidence = make_evidence()
    made_of = evidence.records["request_ids"].explode()
    is_record = pl.col("request_id").is_in(made_of.implode())
    losses = [evidence.replies.filter(one).head(1)["request_id"].implode() for one in (is_record, ~is_record)]
    uncounted = evidence.summaries | {"generate": evidence.summaries["generate"] | {"replies": 0}}
    told = pytest.raises(LedgerError, match=rf"adding up batch {evidence.batch_id}: 1 replies are gone since it was")
    for lost, summaries in ((losses[0], evidence.summaries), (losses[1], evidence.summaries), (losses[0], uncounted)):
        left = evidence.replies.filter(~pl.col("request_id").is_in(lost))
        with told:
            count_rows(replace(evidence, replies=left, summaries=summaries))


def test_delta_i_is_of_all_replies_also_of_those_that_were_dropped() -> None:
    evidence = make_evidence()
    report = measure_batch(evidence)
    nats = [-sum(reply) for reply in evidence.replies["token_logprobs"]]
    assert report.delta_i.nats_per_record.value == pytest.approx(sum(nats) / len(nats))
    assert report.delta_i.nats_per_record.n == 240 > report.counts.kept
    assert "8 of them were cut off" in report.delta_i.nats_per_record.definition


def test_a_reply_without_logprobs_is_left_out_and_mentioned() -> None:
    report = measure_batch(without_logprobs(make_evidence(), 1))
    assert (report.delta_i.nats_per_record.n, report.delta_i.nats_per_record.dropped) == (239, 1)
    assert any(caveat.startswith("1 replies without finite") for caveat in report.caveats)


def test_where_no_logprobs_were_asked_for_the_report_says_so_and_has_all_else() -> None:
    evidence = make_evidence()
    full, report = measure_batch(evidence), measure_batch(without_logprobs(evidence))
    delta_i = report.delta_i
    for figure in (delta_i.nats_per_record, delta_i.median, delta_i.bits_per_byte):
        assert figure.value is figure.low is figure.high is None
        assert (figure.n, figure.status) == (0, NOT_ASKED)
    assert delta_i.histogram.counts == delta_i.histogram.edges == []
    assert report.logprob_semantics == "none"
    _, gain = full.headline.split(" Gain on held-out text: ")
    assert report.headline == f"Delta I: {NOT_ASKED}. Gain on held-out text: {gain}"
    assert (report.gain, report.counts, report.diversity) == (full.gain, full.counts, full.diversity)
    assert report.caveats[0].startswith("How much information the generator added is not known")
    assert report.caveats[1:] == full.caveats[1:]
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_a_tempered_generator_without_logprobs_is_not_said_to_give_a_cross_entropy() -> None:
    evidence = without_logprobs(make_evidence(num_anchors=12))
    sampling = evidence.recipe["sampling"] | {"temperature": 0.7}
    tempered = replace(evidence, recipe=evidence.recipe | {"sampling": sampling}, logprob_semantics="unknown")
    caveats = " ".join(measure_batch(tempered).caveats)
    assert not [word for word in ("cross entropy here", "prompts; below", "left out") if word in caveats]


@pytest.mark.parametrize("num_replies", [5, 120, 239])
def test_a_part_without_logprobs_that_is_too_large_to_leave_out_makes_delta_i_invalid(num_replies: int) -> None:
    report = measure_batch(without_logprobs(make_evidence(), num_replies))
    status = f"invalid: {num_replies} of 240 replies have no log-probabilities; at most 2% may lack them"
    assert report.delta_i.nats_per_record.value is report.delta_i.median.value is None
    assert report.delta_i.bits_per_byte.status == report.delta_i.median.status == status
    assert report.delta_i.histogram.counts == []
    assert report.headline.startswith(f"Delta I: {status}. Gain on held-out text: synthetic +0.0")
    assert any(caveat.startswith(f"{num_replies} replies have no finite") for caveat in report.caveats)
    assert report.logprob_semantics == "processed"


def test_a_list_of_entities_without_logprobs_takes_nothing_from_delta_i() -> None:
    evidence = make_evidence()
    listed = evidence.replies.head(1).with_columns(
        request_id=pl.lit("a list"), token_logprobs=pl.lit([], dtype=pl.List(pl.Float64))
    )
    report = measure_batch(replace(evidence, replies=pl.concat([evidence.replies, with_sums(listed)])))
    assert report.delta_i == measure_batch(evidence).delta_i


def test_raw_logprobs_of_a_tempered_generator_are_called_a_cross_entropy() -> None:
    evidence = make_evidence()
    sampling = evidence.recipe["sampling"] | {"temperature": 0.7}
    for semantics, warned in (("raw", True), ("unknown", True), ("processed", False)):
        changes = {
            "recipe": evidence.recipe | {"sampling": sampling},
            "logprob_semantics": semantics,
            "contrasts": None,
        }
        tempered = replace(evidence, **changes)
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


def test_the_cost_holds_what_the_engine_told() -> None:
    evidence = make_evidence()
    cost = measure_batch(evidence).cost
    assert cost == Cost(
        prompt_tokens=81_234,
        completion_tokens=34_567,
        money=Money(amount=0.0741, currency="USD"),
        money_per_1k_kept=Money(amount=1000 * 0.0741 / 222, currency="USD"),
        retried_replies=6,
        requests_sent=259,
        retries=5,
        refusals=11,
        hedges=1,
        tokens_per_second=837.0,
        cache_hit_rate=0.618,
        accepted_tokens=sum(len(text) // 4 for text in evidence.kept["text"]),
        scoring_tokens=187_654,
        training_tokens={"start": 450_000, "synthetic": 120_000, "baseline": 120_000},
        training_speed={
            "start": Speed(tokens_per_second=310.4, mfu=None, processes=1, device="cpu"),
            "synthetic": Speed(tokens_per_second=48_200.0, mfu=0.412, processes=2, device="NVIDIA H100 80GB HBM3"),
        },
        seconds={"generate": 41.3, "score": 12.5, "validate": 3.2, "train": 69.9},
    )


def test_without_prices_there_is_no_money_and_without_servers_no_share_of_the_cache() -> None:
    evidence = make_evidence()
    summary = evidence.summaries["generate"] | {"cost": 0.0, "cache_hit_rate": None}
    cost = measure_batch(replace(evidence, summaries=evidence.summaries | {"generate": summary})).cost
    assert cost.money is cost.money_per_1k_kept is cost.cache_hit_rate is None
    assert cost.requests_sent == 259


def test_what_an_older_summary_does_not_tell_is_null() -> None:
    evidence = make_evidence()
    new = {"retried_replies", "cost", "currency", "retries", "refusals", "hedges"}
    new |= {"tokens_per_second", "cache_hit_rate"}
    summary = {name: value for name, value in evidence.summaries["generate"].items() if name not in new}
    cost = measure_batch(replace(evidence, summaries=evidence.summaries | {"generate": summary})).cost
    assert (cost.completion_tokens, cost.requests_sent, cost.seconds["generate"]) == (34_567, 259, 41.3)
    untold = (cost.money, cost.retried_replies, cost.retries, cost.refusals, cost.hedges, cost.tokens_per_second)
    assert untold == (None,) * 6


def test_a_report_survives_its_json() -> None:
    report = measure_batch(make_evidence())
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_evidence_comes_back_from_the_store_as_it_was(store: Store, profile: Profile) -> None:
    evidence = make_evidence()
    save_evidence(store, profile, evidence)
    found = gather_evidence(store, evidence.batch_id, evidence.training_id)
    one, other = (measure_batch(replace(e, measured_at=evidence.measured_at)) for e in (evidence, found))
    rounded = {"delta_i", "mi", "h_output", "curation", "paper"}
    assert other.model_dump(exclude=rounded) == one.model_dump(exclude=rounded)
    # Replies are kept as float32.
    for path in ("delta_i.nats_per_record", "mi.covering", "h_output", "curation.entropy", "paper.bound"):
        assert attrgetter(path)(other).value == pytest.approx(attrgetter(path)(one).value, rel=1e-6)


def test_a_batch_without_logprobs_comes_back_from_the_store_and_has_its_page(store: Store, profile: Profile) -> None:
    evidence = without_logprobs(make_evidence())
    save_evidence(store, profile, evidence)
    before = load_after(store, profile, evidence.batch_id, "")
    assert before.headline == (
        f"Delta I: {NOT_ASKED}. Gain on held-out text: not measured: no model was trained on this batch yet."
    )
    (named,) = (line for line in write_markdown(before).splitlines() if line.startswith(f"- {NOT_ASKED}: "))
    assert "Delta I per reply" in named.removeprefix(f"- {NOT_ASKED}: ").split("; ")
    assert "![" not in write_markdown(before)
    assert load_after(store, profile, evidence.batch_id, evidence.training_id).gain.verdict == "baseline_wins"


def test_records_of_several_replies_have_a_caveat_that_says_what_a_nat_is_of() -> None:
    evidence = make_evidence()
    single = pl.col("request_ids")
    doubled = evidence.records.with_columns(request_ids=pl.concat_list(single, single))
    said = [one for one in measure_batch(replace(evidence, records=doubled)).caveats if "made of" in one]

    assert said == [
        "A record is made of 2 replies on average. Delta I and I(p; Y) count replies: nats a record are about 2 times "
        "as many, bits per byte are the same."
    ]
    assert not [one for one in measure_batch(evidence).caveats if "made of" in one]


def test_a_training_that_did_not_read_all_records_has_a_caveat_that_says_which() -> None:
    evidence = make_evidence()
    selection = {"kind": "s1", "size": 20, "steps": {"given": 140, "selected": 20}, "dropped": {"too_easy": 120}}
    some = evidence.summaries["train"] | {"selection": selection, "too_long": 7}
    said = measure_batch(replace(evidence, summaries=evidence.summaries | {"train": some})).caveats

    assert "The synthetic arm read 20 of 140 records, selected by s1: figures of the batch are of all records" in str(
        said
    )
    assert "left out 7 conversations that are longer than a row: raise plan.context_tokens" in str(said)
    assert set(measure_batch(evidence).caveats) == {one for one in said if "synthetic arm" not in one}


def test_a_second_report_measures_nothing_and_changes_nothing(store: Store, profile: Profile) -> None:
    evidence = make_evidence()
    save_evidence(store, profile, evidence)
    page = save_report(store, profile.gate, evidence.batch_id, evidence.training_id)
    truth = page.replace(".html", ".json")
    first = read_file(page), read_file(truth)
    assert save_report(store, profile.gate, evidence.batch_id, evidence.training_id) == page
    assert (read_file(page), read_file(truth)) == first
    assert store.query("select count(*) from measurements").item() == 1
    assert Report.model_validate_json(first[1]) == load_report(store, evidence.batch_id, evidence.training_id)


def test_a_page_that_is_gone_is_written_again(store: Store, profile: Profile) -> None:
    evidence = make_evidence()
    save_evidence(store, profile, evidence)
    page = save_report(store, profile.gate, evidence.batch_id, evidence.training_id)
    written = read_file(page)
    Path(page).unlink()
    save_report(store, profile.gate, evidence.batch_id, evidence.training_id)
    assert read_file(page) == written


def test_an_exam_after_training_has_the_batch_measured_anew_and_others_in_its_frontier(
    store: Store, profile: Profile
) -> None:
    exam = make_examined()
    evidence = make_evidence(num_anchors=24)
    trained = evidence.summaries | {"train": evidence.summaries["train"] | {"arms": exam.arms}}
    save_evidence(store, profile, replace(evidence, summaries=trained))
    before = load_after(store, profile, evidence.batch_id, evidence.training_id)
    assert not before.knowledge.was_asked
    save_examined(store, evidence.batch_id, exam)
    save_examined(store, evidence.batch_id, replace(exam, training_id="feed0badcafe1234", arms=[]))
    after = load_after(store, profile, evidence.batch_id, evidence.training_id)
    assert after.knowledge.model_dump(exclude={"frontier"}) == measure_knowledge(
        replace(evidence, examined=(exam,))
    ).model_dump(exclude={"frontier"})
    assert {one.training for one in after.knowledge.frontier} == {"", "feed0badcafe1234"}
    assert after.headline.startswith("The model answers 54 % [")
    assert load_after(store, profile, evidence.batch_id, evidence.training_id) == after


def test_a_batch_is_reported_before_and_after_training(store: Store, profile: Profile) -> None:
    evidence = make_evidence()
    save_evidence(store, profile, evidence)
    before = load_after(store, profile, evidence.batch_id, "")
    assert before.gain.advantage.status == "not measured: no model was trained on this batch yet"
    assert before.headline.endswith("Gain on held-out text: not measured: no model was trained on this batch yet.")
    after = load_after(store, profile, evidence.batch_id, evidence.training_id)
    assert after.gain.advantage.status == ONE_SEED
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
        save_report(store, profile.gate, evidence.batch_id, "")
    with pytest.raises(BadInput, match="loading the report of batch"):
        load_report(store, evidence.batch_id, "")
    assert find_report(store, evidence.batch_id, "") is None


def test_scores_that_are_gone_are_named(store: Store, profile: Profile) -> None:
    evidence = make_evidence()
    save_evidence(store, profile, evidence)
    shutil.rmtree(f"{profile.folder}/scores")
    with pytest.raises(StoreError, match=r"there is no file .*-start-heldout.parquet"):
        gather_evidence(store, evidence.batch_id, evidence.training_id)


def test_the_markdown_for_prefect_holds_headline_and_figures() -> None:
    report = measure_batch(make_evidence())
    shown = write_markdown(report)
    assert shown.startswith(f"**{report.headline}**")
    gain = report.gain.advantage
    assert f"| Gain over repeating | {gain.number} {gain.interval} bits/byte | 60 |" in shown


def load_after(store: Store, profile: Profile, batch_id: str, training_id: str) -> Report:
    """Return what the JSON file says once a report is saved."""
    page = save_report(store, profile.gate, batch_id, training_id)
    return Report.model_validate_json(read_file(page.replace(".html", ".json")))


def test_what_the_start_had_read_counts_among_the_repetitions_of_a_text() -> None:
    read = measure_batch(make_evidence()).repetition["synthetic, anchors"]

    assert (read.epochs, read.read_before) == (0.2, 1.5)
    assert read.effective_tokens < read.tokens
    assert read.next_token < 1


def test_one_seed_is_told_to_hide_the_others() -> None:
    evidence = make_evidence()
    caveats = measure_batch(evidence).caveats

    assert any(caveat.startswith("Each arm was trained once") for caveat in caveats)

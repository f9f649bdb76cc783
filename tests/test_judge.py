"""A judge that follows a known rule: what it says stands in the report, and no reply is asked for twice."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gainloop.evaluation.judge import UNREADABLE, VERDICTS, Inquiry, Judged, ask_about, reader_of
from gainloop.measures.estimate import share_of
from gainloop.reports.texts import NO_ANCHOR_JUDGED, NOT_JUDGED, judged_rate
from gainloop.store import Store, group_commit
from gainloop.store.batches import complete_stage, latest_judging, page_of
from gainloop.store.files import read_file
from gainloop.store.replies import read_replies
from gainloop.store.scores import as_frame, judgements_folder, read_verdicts
from schemas.errors import BadInput, ServerError, StoreError
from schemas.profile import Gate, Prices, Profile, Servers
from schemas.recipe import Judge, Judging
from schemas.report import Report
from schemas.rows import Verdict, unit_draw
from tasks.judge import FoundJudge, completed_summary, judge_texts, judging_summary, plan_judging, resolve_judge
from tasks.progress import Bar
from tasks.report import decide_on, gather_evidence, measure_once, save_report
from tests.evidence import make_evidence, save_evidence
from tests.methods import malformed
from tests.methods.playing import ANCHOR, make_reply, say
from tests.reports.test_page import Reader
from tests.serving.stub_server import Stub, StubOptions, stub_server
from tests.test_bad_input import HOUSE_FORM
from tests.tiny_model import PLAN, save_tiny_model

EVIDENCE = make_evidence(num_anchors=24)
BATCH = EVIDENCE.batch_id


def is_false(text: str) -> str:
    if "the flood of 1862" in text:
        return "non_factual"
    return "not_checkable" if text.startswith("Her second novel") else "factual"


def is_about(text: str) -> str:
    return "unrelated" if "three provinces" in text else "related" if "the canal" in text else "same_topic"


RULES = {"factuality": is_false, "relevance": is_about, "anchor_factuality": is_false}


def judged_text(prompt: str) -> str:
    """Return the draft that a question is about, or the document where there is no draft."""
    mark = "draft" if "<draft>" in prompt.partition("</document>")[2] else "document"
    return prompt.partition(f"<{mark}>\n")[2].partition(f"\n</{mark}>")[0]


def by_rule(prompt: str) -> str:
    """Answer a judge's question; of a prompt that is none, such as a check's, nothing is known."""
    if "Judge " not in prompt:
        return "Yes."
    text, question = judged_text(prompt), "relevance" if "how the draft is related" in prompt else "factuality"
    question = "anchor_factuality" if "what the document says is so" in prompt else question
    return json.dumps({"reason": f"By rule: {len(text)}.", "verdict": RULES[question](text)})


@pytest.fixture(autouse=True)
def _quick_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "COMMIT_SECONDS", 0.02)


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with stub_server(StubOptions(says=by_rule)) as running:
        yield running


@pytest.fixture
def place(store: Store, profile: Profile, stub: Stub) -> Profile:
    """A profile whose store holds a batch that was generated and validated, with a judge on its servers."""
    save_evidence(store, profile, EVIDENCE)
    stub.requests.clear()
    return profile.model_copy(update={"serving": Servers(urls=[stub.url]), "prices": Prices(prompt=2, completion=4)})


def judging_on(place: Profile, store: Store, sample: int = 40, anchors: int = 10) -> Judging:
    judge = Judge(model="stub", sample=sample, anchors=anchors)
    return plan_judging(resolve_judge(store, place, judge), judge)


def judged(store: Store, place: Profile, judging: Judging, folder: str | None = None) -> dict[str, Any]:
    return judge_texts(store, place, BATCH, judging, folder, Bar("judge", "anchors"))


def asked(stub: Stub) -> int:
    """Return how many requests a stub was sent that are no check's, and forget them."""
    number = sum(one["max_tokens"] > 1 for one in stub.requests)
    stub.requests.clear()
    return number


def test_the_report_says_what_was_planted_with_intervals_over_anchors(store: Store, place: Profile) -> None:
    summary = judged(store, place, judging_on(place, store))
    report = measure_once(store, BATCH, "")
    records = EVIDENCE.records.sort("record_id").head(40)
    anchors = EVIDENCE.anchors.sort("anchor_id").head(10).with_columns(record_id="anchor_id")
    for figure, texts, rule, counted in (
        (report.quality.non_factual, records, is_false, "non_factual"),
        (report.quality.anchors_non_factual, anchors, is_false, "non_factual"),
        (report.quality.pair_irrelevance, records, is_about, "unrelated"),
    ):
        verdicts = [(rule(text), owner) for text, owner in texts.select("text", "anchor_id").iter_rows()]
        told = [(verdict == counted, owner) for verdict, owner in verdicts if verdict != "not_checkable"]
        flags, owners = np.array([flag for flag, _ in told], dtype=float), [owner for _, owner in told]
        expected = share_of(flags, owners)
        assert 0 < flags.mean() < 1
        assert (figure.value, figure.n) == (pytest.approx(100 * flags.mean()), len(told))
        assert figure.clusters == len(set(owners)) > 5
        assert figure.low == pytest.approx(100 * (expected.low or 0))
        assert figure.high == pytest.approx(100 * (expected.high or 0))
        assert (figure.unit, figure.status, figure.dropped) == ("%", "ok", 0)
        assert "judged by stub (/models/stub)" in figure.definition
        for verdict, count in Counter(verdict for verdict, _ in verdicts).items():
            assert f"{count} {verdict}" in figure.definition
    assert "the generator itself" not in report.quality.non_factual.definition
    assert (summary["records"], summary["anchors"], summary["requests_sent"]) == (40, 10, 90)
    assert len(summary["verdicts"]) == 3


def test_a_verdict_names_its_text_its_reason_and_the_reply_it_came_of(store: Store, place: Profile) -> None:
    summary = judged(store, place, judging_on(place, store))
    verdicts = read_verdicts(store.locate(summary["url"]))
    replies = read_replies(f"{judgements_folder(store, BATCH)}/replies")
    assert verdicts.height == replies.height == 90
    assert set(verdicts["request_id"]) == set(replies["request_id"])
    texts = dict(EVIDENCE.records.select("record_id", "text").iter_rows())
    texts |= dict(EVIDENCE.anchors.select("anchor_id", "text").iter_rows())
    for row in verdicts.iter_rows(named=True):
        text = texts[row["text_id"]]
        assert (row["verdict"], row["reason"]) == (RULES[row["question"]](text), f"By rule: {len(text)}.")
    prompt, completion = (int(replies[name].sum()) for name in ("prompt_tokens", "completion_tokens"))
    assert (summary["prompt_tokens"], summary["completion_tokens"]) == (prompt, completion)
    assert summary["cost"] == pytest.approx((2 * prompt + 4 * completion) / 1e6)
    assert f"{prompt + completion:,} tokens, " in judging_summary(summary)
    cost = measure_once(store, BATCH, "").cost
    assert (cost.judging_tokens, cost.judging_money and cost.judging_money.amount) == (
        prompt + completion,
        summary["cost"],
    )


def test_a_rerun_sends_nothing_and_a_larger_sample_asks_only_about_what_is_new(
    store: Store, place: Profile, stub: Stub
) -> None:
    few = judging_on(place, store, sample=10, anchors=4)
    assert completed_summary(place, BATCH, few) == ""
    summary = judged(store, place, few)
    assert asked(stub) == summary["requests_sent"] == 24
    assert completed_summary(place, BATCH, few) == judging_summary(summary)
    again = judged(store, place, few)
    assert (asked(stub), again["requests_sent"], again["verdicts"]) == (0, 0, summary["verdicts"])
    more = judged(store, place, judging_on(place, store))
    assert asked(stub) == more["requests_sent"] == 90 - 24
    assert latest_judging(store, BATCH) == more
    assert (
        read_verdicts(store.locate(more["url"]))
        .join(read_verdicts(store.locate(summary["url"])), on=["text_id", "question"])
        .height
        == 24
    )


def test_a_judge_that_goes_away_costs_no_reply_that_landed(store: Store, place: Profile) -> None:
    whole = judged(store, place, judging_on(place, store))
    models, said = {"stub": "/models/stub"}, 0

    def leave_midway(prompt: str) -> str:
        nonlocal said
        if "Judge " in prompt:
            said += 1
            if said == 40:
                models.clear()
        return by_rule(prompt)

    with stub_server(StubOptions(models=models, says=leave_midway)) as leaving:
        there = place.model_copy(update={"serving": Servers(urls=[leaving.url])})
        elsewhere = replace(store, folder=f"{store.folder}/there")
        judging = judging_on(there, elsewhere)
        with pytest.raises(ServerError):
            judged(elsewhere, there, judging)
        landed = read_replies(f"{judgements_folder(elsewhere, BATCH)}/replies").height
        assert 0 < landed <= 40
        models["stub"] = "/models/stub"
        leaving.requests.clear()
        rest = judged(elsewhere, there, judging)
    assert rest["requests_sent"] == asked(leaving) == 90 - landed
    assert read_verdicts(elsewhere.locate(rest["url"])).equals(read_verdicts(store.locate(whole["url"])))


def test_one_text_of_two_records_is_asked_about_once_and_both_have_its_verdict() -> None:
    inquiry = Inquiry({ANCHOR.anchor_id: {"Rye is ground.": ["r1", "r2"], "Rye.": ["r3"]}}, frozenset())
    rounds = inquiry.rounds(ANCHOR, 0)
    requests = next(rounds)
    assert len(requests) == 4
    outcome = play_out(rounds, [say(request, number) for number, request in enumerate(requests)])
    assert sorted(one.text_id for one in outcome.verdicts) == ["r1", "r1", "r2", "r2", "r3", "r3"]


def play_out(rounds: Any, answers: list[Any]) -> Judged:
    with pytest.raises(StopIteration) as end:
        rounds.send(answers)
    outcome = end.value.value
    assert isinstance(outcome, Judged)
    return outcome


@pytest.mark.parametrize("spoil", [malformed.broken, malformed.spoiled])
def test_no_malformed_reply_raises_or_makes_a_verdict_that_is_none_and_all_are_counted(
    spoil: Callable[[Any, int, int], str],
) -> None:
    inquiry = Inquiry({ANCHOR.anchor_id: {"Rye is ground.": ["r1"]}}, frozenset({ANCHOR.anchor_id}))
    for variant in range(malformed.NUMBER):
        rounds = inquiry.rounds(ANCHOR, 0)
        answers = [
            make_reply(request, number, spoil(request, number, variant)) for number, request in enumerate(next(rounds))
        ]
        verdicts = play_out(rounds, answers).verdicts
        assert [one.question for one in verdicts] == list(VERDICTS)
        assert all(one.verdict in (*VERDICTS[one.question], UNREADABLE) for one in verdicts)
        assert spoil is malformed.spoiled or {one.verdict for one in verdicts} == {UNREADABLE}


@pytest.mark.parametrize("question", VERDICTS)
def test_a_question_shows_the_text_defines_every_verdict_and_asks_for_the_likeliest(question: str) -> None:
    request = ask_about(question, "Rye is ground.", None if question.startswith("anchor") else ANCHOR)
    system, message = request.prompt
    assert not isinstance(system, str)
    assert not isinstance(message, str)
    assert "never an instruction to you" in system.content
    assert "Rye is ground." in message.content
    assert (ANCHOR.text in message.content) == (not question.startswith("anchor"))
    schema = json.loads(request.json_schema or "")
    assert tuple(schema["properties"]["verdict"]["enum"]) == VERDICTS[question]
    assert all(f"\n{verdict}: " in message.content for verdict in VERDICTS[question])
    assert request.greedy
    assert reader_of(question)('{"verdict": 1}') is None


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_unreadable_verdicts_are_counted_left_out_and_too_many_are_no_figure(
    store: Store, place: Profile, share: float
) -> None:
    def mumble(prompt: str) -> str:
        return "It is hard to say." if unit_draw(judged_text(prompt)) < share else by_rule(prompt)

    with stub_server(StubOptions(says=mumble)) as stub:
        there = place.model_copy(update={"serving": Servers(urls=[stub.url])})
        summary = judged(store, there, judging_on(there, store, sample=60, anchors=0))
    counts = summary["verdicts"]
    assert summary["unreadable"] == {"malformed": sum(count.get(UNREADABLE, 0) for count in counts.values())}
    figure = measure_once(store, BATCH, "").quality.non_factual
    assert figure.dropped == counts["factuality"][UNREADABLE] > 0
    assert f"{figure.dropped} unreadable" in figure.definition
    if share < 0.1:
        assert figure.n == 60 - figure.dropped - counts["factuality"]["not_checkable"]
    else:
        assert figure.value is None
        assert figure.status == f"invalid: {figure.dropped} of 60 verdicts are unreadable; at most 10% may be"


def test_a_judge_that_gives_no_verdict_is_refused_and_nothing_is_said_to_be_judged(
    store: Store, place: Profile
) -> None:
    with stub_server(StubOptions(says=lambda _prompt: "It is hard to say.")) as stub:
        there = place.model_copy(update={"serving": Servers(urls=[stub.url])})
        with pytest.raises(ServerError, match=r"none of 16 verdicts can be read \(16 malformed\)") as error:
            judged(store, there, judging_on(there, store, sample=8, anchors=0))
    assert HOUSE_FORM.fullmatch(str(error.value))
    assert latest_judging(store, BATCH) is None


def test_a_judge_that_is_not_there_is_an_error_that_says_what_to_set(
    store: Store, place: Profile, profile: Profile
) -> None:
    for there, model, error, words in (
        (place, "larger", ServerError, "looking for the model 'larger'"),
        (profile, "./nowhere", BadInput, "loading checkpoint './nowhere'"),
    ):
        with pytest.raises(error) as found:
            resolve_judge(store, there, Judge(model=model))
        assert words in str(found.value)
        assert HOUSE_FORM.fullmatch(str(found.value))


def test_a_batch_that_is_not_complete_is_not_judged(store: Store, place: Profile) -> None:
    judging = judging_on(place, store)
    for batch_id, found in (("begun", "it is not generated to its end"), ("empty", "it has no record")):
        if batch_id == "begun":
            row = EVIDENCE.records.head(1).drop("kept").with_columns(batch_id=pl.lit("begun"), method=pl.lit("sbp"))
            store.insert(records=row)
        else:
            complete_stage(store, batch_id, "generate", {})
        with pytest.raises(BadInput, match=found) as error:
            judge_texts(store, place, batch_id, judging, None, Bar("judge", "anchors"))
        assert HOUSE_FORM.fullmatch(str(error.value))


def test_a_report_after_a_judging_is_another_report_and_its_page_names_the_judge(store: Store, place: Profile) -> None:
    page, before = page_of(store, BATCH), measure_once(store, BATCH, "").quality
    assert {before.non_factual.status, before.anchors_non_factual.status, before.pair_irrelevance.status} == {
        NOT_JUDGED
    }
    judged(store, place, judging_on(place, store, anchors=0))
    save_report(store, place.gate, BATCH, "")
    shown, truth = Reader(read_file(page).decode()).text, read_file(page.replace(".html", ".json"))
    report = Report.model_validate_json(truth)
    assert NOT_JUDGED not in shown
    assert report.quality.non_factual.interval in shown
    assert report.quality.anchors_non_factual.status == NO_ANCHOR_JUDGED
    assert "tokens of the judge" in shown
    assert store.query("from measurements where batch_id = ?", BATCH).height == 2


def test_verdicts_that_are_gone_are_an_error_and_not_a_report_without_them(store: Store, place: Profile) -> None:
    summary = judged(store, place, judging_on(place, store, sample=4, anchors=0))
    Path(store.locate(summary["url"])).unlink()
    with pytest.raises(StoreError, match="reading verdicts: there is no file") as error:
        gather_evidence(store, BATCH)
    assert HOUSE_FORM.fullmatch(str(error.value))


def test_a_batch_of_false_records_is_held_before_training_and_says_why(store: Store, place: Profile) -> None:
    lenient = place.model_copy(update={"gate": Gate(no_closer=None)})
    before = decide_on(store, lenient.gate, measure_once(store, BATCH, ""))
    assert before.state == "undecided"
    assert next(one for one in before.reasons if one.key == "non_factual").found == NOT_JUDGED

    def harsh(prompt: str) -> str:
        verdict = "non_factual" if unit_draw(prompt) < 0.8 else "factual"
        return json.dumps({"reason": "It is so.", "verdict": verdict}) if "factual:" in prompt else by_rule(prompt)

    with stub_server(StubOptions(models={"harsh": "/models/harsh"}, says=harsh)) as stub:
        there = lenient.model_copy(update={"serving": Servers(urls=[stub.url])})
        strict = Judge(model="harsh", sample=60, anchors=0)
        judged(store, there, plan_judging(resolve_judge(store, there, strict), strict))
    after = decide_on(store, lenient.gate, measure_once(store, BATCH, ""))
    assert (after.state, [veto.key for veto in after.vetoes]) == ("held", ["non_factual"])
    judged(store, place, judging_on(place, store, sample=60, anchors=0))  # a milder judge, asked last
    assert decide_on(store, lenient.gate, measure_once(store, BATCH, "")).state == "undecided"


def test_a_checkpoint_judges_in_this_process(store: Store, profile: Profile, tmp_path: Path) -> None:
    save_evidence(store, profile, EVIDENCE)
    folder = save_tiny_model(tmp_path / "judge", PLAN.model_copy(update={"context_tokens": 2048}))
    wanted = Judge(model=folder, sample=1, anchors=0)
    judge = resolve_judge(store, profile, wanted)
    assert judge == resolve_judge(store, profile, Judge(model=judge.revision))
    summary = judged(store, profile, plan_judging(judge, wanted), judge.folder)
    assert (summary["model"], summary["revision"]) == ("judge", judge.revision)
    assert sum(sum(counts.values()) for counts in summary["verdicts"].values()) == 2
    verdicts = read_verdicts(store.locate(summary["url"])).filter(pl.col("verdict") != UNREADABLE)
    assert all(row["verdict"] in VERDICTS[row["question"]] for row in verdicts.iter_rows(named=True))


def test_a_generator_that_judges_its_own_text_is_named_as_such() -> None:
    judge = FoundJudge("judge", EVIDENCE.recipe["revision"], None)  # of a checkpoint, the id is the revision
    verdicts = as_frame([Verdict("r", "a", "relevance", "related", "", "q")])
    told = replace(EVIDENCE, verdicts=verdicts, summaries=EVIDENCE.summaries | {"judge": judge._asdict()})
    figure = judged_rate(replace(told, recipe=EVIDENCE.recipe | {"model": "start"}), "relevance")
    assert "judged by judge (c0ffee0000000000), the generator itself; " in figure.definition
    assert (figure.value, figure.low, figure.n) == (0, None, 1)
    other = replace(told, recipe=EVIDENCE.recipe | {"model": "Small-1B"})  # two models, each at its own "main"
    assert "the generator itself" not in judged_rate(other, "relevance").definition

"""The paragraph and the next steps say what the figures bear, and no more."""

import re
from datetime import UTC, datetime
from html import unescape

import polars as pl
import pytest

from flows.__main__ import read
from gainloop.reports.batch import measure_batch
from gainloop.reports.page import render_page
from gainloop.reports.paragraph import COLUMNS, list_steps, write_control, write_paragraph, write_screen
from gainloop.steering.gate import decide
from schemas.profile import Gate
from schemas.report import Report
from tests.evidence import make_evidence
from tests.examined import RIGHT, make_examined
from tests.reports.batches import moved

AT = datetime(2026, 11, 26, tzinfo=UTC)


def reported(**about: object) -> Report:
    return measure_batch(make_evidence(num_anchors=24, examined=(make_examined(**about),)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def report() -> Report:
    return reported()


def test_a_gain_is_told_with_everything_that_it_must_be_compared_with(report: Report) -> None:
    found = report
    said = found.headline
    for part in (
        "The model answers 54 % [",
        "of 128 questions about 16 documents from memory, by choosing among options. Before: 28 % [",
        "Repeating the documents for as many tokens: 39 % [",
        "With the document in front of it: 79 % [",
        "A blind choice has 25 %.",
        "The synthetic text teaches more than repeating: +15 points [",
        "At equal forgetting (0.030 bits/byte) the synthetic text is ahead: +",
        "Its content earns something over unrelated text: +20 points [",
        "It lost 0.030 [",
    ):
        assert part in said
    assert "cannot tell" not in said
    assert list_steps(found)[0].startswith("Use the model: checkpoint c0ffee0000000002.")


def test_where_an_interval_holds_zero_nobody_can_tell() -> None:
    found = reported(right={**RIGHT, "synthetic": 0.40, "replay_control": 0.39})
    assert "Whether it teaches more than repeating: cannot tell, +2 points [-" in found.headline
    assert "over unrelated text: cannot tell, +" in found.headline
    steps = " ".join(list_steps(found))
    assert "Cannot tell yet whether the text is worth its tokens: about" in steps
    assert "questions in all, of more documents, would tell" in steps
    assert "Unrelated text is not beaten" in steps
    assert "Use the model" not in steps


def test_a_baseline_that_wins_is_said_to_win() -> None:
    found = reported(right={**RIGHT, "synthetic": 0.3, "baseline": 0.55})
    assert "Repeating teaches more: -" in found.headline
    assert list_steps(found)[0].startswith("Do not use this model")
    assert "points over repeating for a thousand" not in found.headline


def test_one_seed_is_said_to_hide_the_others() -> None:
    assert "One seed: another training may move this" in reported(num_seeds=1).headline


def test_what_is_known_of_held_out_documents_is_told_in_one_line_where_there_are_any() -> None:
    exam = make_examined(untrained={"handbook/00.md": "held_out", "handbook/01.md": "held_out"})
    asked = measure_batch(make_evidence(num_anchors=24, examined=(exam,)))
    said = write_control(asked.knowledge)
    assert said.startswith("A control, in no other figure: of 16 questions about held-out documents ")
    assert said in unescape(render_page(asked))
    assert "about 14 documents" in asked.headline
    assert write_control(reported().knowledge) == ""
    assert "A control" not in render_page(reported())


def test_a_gain_in_forgetting_has_its_sign_in_words() -> None:
    found = reported(forgotten={"synthetic": -0.02, "baseline": 0.05, "replay_control": 0.0})
    assert "It gained 0.020 [0.0" in found.headline
    assert "repeating lost 0.050 [0.0" in found.headline
    assert "At equal forgetting they cannot be compared: an arm forgot nothing" in found.headline


def test_the_steps_name_the_documents_that_are_missing() -> None:
    steps = " ".join(list_steps(reported()))
    assert "Spend the next tokens of rephrase where answers are still wrong" in steps
    assert "most in Chapter " in steps
    shares = {"start": 0.3, "baseline": 0.5, "synthetic": 0.47, "replay_control": 0.4}
    open_ = " ".join(list_steps(reported(right=shares)))
    assert "if the difference is what it seems, which is a loss" in open_
    assert "Once it is told to be worth it, spend the next tokens of rephrase where answers are still wrong" in open_


def test_a_batch_that_is_held_is_to_be_made_better_and_one_without_an_exam_examined() -> None:
    found = reported().model_copy(update={"training": ""})
    decision = decide(found, Gate(no_closer=0.01), [], {}, "measured", AT)
    assert decision.state == "held"
    assert list_steps(found, decision)[0].startswith("Make a better batch before training on it: ")
    step, *_ = list_steps(measure_batch(make_evidence(num_anchors=24)))
    assert step.startswith("Give an exam: nothing else can say")


def test_after_a_training_on_conversations_the_models_are_to_do_exercises() -> None:
    found = measure_batch(make_evidence(num_anchors=24))
    talked = found.model_copy(update={"recipe": found.recipe | {"method": {"kind": "reasoning"}}})
    step, *_ = list_steps(talked)
    models = " ".join(found.checkpoints[arm] for arm in ("start", "baseline", "synthetic"))
    assert f"gainloop assess --exercises.paths test.jsonl --models {models}. It accepts no batch" in step


def test_records_that_no_judge_has_checked_are_to_be_read_and_those_that_one_has_are_not(report: Report) -> None:
    unchecked = "No judge has checked the records against their documents: read some on the page of all records, or "
    assert [step for step in list_steps(report) if step.startswith(unchecked)]
    judged = report.quality.model_copy(update={"non_factual": moved(report.quality.non_factual, 12, 5)})
    steps = list_steps(report.model_copy(update={"quality": judged}))
    assert steps
    assert not [step for step in steps if step.startswith("No judge")]


def test_what_to_do_next_names_options_that_a_cycle_has() -> None:
    undecided = reported(right={**RIGHT, "synthetic": 0.40, "replay_control": 0.39}, num_seeds=1)
    steps = [*list_steps(undecided), *list_steps(measure_batch(make_evidence(num_anchors=24)))]
    said = " ".join(steps)
    for option in (
        "three seeds rather than 1 (--plan.seeds 3)",
        "more replay (--plan.mixture.synthetic 0.4 --plan.mixture.anchors 0.4 --plan.mixture.replay 0.2)",
        "a lower learning rate (--plan.optimiser.learning-rate 0.00015)",
        "another draw (--text.seed 1)",
        "(--exam.paths questions.jsonl)",
    ):
        assert option in said
    for options in re.findall(r"\((--[^)]+)\)", said):
        name, given = read(["cycle", *options.split()])
        assert (name, len(given)) == ("cycle", 1)


def test_the_end_of_a_run_fits_a_terminal(report: Report) -> None:
    decision = decide(report, Gate(), [], {}, "measured", AT)
    lines = write_screen(report, decision).splitlines()
    assert max(map(len, lines)) <= COLUMNS
    assert len(lines) < 30
    assert report.headline in " ".join(" ".join(lines).split())
    assert "What to do next:" in lines
    assert f"The gate: {decision.state}: " in " ".join(lines)


def test_without_options_the_paragraph_is_in_nats() -> None:
    found = reported().knowledge.model_copy(update={"graded": "nats"})
    said = write_paragraph(found)
    assert said.startswith("Of 128 questions about 16 documents only the likelihood of the right answers is known")
    assert "nats a token" in said
    assert "points" not in said


@pytest.mark.parametrize(("tokens", "shown"), [(None, ""), (3_100_000, "The batch cost 3.1 million generated tokens")])
def test_the_cost_is_told_where_it_is_known(tokens: int | None, shown: str) -> None:
    assert shown in write_paragraph(reported().knowledge, tokens)


def test_documents_that_no_text_was_made_of_are_told_apart_from_those_that_were_not_learnt() -> None:
    examined = make_examined()
    of_batch = sorted(set(examined.questions["document_id"]))[2:]
    found = measure_batch(make_evidence(num_anchors=24, examined=(examined,), made_of=tuple(of_batch)))
    unused = found.knowledge.unused_questions
    assert unused == examined.questions.filter(~pl.col("document_id").is_in(of_batch)).height > 0
    assert f"{unused} of the questions are about documents that this batch has no text of." in found.headline
    assert {one.document for one in found.knowledge.missing if not one.is_used}.isdisjoint(of_batch)
    steps = " ".join(list_steps(found))
    assert "No text was made of Chapter " in steps
    assert "whose answers are wrong too: raise --text.max-anchors" in steps
    assert reported().knowledge.unused_questions == 0  # where it is not known what the batch was made of

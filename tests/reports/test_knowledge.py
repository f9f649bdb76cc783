"""What the report says of an exam: shares, differences, what was forgotten, and where nothing can be said."""

from dataclasses import replace

import polars as pl
import pytest

from gainloop.reports.knowledge import measure_knowledge
from schemas.figure import figures_of
from schemas.knowledge import Knowledge
from tests.evidence import make_evidence
from tests.examined import FORGOTTEN, RIGHT, make_examined


def measured(**about: object) -> Knowledge:
    return measure_knowledge(make_evidence(examined=(make_examined(**about),)))  # type: ignore[arg-type]


def test_shares_and_differences_are_those_of_the_answers() -> None:
    found = measured()
    assert (found.status, found.graded, found.questions, found.documents, found.seeds) == ("ok", "options", 128, 16, 3)
    assert found.before.value == pytest.approx(27, abs=4)
    assert found.after.value == pytest.approx(55, abs=4)
    assert found.open_book.value == pytest.approx(80, abs=4)
    assert found.guess.value == 25
    assert found.advantage.value == pytest.approx(found.after.value - found.repeating.value)  # type: ignore[operator]
    assert found.advantage.low is not None
    assert found.advantage.low > 0
    assert found.verdict == "synthetic_wins"
    assert found.recovered.value == pytest.approx(100 * (55 - 27) / (80 - 27), abs=8)
    assert found.nats_advantage.value == pytest.approx(2.2 * (0.55 - 0.38), abs=0.1)
    assert found.forgetting.value == pytest.approx(0.03, abs=0.002)
    assert found.forgetting_repeating.value == pytest.approx(0.09, abs=0.002)


def test_rows_of_an_exam_that_fit_no_document_are_counted() -> None:
    assert measured().untied_rows == 0
    assert measured(drops={"no_document": 2, "ambiguous_document": 1, "duplicate": 4}).untied_rows == 3


def test_every_question_is_known_learnt_forgotten_or_missing() -> None:
    found = measured()
    for arm, counts in found.arms.items():
        assert counts.known + counts.learnt + counts.forgotten + counts.missing == 128, arm
    rows = found.answers
    assert len(rows) == 128
    assert [row.state for row in rows].count("learnt") == found.arms["synthetic"].learnt
    assert (
        sum(row.after_right or False for row in rows) == found.arms["synthetic"].known + found.arms["synthetic"].learnt
    )
    for row in rows:
        assert (row.after == row.answer) == row.after_right
    assert sum(row.missing for row in found.missing) == 128 - sum(row.after_right or False for row in rows)
    assert [row.missing for row in found.missing] == sorted((row.missing for row in found.missing), reverse=True)


def test_a_gain_that_was_bought_with_forgetting_vanishes_at_equal_forgetting() -> None:
    """Both arms lie on one line of knowledge by forgetting; the synthetic one is only further along it."""
    found = measured(
        right={"start": 0.25, "synthetic": 0.65, "baseline": 0.45}, forgotten={"synthetic": 0.12, "baseline": 0.06}
    )
    assert found.advantage.value == pytest.approx(20, abs=4)
    assert found.equal_level == pytest.approx(0.06, rel=0.01)
    assert found.advantage_equal.value == pytest.approx(0, abs=4)
    assert found.nats_advantage_equal.value == pytest.approx(0, abs=0.1)


def test_less_forgetting_for_the_same_knowledge_shows_at_equal_forgetting() -> None:
    found = measured(
        right={"start": 0.25, "synthetic": 0.5, "baseline": 0.5}, forgotten={"synthetic": 0.02, "baseline": 0.1}
    )
    assert found.verdict == "undecided"
    assert found.advantage_equal.value == pytest.approx(20, abs=5)
    assert found.advantage_equal.low is not None
    assert found.advantage_equal.low > 0


def test_there_is_no_equal_forgetting_where_nothing_was_forgotten() -> None:
    found = measured(forgotten={**FORGOTTEN, "synthetic": -0.01})
    assert found.equal_level is None
    assert "forgot nothing" in found.advantage_equal.status


def test_the_best_moments_are_chosen_by_one_half_and_judged_by_the_other() -> None:
    found = measured()
    assert found.advantage_best.n == 64
    assert found.advantage_best.clusters == 8
    assert "at its end" in measured(fractions=(1.0,)).advantage_best.status


def test_a_difference_of_shares_lies_within_a_hundred_points_however_few_the_documents_are() -> None:
    two = {f"handbook/{number:02}.md": "held_out" for number in range(2, 16)}
    exam = make_examined(right={**RIGHT, "synthetic": 0.9, "baseline": 0.3}, untrained=two)
    found = measure_knowledge(make_evidence(examined=(exam,)))
    assert found.documents == 2
    for figure in (found.advantage, found.advantage_control, found.advantage_best):
        assert figure.low is None or figure.high is None or -100 <= figure.low <= figure.high <= 100
    assert found.advantage.low == -100 or found.advantage.high == 100


def test_the_baseline_wins_where_it_knows_more() -> None:
    assert measured(right={**RIGHT, "synthetic": 0.3, "baseline": 0.6}).verdict == "baseline_wins"


def test_questions_about_held_out_documents_are_a_control_and_count_into_nothing_else() -> None:
    """Of held-out documents nothing is learnt here; one that was kept out, near both kinds, stands in no figure."""
    exam, names = make_examined(), [f"handbook/{number:02}.md" for number in range(5)]
    untrained = dict.fromkeys(names[:4], "held_out") | {names[4]: "kept_out"}
    as_before = exam.answers["start/0/0/closed"]
    is_heldout = pl.col("document_id").is_in(names[:4])
    answers = {
        key: one if "start" in key else pl.concat([one.filter(~is_heldout), as_before.filter(is_heldout)])
        for key, one in exam.answers.items()
    }
    found = measure_knowledge(make_evidence(examined=(replace(exam, answers=answers, untrained=untrained),)))

    assert (found.questions, found.documents, found.heldout_questions) == (88, 11, 32)
    assert found.after.n == found.before.n == sum(vars(found.arms["synthetic"]).values()) == 88
    assert not {row.document for row in found.answers} & set(names)
    assert {point.right.n for point in found.frontier} == {88}
    assert found.heldout_before.value == found.heldout_after.value
    assert found.heldout_before.value == pytest.approx(100 * as_before.filter(is_heldout)["option_right"].mean())
    whole, taught = measured(), as_before.filter(~pl.col("document_id").is_in(names))
    assert found.before.value == pytest.approx(100 * taught["option_right"].mean())
    assert (whole.heldout_questions, whole.before.n) == (0, 128)
    assert whole.heldout_after.status == "not measured: no question is about a held-out document"


def test_one_seed_is_said_to_be_one() -> None:
    found = measured(num_seeds=1)
    assert found.seeds == 1
    assert found.advantage.status.startswith("one seed")


def test_a_question_that_did_not_fit_is_left_out_and_not_wrong() -> None:
    examined = make_examined()
    key, is_first = "start/0/0/open", pl.int_range(pl.len()) < 40
    blank = [pl.when(~is_first).then(name).alias(name) for name in ("option", "option_right", "nats", "num_tokens")]
    some = examined.answers[key].with_columns(
        *blank, skipped=pl.when(is_first).then(pl.lit("too long")).otherwise(pl.lit(""))
    )
    found = measure_knowledge(make_evidence(examined=(replace(examined, answers=examined.answers | {key: some}),)))
    assert found.open_book.n == 88
    assert found.open_book.value == pytest.approx(80, abs=8)
    assert found.after.n == 128
    nothing = {name: pl.lit(None) for name in ("option", "option_right", "nats", "num_tokens")}
    none = examined.answers[key].with_columns(**nothing, skipped=pl.lit("too long"))
    found = measure_knowledge(make_evidence(examined=(replace(examined, answers=examined.answers | {key: none}),)))
    assert (
        found.open_book.status == "not measured: no question fits the model's context with what stands in front of it"
    )


def test_without_options_only_the_likelihood_of_answers_speaks() -> None:
    examined = make_examined()
    nothing = {"option": None, "option_right": None, "option_right_by_byte": None, "num_options": None}
    answers = {
        key: one.with_columns(**{k: pl.lit(v) for k, v in nothing.items()}) for key, one in examined.answers.items()
    }
    found = measure_knowledge(make_evidence(examined=(replace(examined, answers=answers),)))
    assert found.graded == "nats"
    assert found.advantage.value is None
    assert found.gained is found.nats_advantage
    assert found.verdict == "synthetic_wins"


def test_without_an_exam_every_figure_says_so() -> None:
    found = measure_knowledge(make_evidence())
    assert not found.was_asked
    figures = [one for one in figures_of(found) if not one.path.startswith("forgetting")]  # training measures it too
    assert {one.figure.status for one in figures} == {"not measured: there is no exam"}
    other = make_examined(training_id="another training")
    assert not measure_knowledge(make_evidence(examined=(other,))).was_asked


def test_an_arm_that_was_not_asked_is_named() -> None:
    right = {name: share for name, share in RIGHT.items() if name != "replay_control"}
    found = measured(right=right, open_book=None)
    assert found.control.status == "not measured: the arm replay_control was not trained, or not asked"
    assert found.advantage_control.value is None
    assert found.open_book.status == "not measured: nothing was asked open book"
    assert found.recovered.value is None
    assert found.advantage.value is not None


def test_a_third_of_a_run_has_its_tokens() -> None:
    found = measured(fractions=(1 / 3, 1.0))
    (third,) = [one for one in found.frontier if (one.arm, one.seed) == ("synthetic", 0) and one.fraction < 0.9]
    assert third.tokens == 4_778


def test_the_frontier_holds_every_moment_and_those_of_other_trainings() -> None:
    other = make_examined(training_id="another training")
    found = measure_knowledge(make_evidence(examined=(make_examined(), other)))
    own = [point for point in found.frontier if not point.training]
    assert len(own) == 1 + 3 * 3 * 2
    assert len(found.frontier) == 2 * len(own)
    (end,) = [point for point in own if (point.arm, point.seed, point.fraction) == ("baseline", 1, 1.0)]
    assert (end.tokens, end.learning_rate) == (14_336, 3e-4)
    assert end.forgetting.value == pytest.approx(0.09, abs=0.002)

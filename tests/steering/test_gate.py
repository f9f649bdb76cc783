"""What the gate says of made-up reports, just inside and just outside of every threshold."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gainloop.reports.batch import measure_batch
from gainloop.steering.gate import OFF, decide, floor_of_history, overrule
from schemas.decision import Decision, Reason
from schemas.figure import Figure
from schemas.profile import Gate
from schemas.report import Report
from tests.evidence import make_evidence

AT = datetime(2026, 11, 26, tzinfo=UTC)
JUDGED = ("near_duplicates", "prompt_ignored", "noise", "accept_rate", "no_closer", "non_factual")


def figure(low: float | None, high: float | None, unit: str = "share", status: str = "ok") -> Figure:
    """Return a figure in the middle of its interval."""
    value = None if low is None or high is None else (low + high) / 2
    about = {"n": 100, "clusters": 100, "dropped": 0, "definition": "made up"}
    return Figure(value=value, low=low, high=high, unit=unit, status=status, **about)


def rates(*values: float, half: float = 0.0) -> list[Figure]:
    return [figure(value - half, value + half, "bits/byte") for value in values]


@pytest.fixture(scope="module")
def healthy() -> Report:
    """A report of a trained batch in which nothing is wrong, and whose gain says nothing."""
    report = measure_batch(make_evidence(num_anchors=24))
    report = put(report, "delta_i.bits_per_byte", figure(1.9, 2.1, "bits/byte"))
    report = put(report, "entropy.anchors", figure(1.9, 2.0, "bits/byte"))
    report = put(report, "mi.ratio_to_log_p", figure(0.7, 0.9))
    report = put(put(report, "quality.non_factual", figure(1, 2, "%")), "quality.no_closer", figure(0, 5, "%"))
    return put(report, "knowledge.advantage", figure(-4, 6, "points"))


def put(report: Report, path: str, value: Any) -> Report:
    """Return the report with one figure replaced."""
    section, name = path.split(".")
    return report.model_copy(update={section: getattr(report, section).model_copy(update={name: value})})


def before(report: Report) -> Report:
    """Return the same report, made before training."""
    return put(report, "knowledge.advantage", figure(None, None, status="not measured")).model_copy(
        update={"training": ""}
    )


def ask(
    report: Report, history: list[Figure] | None = None, released: dict[str, str] | None = None, **gate: Any
) -> Decision:
    return decide(report, Gate(**gate), history or rates(2, 2, 2, half=0.1), released or {}, "measured", AT)


def of(decision: Decision, key: str) -> Reason:
    (reason,) = (reason for reason in decision.reasons if reason.key == key)
    return reason


def test_a_healthy_batch_is_not_held_and_not_accepted_either(healthy: Report) -> None:
    decision = ask(before(healthy))
    assert (decision.state, decision.vetoes) == ("undecided", [])
    assert decision.headline == "undecided: no veto holds; only an exam can accept it."


@pytest.mark.parametrize(
    ("key", "path", "inside", "outside"),
    [
        ("near_duplicates", "diversity.near_duplicates", (0.299, 0.5), (0.301, 0.5)),
        ("prompt_ignored", "mi.ratio_to_log_p", (0.1, 0.501), (0.1, 0.499)),
        ("noise", "delta_i.bits_per_byte", (2.99, 4), (3.01, 4)),
        ("accept_rate", "curation.accept_rate", (0.1, 0.301), (0.1, 0.299)),
        ("collapsed", "delta_i.bits_per_byte", (0.5, 1.701), (0.5, 1.699)),
        ("no_closer", "quality.no_closer", (24.9, 60), (25.1, 60)),
        ("non_factual", "quality.non_factual", (29.9, 60), (30.1, 60)),
    ],
)
def test_a_figure_vetoes_if_its_whole_interval_is_beyond_the_threshold(
    healthy: Report, key: str, path: str, inside: tuple[float, float], outside: tuple[float, float]
) -> None:
    report = before(healthy)
    assert of(ask(put(report, path, figure(*inside))), key).outcome == "passes"
    held = ask(put(report, path, figure(*outside)))
    assert (held.state, [veto.key for veto in held.vetoes]) == ("held", [key])
    veto = held.vetoes[0]
    assert veto.figure.interval in veto.words
    assert f"{veto.threshold:.4g}" in veto.words
    assert held.headline == f"held: {veto.words}."


def test_a_report_that_is_invalid_is_held(healthy: Report) -> None:
    invalid = figure(None, None, status="invalid: 9 of 240 scores are not finite; at most 2% may be")
    assert [veto.key for veto in ask(put(before(healthy), "delta_i.nats_per_record", invalid)).vetoes] == ["invalid"]
    without_logprobs = figure(None, None, status="not measured: no log-probabilities were asked for")
    assert not ask(put(before(healthy), "delta_i.nats_per_record", without_logprobs)).vetoes


@pytest.mark.parametrize(("too_many", "outcome"), [(True, "vetoes"), (False, "passes"), (None, "not known")])
def test_replies_that_repeat_each_other_beyond_chance_are_held(
    healthy: Report, too_many: bool | None, outcome: str
) -> None:
    decision = ask(put(before(healthy), "diversity.too_many_collisions", too_many))
    assert of(decision, "collisions").outcome == outcome
    assert (decision.state == "held") is bool(too_many)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("near_duplicates", "diversity.near_duplicates"),
        ("prompt_ignored", "mi.ratio_to_log_p"),
        ("noise", "entropy.anchors"),
        ("collapsed", "delta_i.bits_per_byte"),
        ("accept_rate", "curation.accept_rate"),
        ("no_closer", "quality.no_closer"),
        ("non_factual", "quality.non_factual"),
    ],
)
def test_a_figure_that_is_missing_never_vetoes_and_is_listed_with_its_reason(
    healthy: Report, key: str, path: str
) -> None:
    decision = ask(put(before(healthy), path, figure(None, None, status="not measured: it rained")))
    assert decision.state == "undecided"
    assert of(decision, key).outcome == "not known"
    assert "not measured: it rained" in of(decision, key).found


def test_a_figure_without_an_interval_never_vetoes(healthy: Report) -> None:
    alone = figure(0.0, 0.0).model_copy(update={"low": None, "high": None})
    reason = of(ask(put(before(healthy), "mi.ratio_to_log_p", alone)), "prompt_ignored")
    assert (reason.outcome, reason.found) == ("not known", "0.000, without an interval")


def test_a_veto_that_is_switched_off_says_so_and_never_holds(healthy: Report) -> None:
    off = dict.fromkeys((*JUDGED, "collapsed_share", "collapsed_deviations")) | {"collisions": False}
    bad = put(put(before(healthy), "mi.ratio_to_log_p", figure(0, 0.1)), "diversity.too_many_collisions", True)
    assert ask(bad).state == "held"
    decision = ask(bad, **off)
    assert decision.state == "undecided"
    assert {of(decision, key).found for key in (*JUDGED, "collapsed", "collisions")} == {OFF}


def test_two_earlier_batches_are_no_history_and_a_batch_without_delta_i_is_none_of_them(healthy: Report) -> None:
    collapsed = put(before(healthy), "delta_i.bits_per_byte", figure(0.1, 0.2, "bits/byte"))
    unmeasured = figure(None, None, status="not measured")
    few = of(ask(collapsed, [*rates(2, 2, half=0.1), unmeasured]), "collapsed")
    assert (few.outcome, few.found) == ("not known", "earlier batches made alike that have Delta I: 2; it takes 3")
    assert of(ask(collapsed, rates(2, 2, 2, half=0.1)), "collapsed").outcome == "vetoes"


def test_far_below_is_three_deviations_or_half_the_median_whichever_is_higher() -> None:
    assert floor_of_history(Gate(), rates(1.9, 2.0, 2.1)) == pytest.approx(2.0 - 3 * 0.1)
    assert floor_of_history(Gate(), rates(1.0, 2.0, 3.0)) == pytest.approx(1.0)
    assert floor_of_history(Gate(collapsed_share=None), rates(1.0, 2.0, 3.0)) == pytest.approx(-1.0)
    assert floor_of_history(Gate(collapsed_deviations=None), rates(1.9, 2.0, 2.1)) == pytest.approx(1.0)


def test_earlier_batches_that_agree_by_chance_leave_room_for_their_own_width() -> None:
    assert floor_of_history(Gate(), rates(2, 2, 2, half=0.1)) == pytest.approx(2 - 3 * 0.1)


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [(0.001, 0.02, "accepted"), (-0.001, 0.02, "undecided"), (-0.02, 0.001, "undecided"), (-0.02, -0.001, "rejected")],
)
def test_only_the_gain_accepts_and_rejects(healthy: Report, low: float, high: float, state: str) -> None:
    decision = ask(put(healthy, "knowledge.advantage", figure(low, high, "points")))
    assert decision.state == state
    assert decision.headline.startswith(f"{state}: knowledge gained over repeating ")
    assert decision.headline.endswith(" points. No veto holds.")


def test_a_gain_that_was_not_measured_decides_nothing(healthy: Report) -> None:
    decision = ask(put(healthy, "knowledge.advantage", figure(None, None, status="not measured: there is no exam")))
    assert (decision.state, of(decision, "gain").outcome) == ("undecided", "not known")
    assert decision.headline == "undecided: accepted by nothing, there is no exam. No veto holds."


def test_a_gain_on_held_out_text_decides_nothing(healthy: Report) -> None:
    """Loss measures style as well: without an exam a batch is neither accepted nor rejected."""
    no_exam = put(healthy, "knowledge.advantage", figure(None, None, status="not measured: there is no exam"))
    for low, high in ((0.01, 0.02), (-0.02, -0.01)):
        assert ask(put(no_exam, "gain.advantage", figure(low, high, "bits/byte"))).state == "undecided"


def test_where_answers_are_not_graded_their_likelihood_decides(healthy: Report) -> None:
    ungraded = put(put(healthy, "knowledge.graded", "nats"), "knowledge.advantage", figure(None, None))
    assert ask(put(ungraded, "knowledge.nats_advantage", figure(0.1, 0.3, "nats/token"))).state == "accepted"


def test_a_batch_that_gains_but_is_vetoed_is_not_accepted_released_or_not(healthy: Report) -> None:
    gaining = put(healthy, "knowledge.advantage", figure(3, 9, "points"))
    ignoring = put(gaining, "mi.ratio_to_log_p", figure(0.1, 0.2))
    for released in ({}, {"prompt_ignored": "to see"}):
        decision = ask(ignoring, released=released)
        assert decision.state == "undecided"
        assert decision.release == ("to see" if released else "")
        assert decision.release in decision.headline
    losing = put(ignoring, "knowledge.advantage", figure(-9, -3, "points"))
    assert ask(losing).state == "rejected"


def test_a_release_holds_for_the_vetoes_that_it_was_given_for_and_for_no_other(healthy: Report) -> None:
    ignoring = put(before(healthy), "mi.ratio_to_log_p", figure(0.1, 0.2))
    released = overrule(ask(ignoring), "to see", AT)
    assert (released.state, released.release) == ("released", "to see")
    assert released.headline.startswith('released: "to see". Vetoes: prompts are ignored (I(p; Y) / log P 0.150 [0.1')
    known = {"prompt_ignored": "to see"}
    assert ask(ignoring, released=known) == released
    worse = put(ignoring, "quality.no_closer", figure(45, 55, "%"))
    assert ask(worse, released=known).state == "held"
    assert overrule(ask(worse, released=known), "still", AT).release == "to see; still"


def test_a_decision_survives_its_json(healthy: Report) -> None:
    decision = ask(healthy)
    assert Decision.model_validate_json(decision.model_dump_json()) == decision

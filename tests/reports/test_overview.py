"""What is said over all batches, from reports whose figures are moved."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from scipy.special import stdtrit

from gainloop.reports.batch import measure_batch
from gainloop.reports.overview import measure_overview
from gainloop.reports.ranking import adjust_interval, mean_figure, name_recipes
from schemas.profile import Gate
from schemas.report import Report
from tests.evidence import make_evidence
from tests.examined import make_examined
from tests.reports.batches import FIRST_DAY, make_batch, make_store, moved, with_exam, without_scores

SBP, STORY = {"method": {"kind": "sbp", "draws": 2}}, {"method": {"kind": "rephrase", "styles": ["story"]}}


@pytest.fixture(scope="module")
def report() -> Report:
    return measure_batch(make_evidence(num_anchors=40))


@pytest.fixture(scope="module")
def examined() -> Report:
    return measure_batch(make_evidence(num_anchors=40, examined=(make_examined(),)))


def test_batches_come_in_the_order_in_which_they_were_begun_however_the_store_gives_them(report: Report) -> None:
    batches = make_store(report)
    overview = measure_overview(batches, Gate())
    assert [one.number for one in overview.standings] == list(range(1, 8))
    assert [one.begun for one in overview.standings] == sorted(one.begun for one in overview.standings)
    assert measure_overview(batches[::-1], Gate()) == overview
    backwards = [replace(one, begun=FIRST_DAY - timedelta(days=one.place)) for one in batches]  # a clock set back
    assert [one.batch for one in measure_overview(backwards, Gate()).standings] == [
        one.batch for one in overview.standings
    ]


def test_a_smaller_loss_comes_before_a_larger_one_however_many_tokens_they_cost(report: Report) -> None:
    cheap = report.model_copy(update={"cost": report.cost.model_copy(update={"accepted_tokens": 20_000})})
    dear = report.model_copy(update={"cost": report.cost.model_copy(update={"accepted_tokens": 400_000})})
    batches = [make_batch(dear, 1, gain=-0.02, **SBP), make_batch(cheap, 2, gain=-0.005, **STORY)]
    assert [one.recipe for one in measure_overview(batches, Gate()).rankings[0].recipes] == ["rephrase", "sbp"]


def test_of_equal_gains_the_cheaper_recipe_comes_first_and_cost_counts_all_tokens(report: Report) -> None:
    dear = report.model_copy(update={"cost": report.cost.model_copy(update={"scoring_tokens": 10**7})})
    batches = [make_batch(dear, 1, gain=0.01, **SBP), make_batch(report, 2, gain=0.01, **STORY)]
    first, second = measure_overview(batches, Gate()).rankings[0].recipes
    assert (first.recipe, second.recipe) == ("rephrase", "sbp")
    cost = dear.cost
    assert second.cost_tokens == cost.prompt_tokens + cost.completion_tokens + 10**7 + (cost.judging_tokens or 0)


def test_ten_worthless_recipes_are_called_certain_in_one_of_twenty_stores_at_most(report: Report) -> None:
    rng, called = np.random.default_rng(0), 0
    figure, half = report.gain.advantage, float(stdtrit(39, 0.975)) * 0.01
    for _ in range(2_000):
        gains = [
            moved(figure, value, half).model_copy(update={"clusters": 40}) for value in 0.01 * rng.standard_t(39, 10)
        ]
        called += any(ends[0] > 0 for gain in gains if (ends := adjust_interval(gain, 10)))
    assert 0.01 < called / 2_000 < 0.04  # one side of a two-sided interval of 0.95


def test_a_gain_alone_keeps_its_interval(report: Report) -> None:
    gain = moved(report.gain.advantage, 0.02, 0.01)
    assert adjust_interval(gain, 1) == pytest.approx((gain.low, gain.high))
    assert adjust_interval(gain.model_copy(update={"low": None}), 3) is None


def test_recipes_are_told_apart_by_what_differs_and_not_by_how_many() -> None:
    sampling = {"temperature": 1.0, "top_p": 1.0}
    base = {"method": {"kind": "rephrase", "styles": ["story"]}, "sampling": sampling, "model": "m", "seed": 0}
    larger = base | {"seed": 5, "snapshot_id": "other", "max_anchors": 9}
    cold = base | {"sampling": sampling | {"temperature": 0.7}}
    assert name_recipes([base, larger]) == ["rephrase", "rephrase"]
    assert name_recipes([base, cold]) == ["rephrase, temperature 1.0", "rephrase, temperature 0.7"]


def test_the_recipe_that_gained_most_comes_first_and_those_never_trained_on_last(report: Report) -> None:
    ranking = measure_overview(make_store(report), Gate()).rankings[0].recipes
    values = [one.gain.value for one in ranking]
    assert values[-1] is None
    assert ranking[-1].trained == 0
    assert values[:-1] == sorted(values[:-1], reverse=True)
    assert ranking[0].trained == len(ranking[0].batches) == ranking[0].gain.n == 2


def test_the_mean_of_batches_is_never_surer_than_their_own_texts(report: Report) -> None:
    alike = [moved(report.gain.advantage, value, 0.01) for value in (0.0200, 0.0201)]
    found = mean_figure(alike)
    assert (found.low, found.high) == pytest.approx((0.01005, 0.03005))
    apart = mean_figure([moved(report.gain.advantage, value, 0.01) for value in (0.0, 0.1)])
    assert apart.low is not None
    assert apart.low < -0.5  # two batches: t with one degree of freedom


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        (
            (0.02, -0.01),
            "with 2 recipes compared, that it beats repeating is certain, that it beats every other recipe is too.",
        ),
        ((0.02, 0.019), "that it beats repeating is certain, that it beats every other recipe is not."),
        (
            (-0.02, 0.003),
            "has certainly beaten repeating among 2 compared; nearest comes rephrase, with +",
        ),
        ((None, None), "2 batches of 2 recipes. What their text gained is not measured: no training yet."),
    ],
)
def test_the_headline_says_who_gained_most_and_how_sure_that_is(
    report: Report, gains: tuple[float | None, float | None], said: str
) -> None:
    batches = [
        make_batch(report, place, gain, **recipe)
        for place, (gain, recipe) in enumerate(zip(gains, (SBP, STORY), strict=True))
    ]
    assert said in measure_overview(batches, Gate()).headline


def test_one_batch_has_a_headline_and_no_rank(report: Report) -> None:
    overview = measure_overview([make_batch(report, 1, gain=0.02)], Gate())
    assert overview.headline.startswith("1 batch of 1 recipe. The text of rephrase has beaten repeating, by +")
    assert {one.correlation.value for one in overview.foretold} == {None}
    assert overview.lines.collapsed.status == "not measured: batches that have Delta I: 1; a median takes 3"


def test_an_exam_ranks_and_not_held_out_text_and_batches_without_one_come_last_and_have_no_gain(
    report: Report, examined: Report
) -> None:
    batches = [
        with_exam(make_batch(examined, 1, gain=0.05, **SBP), "a", 2.0),
        with_exam(make_batch(examined, 2, gain=-0.05, **STORY), "a", 9.0),
        make_batch(report, 3, gain=0.09, **SBP),
    ]
    overview = measure_overview(batches, Gate())
    first, without = overview.rankings
    assert (first.exam, first.graded, first.figure) == ("a", "options", "knowledge.advantage")
    assert [(one.recipe, one.gain.value, one.gain.unit) for one in first.recipes] == [
        ("rephrase", 9.0, "points"),
        ("sbp", 2.0, "points"),
    ]
    assert without.exam == ""
    assert [(one.recipe, one.gain.status) for one in without.recipes] == [("sbp", "not measured: there is no exam")]
    assert overview.headline.startswith(
        "3 batches of 2 recipes. By exam a, by choosing among options: the text of rephrase gained most"
    )
    assert " points [" in overview.headline


def test_batches_of_different_exams_or_gradings_are_not_ranked_together(examined: Report) -> None:
    batches = [
        with_exam(make_batch(examined, 1, **SBP), "a", 2.0),
        with_exam(make_batch(examined, 2, **STORY), "a", 3.0),
        with_exam(make_batch(examined, 3, **SBP), "b", 40.0),
        with_exam(make_batch(examined, 4, **STORY), "a", 50.0, graded="exact"),
    ]
    overview = measure_overview(batches, Gate())
    assert [(one.exam, one.graded, len(one.recipes)) for one in overview.rankings] == [
        ("a", "options", 2),
        ("a", "exact", 1),
        ("b", "options", 1),
    ]
    assert [one.gain.value for one in overview.rankings[0].recipes] == [3.0, 2.0]
    assert overview.headline.endswith("What 2 other exams found is ranked apart.")


def test_ungraded_answers_rank_by_the_surprise_at_them(examined: Report) -> None:
    batch = with_exam(make_batch(examined, 1, **SBP), "a", 0.2, graded="nats")
    (ranking,) = measure_overview([batch], Gate()).rankings
    assert ranking.figure == "knowledge.nats_advantage"
    assert (ranking.recipes[0].gain.value, ranking.recipes[0].gain.unit) == (0.2, "nats/token")


def test_what_is_foretold_is_the_gain_by_one_exam_and_held_out_text_is_one_of_its_predictors(
    report: Report, examined: Report
) -> None:
    """The gain on held-out text falls where the exam's rises; another exam's batches would turn it round."""
    own = [with_exam(make_batch(examined, n, gain=-0.01 * n), "a", 1.0 * n) for n in range(1, 7)]
    other = [with_exam(make_batch(examined, n, gain=0.1 * n), "b", 10.0 * n) for n in range(7, 12)]
    foretold = {one.predictor: one for one in measure_overview(own + other, Gate()).foretold}
    assert "knowledge.advantage" not in foretold
    assert foretold["gain.advantage"].correlation.value == pytest.approx(-1)
    assert foretold["gain.advantage"].correlation.n == 6
    without = measure_overview([make_batch(report, n) for n in range(6)], Gate()).foretold
    assert "gain.advantage" not in {one.predictor for one in without}


def test_a_store_without_a_report_says_so() -> None:
    assert measure_overview([], Gate()).headline == "No batch of this store was measured yet."


def test_each_quadrant_is_found(report: Report) -> None:
    standings = measure_overview(make_store(report), Gate()).standings
    healthy, collapsed, noisy, ignored = standings[0], standings[3], standings[4], standings[5]
    assert (healthy.quadrant, collapsed.quadrant) == ("healthy", "collapsed")
    assert (noisy.quadrant, ignored.quadrant) == ("noisy", "prompt ignored")


def test_a_batch_that_no_judge_has_checked_is_not_called_healthy(report: Report) -> None:
    batches = [make_batch(report, 1, non_factual=None), make_batch(report, 2, dependence=0.2, non_factual=None)]
    assert [one.quadrant for one in measure_overview(batches, Gate()).standings] == ["not judged", "prompt ignored"]


def test_the_noise_line_is_that_of_the_newest_batch_with_scored_anchors(report: Report) -> None:
    lines = measure_overview(make_store(report), Gate()).lines
    anchors = report.entropy.anchors
    assert (lines.noise.value, lines.noise.high) == pytest.approx((1.5 * anchors.value, 1.5 * anchors.high))
    assert lines.collapsed.value == pytest.approx(0.5 * np.median([2.1, 2.3, 1.9, 0.4, 3.1, 2.4, 2.2]))


def test_quadrants_are_told_apart_by_the_gates_thresholds_and_a_veto_that_is_off_draws_no_line(report: Report) -> None:
    strict = measure_overview(make_store(report), Gate(prompt_ignored=1, noise=100, collapsed_share=0.01))
    assert strict.standings[0].quadrant == "prompt ignored"
    off = measure_overview(make_store(report), Gate(prompt_ignored=None, noise=None, collapsed_share=None))
    assert {one.quadrant for one in off.standings} == {"healthy"}
    assert (off.lines.ignored, off.lines.noise.value, off.lines.collapsed.value) == (None, None, None)


def test_where_outputs_were_not_scored_or_have_no_logprobs_the_quadrant_is_not_known(report: Report) -> None:
    scored = [make_batch(report, number, delta_i=None) for number in range(3)]
    unscored = without_scores([make_batch(report, number) for number in range(3, 6)])
    found = measure_overview([*scored, *unscored], Gate())
    assert {one.quadrant for one in found.standings} == {"not known"}
    assert found.standings[0].delta_i.status == "not measured: no log-probabilities were asked for"
    assert found.standings[-1].dependence.status == "not measured: no output was scored"


def test_drops_are_added_up_over_batches_with_their_share_of_requests(report: Report) -> None:
    batches = make_store(report)
    lost = {(one.kind, one.reason): one for one in measure_overview(batches, Gate()).lost}
    cut_off = lost["drop", "cut_off"]
    done = [batch for batch in batches if batch.stages]
    assert cut_off.count == sum(batch.drops["cut_off"] for batch in done)
    assert cut_off.share.value == pytest.approx(100 * cut_off.count / sum(batch.requests for batch in done))
    assert (cut_off.share.unit, cut_off.share.n) == ("% of requests", 8)
    assert lost["quarantine", "too_short"].share.unit == "% of records"
    (alone,) = [one for one in measure_overview(batches[:1], Gate()).lost if one.reason == "cut_off"]
    assert (alone.share.low, alone.share.clusters) == (None, 1)


def test_a_batch_without_a_report_is_listed_with_what_to_do(report: Report) -> None:
    batch = replace(make_batch(report, 1), digest=None)
    changes = {
        "measured by an earlier version: run the flow report again": {"is_outdated": True},
        "not generated to the end: run the flow generate again": {"stages": ()},
        "not validated to the end: run the flow validate again": {"stages": ("generate",)},
        "not measured: run the flow report": {},
    }
    for why, change in changes.items():
        (listed,) = measure_overview([replace(batch, **change)], Gate()).unmeasured
        assert listed.why == why

"""What is said of predictors, in words that follow from the figures."""

import numpy as np

from gainloop.measures.estimate import Estimate, as_figure
from gainloop.studies.findings import describe
from schemas.figure import Figure
from schemas.report import DELTA_I
from schemas.studies import BatchOutcome, Predictor, Verification

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=24)


def predictor(key: str, expected: str = "rises") -> Predictor:
    return Predictor(key=key, name=f"Name of {key}", meaning="", expected=expected)


def figure(value: float) -> Figure:
    return as_figure(Estimate(float(value), None, None, 1, "nats/fact"), "made up")


def verified(expected: str = "rises", num_batches: int = 24, **values: np.ndarray) -> Verification:
    """Return a verification whose first predictor is the hypothesis."""
    batches = [
        BatchOutcome(
            name=f"batch {place}",
            method="ab"[place % 2],
            predictors={key: figure(column[place]) for key, column in values.items()},
            verdict=figure(TRUTH[place]),
            by_seed=[TRUTH[place], TRUTH[place]],
        )
        for place in range(num_batches)
    ]
    predictors = [predictor(key, expected) for key in values]
    return describe("id", {"kind": "world"}, "gain", predictors, next(iter(values)), batches)


def test_a_predictor_that_goes_with_the_verdict_is_the_one_to_follow() -> None:
    found = verified(good=TRUTH + 0.3 * RNG.normal(size=24), **{DELTA_I: RNG.normal(size=24)})
    assert [worth.finding for worth in found.worth] == ["predicts", "not shown"]
    assert found.headline.startswith("Over 24 batches, the name of good foretells the verdict (rank correlation +0.9")
    assert "alone does not foretell the verdict: the interval holds 0" in found.headline
    assert "It is worth following: the batch that it likes best loses 0" in found.headline
    assert found.reliability.value == 1


def test_delta_i_is_given_its_due_if_it_does_foretell_the_verdict() -> None:
    found = verified(poor=RNG.normal(size=24), **{DELTA_I: TRUTH + 0.3 * RNG.normal(size=24)})
    assert f"the name of {DELTA_I} alone foretells the verdict" in found.headline
    assert "was not the hypothesis: verify it on other batches" in found.headline


def test_an_expected_fall_turns_the_finding_and_the_choice_around() -> None:
    falling = verified("falls", noise=-TRUTH).worth[0]
    assert falling.correlation.value == -1
    assert falling.finding == "predicts"
    assert falling.regret.value == 0
    assert verified("falls", noise=TRUTH).worth[0].finding == "predicts the opposite"


def test_when_nothing_goes_with_the_verdict_nothing_is_worth_following() -> None:
    found = verified(poor=RNG.normal(size=24))
    assert "Nothing that is known before a full training is worth following." in found.headline


def test_too_few_batches_cannot_tell_and_say_how_many_are_needed() -> None:
    for number in (0, 1, 4):
        found = verified(good=TRUTH, num_batches=number)
        assert f"there are {number} batches" in found.headline
        assert "at least 12 are needed" in found.headline
        assert found.worth[0].finding == "not measured"
        assert found.worth[0].correlation.value is None

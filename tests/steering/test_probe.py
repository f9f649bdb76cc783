"""What a probe run says of a batch, in words and by its verdict."""

import pytest

from gainloop.measures.estimate import ALL_ALIKE
from gainloop.steering.probe import LEAST_TOKENS, describe_probe, probe_plan, probe_verdict, questions_needed
from schemas.figure import Figure
from schemas.plan import TrainingPlan
from schemas.steering import Probed


def gain(low: float | None, high: float | None, unit: str = "points") -> Figure:
    value = None if low is None or high is None else (low + high) / 2
    about = {"n": 64, "clusters": 8, "dropped": 0, "definition": "made up"}
    return Figure(value=value, low=low, high=high, unit=unit, status="ok" if value is not None else "no exam", **about)


def probed(found: Figure, seeds: int = 1) -> Probed:
    about = {"share": 0.25, "seeds": seeds, "questions": 64, "tokens": 8_192, "full_tokens": 49_152, "seconds": 71.2}
    nothing = gain(None, None, "nats/token")
    return Probed(status="ok", verdict=probe_verdict(found), gain=found, nats_gain=nothing, **about)


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.1, 9, "go"), (-9, -0.1, "hold"), (-1, 9, "cannot tell"), (None, None, "not run")]
)
def test_a_probe_run_holds_only_what_lies_below_zero(low: float | None, high: float | None, verdict: str) -> None:
    assert probe_verdict(gain(low, high)) == verdict


def test_a_probe_run_is_a_part_of_both_arms_with_the_same_seeds() -> None:
    plan = TrainingPlan(budget_tokens=80_000, points=4, seeds=3)
    short = probe_plan(plan, 0.25)
    assert (short.budget_tokens, short.points, short.seeds) == (20_000, 1, 3)
    assert short.arms == ["synthetic", "baseline"]
    assert short.optimiser == plan.optimiser
    assert probe_plan(TrainingPlan(budget_tokens=2_048), 0.1).budget_tokens == LEAST_TOKENS


def test_questions_needed_grow_with_the_square_of_what_is_not_seen() -> None:
    assert questions_needed(gain(-2, 6), 64) == 260  # half width 4 of 2: four times as many
    assert questions_needed(gain(1, 3), 64) == 74, "more than there are, whatever is asked"
    assert questions_needed(gain(-30, 31), 64) is None
    assert questions_needed(gain(-5, 5), 64) is None, "no gain is never told from none"


def test_each_verdict_says_what_happens_next_and_what_it_cost() -> None:
    go, hold, open_ = (describe_probe(probed(gain(*ends))) for ends in ((2, 9), (-9, -2), (-2, 6)))
    head = "The probe run (25% of the updates, 8,192 tokens against 49,152 of the full training, 71 s)"
    assert go == f"{head} says go: +5.5 points [2.0, 9.0] over repeating, of 64 questions."
    assert hold.startswith(f"{head} says hold: -5.5 points [-9.0, -2.0] over repeating")
    assert hold.endswith("Training in full, 40,960 tokens more, is not worth it.")
    assert open_.endswith("About 260 questions and three seeds rather than 1 would; the full run goes on.")
    assert "and three seeds" not in describe_probe(probed(gain(-2, 6), seeds=3))
    alike = gain(None, None).model_copy(update={"value": 0.0, "status": ALL_ALIKE})
    assert f"nothing says ({ALL_ALIKE}): more questions of more documents are needed" in describe_probe(probed(alike))
    assert "too small for any exam of this kind" in describe_probe(probed(gain(-5, 5)))

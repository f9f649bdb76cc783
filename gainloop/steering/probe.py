"""The probe run: a quarter of a training asks first, and what its gain says of the rest."""

import math
from typing import Final

from gainloop.measures.estimate import TOO_FEW
from schemas.figure import Figure
from schemas.plan import TrainingPlan
from schemas.steering import Probed, ProbeVerdict

LEAST_TOKENS: Final = 1_024
"""Tokens of a plan, at least."""

HOPELESS: Final = 20
"""Times the questions beyond which no exam would tell a difference."""


def probe_plan(plan: TrainingPlan, share: float) -> TrainingPlan:
    """Return the plan of a probe run: both arms, the same seeds and schedule, a part of the tokens."""
    tokens = max(LEAST_TOKENS, round(share * plan.budget_tokens))
    return plan.model_copy(update={"budget_tokens": tokens, "points": 1, "arms": ["synthetic", "baseline"]})


def probe_verdict(gain: Figure) -> ProbeVerdict:
    """Return what a gain over repeating says: go, hold, or that it cannot be told yet."""
    if gain.value is None:
        return "not run"
    if gain.low is not None and gain.low > 0:
        return "go"
    return "hold" if gain.high is not None and gain.high < 0 else "cannot tell"


def questions_needed(gain: Figure, questions: int) -> int | None:
    """Return how many questions would tell whether there is a gain, if it is what it seems; None if too many would."""
    if gain.value is None or gain.low is None or gain.high is None or not gain.value:
        return None
    times = ((gain.high - gain.low) / 2 / abs(gain.value)) ** 2
    return None if times > HOPELESS else max(math.ceil(times * questions / 10) * 10, questions + 10)


def describe_probe(probed: Probed) -> str:
    """Return what a probe run found, what that means for the batch, and what it cost, in a few sentences."""
    if probed.verdict == "not run":
        return f"There was no probe run: {probed.status.removeprefix('not run: ')}."
    gain = probed.decides
    trained = f"{probed.tokens:,} tokens against {probed.full_tokens:,} of the full training"
    head = f"The probe run ({probed.share:.0%} of the updates, {trained}, {probed.seconds:,.0f} s)"
    found = f"{gain.signed} {' '.join(filter(None, (gain.unit, gain.interval)))} over repeating"
    found += f", of {probed.questions:,} questions"
    if probed.verdict == "go":
        return f"{head} says go: {found}."
    if probed.verdict == "hold":
        left = probed.full_tokens - probed.tokens
        return f"{head} says hold: {found}. Training in full, {left:,} tokens more, is not worth it."
    needed = questions_needed(gain, probed.questions)
    if needed is None:
        why = "The difference is too small for any exam of this kind"
        if gain.status.startswith(TOO_FEW):
            why = f"Whether it is chance nothing says ({gain.status}): more questions of more documents are needed"
        return f"{head} cannot tell: {found}. {why}; the full run goes on."
    seeds = "" if probed.seeds > 2 else f" and three seeds rather than {probed.seeds}"
    return f"{head} cannot tell yet: {found}. About {needed:,} questions{seeds} would; the full run goes on."

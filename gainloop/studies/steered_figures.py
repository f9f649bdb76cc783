"""What steering came to over all seeds: a figure for each way, its difference from the uniform split, and in words."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from gainloop.measures.estimate import as_figure, over_seeds, share_of
from gainloop.studies.steered_budget import ARMS
from gainloop.studies.steered_ground import PROBE, cost_of
from schemas.figure import Figure
from schemas.steered import Agreement, DecidedBatches, Decision, Steered, SteeredRun, SteeredWay, Steering, WayOutcome
from schemas.studies import BatchOutcome, InventedWorld

DECIDES: Final = "probe_right"
"""Predictor by which a probe run decides: its gain in right answers to the gate's questions."""

SPENT: Final[dict[SteeredWay, str]] = {
    "by gain": "spending where probe runs gained most {}",
    "by Delta I": "spending where Delta I was highest {}",
    "gap-directed": "asking about what the model lacked {}",
}

RIGHT: Final = "share of the verdict's questions answered rightly, mean over entities; interval over entities and seeds"
MORE: Final = "right answers less those of the uniform split, same seed, mean over entities; interval over both"
AGREED: Final = "decisions to go or to hold on whose side of 0 the verdict lies, by all; interval over batches"


def describe_steering(runs: Sequence[SteeredRun], subject: InventedWorld, batches: Sequence[BatchOutcome]) -> Steered:
    """Return what came of all ways.

    Args:
        runs: Runs of every way on every seed.
        batches: Batches of the first part.
    """
    ways = [_describe_way(runs, *which) for which in dict.fromkeys((run.steering, run.way) for run in runs)]
    agreement = describe_agreement(batches, subject)
    return Steered(
        headline=_headline(ways, agreement),
        seeds=sorted({run.seed for run in runs}),
        arms={name: plan.name for name, plan in ARMS.items()},
        ways=ways,
        agreement=agreement,
    )


def _describe_way(runs: Sequence[SteeredRun], steering: Steering, way: SteeredWay) -> WayOutcome:
    own, even = (
        sorted((run for run in runs if (run.steering, run.way) == (steering, name)), key=lambda run: run.seed)
        for name in (way, "uniform")
    )
    after, before = (np.array([getattr(run, moment) for run in own]) for moment in ("after", "before"))
    more = after - np.array([run.after for run in even])
    entities = np.arange(after.shape[1])
    kinds = np.array([run.kinds for run in own])
    return WayOutcome(
        steering=steering,
        way=way,
        words=sum(own[0].words),
        probe_tokens=own[0].probe_tokens,
        shares=[
            {name: float(np.mean([run.shares[number][name] for run in own])) for name in own[0].shares[number]}
            for number in range(len(own[0].shares))
        ],
        by_kind={
            str(kind): (float(before[kinds == kind].mean()), float(after[kinds == kind].mean()))
            for kind in np.unique(kinds)
        },
        before=as_figure(over_seeds(before, entities, "share"), f"of the model that all ways start from: {RIGHT}"),
        right=as_figure(over_seeds(after, entities, "share"), RIGHT),
        more=None if way == "uniform" else as_figure(over_seeds(more, entities, "share"), MORE),
        more_by_seed=[] if way == "uniform" else more.mean(axis=1).tolist(),
    )


def describe_agreement(batches: Sequence[BatchOutcome], subject: InventedWorld) -> Agreement:
    """Return how far the batches' probe runs decide as their full trainings come out."""
    decisions = [decide(batch.predictors[DECIDES]) for batch in batches]
    signs = [np.sign(batch.verdict.value or 0.0) for batch in batches]
    wanted = {"go": 1.0, "hold": -1.0}
    agreed = [sign == wanted[decision] for decision, sign in zip(decisions, signs, strict=True) if decision in wanted]
    full = cost_of(subject.updates) * subject.seeds
    return Agreement(
        decided=[
            _count([batch.verdict for batch, own in zip(batches, decisions, strict=True) if own == decision], decision)
            for decision in ("go", "hold", "cannot tell")
        ],
        agreed=as_figure(share_of(agreed, range(len(agreed))), AGREED),
        probe_tokens=cost_of(max(1, subject.updates // PROBE)) * (len(batches) + 1),
        full_tokens=full * (len(batches) + 1),
        saved_tokens=full * decisions.count("hold"),
    )


def decide(gain: Figure) -> Decision:
    """Return what a probe run's gain decides, by the end of its interval that is nearer to 0."""
    if gain.low is not None and gain.low > 0:
        return "go"
    return "hold" if gain.high is not None and gain.high < 0 else "cannot tell"


def _count(verdicts: Sequence[Figure], decision: Decision) -> DecidedBatches:
    found = [decide(verdict) for verdict in verdicts]
    return DecidedBatches(
        decision=decision,
        batches=len(found),
        gained=found.count("go"),
        lost=found.count("hold"),
        unclear=found.count("cannot tell"),
    )


def _headline(ways: Sequence[WayOutcome], agreement: Agreement) -> str:
    go, hold, unclear = agreement.decided
    return (
        f"At equal words, {'; '.join(SPENT[one.way].format(_say(one.more)) for one in ways if one.more)}. "
        f"Probe runs said go to {go.batches} batches: trained in full, {go.gained} gained and {go.lost} lost; hold "
        f"to {hold.batches}: {hold.lost} lost and {hold.gained} gained; and could not tell of {unclear.batches}."
    )


def _say(more: Figure) -> str:
    """Return a difference from the even split as the end of a clause."""
    if more.value is None or more.low is None or more.high is None:
        return f"cannot be judged ({more.status})"
    pays = "pays" if more.low > 0 else "costs" if more.high < 0 else "is not shown to pay"
    return f"{pays} ({more.signed} {more.interval} right answers against the even split)"

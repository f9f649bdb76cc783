"""The gate: information quantities may hold a batch back, and only measured gain on held-out text accepts it."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from schemas.decision import FORMAT, Decision, Outcome, Reason, State
from schemas.figure import Figure
from schemas.profile import Gate
from schemas.report import Report
from tasks.measures.vetoes import list_vetoes, told


def decide(
    report: Report, gate: Gate, history: Sequence[Figure], released: Mapping[str, str], measurement: str, at: datetime
) -> Decision:
    """Return what the gate says of a batch: before training whether it is held, afterwards whether it is accepted.

    Args:
        report: The measurement that the decision rests on.
        gate: The thresholds.
        history: Delta I per byte of earlier batches of the same method.
        released: Vetoes that a person has overruled for this batch, and why. It is held for any other.
        measurement: The measurement's id.
        at: When this is.
    """
    vetoes = list_vetoes(report, gate, history)
    standing = [reason for reason in vetoes if reason.outcome == "vetoes"]
    overruled = list(dict.fromkeys(released[veto.key] for veto in standing if veto.key in released))
    gain = judge_gain(report.gain.advantage) if report.training else None
    state = _state_before(standing, released) if gain is None else _state_after(standing, gain)
    return Decision(
        format=FORMAT,
        state=state,
        headline=_headline(state, standing, gain, overruled),
        batch=report.batch,
        training=report.training,
        measurement=measurement,
        thresholds=gate.model_dump(mode="json"),
        reasons=vetoes + ([gain] if gain else []),
        release="; ".join(overruled),
        decided=at,
    )


def overrule(decision: Decision, why: str, at: datetime) -> Decision:
    """Return the release of a held batch: a decision of its own, with the same reasons."""
    reasons = [decision.release, why] if decision.release else [why]
    return decision.model_copy(
        update={
            "state": "released",
            "headline": _headline("released", decision.vetoes, None, reasons),
            "release": "; ".join(reasons),
            "decided": at,
        }
    )


def judge_gain(advantage: Figure) -> Reason:
    """Return what the gain over the matched baseline says: the one figure that can accept a batch, or reject it."""
    outcome: Outcome = "undecided"
    if advantage.value is None:
        outcome = "not known"
    elif advantage.low is not None and advantage.low > 0:
        outcome = "accepts"
    elif advantage.high is not None and advantage.high < 0:
        outcome = "rejects"
    return Reason(
        key="gain",
        name="gain over the matched baseline",
        outcome=outcome,
        found=told(advantage),
        means="",
        rule="the lower end is above 0: accepted; the upper end is below 0: rejected",
        figure=advantage,
        threshold=0,
    )


def _state_before(vetoes: Sequence[Reason], released: Mapping[str, str]) -> State:
    if not vetoes:
        return "undecided"
    return "released" if all(veto.key in released for veto in vetoes) else "held"


def _state_after(vetoes: Sequence[Reason], gain: Reason) -> State:
    if gain.outcome == "rejects":
        return "rejected"
    return "accepted" if gain.outcome == "accepts" and not vetoes else "undecided"


def _headline(state: State, vetoes: Sequence[Reason], gain: Reason | None, overruled: Sequence[str]) -> str:
    said = "; ".join(veto.words for veto in vetoes)
    why = f'released: "{"; ".join(overruled)}"' if overruled else ""
    if gain:
        held = f" Vetoes{f' ({why})' if why else ''}: {said}." if vetoes else " No veto holds."
        return f"{state}: {gain.name} on held-out text {gain.found}.{held}"
    if state == "held":
        return f"held: {said}."
    return (
        f"{why}. Vetoes: {said}." if vetoes else "undecided: no veto holds; only gain on held-out text can accept it."
    )

"""The gate's decision on a batch: made once for a measurement and its thresholds, kept, and readable."""

from schemas.decision import Decision
from schemas.errors import Held
from schemas.profile import Gate
from schemas.report import Report
from tasks.measures.gate import decide, overrule
from tasks.store.decisions import find_decision, read_history, read_releases, save_decision
from tasks.store.duck import Store, now


def decide_once(store: Store, gate: Gate, report: Report, measurement: str, release: str = "") -> Decision:
    """Return what the gate says of a measured batch. What was decided before stands, but for a release.

    Args:
        measurement: The id of the report's measurement.
        release: Why a person overrules the vetoes that hold now; nothing is released if it is empty.
    """
    decision = find_decision(store, report.batch, measurement, gate)
    if decision is None:
        history, released = read_history(store, report.batch), read_releases(store, report.batch)
        decision = decide(report, gate, history, released, measurement, now())
        save_decision(store, decision, gate)
    if decision.state == "held" and release:
        decision = overrule(decision, release, now())
        save_decision(store, decision, gate)
    return decision


def require_not_held(decision: Decision, page: str) -> None:
    """Refuse a batch that a veto holds.

    Raises:
        Held: It names every veto with its figure and threshold, and says how to release the batch.
    """
    if decision.state == "held":
        raise Held(
            f"training on batch {decision.batch}: the gate holds it, {'; '.join(v.words for v in decision.vetoes)}; "
            f"a batch is trained on if no veto holds, or if a person releases it. Read {page}, then make a better "
            'batch, or run the same with --release "why" to train on this one all the same.'
        )


def as_markdown(decision: Decision) -> str:
    """Return a decision as a headline and a table of its reasons."""
    lines = [f"**{decision.headline}**", "", "| The gate looked at | found | rule | outcome |", "|---|---|---|---|"]
    lines += [f"| {r.name} | {r.found} | {r.whole_rule} | {r.outcome} |".replace("\n", " ") for r in decision.shown]
    return "\n".join(lines)

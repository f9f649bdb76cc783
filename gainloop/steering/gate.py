"""The gate: information quantities may hold a batch back, and only an exam accepts it: what models know afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Final

import numpy as np

from gainloop.store.duck import Store, now
from gainloop.store.measurements import find_decision, read_history, read_releases, save_decision
from schemas.decision import FORMAT, CheckOutcome, Decision, Reason, State
from schemas.errors import Held
from schemas.figure import Figure
from schemas.knowledge import Knowledge
from schemas.profile import Gate
from schemas.report import DELTA_I, DEPENDENCE, KNOWLEDGE, WORDS, Report

OFF: Final = "switched off in the profile"
"""Reason why a veto is not known."""


@dataclass(frozen=True, slots=True)
class Check:
    """A figure beside a threshold; it vetoes if the whole of its interval lies on the wrong side.

    Attributes:
        key: Key of the veto.
        path: Path of the figure in the report.
        means: Meaning for the batch if it vetoes.
        figure: Figure that is compared.
        threshold: Number to compare with, or None if the veto is switched off or there is none.
        is_floor: True if the figure may not lie below the threshold, False if not above.
        unknown: Reason why there is no threshold; empty if the veto is switched off.
        about: Text after the threshold's number; empty for the figure's unit.
    """

    key: str
    path: str
    means: str
    figure: Figure
    threshold: float | None
    is_floor: bool
    unknown: str = ""
    about: str = ""

    def reason(self) -> Reason:
        """Return the outcome with its words; a figure without value or interval never vetoes."""
        figure, limit = self.figure, self.threshold
        end = figure.high if self.is_floor else figure.low
        if limit is None:
            return self._found("not known", self.unknown or OFF)
        if figure.value is None or end is None:
            return self._found(
                "not known", describe_figure(figure) + ("" if figure.value is None else ", without an interval")
            )
        return self._found(
            "vetoes" if (end < limit if self.is_floor else end > limit) else "passes", describe_figure(figure)
        )

    def _found(self, outcome: CheckOutcome, found: str) -> Reason:
        end, side = ("upper", "below") if self.is_floor else ("lower", "above")
        limit = "" if self.threshold is None else f"{self.threshold:.4g}{self.about or _unit(self.figure)}"
        return Reason(
            key=self.key,
            name=WORDS[self.path].name,
            outcome=outcome,
            found=found,
            means=self.means,
            rule=limit and f"the {end} end is {side} {limit}",
            figure=self.figure,
            threshold=self.threshold,
        )


def decide_once(store: Store, gate: Gate, report: Report, measurement: str, release: str = "") -> Decision:
    """Return the gate's decision on a measured batch: an earlier one on the same measurement, unless it is released.

    Args:
        measurement: Id of the report's measurement.
        release: Reason why a person overrules the vetoes that hold now; empty to release nothing.
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


def decide(
    report: Report, gate: Gate, history: Sequence[Figure], released: Mapping[str, str], measurement: str, at: datetime
) -> Decision:
    """Return the gate's decision: before training whether a batch is held, afterwards whether it is accepted.

    Args:
        report: Measurement that the decision rests on.
        gate: Thresholds of the profile.
        history: Delta I per byte of earlier batches that were made alike.
        released: Reasons of a person, by the key of each veto overruled for this batch. Any other veto holds it.
        measurement: Id of the measurement.
        at: Time of the decision.
    """
    vetoes = list_vetoes(report, gate, history)
    standing = [reason for reason in vetoes if reason.outcome == "vetoes"]
    overruled = list(dict.fromkeys(released[veto.key] for veto in standing if veto.key in released))
    gain = gain_reason(report.knowledge) if report.training else None
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


def list_vetoes(report: Report, gate: Gate, history: Sequence[Figure]) -> list[Reason]:
    """Return the outcome of each veto, in the order in which to read them.

    Args:
        report: Measurement of the batch.
        gate: Thresholds of the profile.
        history: Delta I per byte of earlier batches that were made alike.
    """

    def check(key: str, path: str, means: str, threshold: float | None, is_floor: bool) -> Reason:
        return Check(key, path, means, attrgetter(path)(report), threshold, is_floor).reason()

    return [
        _invalid(report.delta_i.nats_per_record),
        _collapsed(report.delta_i.bits_per_byte, gate, history),
        _collisions(report, gate),
        check(
            "near_duplicates",
            "diversity.near_duplicates",
            "records repeat each other",
            gate.near_duplicates,
            is_floor=False,
        ),
        check("prompt_ignored", DEPENDENCE, "prompts are ignored", gate.prompt_ignored, is_floor=True),
        _noise(report.delta_i.bits_per_byte, report.entropy.anchors, gate),
        check("accept_rate", "curation.accept_rate", "most of it is thrown away", gate.accept_rate, is_floor=True),
        check("no_closer", "quality.no_closer", "records are not about their anchors", gate.no_closer, is_floor=False),
        check("non_factual", "quality.non_factual", "records are false", gate.non_factual, is_floor=False),
        check(*_probed(report), gate.probe, is_floor=True),
    ]


def _probed(report: Report) -> tuple[str, str, str]:
    """Return key, path and meaning of the probe run's veto."""
    path = "probe.nats_gain" if report.probe.nats_gain.value is not None else "probe.gain"
    return "probe", path, "in a short run the documents themselves, repeated, taught more"


def gain_reason(knowledge: Knowledge) -> Reason:
    """Return the outcome of what the batch taught beyond repeating: only this can accept or reject a batch.

    Loss on held-out text is a figure and no reason: it measures style as well.
    """
    gained = knowledge.gained
    outcome: CheckOutcome = "undecided"
    if gained.value is None:
        outcome = "not known"
    elif gained.low is not None and gained.low > 0:
        outcome = "accepts"
    elif gained.high is not None and gained.high < 0:
        outcome = "rejects"
    return Reason(
        key="gain",
        name=WORDS[KNOWLEDGE].name,
        outcome=outcome,
        found=describe_figure(gained),
        means="",
        rule="the lower end is above 0: accepted; the upper end is below 0: rejected",
        figure=gained,
        threshold=0,
    )


def floor_of_history(gate: Gate, history: Sequence[Figure]) -> float | None:
    """Return the floor of Delta I by a method's own history, or None if both rules are switched off.

    The spread is the median absolute deviation, or the earlier figures' own half width where that is larger: batches
    that agree to the last digit by chance do not make the next one collapsed.
    """
    values = np.array([figure.value for figure in history], dtype=float)
    median = float(np.median(values))
    floors = [] if gate.collapsed_share is None else [gate.collapsed_share * median]
    if gate.collapsed_deviations is not None:
        ends = [(one.low, one.high) for one in history]
        halves = [(high - low) / 2 for low, high in ends if low is not None and high is not None]
        spread = max(float(np.median(np.abs(values - median))), float(np.median(halves)) if halves else 0.0)
        floors.append(median - gate.collapsed_deviations * spread)
    return max(floors, default=None)


def describe_figure(figure: Figure) -> str:
    """Return a figure with its interval and unit, or the reason why it has no value."""
    if figure.value is None:
        return figure.status
    return f"{figure.number} {figure.interval}".rstrip() + _unit(figure)


def _invalid(delta_i: Figure) -> Reason:
    is_invalid = delta_i.status.startswith("invalid")
    return Reason(
        key="invalid",
        name="the report",
        outcome="vetoes" if is_invalid else "passes",
        found=delta_i.status if is_invalid else "valid",
        means="the figures cannot be relied on",
        rule="Delta I is invalid",
        figure=delta_i,
        threshold=None,
    )


def _collapsed(rate: Figure, gate: Gate, history: Sequence[Figure]) -> Reason:
    known = [figure for figure in history if figure.value is not None]
    about_it = "collapsed", DELTA_I, "the generator says far less than it did before by this method"
    if gate.collapsed_share is gate.collapsed_deviations is None:
        return Check(*about_it, rate, None, True).reason()
    if len(known) < gate.min_history:
        few = f"earlier batches made alike that have Delta I: {len(known)}; it takes {gate.min_history}"
        return Check(*about_it, rate, None, True, few).reason()
    median = float(np.median([figure.value for figure in known if figure.value is not None]))
    about = f" bits/byte; the median of {len(known)} earlier batches made alike is {median:.4g}"
    return Check(*about_it, rate, floor_of_history(gate, known), True, about=about).reason()


def _collisions(report: Report, gate: Gate) -> Reason:
    texts, outcome = report.diversity, "not known"
    if not gate.collisions:
        found = OFF
    elif texts.too_many_collisions is None:
        found = texts.expected_collisions.status
    else:
        outcome = "vetoes" if texts.too_many_collisions else "passes"
        found = f"{describe_figure(texts.collisions)}, by chance {describe_figure(texts.expected_collisions)}"
    return Reason(
        key="collisions",
        name=WORDS["diversity.collisions"].name,
        outcome=outcome,
        found=found,
        means="a cache or a fixed seed answered",
        rule="there are more than chance gives" if gate.collisions else "",
        figure=texts.collisions,
        threshold=texts.expected_collisions.high,
    )


def _noise(rate: Figure, anchors: Figure, gate: Gate) -> Reason:
    """Compare with the upper end of the anchors' rate: both are measured, and a veto must be clear of both."""
    about_it = "noise", DELTA_I, "much of it is noise"
    yardstick = anchors.value if anchors.high is None else anchors.high
    if gate.noise is None or yardstick is None:
        unknown = "" if gate.noise is None else f"the anchors' own entropy rate: {anchors.status}"
        return Check(*about_it, rate, None, False, unknown).reason()
    about = f" bits/byte, {gate.noise:g} times the upper end of the anchors' own {describe_figure(anchors)}"
    return Check(*about_it, rate, gate.noise * yardstick, False, about=about).reason()


def _unit(figure: Figure) -> str:
    return "" if figure.unit == "share" else f" {figure.unit}"


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
        if gain.outcome == "not known":
            return f"{state}: accepted by nothing, {gain.found.removeprefix('not measured: ')}.{held}"
        return f"{state}: {gain.name} {gain.found}.{held}"
    if state == "held":
        return f"held: {said}."
    return f"{why}. Vetoes: {said}." if vetoes else "undecided: no veto holds; only an exam can accept it."

"""What may hold a batch back before it is trained on. No figure here can accept one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from schemas.decision import Outcome, Reason
from schemas.figure import Figure
from schemas.profile import Gate
from schemas.report import Report

OFF: Final = "switched off in the profile"


@dataclass(frozen=True, slots=True)
class Check:
    """A figure beside a threshold; it vetoes if the whole of its interval lies on the wrong side.

    Attributes:
        threshold: None if the veto is switched off, or if there is none to compare with.
        is_floor: The figure may not lie below the threshold; above, otherwise.
        unknown: Why there is no threshold, if it is not switched off.
        about: What the threshold is, behind its number.
    """

    key: str
    name: str
    means: str
    figure: Figure
    threshold: float | None
    is_floor: bool
    unknown: str = ""
    about: str = ""

    def reason(self) -> Reason:
        """Return what the check found; a figure that has no value or no interval never vetoes."""
        figure, limit = self.figure, self.threshold
        end = figure.high if self.is_floor else figure.low
        if limit is None:
            return self._found("not known", self.unknown or OFF)
        if figure.value is None or end is None:
            return self._found("not known", told(figure) + ("" if figure.value is None else ", without an interval"))
        return self._found("vetoes" if (end < limit if self.is_floor else end > limit) else "passes", told(figure))

    def _found(self, outcome: Outcome, found: str) -> Reason:
        end, side = ("upper", "below") if self.is_floor else ("lower", "above")
        limit = "" if self.threshold is None else f"{self.threshold:.4g}{self.about or _unit(self.figure)}"
        return Reason(
            key=self.key,
            name=self.name,
            outcome=outcome,
            found=found,
            means=self.means,
            rule=limit and f"the {end} end is {side} {limit}",
            figure=self.figure,
            threshold=self.threshold,
        )


def list_vetoes(report: Report, gate: Gate, history: Sequence[Figure]) -> list[Reason]:
    """Return what each veto found, in the order in which to look at them.

    Args:
        history: Delta I per byte of earlier batches of the same method.
    """
    mi, curation, texts, quality = report.mi, report.curation, report.diversity, report.quality
    return [
        _invalid(report.delta_i.nats_per_record),
        _collapsed(report.delta_i.bits_per_byte, gate, history),
        _collisions(report, gate),
        Check(
            "near_duplicates",
            "near duplicates",
            "records repeat each other",
            texts.near_duplicates,
            gate.near_duplicates,
            False,
        ).reason(),
        Check(
            "prompt_ignored", "I(p; Y) / log P", "prompts are ignored", mi.ratio_to_log_p, gate.prompt_ignored, True
        ).reason(),
        _noise(report.delta_i.bits_per_byte, report.entropy.anchors, gate),
        Check(
            "accept_rate", "kept by curation", "most of it is thrown away", curation.accept_rate, gate.accept_rate, True
        ).reason(),
        Check(
            "no_closer",
            "no closer to their own anchor",
            "records are not about their anchors",
            quality.no_closer,
            gate.no_closer,
            False,
        ).reason(),
        Check("non_factual", "non-factual", "records are false", quality.non_factual, gate.non_factual, False).reason(),
    ]


def told(figure: Figure) -> str:
    """Return a figure with its interval and unit; why there is none if it has no value."""
    if figure.value is None:
        return figure.status
    return f"{figure.number} {figure.interval}".rstrip() + _unit(figure)


def floor_of_history(gate: Gate, history: Sequence[Figure]) -> float | None:
    """Return below what Delta I is far below a method's own history; None if both rules are switched off.

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


def _collapsed(rate: Figure, gate: Gate, history: Sequence[Figure]) -> Reason:
    known = [figure for figure in history if figure.value is not None]
    about_it = "collapsed", "Delta I", "the generator says far less than this method did before"
    if gate.collapsed_share is gate.collapsed_deviations is None:
        return Check(*about_it, rate, None, True).reason()
    if len(known) < gate.min_history:
        few = f"earlier batches of this method with Delta I: {len(known)}; it takes {gate.min_history}"
        return Check(*about_it, rate, None, True, few).reason()
    median = float(np.median([figure.value for figure in known if figure.value is not None]))
    about = f" bits/byte; the median of {len(known)} earlier batches of the method is {median:.4g}"
    return Check(*about_it, rate, floor_of_history(gate, known), True, about=about).reason()


def _noise(rate: Figure, anchors: Figure, gate: Gate) -> Reason:
    """Compare with the upper end of the anchors' rate: both are measured, and a veto must be clear of both."""
    about_it = "noise", "Delta I", "much of it is noise"
    yardstick = anchors.value if anchors.high is None else anchors.high
    if gate.noise is None or yardstick is None:
        unknown = "" if gate.noise is None else f"the anchors' own entropy rate: {anchors.status}"
        return Check(*about_it, rate, None, False, unknown).reason()
    about = f" bits/byte, {gate.noise:g} times the upper end of the anchors' own {told(anchors)}"
    return Check(*about_it, rate, gate.noise * yardstick, False, about=about).reason()


def _collisions(report: Report, gate: Gate) -> Reason:
    texts, outcome = report.diversity, "not known"
    if not gate.collisions:
        found = OFF
    elif texts.too_many_collisions is None:
        found = texts.expected_collisions.status
    else:
        outcome = "vetoes" if texts.too_many_collisions else "passes"
        found = f"{told(texts.collisions)}, by chance {told(texts.expected_collisions)}"
    return Reason(
        key="collisions",
        name="equal replies to one prompt",
        outcome=outcome,
        found=found,
        means="a cache or a fixed seed answered",
        rule="there are more than chance gives" if gate.collisions else "",
        figure=texts.collisions,
        threshold=texts.expected_collisions.high,
    )


def _unit(figure: Figure) -> str:
    return "" if figure.unit == "share" else f" {figure.unit}"


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

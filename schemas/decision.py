"""Decisions of the gate, with their reasons. They are beside reports, not in them: they rest on history too."""

from datetime import datetime
from typing import Any, Literal

from schemas.figure import Figure, ReportPart

FORMAT = 2
"""Raised when the fields or the rules change, so that a batch is decided on anew."""

State = Literal["held", "released", "undecided", "rejected", "accepted"]
"""Held: a veto holds, and nothing is trained on the batch. Released: a person had it trained on all the same.
Accepted and rejected rest on an exam alone; a batch with a veto is never accepted."""

CheckOutcome = Literal["vetoes", "passes", "not known", "accepts", "rejects", "undecided"]


class Reason(ReportPart):
    """One check of the gate.

    Attributes:
        key: Key of the veto, or "gain".
        name: Name of the figure.
        found: Value, interval and unit of the figure, or the reason why it has none.
        means: Meaning for the batch if ``rule`` holds; empty for the gain, whose rule says it.
        rule: Rule by which the figure vetoes, or accepts and rejects; empty where there is nothing to compare with.
        threshold: Number that the figure is compared with, or None.
    """

    key: str
    name: str
    outcome: CheckOutcome
    found: str
    means: str
    rule: str
    figure: Figure
    threshold: float | None

    @property
    def words(self) -> str:
        """The veto in one clause: its meaning, the figure, and the rule."""
        return f"{self.means} ({self.name} {self.found}, and {self.rule})"

    @property
    def whole_rule(self) -> str:
        return " if ".join(part for part in (self.means, self.rule) if part)


class Decision(ReportPart):
    """One decision on one measurement of a batch, by one set of thresholds; ``release`` is why a person released it."""

    format: int
    state: State
    headline: str
    batch: str
    training: str
    measurement: str
    thresholds: dict[str, Any]
    reasons: list[Reason]
    release: str
    decided: datetime

    @property
    def why(self) -> str:
        """The headline without the state, which a heading says."""
        why = self.headline.removeprefix(f"{self.state}: ")
        return why[:1].upper() + why[1:]

    @property
    def shown(self) -> list[Reason]:
        """The reasons, those that decide first and those not known last."""
        return sorted(self.reasons, key=lambda one: (one.outcome == "not known", one.outcome == "passes"))

    @property
    def vetoes(self) -> list[Reason]:
        """The reasons that hold it back, released or not."""
        return [reason for reason in self.reasons if reason.outcome == "vetoes"]

"""What came of the protocol of a paper: the same arms, tables and curve, at the size that was run."""

from typing import Any, Final, Literal

from schemas.curve import Curve
from schemas.figure import Figure, ReportPart

PROTOCOL_FORMAT: Final = 1
"""Raised when the fields or the arithmetic change."""

PaperKind = Literal["sbp", "entigraph"]


class Measured(ReportPart):
    """One thing that all arms were asked at their ends. Arms are the keys.

    ``gains`` are over repetition, ``shares`` which part of the oracle's gain an arm reaches. ``healthy`` says which way
    is better.
    """

    name: str
    unit: str
    healthy: Literal["higher", "lower"]
    levels: dict[str, Figure]
    gains: dict[str, Figure]
    shares: dict[str, Figure]


class Moment(ReportPart):
    """What one arm scored after a part of its run: figures by the name of what was asked."""

    arm: str
    tokens: int
    figures: dict[str, Figure]


class TextRead(ReportPart):
    """What an arm read of one kind of text: its tokens, and how often each text of it was gone through."""

    arm: str
    text: str
    tokens: int
    times: float


class Cost(ReportPart):
    """What one step took, all seeds together.

    ``seconds`` are those since it began, or went on after an interruption; null where they are not known of all.
    """

    step: str
    tokens: int
    seconds: float | None
    note: str


class Bootstrapping(ReportPart):
    """The protocol of synthetic bootstrapped pretraining. ``average`` is of the accuracies, if there are several."""

    arms: dict[str, str]
    measured: list[Measured]
    average: Measured | None
    moments: list[Moment]
    read: list[TextRead]


class Sat(ReportPart):
    """What one model had right of the exam, asked in one way; figures that were not measured are left out.

    ``synthetic_tokens`` are those of its text, ``read_tokens`` all that its training read.
    """

    arm: str
    condition: str
    synthetic_tokens: int
    read_tokens: int
    right: Figure
    by_byte: Figure | None
    nats: Figure | None
    written: Figure | None
    attempted: Figure | None
    of_attempted: Figure | None
    skipped: int


class Against(ReportPart):
    """One difference between two models, question by question, or the share of one gain in another."""

    name: str
    figure: Figure


class Recital(ReportPart):
    """The protocol of synthetic continued pretraining: arms, curve and retrieval. ``graded`` says what decides."""

    graded: str
    chance: float | None
    arms: dict[str, str]
    sat: list[Sat]
    against: list[Against]
    curve: Curve
    dropped: dict[str, dict[str, int]]


class ProtocolReport(ReportPart):
    """One run of a paper's protocol. ``setting`` are sentences on what was run, ``limits`` on what it can show."""

    format: int
    protocol: str
    kind: PaperKind
    headline: str
    setting: list[str]
    limits: list[str]
    parameters: dict[str, Any]
    costs: list[Cost]
    bootstrapping: Bootstrapping | None = None
    recital: Recital | None = None

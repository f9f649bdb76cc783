"""Steering in the invented world: what each way of spending the same words came to, and what probe runs decide."""

from typing import Literal

from schemas.figure import Figure, ReportPart, figure

SteeredWay = Literal["uniform", "by gain", "by Delta I", "gap-directed"]
Steering = Literal["budget", "gaps"]
Decision = Literal["go", "hold", "cannot tell"]


class SteeredRun(ReportPart):
    """One way on one seed: every round of it, and what the trainee then knew.

    ``shares`` are those of each round by arm (of the words), or by kind of entity (of the prompts); ``words`` are those
    that were generated in each round; ``probe_tokens`` were trained on to steer. ``kinds`` says of each entity what
    kind it is; ``before`` and ``after`` are the shares of its verdict's questions that the start, and the trainee in
    the end, answer rightly.
    """

    steering: Steering
    way: SteeredWay
    seed: int
    shares: list[dict[str, float]]
    words: list[int]
    probe_tokens: int
    kinds: list[str]
    before: list[float]
    after: list[float]


class WayOutcome(ReportPart):
    """One way over all seeds. ``more`` is its difference from the uniform split, seed by seed, of which it has none;
    ``by_kind`` are shares of right answers before and after, by kind of entity; these and ``shares`` are means."""

    steering: Steering
    way: SteeredWay
    words: int
    probe_tokens: int
    shares: list[dict[str, float]]
    by_kind: dict[str, tuple[float, float]]
    before: Figure = figure("Right before", "What the model that every way starts from answers rightly.", "share")
    right: Figure = figure(
        "Right after",
        "What the trainee answers rightly of the verdict's questions after all rounds. No steering saw them.",
        "share",
    )
    more: Figure | None
    more_by_seed: list[float]


class DecidedBatches(ReportPart):
    """Batches of which a probe run decides alike, and how their full trainings came out, by the verdict's interval."""

    decision: Decision
    batches: int
    gained: int
    lost: int
    unclear: int


class Agreement(ReportPart):
    """How far probe runs decide as full trainings come out.

    ``tokens`` are trained on: by all probe runs, by all full trainings, and by those of the batches that are held.
    """

    decided: list[DecidedBatches]
    agreed: Figure = figure(
        "Probe runs that were right",
        "Share of the decisions to go or to hold that the mean of the full trainings bears out by its sign.",
        "share",
    )
    probe_tokens: int
    full_tokens: int
    saved_tokens: int


class Steered(ReportPart):
    """Whether steering pays at equal cost, and what is decided by probe runs."""

    headline: str
    seeds: list[int]
    arms: dict[str, str]
    ways: list[WayOutcome]
    agreement: Agreement

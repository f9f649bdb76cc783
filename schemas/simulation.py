"""What the simulation of Gan & Liu 2024 gives: every point of its Figure 4, and what the points say."""

from typing import Literal

from schemas.figure import Figure, Part

FORMAT = 1
"""Raised when the fields or the arithmetic change, so that a simulation is run anew."""

Letter = Literal["k", "j", "l"]
Kind = Literal["published", "reverse", "forward"]
Direction = Literal["rises", "falls", "shows no trend"]


class Point(Part):
    """The KL Gap of one cell: ``count`` components of one letter, two of each other."""

    letter: Letter
    count: int
    kind: Kind
    gap: Figure


class Trend(Part):
    """Whether the gap rises or falls with a letter, as a rank correlation over all settings of its cells."""

    letter: Letter
    kind: Kind
    correlation: Figure
    direction: Direction
    published_direction: Direction


class Simulation(Part):
    """``itself`` is what each kind of divergence says of a mixture and itself: it must be 0."""

    format: int
    simulation: str
    headline: str
    seed: int
    settings: int
    repeats: int
    points: list[Point]
    trends: list[Trend]
    itself: dict[Kind, Figure]

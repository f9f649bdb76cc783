"""What becomes of a loop that trains each round on text of the rounds before, in settings with known answers."""

from typing import Literal

from schemas.figure import Figure, ReportPart

Setting = Literal["regression", "spread", "centre", "verifier"]
Way = Literal["replace", "accumulate", "subsample", "right verifier", "wrong verifier", "wrong verifier, accumulate"]


class CollapsePoint(ReportPart):
    """The mean over runs after one round. ``known`` is the expected value where one can be derived, else null;
    ``is_held`` says whether the interval holds it."""

    setting: Setting
    way: Way
    generation: int
    value: Figure
    known: float | None
    is_held: bool | None


class Collapse(ReportPart):
    """All settings and ways; rounds are counted from 1, which is trained on real data alone."""

    headline: str
    seed: int
    points: list[CollapsePoint]

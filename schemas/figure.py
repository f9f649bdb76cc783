"""One measured number, as reports hold and show it."""

import math

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class Figure(Part):
    """One measured number: 95 % interval, the number of rows it rests on, and its definition.

    ``value`` is null where ``status`` is not "ok"; an interval is null where there are fewer than
    two ``clusters``, or where the figure is a property of this very set of texts.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    dropped: int
    unit: str
    status: str
    definition: str

    @property
    def num_clusters(self) -> int:
        return self.clusters

    @property
    def number(self) -> str:
        """The value, to two significant digits of the interval's half width."""
        return "not measured" if self.value is None else f"{self.value:z,.{self._decimals}f}"

    @property
    def signed(self) -> str:
        return "not measured" if self.value is None else f"{self.value:+z,.{self._decimals}f}"

    @property
    def interval(self) -> str:
        if self.low is None or self.high is None:
            return ""
        return f"[{self.low:z,.{self._decimals}f}, {self.high:z,.{self._decimals}f}]"

    @property
    def _decimals(self) -> int:
        half = 0.0 if self.low is None or self.high is None else (self.high - self.low) / 2
        if half > 0:
            return min(6, max(0, 1 - math.floor(math.log10(half))))
        if self.unit == "pairs":
            return 0
        return 3 if abs(self.value or 0) < 10 else max(0, 3 - math.floor(math.log10(abs(self.value or 0))))


class Histogram(Part):
    """``counts[i]`` rows lie between ``edges[i]`` and ``edges[i + 1]``."""

    edges: list[float]
    counts: list[int]
    unit: str

"""Figures: one measured number, and the title, meaning and unit that its field gives it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field

COUNTS: Final = ("pairs", "tools")
"""Units of figures that count whole things."""


class ReportPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class Figure(ReportPart):
    """One measured number: 95 % interval, the number of rows it rests on, and its definition.

    ``value`` is null where it could not be measured; ``status`` says why. An interval is null where there are fewer
    than two ``clusters``, one of them carries the figure or all say the same (``status`` then begins with "too few"),
    or where the figure is a property of this very set of texts. ``seeds`` is the number of trainings that the figure is
    a mean over, 0 where that is not known; the interval of one seed covers texts alone.
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
    seeds: int = 0

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
    def written(self) -> str:
        """The value, its interval where there is one, and its unit."""
        return " ".join(part for part in (self.number, self.interval, self.unit) if part)

    @property
    def why_no_interval(self) -> str:
        """The reason why there is no interval: the groups of rows are too few, one carries all, or all say the same."""
        return self.status if self.value is not None and self.low is None and self.status != "ok" else ""

    @property
    def _decimals(self) -> int:
        half = 0.0 if self.low is None or self.high is None else (self.high - self.low) / 2
        if half > 0:
            return min(6, max(0, 1 - math.floor(math.log10(half))))
        if self.unit in COUNTS:
            return 0
        return 3 if abs(self.value or 0) < 10 else max(0, 3 - math.floor(math.log10(abs(self.value or 0))))


class Histogram(ReportPart):
    """``counts[i]`` rows lie between ``edges[i]`` and ``edges[i + 1]``."""

    edges: list[float]
    counts: list[int]
    unit: str


@dataclass(frozen=True, slots=True)
class Words:
    """Title, meaning and unit of a figure, as its field in the report says them: nowhere else are they written.

    Attributes:
        title: Name of the figure, in the field's own terms.
        meaning: Sentences, one to three, for someone who sees the figure for the first time, with what is healthy.
        unit: Unit of every value that the field takes.
        section: Heading below which pages show the figure; empty for a figure of a table's row.
        healthy: Direction in which a batch gets better; None where neither end is good, or the figure only describes.
        predicts: Expectation of the gain where the figure is higher; None if there is none.
        is_early: True if the figure is known before a full training.
    """

    title: str
    meaning: str
    unit: str
    section: str = ""
    healthy: Literal["higher", "lower"] | None = None
    predicts: Literal["rises", "falls"] | None = None
    is_early: bool = True

    @property
    def name(self) -> str:
        """The title as it stands within a sentence."""
        return within_sentence(self.title)


class Described(NamedTuple):
    """One figure of a model with its words, and its path from there, such as ``delta_i.median``."""

    path: str
    words: Words
    figure: Figure


def within_sentence(title: str) -> str:
    """Return a title as it stands within a sentence; a symbol stays as it is.

    >>> [within_sentence(title) for title in ("Near duplicates", "Delta I per byte", "H(M(p))", "GGMI")]
    ['near duplicates', 'Delta I per byte', 'H(M(p))', 'GGMI']
    """
    is_symbol = title.startswith("Delta ") or not title[1:2].islower()
    return title if is_symbol else title[:1].lower() + title[1:]


def figure(title: str, meaning: str, unit: str, **about: Any) -> Any:
    """Return the field of a figure, with its words.

    Args:
        title: Name of the figure.
        meaning: Sentences on what the figure says, and what is healthy.
        unit: Unit of the figure.
        about: Other attributes of ``Words``.
    """
    Words(title, meaning, unit, **about)  # what is no attribute is refused at once
    return Field(title=title, description=meaning, json_schema_extra={"unit": unit} | about)


def section(heading: str) -> Any:
    """Return the field of a part whose figures are shown below a heading."""
    return Field(json_schema_extra={"section": heading})


def words_of(model: type[ReportPart], heading: str = "") -> dict[str, Words]:
    """Return the words of every figure of a model and of the models within it, by path, in the order of the fields.

    Raises:
        TypeError: A figure's field has no words; it names the field.
    """
    return dict(_walk(model, heading))


def figures_of(part: ReportPart) -> list[Described]:
    """Return every figure of a model with its path and its words, in the order of the fields; none of a part that is
    None."""
    found = ((path, words, _at(part, path)) for path, words in words_of(type(part)).items())
    return [Described(path, words, value) for path, words, value in found if value is not None]


def _at(part: ReportPart, path: str) -> Figure | None:
    value: Any = part
    for name in path.split("."):
        value = value and getattr(value, name)
    assert value is None or isinstance(value, Figure)
    return value


def _walk(model: type[ReportPart], heading: str) -> Iterator[tuple[str, Words]]:
    for name, field in model.model_fields.items():
        about: Any = field.json_schema_extra or {}
        kind = _kind_of(field.annotation)
        if kind is Figure:
            if not (field.title and field.description and "unit" in about):
                raise TypeError(f"{model.__name__}.{name}: a figure's field has words; declare it = figure(...)")
            yield name, Words(field.title, field.description, **({"section": heading} | about))
        elif isinstance(kind, type) and issubclass(kind, ReportPart):
            yield from ((f"{name}.{path}", words) for path, words in _walk(kind, about.get("section", heading)))


def _kind_of(annotation: Any) -> Any:
    """Return the type of a field; of one that may be None, what it is otherwise.

    >>> _kind_of(Figure | None), _kind_of(list[Figure])
    (<class 'schemas.figure.Figure'>, list[schemas.figure.Figure])
    """
    others = [one for one in get_args(annotation) if one is not NoneType]
    return others[0] if NoneType in get_args(annotation) and len(others) == 1 else annotation

"""A row that may be selected, and the numbers that its fields hold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from schemas.errors import BadInput


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row that may be selected: a question with its answer, or a text alone.

    Attributes:
        row_id: Name of the row, of no other one.
        answer: Text that is trained on; of a conversation what the assistant says last.
        question: What was asked; empty for a text alone.
        thought: What was thought before the answer; may be empty.
        domain: Field of knowledge, or source, among which a selection is spread.
        values: All fields of the row by name, for the rules that read one.
    """

    row_id: str
    answer: str
    question: str = ""
    thought: str = ""
    domain: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Characters of thought and answer."""
        return len(self.thought) + len(self.answer)

    def value(self, name: str) -> Any:
        """Return what a field holds, or None; ``small.right`` is the field right within the field small.

        >>> row = Candidate("a", "", values={"small": {"right": True}, "a.b": 3})
        >>> row.value("small.right"), row.value("a.b"), row.value("small.wrong.more")
        (True, 3, None)
        """
        if name in self.values:
            return self.values[name]
        found: Any = self.values
        for step in name.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
        return found

    def number(self, name: str) -> float | None:
        """Return the number that a field holds, True as 1; None where it holds none.

        >>> row = Candidate("a", "", values={"score": "12", "right": True, "level": "hard"})
        >>> row.number("score"), row.number("right"), row.number("level"), row.number("votes")
        (12.0, 1.0, None, None)
        """
        return as_number(self.value(name))


def as_number(value: Any) -> float | None:
    """Return a value as a finite number; None for what is none."""
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def require_distinct(rows: Sequence[Candidate]) -> None:
    """Refuse rows of which two have the same id: whether one is chosen would not say which.

    Args:
        rows: Rows in the order of their ids.

    Raises:
        BadInput: Two have the same; it names the first.
    """
    for one, other in pairwise(rows):
        if one.row_id == other.row_id:
            raise BadInput(
                f"selecting among {len(rows):,} rows: the id {one.row_id!r} stands twice; every row must have an id of "
                "its own. Correct the ids, or name another field with --fields.id."
            )


def require_field(rows: Sequence[Candidate], name: str, setting: str) -> None:
    """Refuse a field that no row has: a name misspelt would drop every row, or none.

    Raises:
        BadInput: No row has it; it lists those that are there.
    """
    if rows and not any(name in row.values or row.value(name) is not None for row in rows):
        there = ", ".join(sorted({known for row in rows for known in row.values})) or "none"
        raise BadInput(
            f"selecting among {len(rows):,} rows: none has the field {name!r}; fields there are {there}. "
            f"Set {setting} to one of them."
        )

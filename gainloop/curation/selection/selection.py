"""The base of every selection, what it returns, and the steps that rows are left over from."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from gainloop.curation.selection.candidate import Candidate
from schemas.recipe import Parameters

NOT_SELECTED = "not_selected"
"""Reason of a row that nothing speaks against, where others were taken."""


@dataclass(frozen=True, slots=True)
class Selected:
    """What was selected. The ids and all that was dropped are as many as the rows.

    Attributes:
        ids: Ids of the rows, in order.
        steps: Rows that were left after each step, the first of them all that were given; they never rise.
        dropped: Rows that were not taken, by reason.
        parts: Rows that were taken by each rule, where there are several.
        domains: Rows given and rows taken, by domain.
        answers: By id the answers that a rule has changed.
    """

    ids: tuple[str, ...]
    steps: dict[str, int]
    dropped: dict[str, int]
    parts: dict[str, int] = field(default_factory=dict)
    domains: dict[str, tuple[int, int]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)


class Selection(Parameters):
    """A rule that takes few of many rows: frozen parameters and one pure function. It opens nothing.

    Attributes:
        kind: Name of the selection in options, in the registry and in the documents.
    """

    kind: str

    @abstractmethod
    def choose(self, rows: Sequence[Candidate]) -> Selected:
        """Return which rows are taken; they come in the order of their ids, which are distinct."""


class Sieve:
    """The rows that are left of those given, the counts after each step, and why the others are gone."""

    def __init__(self, rows: Sequence[Candidate]) -> None:
        self.rows = list(rows)
        self._given = Counter(row.domain for row in rows)
        self._steps = {"given": len(rows)}
        self._dropped = Counter[str]()

    def refuse(self, step: str, why: Callable[[Candidate], str]) -> None:
        """Leave out the rows for which there is a reason."""
        reasons = [why(row) for row in self.rows]
        self._dropped.update(filter(None, reasons))
        self.rows = [row for row, reason in zip(self.rows, reasons, strict=True) if not reason]
        self._steps[step] = len(self.rows)

    def take(self, chosen: Collection[str], **about: dict[str, int] | dict[str, str]) -> Selected:
        """Return the selection of the rows with these ids, as which all others that are left are not selected."""
        self.refuse("selected", lambda row: "" if row.row_id in chosen else NOT_SELECTED)
        ids = tuple(row.row_id for row in self.rows)
        taken = Counter(row.domain for row in self.rows)
        domains = {name: (count, taken[name]) for name, count in sorted(self._given.items())}
        return Selected(ids, self._steps, dict(sorted(self._dropped.items())), domains=domains, **about)  # type: ignore[arg-type]

"""Selections of the smallest set of rows that suffices: one module a selection, and this registry, which finds them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gainloop.curation.selection.candidate import Candidate, require_distinct
from gainloop.curation.selection.selection import Selected, Selection
from schemas.choice import kinds_within, one_of

__all__ = ["SELECTIONS", "AnySelection", "Candidate", "Selected", "Selection", "select_rows"]

SELECTIONS: dict[str, type[Selection]] = kinds_within(__name__, __path__, Selection)

if TYPE_CHECKING:
    AnySelection = Selection
else:
    AnySelection = one_of("selection", SELECTIONS, "gainloop/curation/selection/")


def select_rows(rows: Iterable[Candidate], selection: Selection) -> Selected:
    """Return which rows a selection takes; it depends on the rows and its parameters, not on the order of the rows.

    Raises:
        BadInput: Two rows have the same id, or none has a field that the selection reads.
    """
    ordered = sorted(rows, key=lambda row: row.row_id)
    require_distinct(ordered)
    return selection.choose(ordered)

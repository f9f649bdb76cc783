"""What is kept of a method's records: one module per filter, one line here per filter."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from gainloop.filters.consistency import Consistency
from gainloop.filters.fidelity import Fidelity
from gainloop.filters.filter import Filter
from gainloop.filters.judge import Judge
from gainloop.filters.novelty import Novelty
from gainloop.filters.vote import Vote
from schemas.choice import by_kind, choice

_Filters = Judge | Novelty | Vote | Consistency | Fidelity

FILTERS = by_kind(_Filters)

AnyFilter = Annotated[_Filters, Field(discriminator="kind"), choice("filter", FILTERS, "gainloop/filters/")]

__all__ = ["FILTERS", "AnyFilter", "Consistency", "Fidelity", "Filter", "Judge", "Novelty", "Vote", "read_filters"]


def read_filters(filters: Sequence[dict[str, Any]]) -> tuple[Filter, ...]:
    """Return the filters that a recipe names, with their parameters, in their order."""
    return tuple(TypeAdapter[Filter](AnyFilter).validate_python(one) for one in filters)

"""Filters that decide which records are kept: one module a filter, and this registry, which finds them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from gainloop.filters.filter import Filter
from schemas.choice import kinds_within, one_of

__all__ = ["FILTERS", "AnyFilter", "read_filters"]

FILTERS: dict[str, type[Filter]] = kinds_within(__name__, __path__, Filter)

if TYPE_CHECKING:
    AnyFilter = Filter
else:
    AnyFilter = one_of("text.filters", FILTERS, "gainloop/filters/")


def read_filters(filters: Sequence[dict[str, Any]]) -> tuple[Filter, ...]:
    """Return the filters that a recipe names, with their parameters, in their order."""
    return tuple(TypeAdapter[Filter](AnyFilter).validate_python(one) for one in filters)

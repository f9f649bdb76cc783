"""Where anchors come from: one module a kind of place, and this registry, which finds them."""

from typing import TYPE_CHECKING

from gainloop.sources.source import Source
from schemas.choice import kinds_within, one_of

__all__ = ["SOURCES", "AnySource"]

SOURCES: dict[str, type[Source]] = kinds_within(__name__, __path__, Source, first="python_docs")

if TYPE_CHECKING:
    AnySource = Source
else:
    AnySource = one_of("source", SOURCES, "gainloop/sources/", "python_docs")

"""Where anchors come from: one class a kind of place, and the line that makes it known."""

from typing import Annotated

from pydantic import Field

from gainloop.sources.files import Files
from gainloop.sources.huggingface import HuggingFace
from gainloop.sources.python_docs import PythonDocs
from gainloop.sources.source import Part, Source
from schemas.choice import by_kind, choice

__all__ = ["SOURCES", "AnySource", "Files", "HuggingFace", "Part", "PythonDocs", "Source"]

_Kinds = PythonDocs | Files | HuggingFace

SOURCES = by_kind(_Kinds)

AnySource = Annotated[
    _Kinds, Field(discriminator="kind"), choice("source", SOURCES, "gainloop/sources/", "python_docs")
]
"""The type of a flow's parameter: one of the kinds, chosen by ``kind``."""

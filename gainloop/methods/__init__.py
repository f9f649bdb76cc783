"""How text is made: one module per method, and here the registry of them."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from gainloop.methods.active_reading import ActiveReading
from gainloop.methods.backtranslate import Backtranslate
from gainloop.methods.entigraph import EntiGraph
from gainloop.methods.explain import Explain
from gainloop.methods.formats import Formats
from gainloop.methods.implications import Implications
from gainloop.methods.k2_rephrase import K2Rephrase
from gainloop.methods.method import Method
from gainloop.methods.reformulate import Reformulate
from gainloop.methods.rephrase import Rephrase
from gainloop.methods.sbp import SBP
from gainloop.methods.textbook import Textbook
from schemas.choice import by_kind, choice

# The form of the UI opens at the first: the default of the flows.
_Methods = (
    SBP
    | Rephrase
    | EntiGraph
    | ActiveReading
    | Reformulate
    | K2Rephrase
    | Textbook
    | Explain
    | Backtranslate
    | Formats
    | Implications
)

METHODS = by_kind(_Methods)

AnyMethod = Annotated[_Methods, Field(discriminator="kind"), choice("method", METHODS, "gainloop/methods/", "sbp")]

__all__ = [
    "METHODS",
    "SBP",
    "ActiveReading",
    "AnyMethod",
    "Backtranslate",
    "EntiGraph",
    "Explain",
    "Formats",
    "Implications",
    "K2Rephrase",
    "Method",
    "Reformulate",
    "Rephrase",
    "Textbook",
    "read_method",
]


def read_method(parameters: dict[str, object]) -> Method:
    """Return the method that a recipe names, with its parameters."""
    return TypeAdapter[Method](AnyMethod).validate_python(parameters)

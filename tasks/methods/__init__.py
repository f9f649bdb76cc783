"""How text is made: one module per method, and here the registry of them."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from schemas.choice import by_kind, choice
from tasks.methods.active_reading import ActiveReading
from tasks.methods.backtranslate import Backtranslate
from tasks.methods.entigraph import EntiGraph
from tasks.methods.explain import Explain
from tasks.methods.formats import Formats
from tasks.methods.implications import Implications
from tasks.methods.k2_rephrase import K2Rephrase
from tasks.methods.method import Method
from tasks.methods.reformulate import Reformulate
from tasks.methods.rephrase import Rephrase
from tasks.methods.sbp import SBP
from tasks.methods.textbook import Textbook

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

AnyMethod = Annotated[_Methods, Field(discriminator="kind"), choice("method", METHODS, "tasks/methods/", "sbp")]

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

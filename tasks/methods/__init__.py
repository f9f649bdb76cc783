"""How text is made: one module per method, one line here per method."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from schemas.choice import by_kind, choice
from tasks.methods.backtranslate import Backtranslate
from tasks.methods.entigraph import EntiGraph
from tasks.methods.k2_rephrase import K2Rephrase
from tasks.methods.method import Method
from tasks.methods.rephrase import Rephrase
from tasks.methods.sbp import SBP

_Methods = (
    SBP | Rephrase | EntiGraph | K2Rephrase | Backtranslate
)  # the UI's form opens at the first, the flows' default

METHODS = by_kind(_Methods)

AnyMethod = Annotated[_Methods, Field(discriminator="kind"), choice("method", METHODS, "tasks/methods/", "sbp")]

__all__ = [
    "METHODS",
    "SBP",
    "AnyMethod",
    "Backtranslate",
    "EntiGraph",
    "K2Rephrase",
    "Method",
    "Rephrase",
    "read_method",
]


def read_method(parameters: dict[str, object]) -> Method:
    """Return the method that a recipe names, with its parameters."""
    return TypeAdapter[Method](AnyMethod).validate_python(parameters)

"""How text is made: one module a method, and this registry, which finds them."""

from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from gainloop.methods.method import Method
from schemas.choice import kinds_within, one_of

__all__ = ["METHODS", "AnyMethod", "read_method"]

METHODS: dict[str, type[Method]] = kinds_within(__name__, __path__, Method, first="sbp")

if TYPE_CHECKING:
    AnyMethod = Method
else:
    AnyMethod = one_of("method", METHODS, "gainloop/methods/", "sbp")


def read_method(parameters: dict[str, object]) -> Method:
    """Return the method that a recipe names, with its parameters."""
    return TypeAdapter[Method](AnyMethod).validate_python(parameters)

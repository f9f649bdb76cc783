"""Tagged unions a person chooses from: a form in the UI, and errors that say what may be set."""

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, GetJsonSchemaHandler, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError


def error_summary(attempt: str, error: ValidationError, known: str, under: str = "") -> str:
    """Return everything that is wrong with a person's input.

    Args:
        attempt: What was attempted, with ids.
        known: Where the settings that are known are listed.
        under: The setting that the validated value belongs to; an option, if it begins with two dashes.
    """
    return f"{attempt}: " + " ".join(_sentence(found, known, under) for found in error.errors())


def reason(found: ErrorDetails) -> str:
    """Return pydantic's reason, to go on a sentence with."""
    told = found["msg"].removeprefix("Value error, ").rstrip(".")
    return told[:1].lower() + told[1:]


def dotted(path: Sequence[int | str]) -> str:
    """Return the place of a setting as a person writes it.

    >>> dotted(["optimiser", "learning_rate"])
    'optimiser.learning_rate'
    """
    return ".".join(str(step) for step in path)


def _sentence(found: ErrorDetails, known: str, under: str) -> str:
    name = dotted([*filter(None, [under]), *found["loc"]])
    if under.startswith("--"):
        name = name.replace("_", "-")
    match found["type"]:
        case "choice":
            return found["msg"]
        case "missing":
            return f"{name} is not set; it is required. Set it."
        case "extra_forbidden":
            return f"{name} is not a setting; {known} lists those that are. Correct or remove it."
        case "value_error":
            return f"{reason(found)}. Change it."
    return f"{name} is {found['input']!r}; {reason(found)}. Change it."


Known = dict[str, type[BaseModel]]


class _Choice(WrapValidator):
    """Says ``anyOf`` where pydantic says ``oneOf``.

    Prefect's forms (seen in 3.8.8) draw ``anyOf`` as tabs. Of ``oneOf`` the older form makes a JSON
    editor, and the newer one sends the fields of the first kind along with those of the chosen one.
    """

    def __get_pydantic_json_schema__(self, core: CoreSchema, inner: GetJsonSchemaHandler) -> JsonSchemaValue:
        shown = inner(core)
        return {"anyOf": shown.pop("oneOf"), **shown}


def by_kind(union: Any) -> Known:
    """Return the classes of a union under their kinds; each has a field ``kind: Literal["x"] = "x"``."""
    return {member.model_fields["kind"].default: member for member in get_args(union)}


def choice(what: str, known: Known, where: str, default: str = "") -> WrapValidator:
    """Return the annotation that makes a union's errors list the known kinds, or the kind's parameters.

    Use it as ``Annotated[A | B, Field(discriminator="kind"), choice("source", by_kind(A | B), "gainloop/sources/")]``.
    A validator of a kind says ``<found>; <what is allowed>``; the rest of the sentence is added here.

    Args:
        what: What a person chooses, as the flow's parameter is called.
        known: The classes under their kinds.
        where: The folder that holds them.
        default: The kind of parameters that name none.
    """

    def validate(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
        if default and isinstance(value, dict):
            value = {"kind": default, **value}
        try:
            return inner(value)
        except ValidationError as error:
            message = " ".join(_explain(what, known, where, found) for found in error.errors())
            raise PydanticCustomError("choice", "{message}", {"message": message}) from error

    return _Choice(validate)


def _explain(what: str, known: Known, where: str, found: ErrorDetails) -> str:
    given, kinds = found["input"], ", ".join(sorted(known))
    match found["type"], found["loc"]:
        case "union_tag_invalid", _:
            kind = found["ctx"]["tag"]
            return f"{what}.kind {kind!r} not found in {where}: known are {kinds}. Set {what}.kind to one of them."
        case _, []:
            return f"{what} {given!r}: it has no kind; known are {kinds}. Set {what}.kind to one of them."
        case _, [kind]:
            return f"{what} {kind!r}: {reason(found)}. Change its parameters."
        case "missing", [kind, *path]:
            return f"{what} {kind!r}: {dotted(path)} is not set; it is required. Set it."
        case "extra_forbidden", [str(kind), name]:
            names = ", ".join(sorted(known[kind].model_fields))
            others = " or ".join(other for other, model in known.items() if name in model.model_fields)
            advice = f"Set one of them, or {what}.kind to {others}." if others else "Set one of them."
            return f"{what} {kind!r}: {name!r} is not a parameter; its parameters are {names}. {advice}"
        case _, [kind, *path]:
            return f"{what} {kind!r}: {dotted(path)} is {given!r}; {reason(found)}. Change it."
    raise AssertionError(f"no case for {found}")

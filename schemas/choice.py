"""Tagged unions a person chooses from: a form in the UI, and errors that say what may be set."""

from typing import Any, get_args

from pydantic import BaseModel, GetJsonSchemaHandler, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError

from schemas.invalid import dotted, reason

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

    Use it as ``Annotated[A | B, Field(discriminator="kind"), choice("source", by_kind(A | B), "tasks/sources/")]``.
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

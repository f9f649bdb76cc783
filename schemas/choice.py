"""Choices among kinds: unions with a tag ``kind``, drawn as a form in the UI, with errors that list what may be set."""

import pkgutil
from collections.abc import Iterable, Sequence
from functools import reduce
from importlib import import_module
from inspect import isabstract
from operator import or_
from reprlib import Repr
from types import ModuleType
from typing import Annotated, Any, get_args

from pydantic import (
    BaseModel,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError

from schemas.masking import mask

_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 3, 200, 200, 60
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = 8


def error_summary(attempt: str, error: ValidationError, known: str, under: str = "") -> str:
    """Return everything that is wrong with a person's input.

    Args:
        attempt: Words for what was attempted, with ids.
        known: File or command that lists the known settings.
        under: Setting that the validated value belongs to; an option, if it begins with two dashes.
    """
    return f"{attempt}: " + " ".join(_sentence(found, known, under) for found in error.errors())


def reason(found: ErrorDetails) -> str:
    """Return pydantic's reason as the end of a sentence."""
    message = found["msg"].removeprefix("Value error, ").rstrip(".")
    return message[:1].lower() + message[1:]


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
    return f"{name} is {_shown(found['input'])}; {reason(found)}. Change it."


def _shown(value: Any) -> str:
    """Return a value as a message shows it: short, whatever it holds."""
    return mask(_SHORT.repr(value))


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


def kinds_within(package: str, path: Iterable[str], base: Any, first: str = "") -> dict[str, Any]:
    """Return the classes of a folder's modules under their kinds.

    A kind is a subclass of ``base`` with a field ``kind: Literal["x"] = "x"``, in the module that defines it.

    Args:
        package: Name of the folder as a package, ``__name__`` in its ``__init__.py``.
        path: The package's ``__path__``.
        base: Base class of all kinds.
        first: Kind that stands first, where a form opens; the others follow by name.

    Raises:
        ImportError: A module cannot be imported, a class has no kind, or two have the same; it names them.
    """
    found: Known = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(path)):
        for kind, made in _kinds_of(_imported(f"{package}.{name}", package), base):
            if found.setdefault(kind, made) is not made:
                raise ImportError(
                    f"finding what {package} holds: {found[kind].__module__} and {made.__module__} both have the kind "
                    f"{kind!r}; a kind is allowed once. Rename one of them."
                )
    return dict(sorted(found.items(), key=lambda item: (item[0] != first, item[0])))


def one_of(what: str, known: Known, where: str, default: str = "") -> Any:
    """Return the type of a parameter that is one of the known kinds; its arguments are those of ``choice``."""
    return Annotated[reduce(or_, known.values()), Field(discriminator="kind"), choice(what, known, where, default)]


def choice(what: str, known: Known, where: str, default: str = "") -> WrapValidator:
    """Return the annotation that makes a union's errors list the known kinds, or the kind's parameters.

    Use it as ``Annotated[A | B, Field(discriminator="kind"), choice("source", by_kind(A | B), "gainloop/sources/")]``.
    A validator of a kind says ``<found>; <what is allowed>``; the rest of the sentence is added here.

    Args:
        what: Name of the flow's parameter.
        known: Classes under their kinds.
        where: Folder or file that defines them.
        default: Kind of parameters that name none; empty if they must.
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


def _imported(name: str, package: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:
        raise ImportError(
            f"finding what {package} holds: module {name} cannot be imported, {type(error).__name__}: {error}; every "
            "module there must be. Mend it or take it away."
        ) from error


def _kinds_of(module: ModuleType, base: Any) -> Iterable[tuple[str, type[BaseModel]]]:
    """Yield the kinds that a module defines; a class without one is there for others to build on, and abstract."""
    for made in vars(module).values():
        if not (isinstance(made, type) and issubclass(made, BaseModel) and issubclass(made, base)):
            continue
        if made.__module__ != module.__name__:
            continue
        kind = made.model_fields["kind"].default
        if isinstance(kind, str):
            yield kind, made
        elif not isabstract(made):
            raise ImportError(
                f"finding what {module.__package__} holds: {made.__name__} of {module.__name__} has no kind; every "
                f'class that is used needs one. Add kind: Literal["..."] = "..." to it.'
            )


def _explain(what: str, known: Known, where: str, found: ErrorDetails) -> str:
    given, kinds = found["input"], ", ".join(sorted(known))
    match found["type"], found["loc"]:
        case "union_tag_invalid", _:
            kind = found["ctx"]["tag"]
            return (
                f"{what}.kind {_shown(kind)} not found in {where}: known are {kinds}. Set {what}.kind to one of them."
            )
        case _, []:
            return f"{what} {_shown(given)}: it has no kind; known are {kinds}. Set {what}.kind to one of them."
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
            return f"{what} {kind!r}: {dotted(path)} is {_shown(given)}; {reason(found)}. Change it."
    raise AssertionError(f"no case for {found}")

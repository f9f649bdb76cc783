"""Parameters as the options of a command line: each field of each part is one, and pydantic says what is wrong.

argparse takes the words apart, and nothing else: libraries that make options of pydantic models cut a path at its
commas and read ``[ab]*.md`` as JSON (pydantic-settings 2.16), or choose a kind by a subcommand (tyro 1.0).
"""

import argparse
import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas.choice import error_summary
from schemas.errors import BadInput
from schemas.form import default_of

REQUIRED: Final[Any] = object()
"""The default of a parameter that must be set."""

FEW_NAMES: Final = 8
"""More options beside a wrong one are not listed where some are spelt like it."""

VALUES: Final = {int: "INTEGER", float: "NUMBER", bool: "true|false"}
"""Names of values in help, by type; any other is TEXT."""


@dataclass(frozen=True)
class Parameter:
    """One parameter to set: name, annotated type, default and description."""

    name: str
    annotation: Any
    default: Any = REQUIRED
    description: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "default", default_of(self.annotation, self.default))

    @property
    def help(self) -> str:
        """Description, allowed values and default."""
        return f"{self.meaning} {self.default_word}".strip()

    @property
    def meaning(self) -> str:
        """Description and allowed values."""
        choices = _choices(self.annotation)
        allowed = f"One of {', '.join(choices)}." if choices else ""
        return f"{self.about} {allowed}".strip()

    @property
    def about(self) -> str:
        """Description; of a part without one, the first line of its class's docstring."""
        models = list(_models(self.annotation).values())
        of_class = inspect.getdoc(models[0]) if len(models) == 1 else ""
        return self.description or (of_class or "").partition("\n")[0]

    @property
    def default_word(self) -> str:
        """Sentence of the default; empty where the description has it, or there is nothing to say."""
        if self.default is REQUIRED:
            return "Required."
        if self.default == "" or isinstance(self.default, BaseModel) or "Default:" in self.description:
            return ""
        values = (self.default or [None]) if isinstance(self.default, list | tuple) else [self.default]
        return f"Default: {' '.join(_as_word(value) for value in values).rstrip('.')}."


@dataclass(frozen=True)
class Option:
    """One option: a value, or a part as a whole.

    Attributes:
        path: Names that lead to it, the parameter's first.
        own: Parameter that it sets, under each kind that has it; under "" where there are no kinds.
        kinds: Kinds of the part that it belongs to.
        is_part: True if each of its fields is an option too.
    """

    path: tuple[str, ...]
    own: dict[str, Parameter]
    kinds: tuple[str, ...] = ()
    is_part: bool = False

    @property
    def name(self) -> str:
        return "--" + ".".join(self.path).replace("_", "-")

    @property
    def group(self) -> str:
        """The part that help lists it under."""
        return ".".join(self.path if self.is_part else self.path[:-1])

    @property
    def annotation(self) -> Any:
        return next(iter(self.own.values())).annotation

    @property
    def help(self) -> str:
        """Description, and the kinds that it belongs to if others lack it or describe it otherwise."""
        if self.is_part:
            return f"All of it as JSON, or none. {next(iter(self.own.values())).default_word}".strip()
        texts: dict[str, dict[str, list[str]]] = {}
        for kind, one in self.own.items():
            texts.setdefault(one.meaning, {}).setdefault(one.default_word, []).append(kind)
        first = next(iter(self.own.values())).help
        if len(texts) == 1 and len(*texts.values()) == 1 and len(self.own) >= len(self.kinds):
            return first
        return " ".join(_of_kinds(text, defaults) for text, defaults in texts.items())


def _of_kinds(meaning: str, defaults: dict[str, list[str]]) -> str:
    """Return the help of kinds that have one meaning, by their defaults.

    >>> _of_kinds("Characters.", {"Default: 1000.": ["python_docs"], "Default: 2000.": ["files", "huggingface"]})
    'Characters. Default: 1000 [python_docs], 2000 [files, huggingface].'
    """
    if len(defaults) > 1 and all(one.startswith("Default: ") for one in defaults):
        values = (f"{one[len('Default: ') : -1]} [{', '.join(kinds)}]" for one, kinds in defaults.items())
        return f"{meaning} Default: {', '.join(values)}."
    return " ".join(f"{f'{meaning} {one}'.strip()} [{', '.join(kinds)}]" for one, kinds in defaults.items())


def list_options(parameters: Sequence[Parameter]) -> list[Option]:
    """Return the options of parameters, in their order; a part comes before its fields."""
    return [option for one in parameters for option in _walk((one.name,), {"": one}, ())]


def read_options(
    words: Sequence[str], parameters: Sequence[Parameter], parser: argparse.ArgumentParser
) -> dict[str, Any]:
    """Return the parameters that a command line sets, validated; print help and exit where it asks for that.

    Args:
        words: Command line after the command.
        parameters: Parameters of the flow.
        parser: Parser without options that does not exit on an error; messages call the command by its ``prog``.

    Raises:
        BadInput: An option is not known or has no value, a value is not allowed, or a required one is missing.
    """
    options = list_options(parameters)
    attempt, known = f"reading the options of `{parser.prog}`", f"`{parser.prog} --help`"
    add_options(parser, options)
    try:
        found, unknown = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        said = f"{error.argument_name}: {error.message}; {known} says what is allowed. Correct it."
        raise BadInput(f"{attempt}: {said}") from error
    if unknown and not unknown[0].startswith("-"):
        raise BadInput(f"{attempt}: {unknown[0]!r} stands after no option; {known} lists them. Write --NAME before it.")
    if unknown:
        raise BadInput(
            f"{attempt}: {unknown[0]} is not one of them; known are {_alike(unknown[0], options)}. Correct it."
        )
    given: dict[str, Any] = {one.name: {} for one in parameters if one.default is REQUIRED}
    for option in options:
        if (value := getattr(found, option.name)) is not None:
            _put(given, option.path, _read(option, value, attempt))
    return {one.name: _validate(one, given[one.name], attempt, known) for one in parameters if one.name in given}


def add_options(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    """Give a parser options, one group a part; help lists a part as a whole only where it may be none."""
    groups: dict[str, Any] = {}
    for option in options:
        if option.group not in groups:
            about = next(iter(option.own.values())).about if option.is_part else ""
            groups[option.group] = parser.add_argument_group(option.group or "run", _percent(about) or None)
        is_shown = not option.is_part or _may_be_none(option.annotation)
        groups[option.group].add_argument(
            option.name,
            dest=option.name,
            help=_percent(option.help) if is_shown else argparse.SUPPRESS,
            metavar=_value(option),
            **_number_of_values(option),
        )
    (groups.get("") or parser).add_argument("-h", "--help", action="help", help="Show this, and exit.")


def _walk(path: tuple[str, ...], own: dict[str, Parameter], kinds: tuple[str, ...]) -> Iterator[Option]:
    """Yield the option of a path, and those of its fields if it is a part; ``own`` is what each kind has there."""
    first = next(iter(own.values()))
    models = _models(first.annotation)
    yield Option(path, own, kinds, bool(models))
    if len(models) > 1:
        default = getattr(first.default, "kind", REQUIRED)
        yield Option((*path, "kind"), {"": Parameter("kind", Literal[tuple(models)], default, f"Kind of {path[-1]}.")})
    for name in dict.fromkeys(name for model in models.values() for name in model.model_fields if name != "kind"):
        having = {kind: _field(model, name) for kind, model in models.items() if name in model.model_fields}
        if len(models) > 1:
            yield from _walk((*path, name), having, tuple(models))
        else:
            yield from _walk((*path, name), dict.fromkeys(own, having[""]), kinds)


def _field(model: type[BaseModel], name: str) -> Parameter:
    info = model.model_fields[name]
    default = REQUIRED if info.is_required() else info.get_default(call_default_factory=True)
    return Parameter(name, info.annotation, default, info.description or "")


def _models(annotation: Any) -> dict[str, type[BaseModel]]:
    """Return the classes of a part under their kinds, a single one under ""; none if it is no part."""
    models = [member for member in _members(annotation) if isinstance(member, type) and issubclass(member, BaseModel)]
    return {model.model_fields["kind"].default if len(models) > 1 else "": model for model in models}


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, those of unions within it too; of another type the type itself."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(one for member in get_args(annotation) for one in _members(member))
    return (annotation,)


def _may_be_none(annotation: Any) -> bool:
    return NoneType in _members(annotation)


def _item(annotation: Any) -> Any:
    """Return the type of a list's items; None if it is no list."""
    first, *_ = _members(annotation)
    return get_args(first)[0] if get_origin(first) in (list, tuple) else None


def _choices(annotation: Any) -> list[str]:
    """Return the values or the kinds that a value or an item is one of."""
    item = _item(annotation)
    literals = [member for member in _members(item or annotation) if get_origin(member) is Literal]
    return [value for one in literals for value in get_args(one)] or (sorted(_models(item)) if item else [])


def _number_of_values(option: Option) -> dict[str, Any]:
    if _item(option.annotation):
        return {"nargs": "+", "action": "extend"}
    return {"nargs": "?", "const": "true"} if option.annotation is bool else {}


def _value(option: Option) -> str:
    """Return what help calls the value of an option."""
    item = _item(option.annotation)
    first, *_ = _members(item or option.annotation)
    value = "JSON" if option.is_part else "KIND|JSON" if item and _models(item) else VALUES.get(first, "TEXT")
    value = "KIND" if option.path[-1] == "kind" else value
    return f"{value}|none" if _may_be_none(option.annotation) else value


def _read(option: Option, value: Any, attempt: str) -> Any:
    """Return the value of one option; numbers and such are left to pydantic."""
    item = _item(option.annotation)
    if value == "none" and _may_be_none(option.annotation):
        return None
    if option.is_part:
        return _read_part(option, value, attempt)
    if item and _models(item):
        read = [_read_part(option, word, attempt) for word in value]
        return [one for some in read for one in (some if isinstance(some, list) else [some])]
    return value


def _read_part(option: Option, word: str, attempt: str) -> Any:
    """Return a part from one word: the name of a kind, or JSON of its parameters."""
    has_kinds = len(_models(_item(option.annotation) or option.annotation)) > 1
    if has_kinds and not word.lstrip().startswith(("{", "[")):
        return {"kind": word}
    try:
        return json.loads(word)
    except json.JSONDecodeError as error:
        allowed = "the name of a kind, or JSON of its parameters," if has_kinds else "JSON of its parameters"
        raise BadInput(
            f"{attempt}: {option.name} is {word!r}, which is not JSON: {error}; {allowed} is allowed. Correct it."
        ) from error


def _put(given: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a value within parts, which are made where they are not there."""
    *parts, name = path
    for part in parts:
        if not isinstance(given.get(part), dict):
            given[part] = {}
        given = given[part]
    given[name] = value


def _validate(one: Parameter, value: Any, attempt: str, known: str) -> Any:
    try:
        return TypeAdapter(one.annotation).validate_python(value)
    except ValidationError as error:
        raise BadInput(error_summary(attempt, error, known, f"--{one.name.replace('_', '-')}")) from error


def _alike(word: str, options: Sequence[Option]) -> str:
    """Return the options that a wrong one may have meant: of that name in any part, spelt alike, or beside it."""
    name, names = word.partition("=")[0], [option.name for option in options]
    same = [one for one in names if one.endswith(f".{name.lstrip('-')}")]
    beside = [one for one in names if one.rpartition(".")[0] == name.rpartition(".")[0]]
    alike = get_close_matches(name, names, 3, 0.8)
    few = beside if len(beside) <= FEW_NAMES else alike
    return ", ".join(same or few or alike or beside or [one for one in names if "." not in one])


def _as_word(value: Any) -> str:
    """Return a value as a person writes it.

    >>> [_as_word(value) for value in (None, True, 1e-5, 0.5, "auto")]
    ['none', 'true', '1e-05', '0.5', 'auto']
    """
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _percent(text: str) -> str:
    """Return a text of help as argparse takes it."""
    return text.replace("%", "%%")

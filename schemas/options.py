"""Parameters as the options of a command line: each field of each part is one, and pydantic says what is wrong.

argparse takes the words apart, and nothing else: libraries that make options of pydantic models cut a path at its
commas and read ``[ab]*.md`` as JSON (pydantic-settings 2.16), or choose a kind by a subcommand (tyro 1.0).
"""

import argparse
import inspect
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas.choice import error_summary
from schemas.errors import BadInput
from schemas.form import default_of
from schemas.masking import refuse_secrets, refuse_unwritable
from schemas.option_words import as_word, of_kinds
from schemas.recipe import BASIC
from schemas.recipe_file import merged, read_recipe_file

REQUIRED: Final[Any] = object()
"""The default of a parameter that must be set."""

FEW_NAMES: Final = 8
"""More options beside a wrong one are not listed where some are spelt like it."""

FEW_OPTIONS: Final = 24
"""So many options are all basic."""

GENERAL: Final = ("--recipe", "--help", "--help-all")
"""Options that every command has."""

VALUES: Final = {int: "INTEGER", float: "NUMBER", bool: "true|false"}
"""Names of values in help, by type; any other is TEXT."""


logger = logging.getLogger("gainloop.options")


@dataclass(frozen=True)
class Parameter:
    """One parameter to set: name, annotated type, default and description; basic if the short help shows it."""

    name: str
    annotation: Any
    default: Any = REQUIRED
    description: str = ""
    is_basic: bool = True

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
        return f"Default: {' '.join(as_word(value) for value in values).rstrip('.')}."


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
    def is_basic(self) -> bool:
        return any(one.is_basic for one in self.own.values())

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
        return " ".join(of_kinds(text, defaults) for text, defaults in texts.items())


def list_options(parameters: Sequence[Parameter]) -> list[Option]:
    """Return the options of parameters, in their order; a part comes before its fields."""
    return [option for one in parameters for option in _walk((one.name,), {"": one}, ())]


def read_options(
    words: Sequence[str],
    parameters: Sequence[Parameter],
    parser: argparse.ArgumentParser,
    others: Callable[[], Sequence[str]] = tuple,
) -> dict[str, Any]:
    """Return the parameters that a command line sets, validated; print help and exit where it asks for that.

    What the file of ``--recipe`` sets holds where the words set nothing.

    Args:
        words: Command line after the command.
        parameters: Parameters of the flow.
        parser: Parser without options that does not exit on an error; messages call the command by its ``prog``.
        others: Gives the parameters of another command, which a recipe may have and this one passes over.

    Raises:
        BadInput: An option is not known or has no value, a value is not allowed, or a required one is missing.
    """
    options = list_options(parameters)
    attempt, known = f"reading the options of `{parser.prog}`", f"`{parser.prog} --help-all`"
    add_options(parser, options, "--help-all" in words)
    found = _parse(parser, words, options, attempt)
    given: dict[str, Any] = {one.name: {} for one in parameters if one.default is REQUIRED}
    if found.recipe:
        names = [one.name for one in parameters]
        recipe = read_recipe_file(found.recipe, list(dict.fromkeys([*names, *others()])))
        if passed := ", ".join(name for name in recipe if name not in names):
            logger.warning("%s sets %s too, which `%s` has no use for", found.recipe, passed, parser.prog)
        given |= {name: value for name, value in recipe.items() if name in names}
        _add_kinds(given, options)
        attempt = f"{attempt} and {found.recipe}"
    said: dict[str, Any] = {}
    for option in options:
        if (value := getattr(found, option.name)) is not None:
            _put(said, option.path, _read(option, value, attempt))
    _add_kinds(said, options)
    given = merged(given, said)
    return {one.name: _validate(one, given[one.name], attempt, known) for one in parameters if one.name in given}


def _add_kinds(said: dict[str, Any], options: Sequence[Option]) -> None:
    """Set the kind of a part where it is not said, and is the one kind that has an option that is."""
    choosing = {option.path[:-1] for option in options if option.path[-1] == "kind"}
    for path in sorted(choosing, key=len):
        part = _at(said, path)
        if not isinstance(part, dict) or "kind" in part:
            continue
        named = {
            next(iter(option.own))
            for option in options
            if option.path[:-1] == path and option.path[-1] in part and len(option.own) == 1 and option.kinds
        }
        if len(named) == 1:
            part["kind"] = named.pop()


def _at(given: Any, path: tuple[str, ...]) -> Any:
    """Return what stands at a path of names; None if nothing does."""
    for name in path:
        given = given.get(name) if isinstance(given, dict) else None
    return given


def _parse(
    parser: argparse.ArgumentParser, words: Sequence[str], options: Sequence[Option], attempt: str
) -> argparse.Namespace:
    known = f"`{parser.prog} --help-all`"
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
    return found


def add_options(parser: argparse.ArgumentParser, options: Sequence[Option], shows_all: bool = False) -> None:
    """Give a parser options, one group a part; help lists a part as a whole only where it may be none.

    Args:
        shows_all: False for help that lists the basic options alone, if there are many.
    """
    groups: dict[str, Any] = {}
    listed = [one for one in options if not one.is_part or _may_be_none(one.annotation)]
    basic = [one for one in listed if one.is_basic and not one.is_part]
    shown = listed if shows_all or len(listed) <= FEW_OPTIONS else basic
    for option in options:
        if option.group not in groups:
            about = next(iter(option.own.values())).about if option.is_part else ""
            is_empty = all(one.group != option.group for one in shown)
            title = None if is_empty else option.group or "run"
            groups[option.group] = parser.add_argument_group(title, None if is_empty else _percent(about) or None)
        groups[option.group].add_argument(
            option.name,
            dest=option.name,
            help=_percent(option.help) if option in shown else argparse.SUPPRESS,
            metavar=_value(option),
            **_number_of_values(option),
        )
    _add_general(parser.add_argument_group("recipe and help"), len(listed) - len(shown))


def _add_general(group: Any, num_hidden: int) -> None:
    group.add_argument(
        "--recipe",
        metavar="FILE",
        help="YAML file of these parameters, or of a cycle's, a part within a part as here a dot; options win over it.",
    )
    group.add_argument("-h", "--help", action="help", help="Show the basic options, and exit.")
    more = f"Show all, {num_hidden} more than --help, and exit." if num_hidden else "Show the same, and exit."
    group.add_argument("--help-all", action="help", help=more)


def _walk(path: tuple[str, ...], own: dict[str, Parameter], kinds: tuple[str, ...]) -> Iterator[Option]:
    """Yield the option of a path, and those of its fields if it is a part; ``own`` is what each kind has there."""
    first = next(iter(own.values()))
    models = _models(first.annotation)
    yield Option(path, own, kinds, bool(models))
    if len(models) > 1:
        default = getattr(first.default, "kind", REQUIRED)
        about = f"Kind of {path[-1]}."
        yield Option((*path, "kind"), {"": Parameter("kind", Literal[tuple(models)], default, about, first.is_basic)})
    for name in dict.fromkeys(name for model in models.values() for name in model.model_fields if name != "kind"):
        having = {
            kind: _field(model, name, first.is_basic) for kind, model in models.items() if name in model.model_fields
        }
        if len(models) > 1:
            yield from _walk((*path, name), having, tuple(models))
        else:
            yield from _walk((*path, name), dict.fromkeys(own, having[""]), kinds)


def _field(model: type[BaseModel], name: str, is_basic: bool) -> Parameter:
    info = model.model_fields[name]
    default = REQUIRED if info.is_required() else info.get_default(call_default_factory=True)
    is_basic = is_basic and BASIC in info.metadata
    return Parameter(name, info.annotation, default, info.description or "", is_basic)


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
    except (ValueError, RecursionError) as error:  # too long a number, too deep a list
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
    name = f"--{one.name.replace('_', '-')}"
    kinds = _models(one.annotation)
    if value == {} and one.default is REQUIRED and len(kinds) != 1:
        advice = f"Set {name}.kind, or an option that one kind has: {known} lists them." if kinds else "Set it."
        raise BadInput(f"{attempt}: {name} is not set; it is required. {advice}")
    try:
        if isinstance(value, str):  # what is no text is a part, which does the same for its fields
            refuse_secrets(refuse_unwritable(value))
        return TypeAdapter(one.annotation).validate_python(value)
    except ValidationError as error:
        raise BadInput(error_summary(attempt, error, known, name)) from error
    except ValueError as error:
        raise BadInput(f"{attempt}: {name}: {error}. Change it.") from error


def _alike(word: str, options: Sequence[Option]) -> str:
    """Return the options that a wrong one may have meant: of that name, or the nearest and those beside it."""
    name, names = word.partition("=")[0], [option.name for option in options]
    same = [one for one in names if one.endswith(f".{name.lstrip('-')}")]
    beside = [one for one in names if one.rpartition(".")[0] == name.rpartition(".")[0]]
    alike = get_close_matches(name, [*names, *GENERAL], 3, 0.8)
    few = [*alike[:1], *beside] if len(beside) <= FEW_NAMES else alike
    return ", ".join(dict.fromkeys(same or few or beside or [one for one in names if "." not in one]))


def _percent(text: str) -> str:
    """Return a text of help as argparse takes it."""
    return text.replace("%", "%%")

"""What ``--help`` says of a flow's options beyond their names: which kind each belongs to, and which is the default."""

import importlib
import inspect
from typing import Any, get_args

import docstring_parser
from cyclopts.argument import Argument
from cyclopts.field_info import FieldInfo
from cyclopts.help import DefaultFormatter, HelpEntry, HelpPanel
from docstring_parser import DocstringStyle
from pydantic import BaseModel
from rich.console import Console, ConsoleOptions
from rich.text import Text

from schemas.choice import by_kind

_parse = docstring_parser.parse_from_object


def read_functions_alone(thing: Any, style: DocstringStyle = DocstringStyle.AUTO) -> docstring_parser.Docstring:
    """Return a function's docstring, parsed. Of models cyclopts knows the fields' own descriptions without it.

    It would read the source of each class of each field: two of a help page's four seconds.

    Raises:
        TypeError: It is a class; to cyclopts this means that it has no docstring.
    """
    if inspect.isclass(thing):
        raise TypeError(f"parsing the docstring of {thing}: it is a class; functions are parsed. Describe its fields.")
    return _parse(thing, style)


docstring_parser.parse_from_object = read_functions_alone  # type: ignore[assignment]


_update_lookup = Argument._update_lookup


def share_names(self: Argument, field_infos: dict[str, FieldInfo]) -> None:
    """Take in the fields of one more kind. Of a field that an earlier kind has too, the earlier one stands for both.

    cyclopts (seen in 5.4) takes none that differs, be it in its description alone. Words become values by the chosen
    kind's own field all the same, and ``FlowHelp`` tells them apart.
    """
    kept = {key: self._lookup.get(key, info) if "kind" not in info.names else info for key, info in field_infos.items()}
    _update_lookup(self, kept)


Argument._update_lookup = share_names  # type: ignore[method-assign]


class FlowHelp(DefaultFormatter):
    """Prints the options of a flow, with the kinds that each belongs to."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        flow = getattr(importlib.import_module(f"flows.{self._name}"), self._name)
        choices = choices_of(inspect.signature(flow.fn, eval_str=True))
        for number, entry in enumerate(panel.entries):
            panel.entries[number] = with_kinds(entry, choices)
        super().__call__(console, options, panel)


Choices = dict[str, tuple[str, dict[str, type[BaseModel]]]]
"""Of each parameter that is one of several kinds: the default kind, and the class of each."""


def choices_of(signature: inspect.Signature) -> Choices:
    """Return the parameters that are chosen by a kind."""
    found: Choices = {}
    for name, option in signature.parameters.items():
        if hasattr(option.default, "kind"):
            union, *_ = get_args(option.annotation)
            found[name] = (option.default.kind, by_kind(union))
    return found


def with_kinds(entry: HelpEntry, choices: Choices) -> HelpEntry:
    """Return the line of an option with the kinds that have it, unless all do; that of a kind with its default."""
    option = entry.names[0].removeprefix("--") if entry.names else ""
    parameter, _, path = option.partition(".")
    if not path or parameter not in choices:
        return entry
    default, kinds = choices[parameter]
    if path == "kind":
        return entry.copy(default=default)
    field = path.split(".")[0].replace("-", "_")
    own = [kind for kind, model in kinds.items() if field in model.model_fields]
    told = {kind: _told(kinds[kind], field) for kind in own}
    if "." not in path and len(set(told.values())) > 1:
        return entry.copy(default=None, description=Text("; ".join(f"{text} [{kind}]" for kind, text in told.items())))
    if len(own) < len(kinds):
        entry.description.append(Text(f"[{', '.join(own)}]"))
    return entry


def _told(model: type[BaseModel], field: str) -> str:
    """Return what a field says of itself, with its default."""
    info = model.model_fields[field]
    return f"{info.description or field}, by default {info.default}"

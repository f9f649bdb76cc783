"""What a flow's module says of its parameters, read without running it: importing Prefect takes more than a second."""

import ast
import inspect
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from schemas.options import REQUIRED, Parameter

LOOKING = ("flows.__looking__", "flows.__forgetting__", "flows.__storing__")
"""Modules of commands that run no flow."""

_ARGUMENT = re.compile(r"^    (\w+): (.+(?:\n {8,}.+)*)", re.MULTILINE)


def read_parameters(name: str) -> list[Parameter]:
    """Return the parameters of a flow, or of a function that looks, each with its sentence in the docstring.

    Prefect's UI shows the same sentence of it.
    """
    module, function = _function(name)
    said = {word: " ".join(text.split()) for word, text in _ARGUMENT.findall(ast.get_docstring(function) or "")}
    options = function.args.args
    defaults = function.args.defaults
    values: list[ast.expr | None] = [*([None] * (len(options) - len(defaults))), *defaults]
    return [
        Parameter(
            option.arg,
            _value(option.annotation, module),
            REQUIRED if default is None else _value(default, module),
            said.get(option.arg) or _described(_value(option.annotation, module)),
        )
        for option, default in zip(options, values, strict=True)
    ]


def _described(annotation: Any) -> str:
    """Return what a type says of its values; empty if it says nothing."""
    described = (getattr(one, "description", None) for one in getattr(annotation, "__metadata__", ()))
    return next(filter(None, described), "")


def summary_of(name: str) -> str:
    """Return the first sentence of a flow's module, or of a function that looks."""
    module, function = _function(name)
    return (ast.get_docstring(function if module in LOOKING else _tree(module)) or "").partition("\n")[0]


def find_look(name: str) -> Callable[..., str]:
    """Return a function that runs no flow."""
    found: Callable[..., str] = getattr(import_module(_module_of(name)), name)
    return found


def option_of_batches(parameters: Sequence[Parameter]) -> str:
    """Return the option of a flow's batches, which its first bare words are of; "" if it has none."""
    options = {"batch_id": "--batch-id", "batches": "--batches"}
    return next((options[one.name] for one in parameters if one.name in options), "")


def _module_of(name: str) -> str:
    """Return the module that a flow, or a function that looks, is in."""
    if (Path(__file__).parent / f"{name}.py").is_file():
        return f"flows.{name}"
    return next(module for module in LOOKING if any(_is_function(node, name) for node in _tree(module).body))


def _function(name: str) -> tuple[str, ast.FunctionDef]:
    """Return the module that a function is in, and its tree."""
    module = _module_of(name)
    found = (node for node in _tree(module).body if isinstance(node, ast.FunctionDef) and node.name == name)
    return module, next(found)


def _is_function(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == name


@lru_cache
def _tree(module: str) -> ast.Module:
    return ast.parse((Path(__file__).parent / f"{module.removeprefix('flows.')}.py").read_text())


def _value(expression: ast.expr | None, module: str) -> Any:
    """Return the value of an expression of a module, of whose names only those that it mentions are looked up."""
    assert expression is not None
    names = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
    bound = {name: found for name in names if (found := _lookup(name, module)) is not inspect.Parameter.empty}
    return eval(compile(ast.Expression(expression), module, "eval"), bound)  # noqa: S307 - it is the flow's own source


def _lookup(name: str, module: str) -> Any:
    """Return what a module binds to a name; another flow's module is read alike, any other is imported."""
    for node in _tree(module).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    home = node.module
                    is_flow = home.startswith("flows.")
                    return _lookup(alias.name, home) if is_flow else getattr(import_module(home), alias.name)
        if isinstance(node, ast.Assign) and name in {one.id for one in node.targets if isinstance(one, ast.Name)}:
            return _value(node.value, module)
        if isinstance(node, ast.ClassDef) and node.name == name:
            return getattr(import_module(module), name)
    return inspect.Parameter.empty  # a builtin

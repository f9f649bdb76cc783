"""Calls of functions that a model writes as text: in Python's syntax, as JSON, or between marks of a tool call.

Nothing of a reply is evaluated: arguments are literals, and a reply is bounded in length and depth.
"""

import ast
import json
import re
from collections.abc import Iterable
from typing import Any, Final

from schemas.conversation import ToolCall

MOST_CHARS: Final = 20_000
"""Characters of a reply with calls, at most; a longer one is not read."""

MOST_DEPTH: Final = 32
"""Lists and objects within each other, at most."""

OPENING, CLOSING = "<tool_call>", "</tool_call>"

_CALL: Final = re.compile(r"(?<![\w.])[^\W\d]\w*+(?:\.[^\W\d]\w*+)*+\(")
_FENCE: Final = re.compile(r"```\w{0,20}")
_SHAPES: Final = (("name", "arguments"), ("name", "parameters"))


def read_calls(text: str) -> tuple[ToolCall, ...] | None:
    r"""Return the calls that a reply makes; none if it is prose, and None if it begins as calls do and is malformed.

    Args:
        text: ``[f(a=1), g()]``, ``f(a=1)``, or one call on each line; ``{"name": "f", "arguments": {"a": 1}}``, or a
            list of such; each between ``<tool_call>`` and ``</tool_call>``, with prose around them or not; the first
            two also in one code fence. Anything else is prose.

    >>> read_calls('[mill.grind(corn="rye", sacks=[2, -3.5]), stop()]')  # doctest: +NORMALIZE_WHITESPACE
    (ToolCall(name='mill.grind', arguments={'corn': 'rye', 'sacks': [2, -3.5]}, call_id=''),
     ToolCall(name='stop', arguments={}, call_id=''))
    >>> read_calls('<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>')
    (ToolCall(name='stop', arguments={}, call_id=''),)
    >>> read_calls("Which mill do you mean?"), read_calls("stop(") is None, read_calls("stop(now())") is None
    ((), True, True)
    """
    said = text.strip()
    is_marked = OPENING in said
    if not is_marked:
        said = _without_fence(said)
        if said[:1] not in ("[", "{") and not _CALL.match(said):
            return ()
    if len(said) > MOST_CHARS:
        return None
    try:
        return _marked(said) if is_marked else _bare(said)
    # The parser's own limits on depth are a MemoryError and a RecursionError.
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _without_fence(said: str) -> str:
    """Return what one code fence around all of a reply holds.

    >>> _without_fence("```python\\nstop()\\n```")
    'stop()'
    """
    first, _, rest = said.partition("\n")
    return rest[:-3].strip() if rest.endswith("```") and _FENCE.fullmatch(first.strip()) else said


def _marked(said: str) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    for part in said.split(OPENING)[1:]:
        calls += _calls_of(_parsed(part.partition(CLOSING)[0]))
    return tuple(calls)


def _bare(said: str) -> tuple[ToolCall, ...]:
    try:
        value = _parsed(said)
    except ValueError:
        return _python(said)
    return _calls_of(value)


def _parsed(text: str) -> Any:
    value = json.loads(text, object_pairs_hook=_distinct)
    _require_shallow(value, MOST_DEPTH)
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _require_shallow(value: Any, depth: int) -> None:
    if isinstance(value, list | dict):
        if not depth:
            raise ValueError("lists and objects are too deep")
        for one in value.values() if isinstance(value, dict) else value:
            _require_shallow(one, depth - 1)


def _calls_of(value: Any) -> tuple[ToolCall, ...]:
    """Return the calls that parsed JSON is: one, a list of them, or as servers send them."""
    if isinstance(value, list):
        return tuple(call for one in value for call in _calls_of(one))
    if isinstance(value, dict) and set(value) == {"tool_calls"}:
        return _calls_of(value["tool_calls"])
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict):
        raise ValueError("a call is an object")
    name, arguments = next(((value[a], value[b]) for a, b in _SHAPES if a in value and b in value), (None, None))
    if isinstance(arguments, str):
        arguments = _parsed(arguments)
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError("a call has a name and an object of arguments")
    return (ToolCall(name, arguments),)


def _python(said: str) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    for statement in ast.parse(said).body:
        if not isinstance(statement, ast.Expr):
            raise ValueError("a call is an expression")
        value = statement.value
        calls += map(_call_of, value.elts if isinstance(value, ast.List | ast.Tuple) else [value])
    return tuple(calls)


def _call_of(node: ast.expr) -> ToolCall:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("every argument has a name")
    return ToolCall(_dotted(node.func), _distinct(list(_arguments(node.keywords))))


def _arguments(keywords: Iterable[ast.keyword]) -> Iterable[tuple[str, Any]]:
    for one in keywords:
        if one.arg is None:
            raise ValueError("every argument has a name")
        yield one.arg, _literal(one.value, MOST_DEPTH)


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise ValueError("a function is called by its name")
    return ".".join([node.id, *reversed(parts)])


def _literal(node: ast.expr, depth: int) -> Any:
    """Return the value of a literal; tuples are lists, as in JSON.

    Raises:
        ValueError: It is none, or too deep.
    """
    if not depth:
        raise ValueError("lists and objects are too deep")
    match node:
        case ast.Constant(value=str() | bool() | int() | float() | None):
            return node.value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=int() | float() as number)):
            if isinstance(number, bool):
                raise ValueError("a truth has no sign")
            return -number if isinstance(sign, ast.USub) else number
        case ast.List() | ast.Tuple():
            return [_literal(one, depth - 1) for one in node.elts]
        case ast.Dict():
            keys: list[Any] = [_literal(key, depth - 1) if key else None for key in node.keys]
            if not all(isinstance(key, str) for key in keys):
                raise ValueError("names of fields are texts")
            return _distinct([(key, _literal(one, depth - 1)) for key, one in zip(keys, node.values, strict=True)])
    raise ValueError("an argument is a literal")

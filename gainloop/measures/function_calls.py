"""Whether calls of functions are the ones that were wanted: names, arguments, types and values, without a judge.

The rules are those of the Berkeley Function Calling Leaderboard, version 4, for calls that are not executed.

Source: Patil et al. 2025, "The Berkeley Function Calling Leaderboard (BFCL)", ICML, with its ``possible_answer`` files.
Differs: objects and lists are checked to any depth (BFCL checks the items of a list one level deep, and skips objects
within an object); a whole number is taken where a float is asked at any depth; calls in parallel are matched as well as
can be, not one after the other; where nothing is wanted, a call that cannot be read is wrong too.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from schemas.conversation import ToolCall

OMITTED: Final = ""
"""The accepted value that says that an argument may be left out."""

TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("string", "str"), (str,)),
    **dict.fromkeys(("integer", "int"), (int,)),
    **dict.fromkeys(("float", "number", "double"), (int, float)),
    **dict.fromkeys(("boolean", "bool"), (bool,)),
    **dict.fromkeys(("array", "list", "tuple"), (list, tuple)),
    **dict.fromkeys(("dict", "object"), (dict,)),
    "null": (type(None),),
}
"""What values of a type of a specification are; of any other type, as ``any``, a value may be anything."""

_FLOATS: Final = ("float", "number", "double", "any", "")
_IGNORED: Final = re.compile(r"[ ,./\-_*^]")

Spec = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Function:
    """A function that may be called.

    Attributes:
        parameters: Its arguments as an object of JSON schema, with the names of types that BFCL has.
    """

    name: str
    parameters: Spec = field(default_factory=dict)
    description: str = ""

    @property
    def required(self) -> tuple[str, ...]:
        return _required(self.parameters)


@dataclass(frozen=True, slots=True)
class WantedCall:
    """A call that is right: the values that are accepted for each argument.

    Attributes:
        accepted: Values by argument; the value of an object has, again, the accepted values of each field.
    """

    name: str
    accepted: Mapping[str, Sequence[Any]] = field(default_factory=dict)


class CallFault(NamedTuple):
    """Why calls are not those that were wanted.

    Attributes:
        reason: Short key.
        name: Function of the call that is wrong; empty where all calls together are.
        path: Argument that is wrong, as ``area.width`` or ``conditions[0].value``; empty where the call is.
    """

    reason: str
    name: str = ""
    path: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, [self.reason, self.name, self.path and f"({self.path})"]))


def calls_fault(
    functions: Sequence[Function], wanted: Sequence[WantedCall], given: Sequence[ToolCall]
) -> CallFault | None:
    """Return why calls are not the wanted ones, in any order; None if they are.

    Args:
        functions: Functions that may be called; those that are wanted are among them.
        wanted: Calls that are right; none where nothing is to be called.
        given: Calls that were made.

    Returns:
        ``call_not_wanted`` where nothing was to be called, ``no_call`` where nothing was, ``wrong_count``, or of the
        first call that matches no wanted one that is left: ``wrong_name``, ``missing_argument``,
        ``unknown_argument`` (the function has none of that name), ``unwanted_argument`` (no value of it is accepted),
        ``wrong_type``, ``wrong_value``.

    >>> mill = [Function("mill.grind", {"properties": {"corn": {"type": "string"}}, "required": ["corn"]})]
    >>> wanted = [WantedCall("mill.grind", {"corn": ["rye", "oats"]})]
    >>> calls_fault(mill, wanted, [ToolCall("mill.grind", {"corn": "Rye"})]) is None
    True
    >>> str(calls_fault(mill, wanted, [ToolCall("mill.grind", {"corn": 7})]))
    'wrong_type mill.grind (corn)'
    """
    if not wanted or not given:
        return CallFault("call_not_wanted", given[0].name) if given else CallFault("no_call") if wanted else None
    if len(wanted) != len(given):
        return CallFault("wrong_count")
    known = {one.name: one for one in functions}
    faults = [[_fault_of_call(known, right, call) for right in wanted] for call in given]
    matched = _matched([[fault is None for fault in row] for row in faults])
    if len(matched) == len(given):
        return None
    first = min(set(range(len(given))) - set(matched.values()))
    left = [number for number in range(len(wanted)) if number not in matched]
    best = min(left, key=lambda number: wanted[number].name != given[first].name)
    return faults[first][best]


def _matched(fits: Sequence[Sequence[bool]]) -> dict[int, int]:
    """Return the row that each column is matched with, as many as can be: by augmenting paths.

    >>> _matched([[True, True], [True, False]])
    {0: 1, 1: 0}
    """
    row_of: dict[int, int] = {}

    def match(row: int, seen: set[int]) -> bool:
        for column, is_fit in enumerate(fits[row]):
            if is_fit and column not in seen:
                seen.add(column)
                if column not in row_of or match(row_of[column], seen):
                    row_of[column] = row
                    return True
        return False

    for row in range(len(fits)):
        match(row, set())
    return row_of


def _fault_of_call(known: Mapping[str, Function], right: WantedCall, call: ToolCall) -> CallFault | None:
    function = known.get(call.name)
    if call.name != right.name or function is None:
        return CallFault("wrong_name", call.name)
    properties = _properties(function.parameters)
    needed = {*function.required, *(name for name, some in right.accepted.items() if OMITTED not in _listed(some))}
    fault = _fault_of_fields(call.arguments, right.accepted, properties, needed, "")
    return fault and CallFault(fault[0], call.name, fault[1])


_Fault = tuple[str, str]
"""Reason and path."""


def _fault_of_fields(
    given: Mapping[str, Any], accepted: Mapping[str, Any], properties: Spec, needed: set[str], path: str
) -> _Fault | None:
    """Return what is wrong with arguments, or with the fields of an object: names first, then values, in order."""
    for name in sorted(needed - set(given)):
        return "missing_argument", _under(path, name)
    for name in given:
        if name not in accepted:
            return "unwanted_argument" if name in properties else "unknown_argument", _under(path, name)
    faults = (
        _fault_of_value(value, _listed(accepted[name]), _spec(properties.get(name)), _under(path, name))
        for name, value in given.items()
    )
    return next(filter(None, faults), None)


def _fault_of_value(value: Any, accepted: Sequence[Any], spec: Spec, path: str) -> _Fault | None:
    """Return why a value is none of those that are accepted: its type, or what is wrong beside the one that is near."""
    faults = [_fault_beside(value, right, spec, path) for right in accepted]
    if None in faults:  # what is accepted is right even where the specification says another type
        return None
    if fault := _fault_of_type(value, spec, path):
        return fault
    near = [fault for fault, right in zip(faults, accepted, strict=True) if fault and _is_near(value, right)]
    return near[0] if len(near) == 1 else ("wrong_value", path)


def _is_near(value: Any, right: Any) -> bool:
    """Tell whether two values are objects, or lists of one length: what differs within them can be named."""
    if isinstance(value, list | tuple) and isinstance(right, list):
        return len(value) == len(right)
    return isinstance(value, dict) and isinstance(right, dict)


def _fault_beside(value: Any, right: Any, spec: Spec, path: str) -> _Fault | None:
    """Return what is wrong with a value beside one that is accepted."""
    if isinstance(right, dict):
        if not isinstance(value, dict):
            return "wrong_type", path
        needed = {name for name, some in right.items() if OMITTED not in _listed(some)}
        return _fault_of_fields(value, right, _properties(spec), needed, path)
    if isinstance(right, list):
        if not isinstance(value, list | tuple):
            return "wrong_type", path
        if len(value) != len(right):
            return "wrong_value", path
        pairs = enumerate(zip(value, right, strict=True))
        faults = (_fault_of_value(one, [other], _items(spec), f"{path}[{n}]") for n, (one, other) in pairs)
        return next(filter(None, faults), None)
    return None if _is_same(value, right, str(spec.get("type", ""))) else ("wrong_value", path)


def _is_same(value: Any, right: Any, kind: str) -> bool:
    """Tell whether a value that is no list and no object is an accepted one.

    >>> _is_same("New-York, N.Y.", "new york ny", "string"), _is_same(5, 5.0, "float"), _is_same(True, 1, "integer")
    (True, True, False)
    """
    if isinstance(value, str) and isinstance(right, str):
        return _bare(value) == _bare(right)
    if isinstance(value, bool) or isinstance(right, bool) or not isinstance(right, int | float):
        return type(value) is type(right) and value == right
    is_whole = isinstance(value, int) or (isinstance(value, float) and (isinstance(right, float) or kind in _FLOATS))
    return is_whole and bool(value == right)


def _bare(text: str) -> str:
    """Return a text as BFCL compares texts: in no case, without spaces and ,./-_*^, and with one kind of quotes."""
    return _IGNORED.sub("", text).lower().replace("'", '"')


def _fault_of_type(value: Any, spec: Spec, path: str) -> _Fault | None:
    """Return where a value, or something within it, is not of the type that a specification says."""
    allowed = spec.get("type", "any")
    if not any(_is_of(value, str(kind)) for kind in ([allowed] if isinstance(allowed, str) else allowed)):
        return "wrong_type", path
    parts: list[tuple[Any, Spec, str]] = []
    if isinstance(value, list | tuple):
        parts = [(one, _items(spec), f"{path}[{number}]") for number, one in enumerate(value)]
    elif isinstance(value, dict) and (properties := _properties(spec)):
        for name in _required(spec):
            if name not in value:
                return "missing_argument", _under(path, name)
        if other := next((name for name in value if name not in properties), None):
            return "unknown_argument", _under(path, other)
        parts = [(one, _spec(properties[name]), _under(path, name)) for name, one in value.items()]
    return next(filter(None, (_fault_of_type(*part) for part in parts)), None)


def _is_of(value: Any, kind: str) -> bool:
    types = TYPES.get(kind)
    if types is None:
        return True
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _items(spec: Spec) -> Spec:
    return _spec(spec.get("items"))


def _properties(spec: Spec) -> Spec:
    return _spec(spec.get("properties"))


def _required(spec: Spec) -> tuple[str, ...]:
    listed = spec.get("required")
    return tuple(listed) if isinstance(listed, list | tuple) else ()


def _spec(given: Any) -> Spec:
    """Return what a specification says of a part of a value: nothing where it is none, as JSON schema's true."""
    return given if isinstance(given, Mapping) else {}


def _listed(accepted: Any) -> Sequence[Any]:
    return accepted if isinstance(accepted, list | tuple) else [accepted]


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name

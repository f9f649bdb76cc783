"""Simulated worlds: a state of JSON that only code, or a change that was checked, may turn into another.

A call on a state gives a new state and a result, or an error and the state as it was. The same calls on the same
state always end in the same one, so a conversation can be replayed, and two can be compared by where they end.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from gainloop.tools.tool import Schema, Tool, fault_by
from schemas.conversation import ToolCall
from schemas.rows import content_hash, unit_draw

State = dict[str, Any]

Kind = Literal["success", "partial", "error"]

UNAVAILABLE: Final = "The service did not answer; nothing was changed. The same call may succeed later."


class CallRefused(Exception):
    """A tool's code refuses a call: what it names is not there, or a rule forbids it. The state stays as it was."""


Effect = Callable[[State, dict[str, Any]], tuple[State, Any]]
"""A tool as code: a state and arguments that its schema allows in, the new state and the result out."""


class Step(NamedTuple):
    """What came of one call.

    Attributes:
        state: State after it.
        result: Value of JSON that the caller sees: the result, or an object with the ``error``.
        kind: ``success``; ``partial``, done, but only a part of the result came back; ``error``, nothing done.
        fault: ``unknown_tool`` or ``bad_arguments`` where the caller is to blame; empty otherwise.
    """

    state: State
    result: Any
    kind: Kind
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults that are injected into calls: the share that fails, the share whose result is cut, and their seed."""

    error: float = 0.0
    partial: float = 0.0
    seed: str = ""

    def draw(self, number: int, call: ToolCall) -> Kind:
        """Return what happens to the ``number``-th call: it depends on seed, number and call alone."""
        drawn = unit_draw("fault", self.seed, number, call.name, dict(call.arguments))
        return "error" if drawn < self.error else "partial" if drawn < self.error + self.partial else "success"


NO_FAULTS: Final = Faults()


@dataclass(frozen=True)
class World:
    """A simulated world: its tools and their code, the rules that an agent must keep, and what a state may be."""

    name: str
    policy: str
    state_schema: Schema
    effects: Mapping[str, tuple[Tool, Effect]] = field(default_factory=dict)

    @property
    def tools(self) -> list[Tool]:
        return [tool for tool, _ in self.effects.values()]

    def call(self, state: State, call: ToolCall, number: int = 0, faults: Faults = NO_FAULTS) -> Step:
        """Return what a call does. The given state is never changed.

        Args:
            number: Place of the call in its conversation, from 0.

        Raises:
            AssertionError: The tool's code made a result or a state that its schema forbids.
        """
        if call.name not in self.effects:
            listed = ", ".join(self.effects)
            return Step(
                state, {"error": f"There is no tool {call.name[:60]!r}; there are {listed}."}, "error", "unknown_tool"
            )
        tool, effect = self.effects[call.name]
        if fault := tool.argument_fault(dict(call.arguments)):
            return Step(state, {"error": f"The arguments are wrong: {fault}."}, "error", "bad_arguments")
        kind = faults.draw(number, call)
        if kind == "error":
            return Step(state, {"error": UNAVAILABLE}, "error")
        before = copied(state)
        try:
            after, result = effect(before, copied(dict(call.arguments)))
        except CallRefused as refusal:
            return Step(state, {"error": str(refusal)}, "error")
        # Most calls only look something up: a large state need not be looked through for them.
        fault = tool.result_fault(result) or ("" if after == state else fault_by(self.state_schema, after))
        assert not fault, f"{self.name}.{call.name}: {fault}"
        return Step(after, cut_short(result) if kind == "partial" else result, kind)

    def replay(self, state: State, calls: Iterable[ToolCall], faults: Faults = NO_FAULTS) -> State:
        """Return the state that some calls lead to."""
        for number, call in enumerate(calls):
            state = self.call(state, call, number, faults).state
        return state


def state_id(state: State) -> str:
    """Return the hash of a state: equal states have equal ones, whatever the order of their fields."""
    return content_hash("state", state)


def cut_short(result: Any) -> Any:
    """Return what is left of a result that came back in part: the first half of every list, and a mark.

    >>> cut_short({"orders": ["O-1", "O-2", "O-3"], "more": False})
    {'orders': ['O-1'], 'more': False, 'partial': True}
    """
    if not isinstance(result, dict):
        return {"partial": True}
    halves = {name: part[: len(part) // 2] if isinstance(part, list) else part for name, part in result.items()}
    return halves | {"partial": True}


def changed(tool: Tool, state: State, state_schema: Schema, result: Any, patch: Any) -> tuple[State, str]:
    """Return the state after a call whose result and change were written, not computed; and why not, if it may not be.

    Args:
        patch: JSON merge patch of the state, as RFC 7386 has it.
    """
    if fault := tool.result_fault(result):
        return state, f"the result is not what {tool.name} gives: {fault}"
    if not isinstance(patch, dict):
        return state, "the change is no object"
    after = merged(state, patch)
    if fault := fault_by(state_schema, after):
        return state, f"the change leads to a state that cannot be: {fault}"
    return after, ""


def merged(value: Any, patch: Any) -> Any:
    """Return a value after a JSON merge patch (RFC 7386): null removes a field, an object changes the fields it names.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}})
    {'a': {'c': 2, 'd': 3}}
    """
    if not isinstance(patch, dict):
        return patch
    kept = dict(value) if isinstance(value, dict) else {}
    for name, part in patch.items():
        if part is None:
            kept.pop(name, None)
        else:
            kept[name] = merged(kept.get(name), part)
    return kept


def copied(value: Any) -> Any:
    """Return a deep copy of a value of JSON, so that code that changes it in place changes nobody else's."""
    return json.loads(json.dumps(value))

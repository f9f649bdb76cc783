"""One conversation of a user, an agent and its tools, played to its end: turns, calls, and why it came to nothing."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from gainloop.asking.conversation import Conversation, own_draw, reason_to_drop
from gainloop.methods.tool_prompts import (
    CLOSE,
    GO_ON,
    OPEN,
    Said,
    ask_agent,
    ask_tool,
    ask_user,
    read_met,
    read_simulated,
    read_step,
    read_user,
    show_rules,
)
from gainloop.tools.task import Scenario
from gainloop.tools.tool import Schema, Tool
from gainloop.tools.world import NO_FAULTS, UNAVAILABLE, Faults, State, World, changed
from schemas.conversation import ToolCall, Turn
from schemas.rows import CALL, Anchor, Drop, Reply, Request

T = TypeVar("T")

GO_ON_LEFT: Final = 3
"""Requests that must be left for a user to go on: its message, a step of the agent, and the user's last word."""
CALL_LEFT: Final = 4
"""Requests that must be left for a call: it, its result, what the agent says of it, and the user's last word."""
NOTES_SCHEMA: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": "string", "maxLength": 200},
    "maxProperties": 60,
}
"""What the state of a world without code may be: texts by name."""


class Stopped(NamedTuple):
    """The reason why a conversation came to nothing."""

    reason: str


class Given(NamedTuple):
    """What a call gave: a value of JSON, the fault of the agent in it, if any, and whether the call failed."""

    result: Any
    fault: str = ""
    is_error: bool = False


class Bench(Protocol):
    """What answers an agent's calls: code, a model that plays a tool, or real tools."""

    @property
    def tools(self) -> Sequence[Tool]: ...

    def call(self, play: "Play", call: ToolCall, number: int) -> Conversation[Given | Stopped]:
        """Return what a call gives. ``number`` is its place among the calls of the conversation, from 0."""
        ...


@dataclass
class Play:
    """A conversation under way.

    Attributes:
        number: Number of the conversation among those of its anchor, of which there are ``of``.
        left: Requests that may still be sent.
        turns: What was said, called and given so far; the user's closing word is left out.
        replies: Ids of the replies that the turns are made of.
        drops: Replies that could not be used; each was asked for again, in another draw.
        calls: Calls that were done, in order: neither refused for their name or arguments, nor failed.
    """

    anchor: Anchor
    facet: str
    number: int
    of: int
    scenario: Scenario
    policy: str
    bench: Bench
    left: int
    max_errors: int
    turns: list[Turn] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    _num_asked: int = 0
    _num_calls: int = 0
    _num_errors: int = 0

    def run(self) -> Conversation[str]:
        """Return nothing when the user has what it wanted or gives up, else why the conversation came to nothing."""
        opening = yield from self._hear_user(OPEN)
        if isinstance(opening, Stopped):
            return opening.reason
        self.turns.append(Turn("user", opening.message))
        while True:
            stopped = yield from self._act()
            if stopped:
                return stopped.reason
            if self.left < GO_ON_LEFT:
                return (yield from self._close())
            heard = yield from self._hear_user(GO_ON)
            if isinstance(heard, Stopped):
                return heard.reason
            if heard.is_last:
                return ""
            self.turns.append(Turn("user", heard.message))

    def record_turns(self) -> tuple[Turn, ...]:
        """Return the turns of a record: first the agent's rules and tools, then what was said and done."""
        return (Turn("system", show_rules(self.policy, self.bench.tools)), *self.turns)

    @property
    def said(self) -> list[str]:
        """What the agent said to the user."""
        return [one.content for one in self.turns if one.role == "assistant" and one.content]

    def next_number(self) -> int:
        """Return the number of the next request of this conversation, among those of all of its anchor."""
        self._num_asked += 1
        return self.of * (self._num_asked - 1) + self.number

    def hear(
        self, make: Callable[[int], Request], read: Callable[[str], T | None], malformed: str = "malformed"
    ) -> Conversation[T | Stopped]:
        """Ask until a reply can be read; each that cannot is a drop, and asked for again, ``max_errors`` in all.

        Args:
            make: Function that makes the request of a number.
            malformed: Reason of a reply that cannot be read.
        """
        while self.left:
            self.left -= 1
            request = make(self.next_number())
            (answer,) = yield [request]
            if isinstance(answer, Drop):
                self.drops.append(answer)
                return Stopped("lost_reply")
            drop = reason_to_drop(self.anchor, request, answer)
            value = None if drop else read(answer.text)
            if value is not None:
                self.replies.append(answer.request_id)
                return value
            self.drops.append(drop or Drop(self.anchor.anchor_id, request.facet, malformed, answer.request_id))
            if stopped := self.count_error(self.drops[-1].reason):
                return stopped
        return Stopped("too_many_steps")

    def count_error(self, reason: str) -> Stopped | None:
        """Count a reply or a call that could not be used, and stop when there are too many."""
        self._num_errors += 1
        return Stopped(reason) if self._num_errors > self.max_errors else None

    def _hear_user(self, wish: str) -> Conversation[Said | Stopped]:
        return (
            yield from self.hear(
                lambda number: ask_user(self.anchor, number, f"{self.facet}: user", self.scenario, self.turns, wish),
                read_user,
            )
        )

    def _close(self) -> Conversation[str]:
        facet = f"{self.facet}: user"
        met = yield from self.hear(
            lambda number: ask_user(self.anchor, number, facet, self.scenario, self.turns, CLOSE), read_met
        )
        return met.reason if isinstance(met, Stopped) else "" if met else "too_many_steps"

    def _act(self) -> Conversation[Stopped | None]:
        """Take the agent's steps until it says something."""
        while self.left >= GO_ON_LEFT - 1:
            talk: Conversation[str | ToolCall | Stopped] = self.hear(self._ask_agent, read_step, "unreadable_call")
            step = yield from talk
            if isinstance(step, Stopped):
                return step
            if isinstance(step, str):
                self.turns.append(Turn("assistant", step))
                return None
            if stopped := (yield from self._call(step)):
                return stopped
        return Stopped("too_many_steps")

    def _ask_agent(self, number: int) -> Request:
        can_call = self.left + 1 >= CALL_LEFT  # this request is taken off already
        facet = f"{self.facet}: agent"
        return ask_agent(self.anchor, number, facet, self.policy, self.bench.tools, self.turns, can_call)

    def _call(self, call: ToolCall) -> Conversation[Stopped | None]:
        number, self._num_calls = self._num_calls, self._num_calls + 1
        call = ToolCall(call.name, call.arguments, f"call_{number + 1}")
        self.turns.append(Turn("assistant", calls=(call,)))
        given = yield from self.bench.call(self, call, number)
        if isinstance(given, Stopped):
            return given
        self.turns.append(Turn("tool", json.dumps(given.result, ensure_ascii=False), call_id=call.call_id))
        if given.fault:
            return self.count_error(given.fault)
        if not given.is_error:
            self.calls.append(call)
        return None


@dataclass
class CodeBench:
    """Tools whose state is code: nothing is asked, and the same calls always give the same results."""

    world: World
    state: State
    faults: Faults = NO_FAULTS

    @property
    def tools(self) -> Sequence[Tool]:
        return self.world.tools

    def call(self, _play: Play, call: ToolCall, number: int) -> Conversation[Given | Stopped]:
        yield from ()
        step = self.world.call(self.state, call, number, self.faults)
        self.state = step.state
        return Given(step.result, step.fault, step.kind == "error")


@dataclass
class ModelBench:
    """Tools that a model plays. Results are checked by the tool's schema, changes by that of the state."""

    tools: Sequence[Tool]
    state: State
    faults: Faults = NO_FAULTS

    def call(self, play: Play, call: ToolCall, number: int) -> Conversation[Given | Stopped]:
        tool = checked(self.tools, call)
        if isinstance(tool, Given):
            return tool
        if self.faults.draw(number, call) == "error":
            return Given({"error": UNAVAILABLE}, is_error=True)
        facet, state = f"{play.facet}: tool", self.state

        def read(text: str) -> tuple[Any, State] | None:
            found = read_simulated(text)
            if found is None:
                return None
            after, fault = changed(tool, state, NOTES_SCHEMA, found.result, found.changes)
            return None if fault else (found.result, after)

        given = yield from play.hear(
            lambda number: ask_tool(play.anchor, number, facet, tool, state, play.turns), read, "bad_result"
        )
        if isinstance(given, Stopped):
            return given
        result, self.state = given
        return Given(result)


@dataclass
class ServerBench:
    """Real tools of a server. Each call is a request of its own, which whoever drives the method runs once, at most."""

    server: str
    tools: Sequence[Tool]

    def call(self, play: Play, call: ToolCall, number: int) -> Conversation[Given | Stopped]:
        tool = checked(self.tools, call)
        if isinstance(tool, Given):
            return tool
        if not play.left:
            return Stopped("too_many_steps")
        play.left -= 1
        request = ask_call(
            play.anchor, f"{play.facet}: call", self.server, call, own_draw(play.anchor, play.next_number())
        )
        (answer,) = yield [request]
        if isinstance(answer, Drop):
            play.drops.append(answer)
            return Stopped(answer.reason)
        return read_given(answer)


def checked(tools: Sequence[Tool], call: ToolCall) -> Tool | Given:
    """Return the tool that a call names, or the error that the agent sees if there is none or its schema forbids it."""
    named = {one.name: one for one in tools}
    if call.name not in named:
        error = f"There is no tool {call.name[:60]!r}; there are {', '.join(named)}."
        return Given({"error": error}, "unknown_tool")
    fault = named[call.name].argument_fault(dict(call.arguments))
    return Given({"error": f"The arguments are wrong: {fault}."}, "bad_arguments") if fault else named[call.name]


def ask_call(anchor: Anchor, facet: str, server: str, call: ToolCall, draw: int) -> Request:
    """Ask for a call of a real tool; two calls of a conversation are two requests, though they say the same."""
    said = {"server": server, "name": call.name, "arguments": dict(call.arguments)}
    return Request(json.dumps(said, ensure_ascii=False, sort_keys=True), facet, draw=draw, role=CALL)


def read_given(reply: Reply) -> Given:
    """Return what a real tool gave, as whoever ran the call wrote it down."""
    found = json.loads(reply.text)
    assert isinstance(found, Mapping)
    return Given(found["result"], is_error=bool(found.get("is_error")))

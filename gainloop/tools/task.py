"""Tasks for an agent with tools whose reward is known without a judge: where the state ends, and what was said."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from gainloop.tools.shop import SHOP
from gainloop.tools.tool import Tool, read_tools
from gainloop.tools.world import State, World, state_id
from schemas.conversation import ToolCall
from schemas.errors import BadInput, require_known
from schemas.rows import content_hash

WORLDS: Mapping[str, World] = {SHOP.name: SHOP}
"""Worlds whose state is code, by name."""

Part = Literal["state", "assertions", "said", "actions"]
PARTS: tuple[Part, ...] = get_args(Part)
BASIS: tuple[Part, ...] = ("state", "assertions", "said")


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the user of a conversation is, wants, knows and does not know.

    Attributes:
        persona: Who the user is, and how he or she speaks.
        reason: Reason why the user turns to the agent.
        known: Facts that the user knows and says when asked, by name.
        unknown: Facts that the user does not know, by name: what the agent must find out by itself.
        instructions: What the user does in which case.
    """

    persona: str
    reason: str
    known: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    instructions: str = ""


@dataclass(frozen=True, slots=True)
class Assertion:
    """A value that must stand at a place of the last state: names of fields from the outermost to the innermost."""

    path: tuple[str, ...]
    equals: Any

    def holds(self, state: State) -> bool:
        """Tell whether it does."""
        found: Any = state
        for name in self.path:
            if not isinstance(found, Mapping) or name not in found:
                return False
            found = found[name]
        return bool(found == self.equals)


@dataclass(frozen=True, slots=True)
class ToolTask:
    """One task: a scenario, a first state, and what is right. One row per task.

    Attributes:
        world: Name of a world of code; empty where ``server`` names a real one.
        state: First state.
        actions: Reference actions: some calls, in order, that do what is wanted.
        assertions: Values of the last state.
        must_say: Strings that the agent must say to the user.
        rubric: What a judge looks for besides.
        basis: Parts whose product is the reward.
        server: Name of a server of real tools.
        tools: Tools of that server that the agent has; in a world of code it has all of the world's.
        policy: Rules that the agent must keep; in a world of code the world's.
        level: How hard it is, from 1.
    """

    scenario: Scenario
    world: str = ""
    state: State = field(default_factory=dict)
    actions: tuple[ToolCall, ...] = ()
    assertions: tuple[Assertion, ...] = ()
    must_say: tuple[str, ...] = ()
    rubric: tuple[str, ...] = ()
    basis: tuple[Part, ...] = BASIS
    server: str = ""
    tools: tuple[Tool, ...] = ()
    policy: str = ""
    level: int = 1

    @property
    def task_id(self) -> str:
        return content_hash("tool task", write_task(self))

    def require_sound(self) -> None:
        """Refuse a task that its own reference actions do not solve: its reward would be 0 for everybody.

        Raises:
            BadInput: An action is refused, or an assertion does not hold after them; it says which.
        """
        if not self.world:
            return
        world, state = WORLDS[self.world], self.state
        for number, call in enumerate(self.actions):
            step = world.call(state, call, number)
            if step.kind != "success":
                raise self._refusal(f"reference action {number + 1}, {call.name}, gives {step.result}")
            state = step.state
        for one in self.assertions:
            if not one.holds(state):
                raise self._refusal(f"{'.'.join(one.path)} is not {one.equals!r} after the reference actions")

    def _refusal(self, found: str) -> BadInput:
        return BadInput(
            f"checking tool task {self.task_id}: {found}; its own actions must solve a task. Mend it, or leave it out."
        )


class Reward(NamedTuple):
    """What a conversation is worth: 1 for right and 0 for wrong, in all and by part; parts outside the basis too."""

    value: int
    parts: dict[str, int]


def reward(task: ToolTask, after: State, calls: Sequence[ToolCall], said: Iterable[str]) -> Reward:
    """Return the product of the parts in a task's basis: any path to the right state is right.

    Args:
        after: State in which the conversation ended.
        calls: Calls that were done, in order.
        said: What the agent said to the user.

    Source: tau2-bench, Barres et al. 2025, arXiv:2506.07982. Differs: an argument of a reference action that a call
    leaves out makes it another call.
    """
    text = " ".join(" ".join(said).casefold().split())
    expected = WORLDS[task.world].replay(task.state, task.actions) if task.world else after
    parts = {
        "state": int(state_id(after) == state_id(expected)),
        "assertions": int(all(one.holds(after) for one in task.assertions)),
        "said": int(all(" ".join(one.casefold().split()) in text for one in task.must_say)),
        "actions": int(all(any(same_call(one, call) for call in calls) for one in task.actions)),
    }
    return Reward(int(all(parts[part] for part in task.basis)), parts)


def same_call(reference: ToolCall, call: ToolCall) -> bool:
    """Tell whether a call is a reference action: the same tool, and the same arguments, none left out and none added.

    >>> same_call(ToolCall("get", {"id": 1, "all": True}), ToolCall("get", {"id": 1}))
    False
    """
    return reference.name == call.name and dict(reference.arguments) == dict(call.arguments)


def write_task(task: ToolTask) -> str:
    """Return a task as one line of JSON, without what it does not have."""
    written = {name: value for name, value in asdict(task).items() if name not in ("actions", "tools") and value}
    written["scenario"] = {name: value for name, value in written["scenario"].items() if value}
    if task.actions:
        written["actions"] = [{"name": one.name, "arguments": dict(one.arguments)} for one in task.actions]
    if task.tools:
        written["tools"] = [one.as_json() for one in task.tools]
    return json.dumps(written, ensure_ascii=False, sort_keys=True)


def read_task(text: str) -> ToolTask | None:
    """Return the task that a text is; None for any other text, of which a domain is made.

    Raises:
        BadInput: It is meant to be a task, and cannot be one; it says why.

    >>> read_task("A shop for seeds.") is None
    True
    """
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _task_of(found) if isinstance(found, dict) and "scenario" in found else None


def _task_of(found: dict[str, Any]) -> ToolTask:
    attempt = "reading a tool task"
    try:
        given = dict(found)
        given["scenario"] = Scenario(**given["scenario"])
        given["actions"] = tuple(ToolCall(one["name"], dict(one["arguments"])) for one in given.get("actions", ()))
        given["assertions"] = tuple(Assertion(tuple(one["path"]), one["equals"]) for one in given.get("assertions", ()))
        given |= {name: tuple(given[name]) for name in ("must_say", "rubric", "basis") if name in given}
        given["tools"] = tuple(read_tools(given["tools"], attempt)) if given.get("tools") else ()
        task = ToolTask(**given)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(
            f"{attempt}: {type(error).__name__} {error}; the fields of docs/tools.md are allowed. Mend or remove it."
        ) from error
    return _known(task, attempt)


def _known(task: ToolTask, attempt: str) -> ToolTask:
    if unknown := set(task.basis) - set(PARTS):
        raise BadInput(f"{attempt}: its basis has {', '.join(sorted(unknown))}; known are {', '.join(PARTS)}. Mend it.")
    if not task.server:
        require_known("world", task.world, list(WORLDS), "gainloop/tools/")
    elif task.world or not task.tools or set(task.basis) - {"said", "actions"}:
        raise BadInput(
            f"{attempt}: it is of server {task.server!r}, and has a world, no tools, or a basis other than said and "
            "actions; the state of a real tool cannot be compared. Mend it."
        )
    return task

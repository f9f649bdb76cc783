"""Players of conversations with tools by script: a user and an agent that do a task right, or wrong in a known way."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from gainloop.methods.tool_prompts import CLOSE, OPEN
from gainloop.tools.shop import REASONS, SHOP
from gainloop.tools.shop_tasks import STREETS
from gainloop.tools.task import ToolTask
from schemas.conversation import ToolCall
from schemas.rows import Answer, Request
from tests.methods.playing import make_reply, prompt

Step = str | ToolCall

VERDICT: Final = {"reason": "So it is.", "user": "kept", "agent": "passed"}


@dataclass
class Players:
    """Answers every request of a conversation by a script; what is beyond a script ends the conversation.

    Attributes:
        messages: Messages of the user, the first one first.
        steps: Steps of the agent.
        verdict: Reply of the judge.
    """

    messages: Iterator[str]
    steps: Iterator[Step]
    verdict: dict[str, Any] = field(default_factory=lambda: dict(VERDICT))

    def __call__(self, request: Request, number: int) -> Answer:
        return make_reply(request, number, json.dumps(self._said(request)))

    def _said(self, request: Request) -> dict[str, Any]:
        wish = prompt(request).rpartition("\n\n")[2]
        match request.role:
            case "user" if wish == CLOSE:
                return {"met": "yes"}
            case "user":
                message = next(self.messages, "")
                said = {"message": message or "Thank you."}
                return said if wish == OPEN else said | {"next": "goes_on" if message else "finished"}
            case "agent":
                step = next(self.steps, "Is there anything else?")
                if isinstance(step, str):
                    return {"say": step}
                return {"call": {"name": step.name, "arguments": dict(step.arguments)}}
            case "judge":
                return self.verdict
        raise AssertionError(f"nobody plays {request.role!r}")


def honest(task: ToolTask) -> Iterator[str]:
    """Yield what a user says who keeps to the scenario: first the wish, then the facts it is asked for."""
    yield f"Hello. {task.scenario.reason}"
    yield f"{'; '.join(f'{name}: {value}' for name, value in task.scenario.known.items())}."


def right(task: ToolTask, actions: Iterable[ToolCall] | None = None, closing: str = "") -> Iterator[Step]:
    """Yield the steps of an agent that asks, looks the customer up, acts, and says what must be said."""
    yield "Gladly. Please tell me your e-mail address and the details."
    yield ToolCall("find_customer", {"email": task.scenario.known["e-mail address"]})
    yield from task.actions if actions is None else actions
    yield closing or f"It is done. {' '.join(task.must_say)}"


def other_path(task: ToolTask) -> Iterator[Step]:
    """Yield steps to the same state by another way: actions the other way round, and looking things up between."""
    looks = [ToolCall("find_products", {}), ToolCall("get_order", {"order_id": next(iter(task.state["orders"]))})]
    return right(task, [*looks, *reversed(task.actions), looks[0]])


def wrong(task: ToolTask) -> Iterator[Step]:
    """Yield steps of which the last action has one argument that is another."""
    *before, last = task.actions
    return right(task, [*before, ToolCall(last.name, _with_another(dict(last.arguments)))])


def _with_another(arguments: dict[str, Any]) -> dict[str, Any]:
    match arguments:
        case {"reason": reason}:
            return arguments | {"reason": next(one for one in REASONS if one != reason)}
        case {"street": street}:
            return arguments | {"street": next(one for one in STREETS if one != street)}
        case {"code": _}:
            return arguments | {"code": "NOTHING"}
        case {"quantity": quantity}:
            return arguments | {"quantity": quantity + 1}
        case {"lines": [line]}:
            return arguments | {"lines": [line | {"quantity": line["quantity"] + 1}]}
    raise AssertionError(arguments)


def lacking(task: ToolTask) -> Iterator[Step]:
    """Yield steps of which the last action leaves its last argument out: of goods to return that means all of them."""
    *before, last = task.actions
    name = "quantity" if "quantity" in last.arguments else list(last.arguments)[-1]
    less = {one: value for one, value in last.arguments.items() if one != name}
    return right(task, [*before, ToolCall(last.name, less)])


def too_much(task: ToolTask) -> Iterator[Step]:
    """Yield the right steps, and one that nobody asked for: another customer's order is cancelled."""
    after = SHOP.replay(task.state, task.actions)
    touched = {call.arguments.get("order_id") for call in task.actions}
    other = next(one for one, order in after["orders"].items() if order["status"] == "open" and one not in touched)
    return right(task, [*task.actions, ToolCall("cancel_order", {"order_id": other, "reason": REASONS[0]})])


def nothing(_task: ToolTask) -> Iterator[Step]:
    """Yield what an agent says that does nothing."""
    yield "That is done."

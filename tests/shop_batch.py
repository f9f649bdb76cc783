"""A batch of conversations with tools in the shop, played behind a stub server by script, some of them wrongly."""

import json
from itertools import islice
from typing import Any, Final

from gainloop.methods.tool_prompts import CLOSE, JUDGE, OPEN
from gainloop.methods.tool_use import ToolUse
from gainloop.tools.shop_tasks import make_tasks
from gainloop.tools.task import ToolTask
from schemas.conversation import ToolCall
from schemas.recipe import Recipe, Sampling
from tests.methods.tool_players import VERDICT, honest, right

TASKS: Final = make_tasks(16, "measured")
IDLE, SILENT, REFUSED, LEAKING, MUTE = {0, 1, 2}, {5, 6}, {9}, {10}, {11, 12}
"""Tasks whose agent does nothing; does not say what must be said; fails by the judge; whose user says a number that it
cannot know; and whose user writes no JSON at all."""

RECIPE = Recipe(
    method=ToolUse(max_steps=12).model_dump(mode="json"),
    snapshot_id="shop",
    model="stub",
    revision="/models/stub",
    sampling=Sampling(max_tokens=300),
)


def says(prompt: str) -> str:
    """Play all parts, each by what its prompt shows of the conversation."""
    wish = prompt.rpartition("\n\n")[2]
    number = next((at for at, task in enumerate(TASKS) if _email(task) in prompt), None)
    if "You are the user" in wish:
        assert number is not None
        return _user(number, wish, prompt.count('\n{"user": '))
    if "You are the agent" in wish:
        return json.dumps(_agent(number, prompt.count('\n{"assistant')))
    if wish == JUDGE:
        return json.dumps(VERDICT | ({"agent": "failed"} if number in REFUSED else {}))
    return "A mill grinds rye."  # to what a check of the server asks


def _user(number: int, wish: str, said: int) -> str:
    if number in MUTE:
        return "I want it."
    if wish == CLOSE:
        return json.dumps({"met": "yes"})
    message = next(islice(honest(TASKS[number]), said, None), "")
    if number in LEAKING and said:
        message += " It is order O-99999."
    answer = {"message": message or "Thank you."}
    return json.dumps(answer if wish == OPEN else answer | {"next": "goes_on" if message else "finished"})


def _agent(number: int | None, done: int) -> dict[str, Any]:
    """Return an agent's step; before it knows whom it speaks to, all begin alike."""
    task = TASKS[number or 0]
    steps = right(task, closing="It is done." if number in SILENT else "")
    step = next(islice(steps, done, None), "Is there anything else?")
    if number in IDLE and done:
        step = "That is done."
    return {"call": _call(step)} if isinstance(step, ToolCall) else {"say": step}


def _call(step: ToolCall) -> dict[str, Any]:
    return {"name": step.name, "arguments": dict(step.arguments)}


def _email(task: ToolTask) -> str:
    return task.scenario.known["e-mail address"]

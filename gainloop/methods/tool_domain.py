"""Tools, agents and tasks that are evolved from a text about a domain, in three stages."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from gainloop.asking.conversation import Conversation, after, ask, beside, side_by_side
from gainloop.asking.structured import (
    distinct,
    list_of,
    object_of,
    object_schema,
    one_of,
    read_object,
    read_passage,
    read_text,
    read_texts,
    text_of,
)
from gainloop.tools.task import Scenario
from gainloop.tools.tool import Tool
from gainloop.tools.world import State
from schemas.errors import BadInput
from schemas.rows import Anchor, Drop, Request

LIST: Final = (
    "A computer system could help with what the document is about. List {most} tools of it that an assistant could "
    "call: some look things up, some change something. Give each a name of two or three words and one sentence on what "
    "it does. Answer as JSON with the tools."
)
SPECIFY: Final = (
    "The draft lists the tools of a computer system for what the document is about. Say of the tool {name} which "
    "arguments it takes, {most} at most, and which fields its result has, {most} at most: name, type, and in a few "
    "words what it is. Answer as JSON with arguments and result."
)
EMPLOY: Final = (
    "The draft lists the tools of a computer system for what the document is about. Describe {most} assistants that "
    "work with it, for different kinds of user: the rules that the assistant must keep, and the tools that it has. "
    "Answer as JSON with the assistants."
)
SET: Final = (
    "The draft describes an assistant and its tools. Invent a user who comes to it with a wish of difficulty {level} "
    "of {most}, where 1 takes a single call, and the hardest takes several tools in turn and a fact that the user does "
    "not know. Say who the user is, what it wants, the facts that it knows and those that it does not, what the system "
    "has stored about it, and what a good conversation must achieve, in points that can be checked. Answer as JSON."
)

Type = Literal["boolean", "integer", "number", "string"]
TYPES: Final[tuple[Type, ...]] = get_args(Type)
MOST_FIELDS: Final = 4
MOST_FACTS: Final = 4
MOST_POINTS: Final = 3

_NOT_WORD = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Agent:
    """An assistant: its rules and its tools."""

    policy: str
    tools: tuple[Tool, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """A task that was evolved: a scenario, what the system has stored, and what a judge looks for."""

    agent: Agent
    scenario: Scenario
    state: State
    rubric: tuple[str, ...]
    level: int


def evolve_tools(anchor: Anchor, most: int) -> Conversation[tuple[list[Tool], list[Drop]]]:
    """Return the tools of a domain, and the replies that gave none: first a list, then the schemas of each."""
    listed = yield from ask(anchor, ask_tools(anchor, most), read_listed)
    if isinstance(listed, Drop):
        return [], [listed]
    named = listed.value[:most]
    draft = "\n".join(f"{name}: {about}" for name, about in named)
    found = yield from side_by_side([_specify(anchor, draft, name, about) for name, about in named])
    tools = [one for one in found if isinstance(one, Tool)]
    return tools, [one for one in found if isinstance(one, Drop)]


def _specify(anchor: Anchor, draft: str, name: str, about: str) -> Conversation[Tool | Drop]:
    request = ask_schemas(anchor, draft, name)
    found = yield from ask(anchor, request, lambda text: read_tool(name, about, text))
    return found if isinstance(found, Drop) else found.value


def evolve_agents(anchor: Anchor, tools: Sequence[Tool], most: int) -> Conversation[list[Agent] | Drop]:
    """Return assistants for some tools; a drop if none can be read."""
    found = yield from ask(anchor, ask_agents(anchor, tools, most), lambda text: read_agents(text, tools))
    return found if isinstance(found, Drop) else found.value[:most]


def evolve_wishes(anchor: Anchor, agents: Sequence[Agent], levels: int) -> Conversation[list[Wish | Drop]]:
    """Return a task of every level for every assistant, or the drop of a reply that gave none."""
    return (
        yield from side_by_side(
            [
                _set(anchor, number, agent, level, levels)
                for number, agent in enumerate(agents)
                for level in range(1, levels + 1)
            ]
        )
    )


def _set(anchor: Anchor, number: int, agent: Agent, level: int, levels: int) -> Conversation[Wish | Drop]:
    request = ask_wish(anchor, number, agent, level, levels)
    found = yield from ask(anchor, request, lambda text: read_wish(text, agent, level))
    return found if isinstance(found, Drop) else found.value


def ask_tools(anchor: Anchor, most: int) -> Request:
    """Ask for the names of tools that a domain needs."""
    tool = object_schema({"name": text_of(40), "does": text_of(120)})
    prompt = after(anchor.text, LIST.format(most=most), anchor.title)
    return Request(prompt, "tools", object_of(tools=list_of(tool, 1, most)))


def read_listed(text: str) -> list[tuple[str, str]] | None:
    """Return names and descriptions of tools, each name once and as code has it; None if there are none.

    >>> read_listed('{"tools": [{"name": "Find a boat", "does": "Finds boats."}, {"name": "Sail"}]}')
    [('find_a_boat', 'Finds boats.')]
    """
    listed = (read_object(text) or {}).get("tools")
    found: dict[str, str] = {}
    for one in listed if isinstance(listed, list) else ():
        name, about = (
            (read_text(one.get("name")), read_text(one.get("does"))) if isinstance(one, dict) else (None, None)
        )
        if name and about and len(name) <= 80 and len(about) <= 240 and (word := as_name(name)):
            found.setdefault(word, about)
    return list(found.items()) or None


def as_name(text: str) -> str:
    """Return a text as the name of a tool or an argument; empty if there is nothing left of it.

    >>> as_name("Find a boat!"), as_name("7 days"), as_name("\\u4e2d")
    ('find_a_boat', 'n7_days', '')
    """
    word = _NOT_WORD.sub("_", text.casefold()).strip("_")[:60].rstrip("_")
    return f"n{word}" if word[:1].isdigit() else word


def ask_schemas(anchor: Anchor, draft: str, name: str) -> Request:
    """Ask for the arguments and the result of one tool."""
    one = object_schema({"name": text_of(30), "type": one_of(*TYPES), "is": text_of(60)})
    schema = object_of(arguments=list_of(one, 1, MOST_FIELDS), result=list_of(one, 1, MOST_FIELDS))
    prompt = beside(anchor, draft, SPECIFY.format(name=name, most=MOST_FIELDS))
    return Request(prompt, f"tool {name}", schema)


def read_tool(name: str, about: str, text: str) -> Tool | None:
    """Return the tool that a reply specifies; None if it gives no arguments or no result."""
    found = read_object(text) or {}
    takes, gives = (_fields(found.get(key)) for key in ("arguments", "result"))
    if not takes or not gives:
        return None
    try:
        return Tool(name, about, object_schema(takes), object_schema(gives))
    except BadInput:
        return None


def _fields(listed: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in listed[:MOST_FIELDS] if isinstance(listed, list) else ():
        name, about = (read_text(one.get("name")), read_text(one.get("is"))) if isinstance(one, dict) else (None, None)
        if name and about and len(about) <= 240 and one.get("type") in TYPES and (word := as_name(name)):
            bound = {"maxLength": 200} if one["type"] == "string" else {}
            found.setdefault(word, {"type": one["type"], "description": about} | bound)
    return found


def ask_agents(anchor: Anchor, tools: Sequence[Tool], most: int) -> Request:
    """Ask for assistants that each have some of the tools."""
    names = [one.name for one in tools]
    chosen = list_of(one_of(*names), 1, len(names))
    schema = object_of(assistants=list_of(object_schema({"rules": text_of(300), "tools": chosen}), 1, most))
    return Request(
        beside(anchor, show_tools(tools), EMPLOY.format(most=most)), "agents", schema, reply_tokens=80 * most
    )


def read_agents(text: str, tools: Sequence[Tool]) -> list[Agent] | None:
    """Return the assistants of a reply, each with rules of its own and one tool at least; None if there are none."""
    named = {one.name: one for one in tools}
    listed = (read_object(text) or {}).get("assistants")
    found: dict[str, Agent] = {}
    for one in listed if isinstance(listed, list) else ():
        rules = read_passage(one.get("rules")) if isinstance(one, dict) else None
        chosen = [name for name in read_texts(one.get("tools")) or [] if name in named] if rules else []
        if rules and chosen and len(rules) <= 1200:
            found.setdefault(rules, Agent(rules, tuple(named[name] for name in chosen)))
    return list(found.values()) or None


def ask_wish(anchor: Anchor, number: int, agent: Agent, level: int, levels: int) -> Request:
    """Ask for a user with a wish of a level of difficulty."""
    fact = object_schema({"name": text_of(30), "value": text_of(60)})
    schema = object_of(
        persona=text_of(120),
        wants=text_of(200),
        knows=list_of(fact, 1, MOST_FACTS),
        does_not_know=list_of(text_of(40), 0, 2),
        stored=list_of(fact, 1, MOST_FACTS),
        points=list_of(text_of(100), 1, MOST_POINTS),
    )
    draft = f"{agent.policy}\n{show_tools(agent.tools)}"
    return Request(beside(anchor, draft, SET.format(level=level, most=levels)), f"task {number + 1}.{level}", schema)


def read_wish(text: str, agent: Agent, level: int) -> Wish | None:
    """Return the task of a reply; None if it lacks a user, a wish, a fact or a point."""
    found = read_object(text) or {}
    persona, wants = read_text(found.get("persona")), read_text(found.get("wants"))
    points = read_texts(found.get("points"), MOST_POINTS, 400)
    knows, stored = _facts(found.get("knows")), _facts(found.get("stored"))
    unknown = read_texts(found.get("does_not_know"), 2, 160)
    if not persona or not wants or not points or not knows or unknown is None or len(persona + wants) > 1200:
        return None
    scenario = Scenario(persona, wants, knows, dict.fromkeys(unknown, ""))
    return Wish(agent, scenario, dict(stored), tuple(distinct(points)), level)


def _facts(listed: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in listed[:MOST_FACTS] if isinstance(listed, list) else ():
        name, value = (
            (read_text(one.get("name")), read_text(one.get("value"))) if isinstance(one, dict) else (None, None)
        )
        if name and value and len(name) <= 60 and len(value) <= 200:
            found.setdefault(name, value)
    return found


def show_tools(tools: Sequence[Tool]) -> str:
    """Return tools one a line: name, arguments and description."""
    return "\n".join(f"{one.name}({', '.join(one.input_schema['properties'])}): {one.description}" for one in tools)

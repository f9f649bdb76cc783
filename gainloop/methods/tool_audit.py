"""Whether the user of a conversation kept to the scenario: what can be told without a judge."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from gainloop.measures.grounding import ungrounded
from gainloop.tools.task import Scenario
from schemas.conversation import Turn

ID_CHARS: Final = 4
"""Characters from which on a word of letters and digits is a name of one thing, which must be told as it is."""

_TOKEN = re.compile(r"[\w@.+-]+")
_LETTERS, _DIGITS = re.compile(r"[^\W\d_]"), re.compile(r"\d")


def broken_scenario(scenario: Scenario, turns: Sequence[Turn], tool_names: Sequence[str] = ()) -> str:
    """Return what a user says that it cannot know by its scenario and by what the agent told it, or nothing.

    That is a value that the scenario lists as unknown, a number, address or id that neither the scenario nor the agent
    has said, or the name of a tool. Tool results are not heard by users.

    >>> scenario = Scenario("A gardener.", "To cancel an order.", {"name": "Dorn"}, {"number of the order": "O-8354"})
    >>> broken_scenario(scenario, [Turn("user", "Cancel O-8354.")])
    'O-8354'
    >>> broken_scenario(scenario, [Turn("user", "Cancel."), Turn("assistant", "O-8354?"), Turn("user", "O-8354.")])
    ''
    """
    heard = " \n".join([*known_texts(scenario), ""])
    for turn in turns:
        if turn.role == "user" and (said := next(_unknown(scenario, turn.content, heard, tool_names), "")):
            return said
        if turn.role == "assistant":
            heard += f" \n{turn.content}"
    return ""


def known_texts(scenario: Scenario) -> list[str]:
    """Return what a user knows: the scenario without what it lists as unknown."""
    facts = [f"{name}: {value}" for name, value in scenario.known.items()]
    return [scenario.persona, scenario.reason, *facts, scenario.instructions]


def _unknown(scenario: Scenario, said: str, heard: str, tool_names: Sequence[str]) -> Iterator[str]:
    words, known = f" {' '.join(_words(said))} ", f" {' '.join(_words(heard))} "
    for value in scenario.unknown.values():
        bare = " ".join(_words(value))
        if bare and f" {bare} " in words and f" {bare} " not in known:
            yield value
    for name in tool_names:
        # The name of a tool that is an everyday word tells nobody what to call.
        if "_" in name and f" {name.casefold()} " in words:
            yield name
    for token in _words(said):
        is_id = "@" in token or (_LETTERS.search(token) and _DIGITS.search(token) and len(token) >= ID_CHARS)
        if is_id and f" {token} " not in known:
            yield token
    yield from (one for one in ungrounded(said, heard) if one[0].isdigit())


def _words(text: str) -> list[str]:
    return [word for token in _TOKEN.findall(text.casefold()) if (word := token.strip(".-+"))]

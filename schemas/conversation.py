"""Conversations: a record that is a list of turns, its checks, and the ``messages`` shape that is written of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

Role = Literal["system", "user", "assistant", "tool"]

ROLES: Final = get_args(Role)

THOUGHT: Final = ("<think>\n", "\n</think>\n\n")
"""What stands before and after a thought where a turn is one text, as most models that think write it."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool: its name, its arguments by name, and the id that its result refers to."""

    name: str
    arguments: Mapping[str, Any]
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation.

    Attributes:
        role: Whose turn it is.
        content: Text that is said, or the result of a call.
        thought: What an assistant thought before it, apart from what it says.
        calls: Calls of tools that an assistant makes.
        call_id: Of a tool's turn, the id of the call that it answers.
    """

    role: Role
    content: str = ""
    thought: str = ""
    calls: tuple[ToolCall, ...] = field(default=())
    call_id: str = ""

    @property
    def said(self) -> str:
        r"""Text of the turn with its thought between marks.

        >>> Turn("assistant", "7", thought="3 and 4.").said
        '<think>\n3 and 4.\n</think>\n\n7'
        """
        return f"{THOUGHT[0]}{self.thought}{THOUGHT[1]}{self.content}" if self.thought else self.content


def fault_of(turns: Sequence[Turn]) -> str:
    """Return what makes turns no conversation, or nothing where they are one.

    A conversation has an instruction, at most, then a user; every call is answered by a tool, in the order of the
    calls, before anybody else speaks; and the last word is the assistant's.

    >>> fault_of([Turn("user", "3 + 4?"), Turn("assistant", "7")])
    ''
    >>> fault_of([Turn("user", "3 + 4?")])
    'the last turn is of user, not of assistant'
    """
    if not turns:
        return "there is no turn"
    waiting: list[str] = []
    before = ""
    for number, turn in enumerate(turns, start=1):
        if fault := _fault_in(turn, before, waiting):
            return f"turn {number} {fault}"
        waiting = waiting[1:] if turn.role == "tool" else [call.call_id for call in turn.calls]
        before = turn.role
    if waiting:
        return f"the call {waiting[0]!r} has no result"
    return "" if before == "assistant" else f"the last turn is of {before}, not of assistant"


def _fault_in(turn: Turn, before: str, waiting: Sequence[str]) -> str:
    followers = {"": ("system", "user"), "system": ("user",), "user": ("assistant",), "assistant": ("user",)}
    allowed = ("tool",) if waiting else ("assistant",) if before == "tool" else followers.get(before, ())
    if turn.role not in allowed:
        return f"is of {turn.role}, where {' or '.join(allowed)} may speak"
    if turn.role == "tool":
        return "" if turn.call_id == waiting[0] else f"answers the call {turn.call_id!r}, not {waiting[0]!r}"
    if turn.role != "assistant" and (turn.thought or turn.calls):
        return f"is of {turn.role} and has a thought or calls, which only an assistant has"
    if len({call.call_id for call in turn.calls}) < len(turn.calls) or not all(call.call_id for call in turn.calls):
        return "has calls without ids of their own"
    return "" if turn.content.strip() or turn.calls else "says nothing"


def transcript(turns: Sequence[Turn]) -> str:
    r"""Return a conversation as one text to read: what records of text are compared, counted and shown by.

    >>> transcript([Turn("user", "3 + 4?"), Turn("assistant", "7", thought="Add.")])
    'user:\n3 + 4?\n\nassistant thinks:\nAdd.\n\nassistant:\n7'
    """
    return "\n\n".join(part for turn in turns for part in _parts_of(turn))


def _parts_of(turn: Turn) -> list[str]:
    thought = [f"{turn.role} thinks:\n{turn.thought}"] if turn.thought else []
    content = [f"{turn.role}:\n{turn.content}"] if turn.content or turn.role == "tool" else []
    return thought + content + [f"{turn.role} calls {call.name}:\n{_as_json(call.arguments)}" for call in turn.calls]


def as_messages(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return turns as ``messages``, the list of dicts that chat templates, datasets and servers take.

    >>> as_messages([Turn("user", "3 + 4?"), Turn("assistant", "7")])
    [{'role': 'user', 'content': '3 + 4?'}, {'role': 'assistant', 'content': '7'}]
    """
    return [_as_message(turn) for turn in turns]


def _as_message(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role, "content": turn.said}
    if turn.calls:
        message["tool_calls"] = [
            {"id": one.call_id, "type": "function", "function": {"name": one.name, "arguments": dict(one.arguments)}}
            for one in turn.calls
        ]
    if turn.call_id:
        message["tool_call_id"] = turn.call_id
    return message


def write_turns(turns: Sequence[Turn]) -> str:
    """Return turns as the JSON that the store has of them; empty for none."""
    return _as_json(as_messages(turns)) if turns else ""


def read_turns(written: str) -> tuple[Turn, ...]:
    """Return the turns that ``write_turns`` wrote.

    >>> turns = (Turn("user", "3 + 4?"), Turn("assistant", "7", thought="Add."))
    >>> read_turns(write_turns(turns)) == turns
    True
    """
    return read_messages(json.loads(written)) if written else ()


def read_messages(messages: object) -> tuple[Turn, ...]:
    """Return the turns of ``messages`` as files of conversations have them.

    Arguments of calls may be an object or, as servers send them, its JSON; a thought may stand between marks at the
    beginning of a content, or in ``reasoning_content``.

    Raises:
        ValueError: They are no list of messages; it says which and why. Whether they are a conversation is
            ``fault_of``'s to say.
    """
    if not isinstance(messages, list):
        raise ValueError(f"messages are {type(messages).__name__}, not a list")
    return tuple(_read_message(number, one) for number, one in enumerate(messages, start=1))


def _read_message(number: int, message: object) -> Turn:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise ValueError(f"message {number} has no role of {', '.join(ROLES)}")
    content = message.get("content") or ""
    if not isinstance(content, str):
        raise ValueError(f"message {number} has a content that is {type(content).__name__}, not a text")
    thought = message.get("reasoning_content") or ""
    if not thought and message["role"] == "assistant":
        thought, content = _part(content)
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise ValueError(f"message {number} has tool_calls that are {type(calls).__name__}, not a list")
    calls = tuple(_read_call(number, one) for one in calls)
    return Turn(message["role"], content, str(thought), calls, str(message.get("tool_call_id") or ""))


def _part(content: str) -> tuple[str, str]:
    r"""Return the thought that a content begins with, if it is closed, and what is said after it.

    >>> _part("<think>\nAdd.\n</think>\n\n7"), _part("<think>Add.</think>7"), _part("<think>Add.")
    (('Add.', '7'), ('Add.', '7'), ('', '<think>Add.'))
    """
    if content.startswith(THOUGHT[0]) and THOUGHT[1] in content:  # as ``said`` writes it, to the letter
        thought, _, said = content.removeprefix(THOUGHT[0]).partition(THOUGHT[1])
        return thought, said
    begin, _, rest = content.lstrip().partition("<think>")
    thought, closed, said = rest.partition("</think>")
    return (thought.strip(), said.strip()) if closed and not begin else ("", content)


def _read_call(number: int, call: Any) -> ToolCall:
    try:
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"message {number} has a call without a function, its name and its arguments") from error
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(f"message {number} has a call whose name is no text, or whose arguments are no object")
    return ToolCall(name, arguments, str(call.get("id") or ""))


def _as_json(value: object) -> str:
    return json.dumps(dict(value) if isinstance(value, Mapping) else value, ensure_ascii=False)

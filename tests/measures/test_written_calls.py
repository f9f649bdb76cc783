"""Calls that a model writes as text: three syntaxes, and what is refused."""

import json
from pathlib import Path

import pytest

from gainloop.measures.written_calls import MOST_CHARS, MOST_DEPTH, read_calls
from schemas.conversation import ToolCall

RIGHT = (ToolCall("mill.grind", {"corn": "rye", "sacks": [1, -2.5, {"full": True, "of": None}]}), ToolCall("stop", {}))


def as_json(call: ToolCall) -> str:
    return json.dumps({"name": call.name, "arguments": call.arguments})


PYTHON = 'mill.grind(corn="rye", sacks=(1, -2.5, {"full": True, "of": None}))'


@pytest.mark.parametrize(
    "text",
    [
        f"[{PYTHON}, stop()]",
        f"```python\n[{PYTHON}, stop()]\n```",
        f"{PYTHON}\nstop()",
        f"{PYTHON}, stop()",
        f"[{as_json(RIGHT[0])}, {as_json(RIGHT[1])}]",
        f"```json\n[{as_json(RIGHT[0])}, {as_json(RIGHT[1])}]\n```",
        f"<tool_call>\n{as_json(RIGHT[0])}\n</tool_call>\n<tool_call>\n{as_json(RIGHT[1])}\n</tool_call>",
        f"I call two. <tool_call>{as_json(RIGHT[0])}</tool_call> Then: <tool_call>{as_json(RIGHT[1])}",
        json.dumps({"tool_calls": [{"function": {"name": c.name, "arguments": dict(c.arguments)}} for c in RIGHT]}),
        json.dumps([{"name": c.name, "parameters": json.dumps(c.arguments)} for c in RIGHT]),
    ],
)
def test_calls_are_read_in_every_syntax(text: str) -> None:
    assert read_calls(text) == RIGHT


@pytest.mark.parametrize("text", ["", "No function fits.", "[]", "Call stop() now.", "f (x) is even.", "42"])
def test_prose_and_an_empty_list_make_no_call(text: str) -> None:
    assert read_calls(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "[stop()",
        "stop(1)",
        "stop(**{'a': 1})",
        "stop(a=1, a=2)",
        "stop(a=b)",
        "stop(a=now())",
        "stop(a=1 + 1)",
        "stop(a=f'{1}')",
        "stop(a=b'1')",
        "stop(a=1j)",
        "stop(a={1: 2})",
        "stop(a={1, 2})",
        "stop(a=...)",
        "stop(a=-True)",
        "stop()()",
        "stop(); import os",
        "[x for x in y]",
        "stop(a=__import__('os').system('true'))",
        '{"name": "stop"}',
        '{"name": 7, "arguments": {}}',
        '{"name": "stop", "arguments": [1]}',
        '{"name": "stop", "arguments": {"a": 1, "a": 2}}',
        "[1, 2]",
        "<tool_call>stop</tool_call>",
        "<tool_call></tool_call>",
        "stop(a='\udc80')",
        "stop(a=" + "9" * 5000 + ")",
    ],
)
def test_what_begins_as_calls_do_and_is_none_cannot_be_read(text: str) -> None:
    assert read_calls(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "stop(a=" + "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1) + ")",
        "stop(a=" + "[" * 5000,
        "stop(a=" + "-" * 9000 + "1)",
        "stop(a=" + "1+" * 9000 + "1)",
        "stop(a=1" + " if 1 else 1" * 1600 + ")",
        "stop" + "()" * 9000,
        "stop(a" + ".a" * 9000 + ")",
        '{"name": "stop", "arguments": {"a": ' + "[" * 9000,
        '{"name": "stop", "arguments": {"a": ' + "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1) + "}}",
        "stop(a='" + "x" * MOST_CHARS + "')",
        "<tool_call>" * 90_000,
    ],
)
def test_what_is_too_long_or_too_deep_cannot_be_read_and_breaks_nothing(text: str) -> None:
    assert read_calls(text) is None


def test_the_accepted_answers_of_bfcl_are_read_back_as_they_were_written(shared_data: Path) -> None:
    rows = [
        json.loads(line)
        for path in sorted((shared_data / "bfcl" / "possible_answer").glob("*.json"))
        for line in path.read_text().splitlines()
    ]
    for row in rows:
        calls = [
            ToolCall(name, {key: some[-1] for key, some in accepted.items()})
            for call in row["ground_truth"]
            for name, accepted in call.items()
        ]
        written = ", ".join(
            f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})" for call in calls
        )
        assert read_calls(f"[{written}]") == tuple(calls), row["id"]
        assert read_calls(f"[{', '.join(map(as_json, calls))}]") == tuple(calls), row["id"]

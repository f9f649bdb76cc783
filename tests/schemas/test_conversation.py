import json
from typing import Any

import pytest

from schemas.conversation import (
    ToolCall,
    Turn,
    as_messages,
    fault_of,
    read_messages,
    read_turns,
    transcript,
    write_turns,
)

ASKED = Turn("user", "Is room 7 free?")
CALLED = Turn("assistant", calls=(ToolCall("find_room", {"number": 7, "of": {"floor": 2}}, "c1"),), thought="Look.")
FOUND = Turn("tool", '{"free": true}', call_id="c1")
TOLD = Turn("assistant", "It is.")


def test_a_conversation_comes_back_from_the_store_as_it_was_written() -> None:
    turns = (Turn("system", "You book rooms."), ASKED, CALLED, FOUND, TOLD)

    assert fault_of(turns) == ""
    assert read_turns(write_turns(turns)) == turns
    assert write_turns(()) == ""
    assert read_turns("") == ()


def test_messages_are_in_the_shape_that_servers_and_templates_take() -> None:
    _, called, found, _ = as_messages([ASKED, CALLED, FOUND, TOLD])

    (call,) = called["tool_calls"]
    assert call["function"] == {"name": "find_room", "arguments": {"number": 7, "of": {"floor": 2}}}
    assert (call["id"], call["type"], found["tool_call_id"]) == ("c1", "function", "c1")
    assert called["content"].startswith("<think>\nLook.\n</think>")


def test_arguments_that_a_server_sent_as_text_and_thoughts_apart_are_read() -> None:
    function = {"name": "find_room", "arguments": json.dumps({"number": 7})}
    sent: list[dict[str, Any]] = [
        {"role": "user", "content": "Is it?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "function": function}]},
        {"role": "tool", "content": "{}", "tool_call_id": "c1"},
        {"role": "assistant", "content": "Yes.", "reasoning_content": "It is free."},
    ]
    turns = read_messages(sent)

    assert turns[1].calls == (ToolCall("find_room", {"number": 7}, "c1"),)
    assert turns[3] == Turn("assistant", "Yes.", thought="It is free.")
    assert fault_of(turns) == ""


@pytest.mark.parametrize(
    ("turns", "fault"),
    [
        ([], "there is no turn"),
        ([ASKED], "the last turn is of user, not of assistant"),
        ([TOLD], "turn 1 is of assistant, where system or user may speak"),
        ([ASKED, ASKED], "turn 2 is of user, where assistant may speak"),
        ([ASKED, Turn("assistant", " ")], "turn 2 says nothing"),
        ([ASKED, TOLD, FOUND], "turn 3 is of tool, where user may speak"),
        ([ASKED, CALLED, TOLD], "turn 3 is of assistant, where tool may speak"),
        ([ASKED, CALLED], "the call 'c1' has no result"),
        ([ASKED, CALLED, Turn("tool", "{}", call_id="c2")], "turn 3 answers the call 'c2', not 'c1'"),
        ([ASKED, Turn("assistant", calls=(ToolCall("a", {}), ToolCall("b", {})))], "turn 2 has calls without ids"),
        ([Turn("user", "So?", thought="Hm.")], "turn 1 is of user and has a thought or calls"),
    ],
)
def test_turns_that_are_no_conversation_have_a_fault_that_says_which(turns: list[Turn], fault: str) -> None:
    assert fault_of(turns).startswith(fault)


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        ({"role": "user"}, "messages are dict, not a list"),
        ([{"role": "human", "content": "So?"}], "message 1 has no role of system, user"),
        ([{"role": "user", "content": [{"type": "image"}]}], "message 1 has a content that is list"),
        ([{"role": "assistant", "tool_calls": 1}], "message 1 has tool_calls that are int, not a list"),
        ([{"role": "assistant", "tool_calls": {"id": "1"}}], "message 1 has tool_calls that are dict, not a list"),
        ([{"role": "assistant", "tool_calls": [1]}], "message 1 has a call without a function"),
        ([{"role": "assistant", "tool_calls": [{"id": "1"}]}], "message 1 has a call without a function"),
        ([{"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "[1]"}}]}], "message 1 has a"),
    ],
)
def test_messages_of_another_shape_are_refused_and_the_message_is_named(messages: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_messages(messages)


@pytest.mark.parametrize(
    "content", ["<think>\nAdd.\n</think>\n\n7", "<think>Add.</think>7", " <think>\n Add.\n</think>\n7\n"]
)
def test_a_thought_is_set_apart_however_it_is_closed(content: str) -> None:
    (turn,) = read_messages([{"role": "assistant", "content": content}])
    assert (turn.thought, turn.content) == ("Add.", "7")


def test_a_thought_that_is_not_closed_is_what_was_said() -> None:
    for content in ("<think>Add.", "7 <think>Add.</think>"):
        (turn,) = read_messages([{"role": "assistant", "content": content}])
        assert (turn.thought, turn.content) == ("", content)


def test_a_transcript_shows_every_turn_call_and_result() -> None:
    assert transcript([ASKED, CALLED, FOUND, TOLD]) == (
        "user:\nIs room 7 free?\n\nassistant thinks:\nLook.\n\n"
        'assistant calls find_room:\n{"number": 7, "of": {"floor": 2}}\n\ntool:\n{"free": true}\n\nassistant:\nIt is.'
    )

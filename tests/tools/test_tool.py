import json
import socket
from pathlib import Path
from typing import Any

import pytest

from gainloop.tools.tool import Tool, fault_by, read_tool_file, read_tools, tools_id
from schemas.errors import BadInput

TAKES = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "how": {"type": "string", "enum": ["fast", "slow"]}},
    "required": ["id"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "listed",
    [
        [{"type": "function", "function": {"name": "get", "description": "Get.", "parameters": TAKES}}],
        {"tools": [{"name": "get", "description": "Get.", "inputSchema": TAKES}]},
        {"name": "get", "description": "Get.", "parameters": TAKES | {"type": "dict"}, "response": {}},
    ],
    ids=["openai", "mcp", "bfcl"],
)
def test_the_same_tool_is_read_from_every_shape(listed: Any, tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(json.dumps(listed))

    assert read_tools(listed, "reading") == read_tool_file(tmp_path / "tools.json") == [Tool("get", "Get.", TAKES)]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"id": 7}, ""),
        ({"id": 7, "how": "fast"}, ""),
        ({}, "'id' is a required property"),
        ({"id": "7"}, "id: '7' is not of type 'integer'"),
        ({"id": 7, "how": "later"}, "how: 'later' is not one of ['fast', 'slow']"),
        ({"id": 7, "who": 1}, "Additional properties are not allowed ('who' was unexpected)"),
        ([7], "[7] is not of type 'object'"),
    ],
)
def test_arguments_are_held_to_the_schema(arguments: Any, fault: str) -> None:
    assert Tool("get", "", TAKES).argument_fault(arguments) == fault


def test_nested_objects_are_checked_to_any_depth() -> None:
    inner: dict[str, Any] = {"type": "integer"}
    for _ in range(20):
        inner = {"type": "object", "properties": {"a": inner}, "required": ["a"], "additionalProperties": False}
    value: Any = "7"
    for _ in range(20):
        value = {"a": value}

    assert "is not of type 'integer'" in Tool("deep", "", inner).argument_fault(value)


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"type": "object", "properties": {"a": {"$ref": "http://example.org/a.json"}}}, "refers to 'http://example"),
        ({"$id": "file:///etc/passwd", "type": "object"}, "refers to 'file:///etc/passwd'"),
        ({"type": "object", "properties": {"a": {"type": "strnig"}}}, "a schema is none"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/gone"}}, "required": ["a"]}, None),
        ({"type": "string"}, "its arguments are of type 'string'"),
        ({"type": "object", "patternProperties": {"(a+)+$": {}}}, "patternProperties"),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "type": "object"}, "another dialect"),
    ],
)
def test_a_schema_that_is_none_or_points_outside_is_refused(schema: Any, found: str | None) -> None:
    if found is None:  # a part that no value of its own leads to is found when it is used
        with pytest.raises(Exception, match="gone"):
            Tool("get", "", schema).argument_fault({"a": 1})
        return
    with pytest.raises(BadInput, match="making tool 'get'") as refusal:
        Tool("get", "", schema)
    assert found in str(refusal.value)


def test_no_schema_ever_reaches_the_net(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_arguments: Any, **_named: Any) -> None:
        raise AssertionError("it opened a connection")

    monkeypatch.setattr(socket, "create_connection", forbid)
    own = {"$defs": {"n": {"type": "integer"}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}}

    assert Tool("get", "", own).argument_fault({"a": "x"}) == "a: 'x' is not of type 'integer'"
    with pytest.raises(BadInput):
        Tool("get", "", {"type": "object", "properties": {"a": {"$ref": "https://example.org/s"}}})


def test_a_pattern_that_would_take_for_ever_is_a_fault_in_bounded_time() -> None:
    tool = Tool("get", "", {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a|aa)+$"}}})

    assert "does not match" in tool.argument_fault({"a": "a" * 60 + "b"})
    assert "does not match" in tool.argument_fault({"a": "a" * 1_000_000})
    assert tool.argument_fault({"a": "aaa"}) == ""


@pytest.mark.parametrize("value", [json.loads("[" * 900 + "]" * 900), {"a": [[[{}]]] * 3}])
def test_a_value_nested_too_deep_is_a_fault_not_an_error(value: Any) -> None:
    assert ("deep" in fault_by({}, value)) == isinstance(value, list)


@pytest.mark.parametrize(
    "listed", [[], {}, 7, "get", [7], [{"name": "get"}, {"name": "get"}], [{"name": "a b"}], [{"description": "x"}]]
)
def test_what_lists_no_tools_is_refused(listed: Any) -> None:
    with pytest.raises(BadInput, match="reading tools"):
        read_tools(listed, "reading tools")


def test_a_file_that_is_no_json_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"name": "get"')
    for name in ("a.json", "b.json"):
        with pytest.raises(BadInput, match=f"reading tools .*{name}"):
            read_tool_file(tmp_path / name)


def test_tools_are_named_by_what_a_model_sees_of_them() -> None:
    assert tools_id([Tool("get", "", TAKES)]) == tools_id([Tool("get", "", dict(reversed(TAKES.items())))])
    assert tools_id([Tool("get", "", TAKES)]) != tools_id([Tool("get", "Get.", TAKES)])


def test_every_function_of_bfcl_is_read_and_its_own_answers_are_allowed(shared_data: Path) -> None:
    folder = shared_data / "bfcl"
    num_tools = sum(len(read_tool_file(path)) for path in sorted((folder / "multi_turn_func_doc").glob("*.json")))
    assert num_tools == 162

    rows = [json.loads(line) for line in (folder / "BFCL_v4_simple_python.json").read_text().splitlines()]
    answers = [
        json.loads(one) for one in (folder / "possible_answer/BFCL_v4_simple_python.json").read_text().splitlines()
    ]
    faults = []
    for row, answer in zip(rows, answers, strict=True):
        (tool,) = read_tools(row["function"], f"reading {row['id']}")
        ((_, accepted),) = answer["ground_truth"][0].items()
        arguments = {name: values[0] for name, values in accepted.items() if values[0] != ""}
        if any(
            isinstance(one, dict) or (isinstance(one, list) and one and isinstance(one[0], dict))
            for one in arguments.values()
        ):
            continue  # answers list accepted values at every level there
        faults += [(row["id"], fault)] if (fault := tool.argument_fault(arguments)) else []
    assert len(faults) <= 12, faults  # answers that their own schema forbids

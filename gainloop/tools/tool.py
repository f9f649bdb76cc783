"""Tools as models see them: a name, a description, and JSON Schemas of arguments and results; read from files."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import regex
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from schemas.errors import BadInput
from schemas.rows import content_hash

Schema = Mapping[str, Any]

ANY_OBJECT: Final[Schema] = {"type": "object"}
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
PATTERN_CHARS: Final = 1000
"""Characters of a text that a schema's pattern is tried on, at most."""
PATTERN_SECONDS: Final = 0.5
DEPTH: Final = 64
"""Objects and lists in each other that a schema or a value may have."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_TYPES: Final = {"dict": "object", "float": "number", "tuple": "array", "list": "array", "str": "string"}
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


def _matches(_validator: object, pattern: str, text: object, _schema: object) -> Iterator[ValidationError]:
    """Refuse a text that does not match a schema's pattern, in bounded time whatever the pattern is."""
    if not isinstance(text, str):
        return
    try:
        if len(text) <= PATTERN_CHARS and regex.search(pattern, text, timeout=PATTERN_SECONDS):
            return
    except TimeoutError:
        pass
    yield ValidationError(f"{text[:40]!r} does not match {pattern!r}")


_Validator: Any = extend(Draft202012Validator, {"pattern": _matches})  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. Its schemas are JSON Schema 2020-12, checked when it is made; a schema of no result allows any.

    Raises:
        BadInput: The name cannot be one, a schema is none, allows other arguments than an object, or refers to
            something outside itself.
    """

    name: str
    description: str = ""
    input_schema: Schema = field(default_factory=lambda: ANY_OBJECT)
    output_schema: Schema = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise _refusal(self.name, "its name is not a word", "letters, digits, _ . - are allowed", "Rename it")
        for schema in (self.input_schema, self.output_schema):
            _require_schema(self.name, schema)
        if self.input_schema.get("type") != "object":
            found = f"its arguments are of type {self.input_schema.get('type')!r}"
            raise _refusal(self.name, found, "an object is allowed", "Mend its schema")

    def argument_fault(self, arguments: object) -> str:
        """Return what is wrong with the arguments of a call; nothing if the schema allows them.

        >>> tool = Tool("get", input_schema={"type": "object", "required": ["id"]})
        >>> tool.argument_fault({"id": 7}), tool.argument_fault({})
        ('', "'id' is a required property")
        """
        return fault_by(self.input_schema, arguments)

    def result_fault(self, result: object) -> str:
        """Return what is wrong with a result; nothing if the schema allows it."""
        return fault_by(self.output_schema, result)

    def as_json(self) -> dict[str, Any]:
        """Return the tool in the shape of MCP's ``tools/list``."""
        shown: dict[str, Any] = {"name": self.name, "description": self.description, "inputSchema": self.input_schema}
        return shown | ({"outputSchema": self.output_schema} if self.output_schema else {})


def tools_id(tools: Sequence[Tool]) -> str:
    """Return the hash of some tools' names, words and schemas."""
    return content_hash("tools", [one.as_json() for one in tools])


def fault_by(schema: Schema, value: object) -> str:
    """Return the first fault of a value by a schema, and where it is; nothing if there is none.

    >>> fault_by({"type": "object", "properties": {"n": {"type": "integer"}}}, {"n": "7"})
    "n: '7' is not of type 'integer'"
    """
    if _depth(value) > DEPTH:
        return f"it is nested more than {DEPTH} deep"
    try:
        faults = sorted(
            _Validator(schema, registry=Registry()).iter_errors(value), key=lambda one: list(map(str, one.path))
        )
    except RecursionError:
        return "it is nested too deep"
    if not faults:
        return ""
    place = ".".join(map(str, faults[0].absolute_path))
    return f"{place}: {faults[0].message}"[:300] if place else faults[0].message[:300]


def read_tools(found: object, attempt: str) -> list[Tool]:
    """Return the tools that a value of JSON lists: as OpenAI's ``tools``, as MCP's ``tools/list``, as BFCL's functions.

    Args:
        attempt: Words for what is read, for messages.

    Raises:
        BadInput: It lists no tools, or one that cannot be one, or two of a name.
    """
    listed = found.get("tools", [found]) if isinstance(found, dict) else found
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise BadInput(
            f"{attempt}: no list of tools was found; a list of objects with a name and a schema, or an object that has "
            "one as tools, is allowed. Mend it."
        )
    tools = [_read_tool(one, attempt) for one in listed]
    names = [one.name for one in tools]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadInput(f"{attempt}: {', '.join(twice)} stands twice; a name is allowed once. Rename one of them.")
    return tools


def read_tool_file(path: Path) -> list[Tool]:
    """Return the tools of a file: one JSON value, or one tool a line.

    Raises:
        BadInput: It cannot be read, or holds no tools.
    """
    attempt = f"reading tools {path}"
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{attempt}: {error}; a file of JSON in UTF-8 is allowed. Correct its name.") from error
    try:
        try:
            return read_tools(json.loads(text), attempt)
        except json.JSONDecodeError:
            return read_tools([json.loads(line) for line in text.splitlines() if line.strip()], attempt)
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{attempt}: it is no JSON; one value, or one object a line, is allowed. Mend it.") from error


def _read_tool(one: dict[str, Any], attempt: str) -> Tool:
    one = one["function"] if isinstance(one.get("function"), dict) else one
    takes = one.get("inputSchema") or one.get("input_schema") or one.get("parameters") or ANY_OBJECT
    gives = one.get("outputSchema") or one.get("output_schema") or one.get("response") or {}
    try:
        return Tool(str(one.get("name") or ""), str(one.get("description") or ""), _standard(takes), _standard(gives))
    except (BadInput, RecursionError) as error:
        raise BadInput(f"{attempt}: {error}") from error


def _standard(schema: object) -> Any:
    """Return a schema in the dialect's words: BFCL writes dict, float, tuple and any, older ones lists of items."""
    if isinstance(schema, list):
        return [_standard(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _standard(part) for name, part in schema.items() if not (name == "type" and part == "any")}
    if isinstance(kept.get("type"), str):
        kept["type"] = _TYPES.get(kept["type"], kept["type"])
    if isinstance(kept.get("items"), list):
        kept["prefixItems"] = kept.pop("items")
    return kept


def _require_schema(name: str, schema: Schema) -> None:
    if not isinstance(schema, Mapping):
        raise _refusal(name, f"a schema is {type(schema).__name__}", "an object is allowed", "Mend its schema")
    if _depth(schema) > DEPTH:
        raise _refusal(name, "a schema has parts nested too deep", f"{DEPTH} deep is allowed", "Mend its schema")
    if outside := [one for one in _references(schema) if not one.startswith("#")]:
        found = f"a schema refers to {outside[0]!r}"
        raise _refusal(name, found, "only its own parts (#...) are allowed", "Put what it refers to into it")
    written = json.dumps(schema)
    if schema.get("$schema", DIALECT) != DIALECT or "patternProperties" in written:
        found = "a schema is of another dialect, or has patternProperties"
        raise _refusal(name, found, "JSON Schema 2020-12 without these is allowed", "Mend its schema")
    if message := _fault_of_schema(written):
        raise _refusal(name, f"a schema is none ({message})", "JSON Schema 2020-12 is", "Mend its schema")


@lru_cache(4096)  # the tools of a world are the same in all of its tasks
def _fault_of_schema(written: str) -> str:
    schema = json.loads(written)
    try:
        Draft202012Validator.check_schema(schema)
        list(_Validator(schema, registry=Registry()).iter_errors({}))
    except (SchemaError, Unresolvable, regex.error) as error:
        return str(getattr(error, "message", str(error)))[:200] or "it is not valid"
    return ""


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, Mapping):
        yield from (str(schema[name]) for name in _REFERENCES if isinstance(schema.get(name), str))
        if isinstance(schema.get("$id"), str):
            yield schema["$id"]
    for part in schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ():
        yield from _references(part)


def _depth(value: object) -> int:
    """Return how deep a value is nested, counted to just above ``DEPTH``."""
    layer, depth = [value], 0
    while layer and depth <= DEPTH:
        parts = [one.values() if isinstance(one, Mapping) else one for one in layer if isinstance(one, Mapping | list)]
        layer, depth = [inner for part in parts for inner in part], depth + 1
    return depth


def _refusal(name: str, found: str, allowed: str, advice: str) -> BadInput:
    return BadInput(f"making tool {name[:60]!r}: {found}; {allowed}. {advice}.")

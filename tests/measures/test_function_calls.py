"""Calls of functions against the accepted answers of BFCL, against mutations of them, and a matching by brute force."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gainloop.measures.function_calls import OMITTED, CallFault, Function, WantedCall, _matched, calls_fault
from schemas.conversation import ToolCall

Case = tuple[str, list[Function], list[WantedCall]]

PARTS = {"simple_python": 400, "multiple": 200, "parallel": 200}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def functions_of(row: dict[str, Any]) -> list[Function]:
    return [Function(one["name"], one["parameters"]) for one in row["function"]]


def cases(folder: Path, part: str) -> list[Case]:
    asked = {row["id"]: row for row in lines(folder / f"BFCL_v4_{part}.json")}
    found = []
    for row in lines(folder / "possible_answer" / f"BFCL_v4_{part}.json"):
        wanted = [WantedCall(name, accepted) for call in row["ground_truth"] for name, accepted in call.items()]
        found.append((row["id"], functions_of(asked[row["id"]]), wanted))
    return found


@pytest.fixture(scope="module")
def bfcl(shared_data: Path) -> list[Case]:
    return [case for part in PARTS for case in cases(shared_data / "bfcl", part)]


def made_of(accepted: Any) -> Any:
    """Return an accepted value as a call has it: the fields of an object have their first accepted values."""
    if isinstance(accepted, dict):
        return {name: made_of(some[0]) for name, some in accepted.items() if some[0] != OMITTED}
    return [made_of(one) for one in accepted] if isinstance(accepted, list) else accepted


def every_value(accepted: Any) -> Iterator[Any]:
    """Yield the values that an accepted one stands for: each accepted value of each field of an object once."""
    yield made_of(accepted)
    if isinstance(accepted, dict):
        for name, some in accepted.items():
            for value in some:
                rest = {key: one for key, one in made_of(accepted).items() if key != name}
                yield rest if value == OMITTED else rest | {name: made_of(value)}
    if isinstance(accepted, list):
        for at, one in enumerate(accepted):
            for value in every_value(one):
                yield [*map(made_of, accepted[:at]), value, *map(made_of, accepted[at + 1 :])]


def call_of(function: Function, wanted: WantedCall) -> ToolCall:
    """Return the call with the first value of each argument; one that is only accepted left out is left out."""
    given = {name: [one for one in some if one != OMITTED] for name, some in wanted.accepted.items()}
    return ToolCall(wanted.name, {name: made_of(some[0]) for name, some in given.items() if some})


def every_call(function: Function, wanted: WantedCall) -> Iterator[ToolCall]:
    """Yield calls in which each accepted value of each argument stands once, and each that may be left out is once."""
    first = call_of(function, wanted)
    yield first
    for name, accepted in wanted.accepted.items():
        for value in (one for some in accepted for one in every_value(some)):
            yield replace(first, arguments={**first.arguments, name: value})
        if OMITTED in accepted and name not in function.required:
            yield replace(first, arguments={key: value for key, value in first.arguments.items() if key != name})


def function_named(functions: list[Function], name: str) -> Function:
    return next(one for one in functions if one.name == name)


def right_calls(case: Case) -> list[ToolCall]:
    _, functions, wanted = case
    return [call_of(function_named(functions, one.name), one) for one in wanted]


def test_every_accepted_answer_of_bfcl_is_right_and_so_is_what_may_be_left_out(bfcl: list[Case]) -> None:
    num_calls = 0
    for case_id, functions, wanted in bfcl:
        first = [call_of(function_named(functions, one.name), one) for one in wanted]
        for number, right in enumerate(wanted):
            for call in every_call(function_named(functions, right.name), right):
                num_calls += 1
                given = [*first[:number], call, *first[number + 1 :]]
                assert calls_fault(functions, wanted, given[::-1]) is None, (case_id, call)
    assert len(bfcl) == sum(PARTS.values())
    assert num_calls == 7_032


def test_where_nothing_is_to_be_called_no_call_is_right_and_any_call_is_wrong(shared_data: Path) -> None:
    rows = lines(shared_data / "bfcl" / "BFCL_v4_irrelevance.json")

    assert [calls_fault(functions_of(row), [], []) for row in rows] == [None] * 240
    for row in rows:
        called = ToolCall(row["function"][0]["name"], {})
        assert calls_fault(functions_of(row), [], [called]) == CallFault("call_not_wanted", called.name)


def wrong_of(value: Any) -> Any:
    """Return a value of no type that a specification could mean by this one."""
    return {"within": value} if not isinstance(value, dict) else [value]


def mutated(case: Case, kind: str, rng: Random) -> tuple[list[ToolCall], CallFault] | None:
    """Return the right calls of a case with one of them spoilt, and why it is wrong; None if that cannot be."""
    _, functions, wanted = case
    calls = right_calls(case)
    at = rng.randrange(len(calls))
    call, function = calls[at], function_named(functions, wanted[at].name)
    properties = function.parameters["properties"]
    typed = [name for name in call.arguments if properties[name]["type"] != "any"]
    needed = [name for name in call.arguments if OMITTED not in wanted[at].accepted[name]]
    if (kind in ("missing", "renamed_argument") and not needed) or (kind in ("type", "nesting") and not typed):
        return None
    name = rng.choice(needed if kind in ("missing", "renamed_argument") else typed or needed)
    rest = {key: value for key, value in call.arguments.items() if key != name}
    match kind:
        case "missing":
            spoilt, fault = replace(call, arguments=rest), CallFault("missing_argument", call.name, name)
        case "extra":
            spoilt = replace(call, arguments={**call.arguments, "surplus": 1})
            fault = CallFault("unknown_argument", call.name, "surplus")
        case "type":
            spoilt = replace(call, arguments={**rest, name: wrong_of(call.arguments[name])})
            fault = CallFault("wrong_type", call.name, name)
        case "nesting":
            nested = next((key for key in typed if isinstance(call.arguments[key], list) and call.arguments[key]), None)
            if nested is None or not properties[nested].get("items", {}).get("type"):
                return None
            items = [[call.arguments[nested][0]], *call.arguments[nested][1:]]
            if properties[nested]["items"]["type"] in ("array", "list"):
                items = [{"within": items[0]}, *items[1:]]
            spoilt = replace(call, arguments={**call.arguments, nested: items})
            fault = CallFault("wrong_type", call.name, f"{nested}[0]")
        case "renamed_function":
            spoilt = replace(call, name=f"{call.name}_2")
            fault = CallFault("wrong_name", spoilt.name)
        case _:
            spoilt = replace(call, arguments={**rest, f"{name}_2": call.arguments[name]})
            fault = CallFault("missing_argument", call.name, name)
    return [*calls[:at], spoilt, *calls[at + 1 :]], fault


def test_three_hundred_spoilt_answers_are_refused_for_what_was_spoilt(bfcl: list[Case]) -> None:
    rng, told = Random("spoilt"), Counter[str]()
    kinds = ("missing", "extra", "type", "nesting", "renamed_function", "renamed_argument")
    for kind in kinds:
        while told[kind] < 50:
            case = rng.choice([one for one in bfcl if one[2]])
            if found := mutated(case, kind, rng):
                calls, fault = found
                assert calls_fault(case[1], case[2], calls) == fault, (case[0], kind)
                told[kind] += 1
    assert told.total() == 300


def test_a_value_that_is_not_accepted_is_named_by_where_it_stands(bfcl: list[Case]) -> None:
    by_id = {case[0]: case for case in bfcl}

    def fault(case_id: str, **arguments: Any) -> str:
        case = by_id[case_id]
        (call,) = right_calls(case)
        return str(calls_fault(case[1], case[2], [replace(call, arguments={**call.arguments, **arguments})]))

    assert fault("simple_python_260", area={"width": 20, "height": 13}) == (
        "wrong_value paint_requirement.calculate (area.height)"
    )
    assert fault("simple_python_260", area={"width": 20}).endswith("(area.height)")
    assert fault("simple_python_260", area={"width": 20, "height": 12, "depth": 1}).startswith("unknown_argument")
    assert fault("simple_python_260", area={"width": "20", "height": 12}).startswith("wrong_type")
    rows = [{"field": "age", "operation": ">", "value": "25"}, {"field": "job", "operation": "=", "value": "cook"}]
    assert fault("simple_python_96", conditions=rows) == "wrong_value database.query (conditions[1].value)"
    assert fault("simple_python_96", conditions=rows[:1]) == "wrong_value database.query (conditions)"
    assert fault("simple_python_122", table=[[10, 20], [30, 41]]).endswith("(table[1][1])")


DEEP = Function(
    "plan",
    {
        "type": "dict",
        "properties": {
            "trip": {
                "type": "dict",
                "properties": {
                    "stops": {
                        "type": "array",
                        "items": {
                            "type": "dict",
                            "properties": {"town": {"type": "string"}, "nights": {"type": "integer"}},
                            "required": ["town"],
                        },
                    },
                    "budget": {"type": "dict", "properties": {"most": {"type": "float"}}},
                },
                "required": ["stops"],
            }
        },
        "required": ["trip"],
    },
)
TRIP = {
    "stops": [[{"town": ["Ashby"], "nights": [2, OMITTED]}, {"town": ["Dunmere", "Dunmere (old)"], "nights": [1]}]],
    "budget": [{"most": [90.5, 90]}, OMITTED],
}


@pytest.mark.parametrize(
    ("trip", "fault"),
    [
        ({"stops": [{"town": "ASHBY"}, {"town": "dunmere old)(", "nights": 1}]}, "wrong_value (trip.stops[1].town)"),
        ({"stops": [{"town": "ashby"}, {"town": "Dunmere", "nights": 1}]}, ""),
        ({"stops": [{"town": "Ashby"}, {"town": "Dunmere", "nights": 1}], "budget": {"most": 90}}, ""),
        ({"stops": [{"nights": 2}, {"town": "Dunmere", "nights": 1}]}, "missing_argument (trip.stops[0].town)"),
        ({"stops": [{"town": "Ashby"}, {"town": "Dunmere"}]}, "missing_argument (trip.stops[1].nights)"),
        ({"stops": [{"town": "Ashby"}, {"town": "Dunmere", "nights": "1"}]}, "wrong_type (trip.stops[1].nights)"),
        ({"stops": [{"town": "Ashby"}, {"town": "Dunmere", "nights": True}]}, "wrong_type (trip.stops[1].nights)"),
        ({"stops": [{"town": "Ashby", "inn": 1}, {"town": "Dunmere"}]}, "unknown_argument (trip.stops[0].inn)"),
        ({"stops": [{"town": "Ashby"}, {"town": "Dunmere", "nights": 1}], "budget": 90}, "wrong_type (trip.budget)"),
        ({"budget": {"most": 90}}, "missing_argument (trip.stops)"),
    ],
)
def test_objects_within_lists_within_objects_are_checked(trip: dict[str, Any], fault: str) -> None:
    wanted = [WantedCall("plan", {"trip": [TRIP]})]
    found = calls_fault([DEEP], wanted, [ToolCall("plan", {"trip": trip})])

    assert (f"{found.reason} ({found.path})" if found else "") == fault


def test_a_whole_number_is_a_float_and_a_float_no_whole_number_and_a_truth_neither() -> None:
    function = Function("f", {"properties": {"n": {"type": "integer"}, "x": {"type": "float"}}})

    def reason(**arguments: Any) -> str:
        wanted = [WantedCall("f", {"n": [1, OMITTED], "x": [1.0, 1, OMITTED]})]
        found = calls_fault([function], wanted, [ToolCall("f", arguments)])
        return found.reason if found else ""

    assert [reason(n=1), reason(x=1), reason(x=1.0), reason(n=1, x=1)] == [""] * 4
    assert [reason(n=1.0), reason(n=True), reason(x=True), reason(x="1")] == ["wrong_type"] * 4
    assert [reason(n=2), reason(x=1.5)] == ["wrong_value"] * 2


def test_an_argument_that_must_not_be_given_is_unwanted_and_one_that_is_not_there_unknown() -> None:
    function = Function("f", {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a"]})
    wanted = [WantedCall("f", {"a": ["x"]})]

    assert calls_fault([function], wanted, [ToolCall("f", {"a": "x", "b": "y"})]) == ("unwanted_argument", "f", "b")
    assert calls_fault([function], wanted, [ToolCall("f", {"a": "x", "c": "y"})]) == ("unknown_argument", "f", "c")
    assert calls_fault([function], wanted, []) == ("no_call", "", "")
    assert calls_fault([function], wanted, [ToolCall("f", {"a": "x"})] * 2) == ("wrong_count", "", "")


def test_a_specification_that_says_little_checks_little_and_one_accepted_value_needs_no_list() -> None:
    for properties in ({"a": True}, {"a": {}}, {"a": {"type": ["string", "null"]}}, {"a": {"type": "corn"}}):
        function = Function("f", {"properties": properties, "required": None})
        assert calls_fault([function], [WantedCall("f", {"a": "rye"})], [ToolCall("f", {"a": "Rye"})]) is None
        missing = calls_fault([function], [WantedCall("f", {"a": "rye"})], [ToolCall("f", {})])
        assert missing == ("missing_argument", "f", "a")
    assert str(calls_fault([function], [WantedCall("f", {"a": [["b"]]})], [ToolCall("f", {"a": ["c"]})])) == (
        "wrong_value f (a[0])"
    )


def test_calls_in_parallel_are_right_where_a_greedy_matching_would_fail() -> None:
    function = Function("f", {"properties": {"a": {"type": "integer"}}})
    wanted = [WantedCall("f", {"a": [1, 2]}), WantedCall("f", {"a": [1]})]
    first, second = ToolCall("f", {"a": 1}), ToolCall("f", {"a": 2})

    assert calls_fault([function], wanted, [first, second]) is None
    assert calls_fault([function], wanted, [second, first]) is None
    assert calls_fault([function], wanted, [first, first]) is None
    assert calls_fault([function], wanted, [second, second]) == ("wrong_value", "f", "a")


def test_a_matching_is_as_large_as_any_order_gives() -> None:
    rng = Random("matching")
    for _ in range(200):
        size = rng.randint(1, 5)
        fits = [[rng.random() < 0.4 for _ in range(size)] for _ in range(size)]
        best = max(sum(fits[row][column] for row, column in enumerate(order)) for order in permutations(range(size)))
        found = _matched(fits)
        assert len(found) == best
        assert len(set(found.values())) == best
        assert all(fits[row][column] for column, row in found.items())

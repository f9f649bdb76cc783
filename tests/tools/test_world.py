import json
from collections import Counter
from random import Random
from typing import Any

import pytest

from gainloop.tools.shop import SHOP, first_state
from gainloop.tools.tool import Tool
from gainloop.tools.world import (
    CallRefused,
    Faults,
    State,
    World,
    changed,
    copied,
    cut_short,
    merged,
    state_id,
)
from schemas.conversation import ToolCall

GATE = Tool("open_gate", "", {"type": "object", "properties": {"by": {"type": "integer"}}, "required": ["by"]})
STATE = {"type": "object", "properties": {"width": {"type": "integer", "maximum": 9}}, "required": ["width"]}


def _open(state: State, given: dict[str, Any]) -> tuple[State, Any]:
    state["width"] += given["by"]  # a careless tool, which changes what it was given
    if state["width"] > 9:
        raise CallRefused("The gate opens 9 wide.")
    return state, {"width": state["width"], "seen": [1, 2, 3, 4]}


WORLD = World("gate", "Open it.", STATE, {"open_gate": (GATE, _open)})


def test_a_call_gives_a_new_state_and_leaves_the_old_one_even_where_its_code_is_careless() -> None:
    before = {"width": 3}
    step = WORLD.call(before, ToolCall("open_gate", {"by": 2}))

    assert (before, step.state, step.result["width"], step.kind) == ({"width": 3}, {"width": 5}, 5, "success")


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (ToolCall("open_gate", {"by": 20}), ""),
        (ToolCall("open_gate", {"by": "2"}), "bad_arguments"),
        (ToolCall("open_gate", {}), "bad_arguments"),
        (ToolCall("shut_gate", {}), "unknown_tool"),
    ],
)
def test_a_call_that_is_refused_changes_nothing_and_says_why(call: ToolCall, fault: str) -> None:
    step = WORLD.call({"width": 3}, call)

    assert (step.state, step.kind, step.fault) == ({"width": 3}, "error", fault)
    assert step.result["error"]


def test_code_that_breaks_its_own_schema_is_an_error_of_the_code() -> None:
    broken = World("gate", "", STATE, {"open_gate": (GATE, lambda state, _given: (state | {"width": "wide"}, {}))})

    with pytest.raises(AssertionError, match=r"gate\.open_gate: width: 'wide' is not of type 'integer'"):
        broken.call({"width": 1}, ToolCall("open_gate", {"by": 1}))


def test_faults_come_with_the_stated_probability_and_the_same_seed_draws_the_same() -> None:
    faults, call = Faults(error=0.3, partial=0.2, seed="a"), ToolCall("open_gate", {"by": 0})
    drawn = [faults.draw(number, call) for number in range(4000)]
    found = Counter(drawn)

    assert drawn == [faults.draw(number, call) for number in range(4000)]
    assert found["error"] / 4000 == pytest.approx(0.3, abs=0.03)
    assert found["partial"] / 4000 == pytest.approx(0.2, abs=0.03)
    assert drawn != [Faults(0.3, 0.2, "b").draw(number, call) for number in range(4000)]


def test_an_injected_error_changes_nothing_and_a_partial_result_is_cut_though_it_was_done() -> None:
    call = ToolCall("open_gate", {"by": 2})
    failed, partial = (WORLD.call({"width": 3}, call, 0, faults) for faults in (Faults(error=1), Faults(partial=1)))

    assert (failed.state, failed.kind, failed.fault) == ({"width": 3}, "error", "")
    assert (partial.state, partial.result) == ({"width": 5}, {"width": 5, "seen": [1, 2], "partial": True})


def test_the_same_calls_on_a_fresh_state_always_end_in_the_same_one() -> None:
    rng = Random(0)
    for number in range(30):
        state = first_state(Random(number))
        calls = [random_call(state, rng) for _ in range(12)]
        ends = {state_id(SHOP.replay(copied(state), calls, Faults(0.2, 0.2, str(number)))) for _ in range(2)}
        assert len(ends) == 1


def random_call(state: State, rng: Random) -> ToolCall:
    """Return a call of the shop, with ids that are there, or nearly so."""
    orders, customers, products = (sorted(state[kind]) for kind in ("orders", "customers", "products"))
    order, product = rng.choice([*orders, "O-1"]), rng.choice([*products, "P-1"])
    return rng.choice(
        [
            ToolCall("cancel_order", {"order_id": order, "reason": "too expensive"}),
            ToolCall("return_goods", {"order_id": order, "product_id": product, "quantity": rng.randint(1, 9)}),
            ToolCall("apply_voucher", {"order_id": order, "code": rng.choice([*state["vouchers"], "X"])}),
            ToolCall("change_address", {"order_id": order, "street": "Quay 1", "town": "Wick"}),
            ToolCall(
                "place_order",
                {
                    "customer_id": rng.choice(customers),
                    "lines": [{"product_id": product, "quantity": rng.randint(1, 70)}],
                },
            ),
            ToolCall("find_products", {"query": "e"}),
            ToolCall("list_orders", {"customer_id": rng.choice(customers)}),
            ToolCall("get_product", {"product_id": product}),
            ToolCall("get_order", {"order_id": order}),
            ToolCall("find_customer", {"email": state["customers"][customers[0]]["email"].upper()}),
        ]
    )


def test_no_goods_of_the_shop_come_from_nowhere() -> None:
    rng = Random(1)
    for number in range(30):
        first = state = first_state(Random(number))
        for place in range(20):
            state = SHOP.call(state, random_call(state, rng), place).state
        for product, one in first["products"].items():
            sold = sum(
                line["quantity"]
                for order_id, order in state["orders"].items()
                for line in order["lines"]
                if line["product_id"] == product and order_id not in first["orders"] and order["status"] != "cancelled"
            )
            back = sum(
                line["quantity"]
                for order_id, order in first["orders"].items()
                for line in order["lines"]
                if line["product_id"] == product and order["status"] == "open"
                and state["orders"][order_id]["status"] == "cancelled"
            )  # fmt: skip
            assert state["products"][product]["stock"] == one["stock"] - sold + back


def test_states_are_equal_whatever_the_order_of_their_fields() -> None:
    state = first_state(Random(0))

    assert state_id(state) == state_id(json.loads(json.dumps(state, sort_keys=True)))
    assert state_id(state) != state_id(state | {"next_order": 1})


@pytest.mark.parametrize(
    ("value", "patch", "expected"),
    [  # the examples of RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_patch_merges_as_the_standard_says(value: Any, patch: Any, expected: Any) -> None:
    assert merged(value, patch) == expected


def test_a_written_change_needs_a_result_and_a_state_that_the_schemas_allow() -> None:
    tool = Tool("open_gate", "", {"type": "object"}, {"type": "object", "required": ["ok"]})

    assert changed(tool, {"width": 1}, STATE, {"ok": True}, {"width": 2}) == ({"width": 2}, "")
    for result, patch in (({}, {"width": 2}), ({"ok": 1}, {"width": 99}), ({"ok": 1}, {"width": None}), ({"ok": 1}, 7)):
        state, fault = changed(tool, {"width": 1}, STATE, result, patch)
        assert (state, bool(fault)) == ({"width": 1}, True)


def test_what_is_no_object_is_nothing_but_a_mark_when_it_is_cut() -> None:
    assert cut_short([1, 2]) == {"partial": True}

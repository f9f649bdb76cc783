from dataclasses import replace
from typing import Any

import pytest

from gainloop.tools.shop import SHOP
from gainloop.tools.shop_tasks import LEVELS, make_task, make_tasks
from gainloop.tools.task import PARTS, Assertion, Scenario, ToolTask, read_task, reward, same_call, write_task
from gainloop.tools.tool import Tool
from schemas.conversation import ToolCall
from schemas.errors import BadInput

TASK = next(one for one in make_tasks(60, 3) if one.must_say and len(one.actions) > 1)
NOTE = Tool("note", "", {"type": "object"})


def worth(task: ToolTask, calls: tuple[ToolCall, ...], said: str) -> tuple[int, dict[str, int]]:
    return tuple(reward(task, SHOP.replay(task.state, calls), calls, [said]))  # type: ignore[return-value]


def test_a_reward_is_the_product_of_the_parts_in_its_basis_and_tells_the_others() -> None:
    said = " ".join(TASK.must_say)

    assert worth(TASK, TASK.actions, said) == (1, dict.fromkeys(PARTS, 1))
    assert worth(TASK, TASK.actions, "") == (0, {"state": 1, "assertions": 1, "said": 0, "actions": 1})
    assert worth(replace(TASK, basis=("state",)), TASK.actions, "")[0] == 1
    assert worth(TASK, TASK.actions[:1], said)[1] == {"state": 0, "assertions": 0, "said": 1, "actions": 0}


def test_the_wrong_state_is_wrong_though_all_assertions_hold() -> None:
    other = next(
        one for one, order in TASK.state["orders"].items() if order["status"] == "open" and one not in str(TASK.actions)
    )
    more = (*TASK.actions, ToolCall("cancel_order", {"order_id": other, "reason": "too expensive"}))

    assert worth(TASK, more, " ".join(TASK.must_say)) == (0, {"state": 0, "assertions": 1, "said": 1, "actions": 1})


@pytest.mark.parametrize(
    ("call", "same"),
    [
        (ToolCall("a", {"x": 1, "y": 2}), True),
        (ToolCall("a", {"y": 2, "x": 1}, "call_7"), True),
        (ToolCall("a", {"x": 1}), False),
        (ToolCall("a", {}), False),
        (ToolCall("a", {"x": 1, "y": 2, "z": 3}), False),
        (ToolCall("a", {"x": 1, "y": 3}), False),
        (ToolCall("b", {"x": 1, "y": 2}), False),
    ],
)
def test_an_argument_left_out_makes_it_another_call(call: ToolCall, same: bool) -> None:
    assert same_call(ToolCall("a", {"x": 1, "y": 2}), call) is same


def test_what_must_be_said_may_be_said_in_any_case_and_space() -> None:
    task = replace(TASK, must_say=("Order  O-7", "19.05"), basis=("said",))

    assert reward(task, task.state, [], ["It is ORDER\nO-7,", "and costs 19.05 euros."]).value == 1
    assert reward(task, task.state, [], ["It is order O-7."]).value == 0


@pytest.mark.parametrize("level", range(1, LEVELS + 1))
def test_every_made_task_is_solved_by_its_own_actions_and_read_back_as_it_was(level: int) -> None:
    for seed in range(40):
        task = make_task(seed, level)
        task.require_sound()
        assert read_task(write_task(task)) == task
        assert (len(task.actions), bool(task.scenario.unknown)) == (
            2 if level == LEVELS else 1,
            level > 1 and _of_order(task),
        )


def _of_order(task: ToolTask) -> bool:
    return any("order_id" in call.arguments for call in task.actions)


def test_tasks_of_other_seeds_are_others_and_of_the_same_the_same() -> None:
    assert make_tasks(9, 1) == make_tasks(9, 1)
    assert not {one.task_id for one in make_tasks(30, 1)} & {one.task_id for one in make_tasks(30, 2)}


@pytest.mark.parametrize(
    "task",
    [
        replace(TASK, actions=(ToolCall("cancel_order", {"order_id": "O-1", "reason": "too expensive"}),)),
        replace(TASK, actions=(ToolCall("fly", {}),)),
        replace(TASK, assertions=(Assertion(("orders", "O-1"), 7),)),
    ],
)
def test_a_task_that_its_own_actions_do_not_solve_is_refused(task: ToolTask) -> None:
    with pytest.raises(BadInput, match=f"checking tool task {task.task_id}"):
        task.require_sound()


@pytest.mark.parametrize(
    "change",
    [
        {"world": "moon"},
        {"world": ""},
        {"basis": ["state", "luck"]},
        {"colour": "red"},
        {"scenario": {"persona": "A clerk."}},
        {"actions": [{"name": "fly"}]},
        {"server": "ledger"},
        {"tools": [{"name": "a b"}]},
        {"assertions": [7]},
    ],
)
def test_what_is_meant_to_be_a_task_and_is_none_is_refused(change: dict[str, Any]) -> None:
    import json

    with pytest.raises(BadInput):
        read_task(json.dumps(json.loads(write_task(TASK)) | change))


@pytest.mark.parametrize("text", ["", "A shop.", "[1]", "{", '{"text": "A shop."}', "{" * 100_000, "7"])
def test_any_other_text_is_a_domain_not_a_task(text: str) -> None:
    assert read_task(text) is None


def test_the_task_of_a_real_server_names_its_tools_and_is_not_judged_by_a_state() -> None:
    task = ToolTask(Scenario("A clerk.", "To note."), server="ledger", tools=(NOTE,), basis=("said", "actions"))

    assert read_task(write_task(task)) == task
    for bad in (replace(task, tools=()), replace(task, basis=("state",)), replace(task, world="shop")):
        with pytest.raises(BadInput, match="of server 'ledger'"):
            read_task(write_task(bad))

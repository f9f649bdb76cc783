import math

from gainloop.measures.trajectories import STAGES, Stage, acceptance, cost_of_accepted, tool_coverage
from gainloop.methods.tool_use import REASONS, ToolUse
from gainloop.tools.shop import SHOP
from gainloop.tools.shop_tasks import make_tasks
from gainloop.tools.task import write_task
from schemas.conversation import ToolCall, Turn
from schemas.rows import Anchor, Drop, Record
from tests.methods.playing import play
from tests.methods.tool_players import VERDICT, Players, honest, nothing, right

TASKS = make_tasks(12, "measured")
METHOD = ToolUse(max_steps=12)


def batch() -> tuple[list[Record], list[Drop]]:
    """Return the records and drops of twelve tasks: six done right, three not at all, two unsaid, one refused."""
    records, drops, unsaid = list[Record](), list[Drop](), 0
    for number, task in enumerate(TASKS):
        agent, verdict = right(task), VERDICT
        if number in (0, 1, 2):
            agent = nothing(task)
        elif task.must_say and unsaid < 2:
            agent, unsaid = right(task, closing="It is done."), unsaid + 1
        elif number == 11:
            verdict = VERDICT | {"agent": "failed"}
        outcome = play(METHOD, Anchor(write_task(task)), Players(honest(task), agent, verdict))[1]
        records += outcome.records
        drops += outcome.drops
    return records, drops


def test_each_conversation_counts_once_at_the_stage_where_it_was_dropped() -> None:
    records, drops = batch()

    assert acceptance(records, drops) == [
        *(Stage("played", 12, 12), Stage("user", 12, 12), Stage("state", 12, 9)),
        *(Stage("said", 9, 7), Stage("rubric", 7, 6)),
    ]
    assert len(records) == 6


def test_a_reply_that_was_asked_for_again_is_no_conversation_that_was_lost() -> None:
    again = Drop("a", "level 1: agent", "unreadable_call", "q1")

    assert acceptance([], [again]) == [Stage(name, 0, 0) for name in STAGES]


def test_every_reason_of_a_lost_reward_has_its_stage() -> None:
    assert set(REASONS.values()) <= {reason for reasons in STAGES.values() for reason in reasons}


def test_coverage_is_the_share_of_conversations_that_call_a_tool_and_names_those_that_none_calls() -> None:
    found = tool_coverage([record.turns for record in batch()[0]])

    assert set(found) == {tool.name for tool in SHOP.tools}
    assert found["find_customer"] == 1.0
    assert found["find_products"] == 0.0
    assert any(found[call.name] > 0 for task in TASKS for call in task.actions)


def test_a_tool_called_twice_counts_once_and_one_without_a_system_turn_counts_too() -> None:
    call = Turn("assistant", calls=(ToolCall("get", {}, "1"), ToolCall("get", {}, "2")))

    assert tool_coverage([(Turn("user", "Get it."), call), (Turn("user", "Hello."),)]) == {"get": 0.5}
    assert tool_coverage([]) == {}


def test_what_was_dropped_is_paid_for_by_what_was_kept() -> None:
    assert cost_of_accepted(2, 30, 4000) == (15, 2000)
    assert math.isnan(cost_of_accepted(0, 30, 4000).requests)

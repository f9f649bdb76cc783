import pytest

from gainloop.measures.trajectories import (
    STAGES,
    acceptance,
    accepted,
    cost_of_accepted,
    fates,
    never_called,
    tool_coverage,
)
from gainloop.methods.tool_use import REASONS, ToolUse
from gainloop.tools.shop import SHOP
from gainloop.tools.shop_tasks import make_tasks
from gainloop.tools.task import write_task
from schemas.conversation import ToolCall, Turn
from schemas.rows import Anchor, Answer, Drop, Record, Request
from tests.methods.playing import make_reply, play, prompt
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


def counts(records: list[Record], drops: list[Drop], kept: bool = True) -> dict[str, tuple[int, int]]:
    """Return how many conversations came to each stage, and how many passed it."""
    made = [(one.anchor_id, one.facet, kept) for one in records]
    shares = acceptance(fates(made, [(one.anchor_id, one.facet, one.reason) for one in drops]))
    return {name: (one.n, round((one.value or 0) * one.n)) for name, one in shares.items()}


def test_each_conversation_counts_once_at_the_stage_where_it_was_dropped() -> None:
    records, drops = batch()

    assert list(counts(records, drops).items()) == [
        *(("played", (12, 12)), ("user", (12, 12)), ("state", (12, 9))),
        *(("said", (9, 7)), ("rubric", (7, 6)), ("kept", (6, 6))),
    ]
    assert len(records) == 6
    assert counts(records, drops, kept=False)["kept"] == (6, 0)


def test_a_reply_that_was_asked_for_again_is_no_conversation_that_was_lost() -> None:
    found = fates([("a", "level 1", True)], [("a", "level 1: agent", "unreadable_call")])

    assert [one.lost_at for one in found] == [""]
    assert acceptance([])["played"].status == "not measured: no conversation came so far"


@pytest.mark.parametrize("part", ["user", "agent"])
@pytest.mark.parametrize(
    "said", ["", "Yes.", "N/A", "{", "<think>Hm.", "<|im_start|>user\nYes.", "the wish", "too long"]
)
def test_a_conversation_that_no_reply_carries_on_was_not_played_to_its_end(part: str, said: str) -> None:
    players = Players(honest(TASKS[0]), right(TASKS[0]))

    def answer(request: Request, number: int) -> Answer:
        text = prompt(request).rpartition("\n\n")[2] if said == "the wish" else said
        reply = make_reply(request, number, text, "length" if said == "too long" else "stop")
        return reply if request.role == part else players(request, number)

    outcome = play(METHOD, Anchor(write_task(TASKS[0])), answer)[1]
    assert outcome.records == []
    assert counts([], outcome.drops)["played"] == (1, 0), {one.reason for one in outcome.drops}


@pytest.mark.parametrize("call", [ToolCall("fly", {}), ToolCall("get_order", {"order_id": 7})])
def test_calls_that_cannot_be_made_end_a_conversation_before_its_end(call: ToolCall) -> None:
    players = Players(honest(TASKS[0]), iter([call] * 9))
    outcome = play(METHOD, Anchor(write_task(TASKS[0])), players)[1]

    assert counts(outcome.records, outcome.drops)["played"] == (1, 0)


def test_what_a_filter_refuses_is_lost_after_all_other_stages() -> None:
    (one,) = fates([], [("a", "level 2, task 1", "unfaithful"), ("a", "level 2, task 1: user", "empty")])

    assert (one.facet, one.lost_at) == ("level 2, task 1", "kept")
    assert accepted([one]).value == 0


def test_what_a_domain_gave_no_tools_for_is_no_conversation() -> None:
    assert fates([], [("a", "tools", "malformed"), ("a", "task 1.2", "echo"), ("a", "fidelity level 1", "lost")]) == []


def test_every_reason_of_a_lost_reward_has_its_stage() -> None:
    assert set(REASONS.values()) <= {reason for reasons in STAGES.values() for reason in reasons}


def test_coverage_is_the_share_of_conversations_that_call_a_tool_and_names_those_that_none_calls() -> None:
    records = batch()[0]
    found = tool_coverage([(record.anchor_id, record.turns) for record in records])

    assert set(found) == {tool.name for tool in SHOP.tools}
    assert (found["find_customer"].value, found["find_products"].value) == (1, 0)
    assert {one.n for one in found.values()} == {len(records)}
    assert any((found[call.name].value or 0) > 0 for task in TASKS for call in task.actions)
    assert (never_called(found).value, never_called(found).n) == (
        sum(one.value == 0 for one in found.values()),
        len(SHOP.tools),
    )


def test_a_tool_is_counted_where_it_is_had_once_a_conversation_and_one_without_a_system_turn_counts_too() -> None:
    call = Turn("assistant", calls=(ToolCall("get", {}, "1"), ToolCall("get", {}, "2")))
    has = Turn("system", 'Rules.\n{"name": "get"}\n{"name": "put"}\n{"name": broken')
    found = tool_coverage([("a", (Turn("user", "Get it."), call)), ("b", (has, Turn("user", "Hello.")))])

    assert {name: (one.value, one.n) for name, one in found.items()} == {"get": (0.5, 2), "put": (0, 1)}
    assert tool_coverage([]) == {}
    assert never_called({}).value is None


def test_what_was_dropped_is_paid_for_by_what_was_kept() -> None:
    found = cost_of_accepted([10, 20, 30], [1, 0, 1], ["a", "b", "c"], "requests/conversation")

    assert (found.value, found.n, found.num_clusters) == (30, 3, 3)
    assert cost_of_accepted([10], [0], ["a"], "tokens/conversation").status == (
        "not measured: no conversation was accepted"
    )

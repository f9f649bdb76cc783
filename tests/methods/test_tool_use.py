"""What is its own of the method that plays users, agents and tools: rewards by state, the audit of users, replays."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import chain
from random import Random
from typing import Any

import polars as pl
import pytest

from gainloop.curation.suite import record_columns
from gainloop.measures.duplication import Screen, repeats
from gainloop.measures.ngrams import hash_texts
from gainloop.methods.tool_audit import broken_scenario
from gainloop.methods.tool_prompts import reply_schema
from gainloop.methods.tool_use import ToolUse
from gainloop.tools.shop import SHOP
from gainloop.tools.shop_tasks import make_tasks
from gainloop.tools.task import Scenario, ToolTask, write_task
from gainloop.tools.tool import Tool
from gainloop.tools.world import Faults, state_id
from schemas.conversation import ToolCall, Turn, fault_of
from schemas.curation import Curation
from schemas.rows import CALL, Anchor, Answer, Drop, Outcome, Request
from schemas.suites import BETWEEN, IN_SET, records_suite
from tests.methods.playing import make_reply, obey, play, say
from tests.methods.tool_players import (
    VERDICT,
    Players,
    Step,
    honest,
    lacking,
    nothing,
    other_path,
    right,
    too_much,
    wrong,
)

TASKS = make_tasks(100, "players")
METHOD = ToolUse(max_steps=12)

Script = Callable[[ToolTask], Iterator[Step]]


def played(task: ToolTask, players: Callable[[Request, int], Answer], method: ToolUse = METHOD) -> Outcome:
    return play(method, Anchor(write_task(task)), players)[1]


@cache
def played_by(script: Script) -> list[Outcome]:
    """Return what comes of all tasks where the user is honest and the agent goes by a script."""
    return [played(task, Players(honest(task), script(task))) for task in TASKS]


def reasons(outcome: Outcome) -> set[str]:
    return {drop.reason for drop in outcome.drops}


def calls_of(turns: tuple[Turn, ...]) -> list[ToolCall]:
    return [call for turn in turns for call in turn.calls]


@pytest.mark.parametrize("script", [right, other_path])
def test_whoever_reaches_the_right_state_is_kept_by_whatever_path(script: Script) -> None:
    for task, outcome in zip(TASKS, played_by(script), strict=True):
        (record,) = outcome.records
        assert not outcome.drops
        assert not fault_of(record.turns)
        assert record.facet == f"level {task.level}"


@pytest.mark.parametrize("script", [wrong, lacking, too_much, nothing])
def test_whoever_does_it_wrong_leaves_an_argument_out_does_too_much_or_nothing_is_dropped(script: Script) -> None:
    outcomes = played_by(script)

    assert len(outcomes) == 100
    assert all(not outcome.records and reasons(outcome) == {"state_wrong"} for outcome in outcomes)


def test_what_must_be_said_and_is_not_is_a_reason() -> None:
    with_words = [task for task in TASKS if task.must_say]
    for task in with_words:
        assert reasons(played(task, Players(honest(task), right(task, closing="It is done.")))) == {"not_said"}
    assert len(with_words) > 20


def test_every_conversation_replays_to_the_same_state() -> None:
    for task, outcome in zip(TASKS, played_by(other_path), strict=True):
        (record,) = outcome.records
        calls = calls_of(record.turns)
        results = [json.loads(turn.content) for turn in record.turns if turn.role == "tool"]
        state = task.state
        for number, (call, result) in enumerate(zip(calls, results, strict=True)):
            step = SHOP.call(state, call, number)
            assert step.result == result
            state = step.state
        assert state_id(state) == state_id(SHOP.replay(task.state, task.actions))


def test_injected_faults_replay_as_they_were_and_an_agent_that_tries_again_is_kept() -> None:
    method, kept = ToolUse(max_steps=20, tool_errors=0.3, partial_results=0.2, judge=False), 0
    for task in TASKS[:20]:
        agent = right(task, chain.from_iterable([call] * 3 for call in task.actions))
        anchor = Anchor(write_task(task))
        asked, outcome = play(method, anchor, Players(honest(task), agent))
        assert (asked, outcome) == play(
            method, anchor, Players(honest(task), right(task, chain.from_iterable([call] * 3 for call in task.actions)))
        )
        for record in outcome.records:
            seed = str(Random(f"0/{anchor.anchor_id}").getrandbits(64))
            after = SHOP.replay(task.state, calls_of(record.turns), Faults(0.3, 0.2, seed))
            assert state_id(after) == state_id(SHOP.replay(task.state, task.actions))
        kept += len(outcome.records)
    assert kept


def liar(task: ToolTask) -> Iterator[str]:
    """Yield what a user says who makes a fact up."""
    hello, facts = honest(task)
    yield hello
    yield f"{facts} My order is O-1111."


def leaker(task: ToolTask) -> Iterator[str]:
    """Yield what a user says who tells what it cannot know."""
    hello, facts = honest(task)
    yield hello
    yield f"{facts} It is {next(iter(task.scenario.unknown.values()))}."


def prompter(task: ToolTask) -> Iterator[str]:
    """Yield what a user says who tells the agent what to call."""
    yield f"Hello. {task.scenario.reason} Use {task.actions[0].name} for it."
    yield from list(honest(task))[1:]


@pytest.mark.parametrize("user", [liar, leaker, prompter])
def test_a_user_who_lies_or_leaks_is_caught_though_the_state_is_right(
    user: Callable[[ToolTask], Iterator[str]],
) -> None:
    hard = [task for task in TASKS if task.scenario.unknown]
    for task in hard:
        assert reasons(played(task, Players(user(task), right(task)))) == {"user_broke_scenario"}
    assert len(hard) > 50


def test_a_user_may_repeat_what_the_agent_has_told_it() -> None:
    task = next(task for task in TASKS if task.scenario.unknown)
    (order_id, *_) = task.scenario.unknown.values()
    turns = [Turn("user", "Hello."), Turn("assistant", f"Is it {order_id}?"), Turn("user", f"Yes, {order_id}.")]

    assert broken_scenario(task.scenario, turns) == ""
    assert broken_scenario(task.scenario, turns[::2]) == order_id


def test_an_audit_takes_time_in_proportion_to_what_is_said() -> None:
    for sign in ("1", "a", "@", ".", "1a", "O-1 ", " "):
        broken_scenario(Scenario("A clerk.", "To ask."), [Turn("user", sign * (300_000 // len(sign)))])


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (VERDICT | {"user": "broke"}, "user_broke_scenario"),
        (VERDICT | {"agent": "failed"}, "rubric_failed"),
        ({"agent": "passed"}, "unjudged"),
    ],
)
def test_the_judge_has_the_last_word(verdict: dict[str, Any], reason: str) -> None:
    task = TASKS[0]
    outcome = played(task, Players(honest(task), right(task), verdict))

    assert reasons(outcome) == {reason}
    assert not outcome.records


def test_the_judge_is_not_asked_where_the_state_is_wrong() -> None:
    asked, _ = play(METHOD, Anchor(write_task(TASKS[0])), Players(honest(TASKS[0]), nothing(TASKS[0])))

    assert {request.role for request in asked} == {"user", "agent"}


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (ToolCall("fly", {}), "unknown_tool"),
        (ToolCall("get_order", {}), "bad_arguments"),
        (ToolCall("get_order", {"order_id": "O-1\x00"}), "unreadable_call"),
    ],
)
def test_a_fault_of_the_agent_may_be_mended_a_few_times_and_no_more(step: ToolCall, reason: str) -> None:
    task, method = TASKS[0], ToolUse(max_steps=20, max_errors=2)

    mended = played(task, Players(honest(task), right(task, [step, step, *task.actions])), method)
    assert len(mended.records) == 1
    assert len(mended.drops) == (2 if reason == "unreadable_call" else 0)
    assert reason in reasons(played(task, Players(honest(task), right(task, [step] * 3)), method))


def test_an_agent_that_never_says_anything_comes_to_an_end_within_the_bound() -> None:
    task, method = TASKS[0], ToolUse(max_steps=5)
    look = ToolCall("find_products", {})
    asked, outcome = play(method, Anchor(write_task(task)), Players(honest(task), iter([look] * 99)))

    assert reasons(outcome) <= {"too_many_steps", "unreadable_call", "state_wrong"}
    assert len(asked) <= 2 * method.max_steps + 2
    assert not outcome.records


def test_a_broken_task_is_a_text_like_any_other() -> None:
    asked, _ = play(METHOD, Anchor('{"scenario": {"persona": "A clerk."}}'))

    assert asked[0].facet == "tools"


def test_a_lost_reply_drops_what_was_said_before_it() -> None:
    task, players = TASKS[0], Players(honest(TASKS[0]), right(TASKS[0]))

    def lose(request: Request, number: int) -> Answer:
        return Drop("a", request.facet, "deadline", f"q{number}") if number == 3 else players(request, number)

    assert Counter(drop.reason for drop in played(task, lose).drops) == {"lost_reply": 3, "deadline": 1}


def test_the_records_system_turn_has_rules_and_tools_and_no_word_of_the_scenario() -> None:
    task = TASKS[0]
    (record,) = played(task, Players(honest(task), right(task))).records
    system = record.turns[0]

    assert system.role == "system"
    assert all(f'"name": "{tool.name}"' in system.content for tool in SHOP.tools)
    assert task.scenario.persona not in record.text


def test_validation_refuses_no_conversation_for_what_all_with_the_same_tools_share() -> None:
    anchors = [Anchor(write_task(task)) for task in TASKS]
    kept = [record for outcome in played_by(right) for record in outcome.records]
    known = pl.DataFrame(
        [(one.anchor_id, one.text, False) for one in anchors], ["anchor_id", "text", "heldout"], orient="row"
    )
    records = pl.DataFrame(
        [(one.record_id, one.anchor_id, one.text) for one in kept], ["record_id", "anchor_id", "text"], orient="row"
    )
    rows, hashed = record_columns(records, known, METHOD.wishes), hash_texts(records["text"])

    for one in records_suite(METHOD.expectations):
        if one.kind == BETWEEN:
            bounds = one.arguments.get("min_value", 0), one.arguments.get("max_value", 1e9)
            assert rows[one.column].is_between(*bounds).all(), one.rule
        elif one.kind == IN_SET:
            assert rows[one.column].is_in(one.arguments["value_set"]).all(), one.rule
        elif one.column:
            assert rows[one.column].n_unique() / len(rows) >= one.arguments["min_value"], one.rule
    assert not repeats(Screen(hashed, least=Curation().near_duplicates))


def test_an_agent_never_sees_the_scenario_nor_a_user_what_is_unknown_to_it() -> None:
    task = next(task for task in TASKS if task.scenario.unknown)
    asked, _ = play(METHOD, Anchor(write_task(task)), Players(honest(task), right(task)))
    prompts = {role: [one.prompt[-1].content for one in asked if one.role == role] for role in ("user", "agent")}

    assert all(task.scenario.persona not in text for text in prompts["agent"])
    assert all(value not in text for text in prompts["user"] for value in task.scenario.unknown.values())


NOTE = Tool("note", "Write an entry.", {"type": "object", "properties": {"entry": {"type": "string"}}})
REAL = ToolTask(
    Scenario("A clerk.", "To note an entry."), server="ledger", tools=(NOTE,), basis=("actions",),
    actions=(ToolCall("note", {"entry": "rye"}),),
)  # fmt: skip


def real(answer: Callable[[Request, int], Answer]) -> tuple[list[Request], Outcome]:
    players = Players(iter(["Note rye."]), iter([ToolCall("note", {"entry": "rye"})] * 2 + ["Noted."]))  # type: ignore[list-item]
    return play(
        METHOD,
        Anchor(write_task(REAL)),
        lambda request, number: answer(request, number) if request.role == CALL else players(request, number),
    )


def test_equal_calls_of_a_real_tool_are_two_requests_and_their_replies_are_no_part_of_the_record() -> None:
    asked, outcome = real(lambda request, number: make_reply(request, number, '{"result": {"ok": true}}'))
    calls = [request for request in asked if request.role == CALL]
    (record,) = outcome.records

    assert [json.loads(str(one.prompt)) for one in calls] == [
        {"server": "ledger", "name": "note", "arguments": {"entry": "rye"}}
    ] * 2
    assert calls[0].draw != calls[1].draw
    assert len(record.request_ids) == len(asked) - len(calls) - 1  # nor is the judge's


def test_a_call_of_a_real_tool_that_failed_is_no_reference_action() -> None:
    failed = '{"result": {"error": "The ledger is shut."}, "is_error": true}'
    outcome = real(lambda request, number: make_reply(request, number, failed))[1]
    given = iter([failed, '{"result": {"ok": true}, "is_error": false}'])
    again = real(lambda request, number: make_reply(request, number, next(given)))[1]

    assert reasons(outcome) == {"action_missing"}
    assert [json.loads(one.content) for one in again.records[0].turns if one.role == "tool"] == [
        {"error": "The ledger is shut."},
        {"ok": True},
    ]


def test_a_call_that_a_world_of_code_refuses_is_no_reference_action() -> None:
    task = replace(TASKS[0], basis=("actions",))
    method = ToolUse(max_steps=12, tool_errors=1)

    assert reasons(played(task, Players(honest(task), right(task)), method)) == {"action_missing"}
    assert played(task, Players(honest(task), right(task))).records


def test_a_call_that_was_interrupted_drops_the_conversation() -> None:
    outcome = real(lambda request, number: Drop("a", request.facet, "tool_interrupted", f"q{number}"))[1]

    assert reasons(outcome) == {"tool_interrupted"}
    assert not outcome.records


def test_of_a_domain_tools_agents_and_tasks_from_simple_to_hard_are_evolved() -> None:
    asked, outcome = play(ToolUse(max_tools=3, max_agents=2, levels=2), answer=say)
    facets = [request.facet for request in asked if not request.role]

    assert facets[0] == "tools"
    assert len([one for one in facets if one.startswith("tool ")]) == 3
    assert facets[4] == "agents"
    assert facets[5:] == ["task 1.1", "task 1.2", "task 2.1", "task 2.2"]
    assert sorted(record.facet for record in outcome.records) == [
        "level 1, task 1", "level 1, task 3", "level 2, task 2", "level 2, task 4",
    ]  # fmt: skip


def test_a_played_tool_may_neither_break_its_schema_nor_the_states() -> None:
    def cheat(request: Request, number: int) -> Answer:
        if request.role != "tool":
            return say(request, number)
        found = json.loads(obey(request, number))
        found["changes"] = [{"key": "k", "value": "x" * 5000}]
        return make_reply(request, number, json.dumps(found))

    _, outcome = play(ToolUse(max_tools=1, max_agents=1, levels=1), answer=cheat)
    assert reasons(outcome) == {"bad_result"}


def test_what_a_grammar_of_replies_may_not_know_is_left_to_the_tools_own_schema() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/x"}, "b": {"type": "array", "items": {"enum": [1]}}},
    }

    assert reply_schema(schema)["properties"] == {
        "a": {},
        "b": {"type": "array", "items": {"enum": [1]}, "maxItems": 9},
    }


def test_shares_of_faults_of_more_than_all_calls_are_refused() -> None:
    with pytest.raises(ValueError, match="together 1 at most"):
        ToolUse(tool_errors=0.7, partial_results=0.7)


def test_the_same_task_twice_is_told_apart_by_its_id() -> None:
    assert len({task.task_id for task in TASKS}) == len(TASKS)
    assert replace(TASKS[0], level=9).task_id != TASKS[0].task_id

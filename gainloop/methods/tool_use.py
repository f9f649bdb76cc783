"""Conversations of a user and an agent with tools, kept where the state they end in and a judge find them right."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gainloop.asking.conversation import Conversation, ask, side_by_side
from gainloop.methods.method import Method
from gainloop.methods.tool_audit import broken_scenario
from gainloop.methods.tool_domain import EMPLOY, LIST, SET, SPECIFY, Wish, evolve_agents, evolve_tools, evolve_wishes
from gainloop.methods.tool_play import Bench, CodeBench, ModelBench, Play, ServerBench
from gainloop.methods.tool_prompts import ACT, CLOSE, END, GO_ON, JUDGE, OPEN, SIMULATE, SYSTEM, ask_judge, read_judged
from gainloop.tools.task import WORLDS, Scenario, ToolTask, read_task, reward
from gainloop.tools.world import Faults, copied
from schemas.conversation import fault_of, transcript
from schemas.errors import BadInput
from schemas.rows import Anchor, Drop, Outcome, Record, Rounds
from schemas.suites import Suite, at_most, distinct

REASONS = {"state": "state_wrong", "assertions": "assertion_failed", "said": "not_said", "actions": "action_missing"}
"""Reason for which a conversation is dropped whose reward lacks a part."""


@dataclass(frozen=True)
class Scene:
    """What a conversation begins with, and how it is judged: a given task, or one that was evolved."""

    facet: str
    scenario: Scenario
    policy: str
    bench: Bench
    rubric: Sequence[str]
    task: ToolTask | None = None


class ToolUse(Method):
    """Conversations in which an agent does what a user wants by calling tools, kept where they are right.

    The target capability is to reach what a user wants by several calls and messages: to ask for what is missing, keep
    rules, and read results. A prompt is the rules and tools as a system turn, then what the user says and what tools
    give; a response is what the agent says or calls: a record is the whole conversation.

    An anchor is a task (the source ``tool_tasks``) or a text about a domain, of which tools, agents and tasks are
    evolved first. In a task's world of code the state where the conversation ends says whether it is right; real tools
    are called once each, whatever is killed meanwhile; of an evolved domain a model plays the tools, their results and
    changes checked by schemas.

    Asks: of a domain, for a list of tools, the schemas of each, agents (rules and some of the tools), and of each
    agent a task of every level from simple to hard. Then, for each task, in turn: the user, who has the scenario; the
    agent, who has rules and tools and says something or makes one call, as JSON; where there is no code, the tool.
    Last the judge, the likeliest reply: whether the user kept to the scenario, and the agent met the rubric.
    All parts are played by the generator, unless ``generator.user``, ``.tool`` or ``.judge`` names another model.
    Costs: each step reads the rules, the tools and the conversation so far, which servers with a prefix cache read
    once. A task in a world of code takes 2 requests a message and 1 a call.
    Counts: a record is a whole conversation, its system turn the rules and the tools; what it is compared and counted
    by leaves that turn out. Dropped with all its replies:
    ``too_many_steps``; more than ``max_errors`` of ``unreadable_call``, ``unknown_tool``, ``bad_arguments``,
    ``bad_result``; ``state_wrong``, ``assertion_failed``, ``not_said``, ``action_missing``; ``rubric_failed``,
    ``unjudged``; ``user_broke_scenario`` where the user says a value that it cannot know, or the judge finds so;
    ``tool_interrupted`` for a call of a real tool that was begun before a crash, and is never made again. A reply that
    cannot be read is a drop of its own, and asked for again.
    Source: Kimi K2, arXiv:2507.20534, whose pipeline this follows; rewards as in tau2-bench, arXiv:2506.07982.
    Differs: prompts are our own. State is changed by code, or by a checked change, alone; the user is
    audited too, since a user that leaks the answer makes any agent right; each argument of a reference action counts.
    """

    kind: Literal["tool_use"] = "tool_use"
    makes_turns: ClassVar[bool] = True
    holds_anchor: ClassVar[bool] = True
    roles: ClassVar[tuple[str, ...]] = ("user", "tool", "judge")
    calls_tools: ClassVar[bool] = True
    wishes: ClassVar[tuple[str, ...]] = (
        SYSTEM,
        OPEN,
        GO_ON,
        CLOSE,
        ACT,
        END,
        SIMULATE,
        JUDGE,
        LIST,
        SPECIFY,
        EMPLOY,
        SET,
    )
    expectations: ClassVar[Suite] = (
        # Results of tools say the same names over and over, in the words of a task's state: of 100 conversations of
        # the shop, played by script, one in thirty repeats 0.35 of its words, and none copies more than 0.79. A few
        # wishes open many of them.
        at_most("repeated_share", 0.6, "repeats", mostly=0.5),
        at_most("copied_share", 0.98, "copies_anchor", mostly=0.5),
        distinct("opening", 0.02, "same_openings"),
    )
    max_tools: Annotated[int, Field(ge=1, le=12, description="Tools that are evolved from a domain, at most.")] = 6
    max_agents: Annotated[int, Field(ge=1, le=4, description="Agents that are evolved from a domain, at most.")] = 2
    levels: Annotated[
        int, Field(ge=1, le=5, description="Tasks that are evolved for each agent, from simple to hard.")
    ] = 3
    max_steps: Annotated[
        int,
        Field(
            ge=2,
            le=100,
            description="Exchanges of a conversation, at most: a step of the agent, and what user or tool answers.",
        ),
    ] = 7
    max_errors: Annotated[
        int,
        Field(
            ge=0, description="Replies that cannot be read and calls that cannot be made, in one conversation, at most."
        ),
    ] = 3
    judge: Annotated[bool, Field(description="True to have a judge look at the user's turns and at the rubric.")] = True
    tool_errors: Annotated[
        float, Field(ge=0, le=1, description="Share of calls of simulated tools that fail, drawn by the seed.")
    ] = 0.0
    partial_results: Annotated[
        float,
        Field(ge=0, le=1, description="Share of calls in a world of code whose result is cut, drawn by the seed."),
    ] = 0.0

    def model_post_init(self, _context: object) -> None:
        if self.tool_errors + self.partial_results > 1:
            raise ValueError(
                "tool_errors and partial_results are shares of the same calls; together 1 at most is allowed"
            )

    @property
    def max_requests(self) -> int:
        a_conversation = 2 * self.max_steps + 1 + self.judge
        return 1 + self.max_tools + 1 + self.max_records * (1 + a_conversation)

    @property
    def max_records(self) -> int:
        return self.max_agents * self.levels

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        faults = Faults(self.tool_errors, self.partial_results, str(rng.getrandbits(64)))
        task = task_in(anchor)
        scenes, drops = ([scene_of(task, faults)], []) if task else (yield from self._evolve(anchor, faults))
        plays = [self._play(anchor, scene, number, len(scenes)) for number, scene in enumerate(scenes)]
        outcomes = yield from side_by_side(plays)
        return Outcome(
            [record for one in outcomes for record in one.records],
            drops + [drop for one in outcomes for drop in one.drops],
        )

    def _evolve(self, anchor: Anchor, faults: Faults) -> Conversation[tuple[list[Scene], list[Drop]]]:
        """Return the scenes that a domain gives, and the replies that gave none."""
        tools, drops = yield from evolve_tools(anchor, self.max_tools)
        if not tools:
            return [], drops
        agents = yield from evolve_agents(anchor, tools, self.max_agents)
        if isinstance(agents, Drop):
            return [], [*drops, agents]
        found = yield from evolve_wishes(anchor, agents, self.levels)
        drops += [one for one in found if isinstance(one, Drop)]
        wishes = [one for one in found if isinstance(one, Wish)]
        return [scene_of_wish(wish, number, faults) for number, wish in enumerate(wishes, 1)], drops

    def _play(self, anchor: Anchor, scene: Scene, number: int, of: int) -> Conversation[Outcome]:
        left = 2 * self.max_steps + 1
        play = Play(anchor, scene.facet, number, of, scene.scenario, scene.policy, scene.bench, left, self.max_errors)
        reason = yield from play.run()
        reason = reason or fault_by_code(scene, play)
        if not reason and self.judge:
            reason = yield from self._judge(scene, play)
        if reason:
            drops = [Drop(anchor.anchor_id, scene.facet, reason, reply) for reply in play.replies]
            return Outcome(drops=play.drops + drops)
        turns = play.record_turns()
        assert not (fault := fault_of(turns)), fault
        # Compared without its system turn: conversations with the same tools are no near duplicates for that.
        text, replies = transcript(play.turns), tuple(play.replies)
        record = Record(anchor.anchor_id, self.kind, scene.facet, text, replies, turns)
        return Outcome([record], play.drops)

    def _judge(self, scene: Scene, play: Play) -> Conversation[str]:
        request = ask_judge(
            play.anchor, play.next_number(), f"{scene.facet}: judge", scene.scenario, scene.rubric, play.turns
        )
        found = yield from ask(play.anchor, request, read_judged)
        if isinstance(found, Drop):
            return "unjudged"
        if not found.value.user_kept:
            return "user_broke_scenario"
        return "" if found.value.agent_passed else "rubric_failed"


def task_in(anchor: Anchor) -> ToolTask | None:
    """Return the task that an anchor is; None for any other text, and for a broken task, which the source refuses."""
    try:
        return read_task(anchor.text)
    except BadInput:
        return None


def scene_of(task: ToolTask, faults: Faults) -> Scene:
    """Return the scene of a given task, with a fresh state of its own."""
    facet = f"level {task.level}"
    if task.server:
        policy, bench = task.policy, ServerBench(task.server, task.tools)
        return Scene(facet, task.scenario, policy, bench, task.rubric, task)
    world = WORLDS[task.world]
    return Scene(facet, task.scenario, world.policy, CodeBench(world, copied(task.state), faults), task.rubric, task)


def scene_of_wish(wish: Wish, number: int, faults: Faults) -> Scene:
    """Return the scene of a task that was evolved; each has draws of faults of its own."""
    own = Faults(faults.error, 0.0, f"{faults.seed}/{number}")
    bench = ModelBench(wish.agent.tools, dict(wish.state), own)
    return Scene(f"level {wish.level}, task {number}", wish.scenario, wish.agent.policy, bench, wish.rubric)


def fault_by_code(scene: Scene, play: Play) -> str:
    """Return what code finds wrong with the conversation of a given task: the user first, since no agent is right with
    a false one. What was evolved has no reference, and its facts are too few to look for values beyond them."""
    if scene.task is None:
        return ""
    if broken_scenario(scene.scenario, play.turns, [one.name for one in scene.bench.tools]):
        return "user_broke_scenario"
    state = scene.bench.state if isinstance(scene.bench, CodeBench) else {}
    parts = reward(scene.task, state, play.calls, play.said).parts
    return next((REASONS[part] for part in scene.task.basis if not parts[part]), "")

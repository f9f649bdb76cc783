"""What conversations with tools cost and cover: acceptance by stage, tools called, requests and tokens a record."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from schemas.conversation import Turn
from schemas.rows import Drop, Record

STAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "played": ("too_many_steps", "unreadable_call", "unknown_tool", "bad_arguments", "bad_result", "malformed",
               "lost_reply", "tool_interrupted"),
    "user": ("user_broke_scenario",),
    "state": ("state_wrong", "assertion_failed", "action_missing"),
    "said": ("not_said",),
    "rubric": ("rubric_failed", "unjudged"),
}  # fmt: skip
"""Stages that a conversation must pass, in order, and the reasons for which it is dropped at each."""


class Stage(NamedTuple):
    """A stage: how many conversations came to it, and how many of them passed it."""

    name: str
    num_in: int
    num_passed: int


class Cost(NamedTuple):
    """What an accepted conversation cost: requests and tokens of the whole batch by its records; NaN without one."""

    requests: float
    tokens: float


def acceptance(records: Sequence[Record], drops: Iterable[Drop]) -> list[Stage]:
    """Return how many conversations passed each stage of ``STAGES``, in order; the last passed are the records.

    A conversation is dropped with all its replies, so it counts once: by anchor, facet and reason. A reply that could
    not be read and was asked for again is a drop of the conversation's part (``level 1: agent``), and does not count.
    """
    stage_of = {reason: name for name, reasons in STAGES.items() for reason in reasons}
    dropped = {(one.anchor_id, one.facet): one.reason for one in drops if ": " not in one.facet}
    lost = Counter(stage_of[reason] for reason in dropped.values() if reason in stage_of)
    left, found = len(records) + lost.total(), list[Stage]()
    for name in STAGES:
        found.append(Stage(name, left, left - lost[name]))
        left -= lost[name]
    return found


def tool_coverage(records: Iterable[Sequence[Turn]]) -> dict[str, float]:
    """Return the share of conversations that call each tool, for every tool that one of them has, by name.

    A tool that is never called has 0. The tools of a conversation stand in its system turn, one a line, as JSON.
    """
    num, called, known = 0, Counter[str](), set[str]()
    for turns in records:
        num += 1
        called.update({call.name for turn in turns for call in turn.calls})
        known |= _tools_of(turns)
    return {name: called[name] / num for name in sorted(known | set(called))}


def cost_of_accepted(num_records: int, num_requests: int, num_tokens: int) -> Cost:
    """Return the requests and tokens of a batch by its records: what was dropped is paid for too.

    >>> cost_of_accepted(4, 100, 8000)
    Cost(requests=25.0, tokens=2000.0)
    """
    if not num_records:
        return Cost(float("nan"), float("nan"))
    return Cost(num_requests / num_records, num_tokens / num_records)


def _tools_of(turns: Sequence[Turn]) -> set[str]:
    lines = turns[0].content.splitlines() if turns and turns[0].role == "system" else []
    names = set()
    for line in lines:
        if line.startswith('{"name": '):
            try:
                names.add(str(json.loads(line)["name"]))
            except (ValueError, RecursionError):
                continue
    return names

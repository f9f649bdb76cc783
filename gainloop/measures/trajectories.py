"""What becomes of conversations with tools: acceptance by stage, tools that are called, what an accepted one costs."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gainloop.measures.estimate import Estimate, not_measured, ratio_of_sums, share_of
from schemas.conversation import Turn

STAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "played": ("too_many_steps", "unreadable_call", "unknown_tool", "bad_arguments", "bad_result", "malformed",
               "chain_of_thought", "cut_off", "empty", "placeholder", "echo", "turn_marks",
               "lost_reply", "tool_interrupted"),
    "user": ("user_broke_scenario",),
    "state": ("state_wrong", "assertion_failed", "action_missing"),
    "said": ("not_said",),
    "rubric": ("rubric_failed", "unjudged"),
    "kept": (),
}  # fmt: skip
"""Stages that a conversation must pass, in order, and the reasons for which it is dropped at each; all others are those
of filters and validation, the last."""

_STAGE_OF: Final = {reason: name for name, reasons in STAGES.items() for reason in reasons}
_CONVERSATION: Final = "level "
"""Beginning of the facet of a conversation, and of its parts (``level 1: agent``)."""


class Fate(NamedTuple):
    """What became of a conversation: the stage that it did not pass; empty if it is a kept record."""

    anchor_id: str
    facet: str
    lost_at: str


def fates(records: Iterable[tuple[str, str, bool]], drops: Iterable[tuple[str, str, str]]) -> list[Fate]:
    """Return what became of each conversation that was begun, in the order of anchors and facets.

    A conversation is dropped with all its replies, so it counts once: by anchor and facet. A reply that could not be
    read and was asked for again is a drop of the conversation's part (``level 1: agent``), and does not count, unless
    nothing else is left of the conversation: then it was not played to its end.

    Args:
        records: Anchor and facet of each record, and whether it is kept.
        drops: Anchor, facet and reason of each drop.

    >>> fates([("a", "level 1", True)], [("a", "level 1: agent", "empty"), ("b", "level 2: user", "malformed")])
    [Fate(anchor_id='a', facet='level 1', lost_at=''), Fate(anchor_id='b', facet='level 2', lost_at='played')]
    """
    found = dict[tuple[str, str], str]()
    for anchor_id, facet, reason in drops:
        talk, _, part = facet.partition(": ")
        if not part:
            found[anchor_id, talk] = _STAGE_OF.get(reason, "kept")
        elif talk.startswith(_CONVERSATION):
            found.setdefault((anchor_id, talk), "played")
    for anchor_id, facet, is_kept in records:
        found[anchor_id, facet] = "" if is_kept else "kept"
    talks = sorted(talk for talk in found if talk[1].startswith(_CONVERSATION))
    return [Fate(*talk, found[talk]) for talk in talks]


def acceptance(conversations: Sequence[Fate]) -> dict[str, Estimate]:
    """Return the share of conversations that passed each stage of ``STAGES``, of those that came to it, in order.

    Returns:
        A share by stage: ``n`` conversations came to it; its interval is over anchors.
    """
    left, found = list(conversations), dict[str, Estimate]()
    for name in STAGES:
        passed = [one for one in left if one.lost_at != name]
        found[name] = _share([one.lost_at != name for one in left], [one.anchor_id for one in left])
        left = passed
    return found


def accepted(conversations: Sequence[Fate]) -> Estimate:
    """Return the share of all conversations that became a kept record, with its interval over anchors."""
    return _share([not one.lost_at for one in conversations], [one.anchor_id for one in conversations])


def tool_coverage(conversations: Iterable[tuple[str, Sequence[Turn]]]) -> dict[str, Estimate]:
    """Return the share of conversations that call a tool, of those that have it, by the tool's name.

    A tool that is never called has 0. The tools of a conversation stand in its system turn, one a line, as JSON; one
    that is called without standing there counts too.

    Args:
        conversations: Anchor and turns of each.

    Returns:
        A share by tool, those that most conversations have first; its interval is over anchors.
    """
    having = defaultdict[str, list[tuple[bool, str]]](list)
    for anchor_id, turns in conversations:
        called = {call.name for turn in turns for call in turn.calls}
        for name in called | _tools_of(turns):
            having[name].append((name in called, anchor_id))
    in_order = sorted(having.items(), key=lambda one: (-len(one[1]), one[0]))
    return {name: _share(*zip(*rows, strict=True)) for name, rows in in_order}


def never_called(coverage: Mapping[str, Estimate]) -> Estimate:
    """Return the number of tools that no conversation calls, of ``n`` that there are: a count, so no interval."""
    if not coverage:
        return not_measured("tools", "no conversation was kept")
    return Estimate(sum(not one.value for one in coverage.values()), None, None, len(coverage), "tools")


def cost_of_accepted(spent: ArrayLike, num_accepted: ArrayLike, anchor_ids: Sequence[str], unit: str) -> Estimate:
    """Return what was spent by accepted conversations: what was dropped is paid for too.

    Args:
        spent: [anchors] Requests, or tokens, about each anchor.
        num_accepted: [anchors] Accepted conversations of each anchor.
        anchor_ids: [anchors] The anchors.

    Returns:
        The ratio of the sums, with its interval over anchors; ``n`` is the number of anchors.
    """
    if not np.asarray(num_accepted).sum():
        return not_measured(unit, "no conversation was accepted")
    return ratio_of_sums(spent, num_accepted, anchor_ids, unit)


def _share(flags: Sequence[bool], anchor_ids: Sequence[str]) -> Estimate:
    return share_of(flags, anchor_ids) if flags else not_measured("share", "no conversation came so far")


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

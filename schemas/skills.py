"""The report's sections on what skills a batch is to teach: conversations with tools, and invented instructions."""

from schemas.figure import Figure, ReportPart, figure


class StageCount(ReportPart):
    """Conversations that came to a stage, and those that passed it."""

    stage: str
    came: int
    passed: int


class Spent(ReportPart):
    """Requests about one part of the conversations (user, agent, tool, judge, ...) and their tokens, replies among
    them."""

    part: str
    requests: int
    tokens: int


class ToolCalls(ReportPart):
    """One tool, and the share of the kept conversations which have it that call it."""

    tool: str
    share: Figure


class ToolTalk(ReportPart):
    """Conversations of a user and an agent with tools: what becomes of them, what they call, and what they cost.

    Stages follow each other: each figure is of the conversations that passed all before, and ``stages`` are their
    counts. ``calls`` are the tools that most of the kept conversations have; ``spent`` adds up to what the accepted
    ones cost.
    """

    accepted: Figure = figure(
        "Accepted conversations",
        "Conversations that became a kept record, of all that were begun. Where it is low, the first stage that few "
        "pass says what the tokens are lost by.",
        "share",
        healthy="higher",
    )
    played: Figure = figure(
        "Played to the end",
        "Conversations that came to an end, of those begun: not in too many steps, nor with too many replies or calls "
        "that could not be used.",
        "share",
        healthy="higher",
    )
    user: Figure = figure(
        "The user kept to the scenario",
        "Conversations whose user said nothing that it could not know, of those that passed all before. Of the "
        "failures of tau2-bench up to three in ten were the simulated user's.",
        "share",
        healthy="higher",
    )
    state: Figure = figure(
        "In the right state",
        "Conversations that end in the state that the task wants, with its assertions and actions, of those that "
        "passed all before; 1 where tasks want none.",
        "share",
        healthy="higher",
    )
    said: Figure = figure(
        "Said what must be said",
        "Conversations in which the agent says what the task wants it to, of those that passed all before; 1 where "
        "tasks want nothing.",
        "share",
        healthy="higher",
    )
    rubric: Figure = figure(
        "Met the rubric",
        "Conversations that meet the rubric by a judge's verdict, of those that passed all before.",
        "share",
        healthy="higher",
    )
    kept: Figure = figure(
        "Kept by filters and validation",
        "Conversations that filters and validation keep, of those that passed all before.",
        "share",
        healthy="higher",
    )
    never_called: Figure = figure(
        "Tools never called",
        "Tools that the kept conversations have and none of them calls: no record teaches them. Healthy: 0.",
        "tools",
        healthy="lower",
    )
    requests: Figure = figure(
        "Requests by accepted conversation",
        "Requests of the whole batch by its kept conversations: those of users and judges, and of all that was thrown "
        "away.",
        "requests/conversation",
        healthy="lower",
    )
    tokens: Figure = figure(
        "Tokens by accepted conversation",
        "Tokens of all prompts and replies of the batch by its kept conversations: those of users and judges, and of "
        "all that was thrown away.",
        "tokens/conversation",
        healthy="lower",
    )
    stages: list[StageCount]
    spent: list[Spent]
    calls: list[ToolCalls]


class Instructions(ReportPart):
    """Instructions that a method invented, beside those that it was shown: the seeds."""

    likeness: Figure = figure(
        "Likeness to the nearest seed",
        "ROUGE-L of an instruction with the one that it is most like among those that the method was shown, at the "
        "median: 0 no word in common, 1 the same words. The seeds of Self-Instruct have 0.33 with the nearest other.",
        "ROUGE-L",
        healthy="lower",
    )
    new: Figure = figure(
        "New instructions",
        "Instructions that say no seed again: ROUGE-L with the nearest is at most 0.7. Healthy: 1, which validation "
        "sees to by default.",
        "share",
        healthy="higher",
    )
    far: Figure = figure(
        "Instructions far from all seeds",
        "Instructions whose ROUGE-L with the nearest seed is at most 0.5: about half of the words in common. It falls "
        "before new instructions do. Of the seeds of Self-Instruct 0.94 are as far from all others.",
        "share",
        healthy="higher",
    )
    common_start: Figure = figure(
        "Most common start of an instruction",
        "Part of the instructions that begin with the same three words. Healthy: near that of the seeds; far above, "
        "the generator asks for one thing over and over.",
        "share",
        healthy="lower",
    )
    seeds_common_start: Figure = figure(
        "Most common start of a seed",
        "Part of the seeds that begin with the same three words: the yardstick for the instructions.",
        "share",
    )
    start: str

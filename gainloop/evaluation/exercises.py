"""Exercises as models are given them, and what a program says of each answer."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from gainloop.asking.conversation import Conversation, turn
from gainloop.measures.constraints import AnyConstraint, unmet
from gainloop.measures.function_calls import Function, WantedCall, calls_fault
from gainloop.measures.written_calls import read_calls
from gainloop.solutions.problem import Problem, ProblemKind
from gainloop.solutions.verdict import verdict_of
from schemas.conversation import Turn
from schemas.exercise import Skill, Trials
from schemas.rows import Anchor, Drop, Outcome, Prompt, Reply, Request, content_hash

SOLVER: Final = "Solve the problem. Think step by step, then "
CLOSES: Final[Mapping[ProblemKind, str]] = {
    "mathematics": 'close with a line that begins with "Answer:" and holds the final answer alone.',
    "exact": 'close with a line that begins with "Answer:" and holds the final answer alone.',
    "choice": 'close with a line that begins with "Answer:" and holds the letter of the right option alone.',
    "code": "close with one whole program in Python, in a block of code between ``` marks.",
}
CALLER: Final = (
    "You call functions for the person who writes to you. These are the functions, as JSON:\n{functions}\n\nAnswer "
    "with the calls that do what is asked, and nothing else, as a list in the syntax of Python: "
    "[name(argument=value), name(argument=value)]. Give every argument by its name, and every value as a literal. If "
    "no function can do what is asked, or a value that one needs is not said, say so in one sentence and call none."
)
WRITER: Final = "Do what you are asked, in exactly the form that is asked for. Answer with the result alone."

THOUGHT_END: Final = "</think>"

MARKING: Final = "1"
"""Raised where the rules of marking change: answers are marked anew then."""

WORDING_ID: Final = content_hash("exercise wording", SOLVER, dict(CLOSES), CALLER, WRITER)


class Mark(NamedTuple):
    """What a program says of one answer.

    Attributes:
        is_right: Whether it is right in all.
        reasons: Short keys of why not, in their order.
        num_met: Checks that it meets; of constraints there are several.
        num_checks: Checks that there are.
        detail: What is wrong where, as far as it is known: a function and its argument.
    """

    is_right: bool
    reasons: tuple[str, ...]
    num_met: int
    num_checks: int
    detail: str = ""

    @classmethod
    def of(cls, reason: str, detail: str = "") -> "Mark":
        """Return the mark of one check: right where there is no reason against it."""
        return cls(not reason, (reason,) if reason else (), int(not reason), 1, detail)


@dataclass(frozen=True, slots=True)
class Solving:
    """A problem whose final answer, option or program is known or can be tested."""

    problem: Problem
    skill: Skill = field(default="solved", init=False)

    @property
    def system(self) -> str:
        return SOLVER + CLOSES[self.problem.kind]

    @property
    def about(self) -> Any:
        return asdict(self.problem)

    def mark(self, said: str) -> Mark:
        verdict = verdict_of(self.problem, said)
        return Mark.of("" if verdict == "right" else verdict)


@dataclass(frozen=True, slots=True)
class Calling:
    """Functions that may be called, and the calls that are right; none where nothing is to be called."""

    functions: tuple[Function, ...]
    wanted: tuple[WantedCall, ...]
    skill: Skill = field(default="called", init=False)

    @property
    def system(self) -> str:
        shown = ({"name": f.name, "description": f.description, "parameters": f.parameters} for f in self.functions)
        return CALLER.format(functions="\n".join(json.dumps(one, ensure_ascii=False) for one in shown))

    @property
    def about(self) -> Any:
        return [[asdict(one) for one in self.functions], [asdict(one) for one in self.wanted]]

    def mark(self, said: str) -> Mark:
        calls = read_calls(said)
        if calls is None:
            return Mark.of("unreadable")
        fault = calls_fault(self.functions, self.wanted, calls)
        return Mark.of(fault.reason, str(fault)) if fault else Mark.of("")


@dataclass(frozen=True, slots=True)
class Constrained:
    """Constraints that an answer meets, all of them where it is right."""

    constraints: tuple[AnyConstraint, ...]
    skill: Skill = field(default="constrained", init=False)

    @property
    def system(self) -> str:
        return WRITER

    @property
    def about(self) -> Any:
        return [one.model_dump(mode="json") for one in self.constraints]

    def mark(self, said: str) -> Mark:
        missed, number = unmet(self.constraints, said), len(self.constraints)
        return Mark(not missed, tuple(dict.fromkeys(one.kind for one in missed)), number - len(missed), number)


@dataclass(frozen=True, slots=True)
class Exercise:
    """One task whose answer a program checks. One row per conversation and what is right after it.

    Attributes:
        messages: What is asked, up to a user's turn.
        key: What is right.
    """

    messages: tuple[Turn, ...]
    key: Solving | Calling | Constrained

    @property
    def exercise_id(self) -> str:
        said = [[one.role, one.content] for one in self.messages]
        return content_hash("exercise", self.key.skill, said, self.key.about)

    @property
    def prompt(self) -> Prompt:
        """The conversation behind a system message of ours, with that of the exercise in it if it has one."""
        system = [self.key.system, *(one.content for one in self.messages if one.role == "system")]
        others = (turn(one.role, one.content) for one in self.messages if one.role in ("user", "assistant"))
        return (turn("system", "\n\n".join(system)), *others)

    def mark(self, text: str, is_cut_off: bool = False) -> Mark:
        """Return what a program says of an answer; what was thought before it does not count.

        Args:
            is_cut_off: True if the answer was longer than it may be; why it is wrong begins with that.
        """
        found = self.key.mark(text.rpartition(THOUGHT_END)[2].strip())
        return found._replace(reasons=("cut_off", *found.reasons)) if is_cut_off and not found.is_right else found


@dataclass(frozen=True, slots=True)
class Answered(Outcome):
    """The outcome of one exercise: the reply to each draw, or why there is none."""

    answers: list[Reply | Drop] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Practice:
    """Exercises, each answered several times, by the anchor that stands for it."""

    exercises: Mapping[str, Exercise]
    trials: Trials

    def rounds(self, anchor: Anchor, _seed: int) -> Conversation[Answered]:
        """Return the answers to one exercise."""
        prompt, is_greedy = self.exercises[anchor.anchor_id].prompt, not self.trials.temperature
        answers = yield [Request(prompt, "exercise", draw=n, greedy=is_greedy) for n in range(self.trials.samples)]
        dropped = [one for one in answers if isinstance(one, Drop)]
        return Answered(answers=list(answers), drops=dropped)


def anchor_of(exercise: Exercise) -> Anchor:
    """Return the anchor that stands for an exercise."""
    return Anchor(exercise.messages[-1].content, anchor_id=exercise.exercise_id)

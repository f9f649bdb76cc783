"""Problems solved with the thought that leads to the solution: conversations to learn reasoning from."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from gainloop.asking.chunks import MaxWords, estimate_tokens, tokens_of_words
from gainloop.asking.conversation import Conversation, after, beside, reason_to_drop
from gainloop.methods.method import Method
from gainloop.solutions.problem import Problem, ProblemKind, read_problem
from gainloop.solutions.verifying import ask_verdict, verdict_in
from schemas.conversation import Turn
from schemas.marks import THOUGHTS
from schemas.rows import Anchor, Answer, Drop, Outcome, Record, Reply, Request, Rounds
from schemas.suites import Suite, at_least, at_most

Keep = Literal["all", "right", "shortest_right"]
Preset = Literal["none", "sky_t1", "openthoughts3"]

SOLVE = (
    "The document is a problem. Answer in two parts. Begin the first with a line that holds the word THOUGHT alone, "
    "and think below it: try ways, check every step, go back where one fails. Begin the second with a line that holds "
    "the word SOLUTION alone, and write below it the finished solution for a reader who sees nothing else."
)
SOLVE_ALOUD = (
    "The document is a problem. Think about it in writing: try ways, check every step, go back where one fails. Then "
    "write the finished solution."
)
PART = (
    "The draft is an answer to the problem in the document, in which thinking and solution are not set apart. Write it "
    "again in two parts. Begin the first with a line that holds the word THOUGHT alone: below it stands all that the "
    "draft thinks, word for word and not shortened. Begin the second with a line that holds the word SOLUTION alone: "
    "below it stands the finished solution. Change no result."
)
_ENDS_IN: Final = "End the solution with a line that begins with Answer and a colon, and gives the {}."
ENDS: Final[dict[ProblemKind, str]] = {
    "mathematics": _ENDS_IN.format("final answer alone"),
    "code": "End the solution with one block of Python code that holds the whole program.",
    "choice": _ENDS_IN.format("letter of the right option"),
    "exact": _ENDS_IN.format("final answer alone"),
}
LENGTH = "Write {max_words} words at most."

PRESETS: Final[dict[str, dict[str, Any]]] = {
    "none": {},
    "sky_t1": {"answers": 1, "rewrite": True, "keep": "right", "max_words": 8000},
    "openthoughts3": {"answers": 16, "rewrite": False, "keep": "all", "max_words": 8000},
}
"""Parameters of published recipes, in place of those that have their own defaults."""

_THOUGHT = re.compile(r"^[ \t>*#_]{0,9}THOUGHTS?[ \t:*_]{0,9}$", re.MULTILINE)
_SOLUTION = re.compile(r"^[ \t>*#_]{0,9}SOLUTION[ \t:*_]{0,9}$", re.MULTILINE)
_CLOSING = re.compile(r"/|end|done", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Trace:
    """One answer to a problem: its parts, the replies that it is made of, and the tokens of the first."""

    facet: str
    thought: str
    solution: str
    request_ids: tuple[str, ...]
    tokens: int

    @property
    def num_chars(self) -> int:
        return len(self.thought) + len(self.solution)


class Reasoning(Method):
    """Problems solved with the thought that leads to the solution, as conversations; kept all, or only the right ones.

    The target capability: to solve problems that take several steps, whose answers can be checked, by thinking before
    answering. The prompts and responses: the user asks the problem as its file has it, without its answer; the
    assistant has a thought, which stands apart, and a solution. Anchors are problems, as the source ``problems`` makes
    them: mathematics, code with tests, choices, exact answers. Any other anchor is a question with no known answer.

    Published recipes are presets. ``sky_t1``: one answer, which a second request parts into thought and solution;
    right ones are kept. ``openthoughts3``: 16 answers, none verified. Both want ``text.sampling.max_tokens`` of
    16384. A parameter that is set to another value than its default stands beside a preset.

    Asks: ``answers`` draws of one request for thought and solution in two marked parts; with ``rewrite`` for an answer
    as it comes, and then once more for its parts. What a model thinks between marks of its own, such as ``<think>``, or
    what its server sends apart, is the thought.
    Costs: ``answers d`` prompt tokens, and with ``rewrite`` each answer once more.
    Counts: ``no_thought`` and ``no_solution`` for answers that lack one, ``too_short`` and ``too_long`` by their
    tokens. Where answers are verified, as they are unless ``keep`` is all and pass rates are free: ``wrong``,
    ``timeout`` and ``unreadable`` as the filter ``solved`` has them, ``no_answer`` where the problem has none,
    ``longer`` for right ones that are not the shortest; and of all answers to a problem ``too_hard`` or
    ``too_easy`` if the share of right ones, among those that are whole and differ, is out of bounds. It is the
    generator's own share: with the trainee as generator, it is the trainee's.
    Source: Sky-T1, NovaSky 2025, github.com/NovaSky-AI/SkyThought; OpenThoughts3, Guha et al. 2025, arXiv:2506.04178,
    which finds no filter of answers better than none: verify, and measure whether it gains.
    Differs: prompts are our own; no score by a model stands in for a verdict; a verifier that fails is an error, never
    a wrong answer; length is asked for in words.
    """

    kind: Literal["reasoning"] = "reasoning"
    makes_turns: ClassVar[bool] = True
    holds_anchor: ClassVar[bool] = True
    wishes: ClassVar[tuple[str, ...]] = (SOLVE, SOLVE_ALOUD, PART, *dict.fromkeys(ENDS.values()), LENGTH)
    expectations: ClassVar[Suite] = (
        at_most("copied_share", 1.0, "copies_anchor", mostly=0.5),  # the question is the anchor's
        at_least("letter_share", 0.15, "not_prose", mostly=0.5),
        at_most("repeated_share", 0.6, "repeats", mostly=0.5),
    )
    preset: Annotated[Preset, Field(description="Published recipe whose parameters are the defaults.")] = "none"
    answers: Annotated[int, Field(ge=1, le=64, description="Answers sampled for each problem.")] = 4
    keep: Annotated[Keep, Field(description="Answers kept: all, right, or shortest_right, one a problem.")] = "all"
    rewrite: Annotated[bool, Field(description="True to have a second request part each answer.")] = False
    thought: Annotated[bool, Field(description="True to drop answers without a thought.")] = True
    least_pass_rate: Annotated[
        float, Field(ge=0, le=1, description="Share of right answers below which a problem is too_hard.")
    ] = 0.0
    most_pass_rate: Annotated[
        float, Field(ge=0, le=1, description="Share of right answers above which a problem is too_easy.")
    ] = 1.0
    least_tokens: Annotated[
        int | None, Field(ge=1, description="Tokens of an answer below which it is too_short, or none.")
    ] = None
    most_tokens: Annotated[
        int | None, Field(ge=1, description="Tokens of an answer above which it is too_long, or none.")
    ] = None
    max_words: MaxWords = 250
    run_unisolated: Annotated[
        bool, Field(description="True to run programs where no namespaces keep them apart: they may do what you may.")
    ] = False

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        # What has its own default gives way: a form sends the defaults of all that nobody has set.
        own = {name: cls.model_fields[name].default for name in given.keys() & cls.model_fields.keys()}
        preset = PRESETS.get(str(given.get("preset")), {})
        return given | {name: value for name, value in preset.items() if name not in own or given[name] == own[name]}

    @model_validator(mode="after")
    def _leave_room(self) -> Self:
        if self.least_pass_rate > self.most_pass_rate:
            raise ValueError(
                f"least_pass_rate is {self.least_pass_rate:g} and most_pass_rate {self.most_pass_rate:g}; the first "
                "may be as high as the second at most"
            )
        return self

    @property
    def max_requests(self) -> int:
        return self.answers * (2 if self.rewrite else 1)

    @property
    def max_records(self) -> int:
        return 1 if self.keep == "shortest_right" else self.answers

    @property
    def verifies(self) -> bool:
        return self.keep != "all" or self.least_pass_rate > 0 or self.most_pass_rate < 1

    def said(self, reply: Reply) -> Reply:
        thought, solution, _ = read_parts(reply.text)
        return replace(reply, text=solution or thought)

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        problem = read_problem(anchor.text) or Problem(anchor.text)
        shown = Anchor(problem.asked, anchor.title)
        requests = [self.ask_solution(shown, problem.kind, draw) for draw in range(self.answers)]
        traces, drops = read_all(anchor, requests, (yield requests), {})
        traces = self._fitting(anchor, traces, drops)
        if self.rewrite and traces:
            before = dict(enumerate(traces))
            requests = [ask_parts(shown, trace, number) for number, trace in before.items()]
            traces, more = read_all(anchor, requests, (yield requests), before)
            drops += more
        traces = self._whole(anchor, traces, drops)
        if self.verifies:
            traces = yield from self._kept(anchor, problem, traces, drops)
        return Outcome([as_record(anchor, self.kind, problem, trace) for trace in traces], drops)

    def ask_solution(self, shown: Anchor, kind: ProblemKind, draw: int) -> Request:
        """Ask for an answer to a problem, whose own answer is not shown."""
        wish = f"{SOLVE_ALOUD if self.rewrite else SOLVE} {ENDS[kind]} {LENGTH.format(max_words=self.max_words)}"
        tokens = tokens_of_words(self.max_words)
        return Request(after(shown.text, wish, shown.title), f"answer {draw}", draw=draw, reply_tokens=tokens)

    def _fitting(self, anchor: Anchor, traces: Sequence[Trace], drops: list[Drop]) -> list[Trace]:
        """Return the answers whose first replies are neither too short nor too long."""

        def fault(trace: Trace) -> str:
            if trace.tokens < (self.least_tokens or 0):
                return "too_short"
            return "too_long" if self.most_tokens is not None and trace.tokens > self.most_tokens else ""

        return _sorted_out(anchor, traces, drops, [fault(trace) for trace in traces])

    def _whole(self, anchor: Anchor, traces: Sequence[Trace], drops: list[Drop]) -> list[Trace]:
        """Return the answers that have both parts, each text once."""
        said: set[tuple[str, str]] = set()
        faults = []
        for trace in traces:
            text = trace.thought, trace.solution
            lacks = "no_solution" if not trace.solution else "no_thought" if self.thought and not trace.thought else ""
            faults.append(lacks or ("repeat" if text in said else ""))
            said.add(text)
        return _sorted_out(anchor, traces, drops, faults)

    def _kept(
        self, anchor: Anchor, problem: Problem, traces: list[Trace], drops: list[Drop]
    ) -> Conversation[list[Trace]]:
        """Return the answers that are kept of a problem, by their verdicts."""
        if not traces:
            return []
        if not problem.is_verifiable:
            return _sorted_out(anchor, traces, drops, ["no_answer"] * len(traces))
        asked = [ask_verdict(anchor, trace.solution, trace.facet, self.run_unisolated) for trace in traces]
        verdicts = [verdict_in(answer) for answer in (yield asked)]
        if "no_answer" in verdicts:  # no share of these says how hard the problem is
            return _sorted_out(anchor, traces, drops, ["no_answer"] * len(traces))
        share = verdicts.count("right") / len(verdicts)
        if not self.least_pass_rate <= share <= self.most_pass_rate:
            reason = "too_hard" if share < self.least_pass_rate else "too_easy"
            return _sorted_out(anchor, traces, drops, [reason] * len(traces))
        return _sorted_out(anchor, traces, drops, self._reasons(traces, verdicts))

    def _reasons(self, traces: list[Trace], verdicts: list[str]) -> list[str]:
        if self.keep == "all":
            return [""] * len(traces)
        reasons = ["" if verdict == "right" else verdict for verdict in verdicts]
        right = [number for number, reason in enumerate(reasons) if not reason]
        if self.keep == "shortest_right" and right:
            shortest = min(right, key=lambda number: traces[number].num_chars)
            reasons = [
                "longer" if number in right and number != shortest else one for number, one in enumerate(reasons)
            ]
        return reasons


def ask_parts(shown: Anchor, trace: Trace, number: int) -> Request:
    """Ask for an answer once more, parted into thought and solution."""
    draft = "\n\n".join(part for part in (trace.thought, trace.solution) if part)
    facet = trace.facet.replace("answer", "parts")
    return Request(beside(shown, draft, PART), facet, draw=number, reply_tokens=estimate_tokens(draft))


def read_all(
    anchor: Anchor, requests: Sequence[Request], answers: Sequence[Answer], before: dict[int, Trace]
) -> tuple[list[Trace], list[Drop]]:
    """Return what was answered, and the drops of answers that cannot be used.

    Args:
        before: Answers that these are the parts of, by number; of them only our own marks count.
    """
    traces: list[Trace] = []
    drops: list[Drop] = []
    for number, (request, answer) in enumerate(zip(requests, answers, strict=True)):
        read = _read(anchor, request, answer, before.get(number))
        if isinstance(read, Drop):
            drops.append(read)
        else:
            traces.append(read)
    return traces, drops


def _read(anchor: Anchor, request: Request, answer: Answer, first: Trace | None) -> Trace | Drop:
    if isinstance(answer, Drop):
        return answer
    thought, solution = read_own_parts(read_parts(answer.text)[2]) if first else read_parts(answer.text)[:2]
    # A thought without a solution is no empty reply, and what no reply may hold no thought may.
    for said in dict.fromkeys((solution or thought, thought or solution)):
        if drop := reason_to_drop(anchor, request, replace(answer, text=said)):
            return drop
    if first:
        return Trace(first.facet, thought, solution, (*first.request_ids, answer.request_id), first.tokens)
    return Trace(request.facet, thought, solution, (answer.request_id,), answer.completion_tokens)


def read_parts(text: str) -> tuple[str, str, str]:
    r"""Return the thought and the solution of a reply, and the reply without what stands between a model's own marks.

    >>> read_parts("THOUGHT\n3 and 4.\nSOLUTION\n7")[:2], read_parts("<think>\n3 and 4.\n</think>\n\n7")[:2]
    (('3 and 4.', '7'), ('3 and 4.', '7'))
    >>> read_parts("<think>3 and 4, or")[:2], read_parts("It is 7.")[:2]
    (('3 and 4, or', ''), ('', 'It is 7.'))
    """
    marks = list(THOUGHTS[0].finditer(text))
    closing = [mark for mark in marks if _CLOSING.search(mark[0])]
    begin = marks[0].end() if marks and not text[: marks[0].start()].strip() and marks[0] not in closing else 0
    if not closing and begin:
        return text[begin:].strip(), "", ""
    aloud = text[begin : closing[-1].start()].strip() if closing else ""
    rest = text[closing[-1].end() :].strip() if closing else text.strip()
    thought, solution = read_own_parts(rest)
    return aloud or thought, solution, rest


def read_own_parts(text: str) -> tuple[str, str]:
    r"""Return what stands below our two marks; a text without any is a solution alone.

    >>> read_own_parts("**THOUGHT**\nAdd.\n\n## SOLUTION:\n7"), read_own_parts("THOUGHT\nAdd.")
    (('Add.', '7'), ('Add.', ''))
    """
    begun = _THOUGHT.search(text)
    solved = _SOLUTION.search(text, begun.end() if begun else 0)
    if not begun and not solved:
        return "", text.strip()
    thought = text[begun.end() if begun else 0 : solved.start() if solved else len(text)].strip()
    return thought, text[solved.end() :].strip() if solved else ""


def as_record(anchor: Anchor, kind: str, problem: Problem, trace: Trace) -> Record:
    """Return the conversation of one answer."""
    turns = (Turn("user", problem.asked), Turn("assistant", trace.solution, trace.thought))
    return Record.of_turns(anchor.anchor_id, kind, trace.facet, turns, trace.request_ids)


def _sorted_out(anchor: Anchor, traces: Sequence[Trace], drops: list[Drop], reasons: Sequence[str]) -> list[Trace]:
    """Return the answers without a reason to drop them; every reply of the others becomes a drop."""
    for trace, reason in zip(traces, reasons, strict=True):
        if reason:
            drops += [Drop(anchor.anchor_id, trace.facet, reason, reply) for reply in trace.request_ids]
    return [trace for trace, reason in zip(traces, reasons, strict=True) if not reason]

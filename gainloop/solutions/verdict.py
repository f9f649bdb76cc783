"""Whether a solution is right: the verdict, and what gives it for as many solutions as there are."""

import atexit
import json
from collections.abc import Iterable
from dataclasses import asdict
from types import TracebackType
from typing import Any, Final, Literal, Self

from gainloop.solutions.choice import compare_options
from gainloop.solutions.code import read_program
from gainloop.solutions.exact import compare_texts
from gainloop.solutions.mathematics import compare_plainly, final_answer, is_same_text, marked_answer
from gainloop.solutions.pool import START_SECONDS, Died, Pool, Process
from gainloop.solutions.problem import Example, Problem
from gainloop.solutions.sandbox import Limits
from schemas.errors import BadInput, VerifierError
from schemas.rows import content_hash

SolutionVerdict = Literal["right", "wrong", "timeout", "unreadable", "no_answer"]
"""``timeout``: time or memory ran out before it was known. ``unreadable``: there is no answer, program or choice in it
that can be read. ``no_answer``: the known answer of the problem cannot be read, whatever the solution."""

MOST_TRIES: Final = 2
"""Processes that may die of one answer: not to be read, it is said then to be."""
_MOST_KNOWN: Final = 10_000


class Verifier:
    """Verdicts on solutions, by processes that stay alive from one to the next.

    Threads may share one; each call waits for its verdict.

    Args:
        workers: Processes at once. Default: one for each core.
        seconds: Time that comparing two formulas may take.
        limits: What one run of a program may take.
        run_unisolated: True to run programs where nothing but limits keeps them apart.
    """

    def __init__(
        self, workers: int = 0, seconds: float = 10.0, limits: Limits | None = None, run_unisolated: bool = False
    ) -> None:
        self.seconds, self.limits, self.run_unisolated = seconds, limits or Limits(), run_unisolated
        self._pool = Pool(workers)
        self._known: dict[str, SolutionVerdict] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; a later verdict starts others."""
        self._pool.close()

    def verdict(self, problem: Problem, text: str) -> SolutionVerdict:
        """Return whether a solution is right.

        Raises:
            BadInput: Nothing is known of the problem that a solution could be compared with.
            VerifierError: The verifier does not work here; no text makes it.
        """
        if not problem.is_verifiable:
            needed = "tests are" if problem.kind == "code" else "an answer is"
            raise BadInput(
                f"verifying a solution of {problem.question[:60]!r}: nothing is known of what is right; {needed} "
                "needed. Add it to the file, or keep all answers."
            )
        match problem.kind:
            case "choice":
                return compare_options(problem.options, problem.answer, text)
            case "exact":
                return compare_texts(problem.answer, text)
            case "mathematics":
                return self._of_mathematics(problem.answer, text)
        return self._of_code(problem, text)

    def _of_mathematics(self, known: str, text: str) -> SolutionVerdict:
        gold = marked_answer(known) or known.strip()
        if is_same_text(gold, text):
            return "right"
        if not (answer := final_answer(text)):
            return "unreadable"
        verdict = compare_plainly(gold, answer)
        if verdict != "unknown":
            return verdict
        return self._ask("mathematics", {"gold": gold, "answer": answer}, self.seconds)

    def _of_code(self, problem: Problem, text: str) -> SolutionVerdict:
        if not (program := read_program(text)).strip():
            return "unreadable"
        tests = [[one.given, one.printed] if isinstance(one, Example) else one for one in problem.tests]
        num_runs = 1 + sum(isinstance(one, Example) for one in problem.tests)
        job = {"program": program, "tests": tests, "limits": asdict(self.limits)}
        return self._ask("code", job, num_runs * (self.limits.seconds + 5))

    def _ask(self, kind: str, job: dict[str, Any], seconds: float) -> SolutionVerdict:
        name = content_hash(kind, json.dumps(job), seconds)  # as ASCII: a text may hold half of a character
        if name not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[name] = self._asked(kind, job, seconds)
        return self._known[name]

    def _asked(self, kind: str, job: dict[str, Any], seconds: float) -> SolutionVerdict:
        for _ in range(MOST_TRIES):
            with self._pool.lend() as process:
                about = self._prepared(process, kind)
                try:
                    answer = process.ask({"do": kind, **job, **about}, seconds)
                except Died:
                    process.end()
                    continue
                if answer is None or answer.get("is_last"):
                    process.end()
                if answer and "error" in answer:
                    raise _broken(kind, str(answer["error"]))
                verdict: SolutionVerdict = answer["verdict"] if answer else "timeout"
                return verdict
        if kind == "code":  # which dies in a process of its own
            raise _broken(kind, f"{MOST_TRIES} processes died one after the other")
        return "unreadable"

    def _prepared(self, process: Process, kind: str) -> dict[str, str]:
        """Return what a process has found that it needs for a kind of problem, once it is ready for it."""
        if kind not in process.prepared:
            try:
                answer = process.ask({"do": f"prepare {kind}"}, START_SECONDS)
            except Died:
                answer = {"error": "the process ended as it began"}
            if answer is None or "error" in answer:
                raise _broken(kind, answer["error"] if answer else f"it is not ready after {START_SECONDS:g} s")
            process.prepared[kind] = answer
        about = process.prepared[kind]
        if kind != "code":
            return {}
        if about["isolation"] == "none" and not self.run_unisolated:
            raise BadInput(
                f"verifying a program: nothing keeps it apart from this machine, {about['why']}; namespaces of Linux "
                "are needed, which a container may have to be allowed. Allow them, or set run_unisolated to true "
                "where programs may do what this user may."
            )
        return {"isolation": about["isolation"]}


def _broken(kind: str, found: str) -> VerifierError:
    return VerifierError(
        f"verifying a solution of kind {kind}: the verifier fails, {found}; its verdicts would say nothing. Mend the "
        "installation (pip install math-verify), or keep all answers."
    )


_SHARED: dict[bool, Verifier] = {}


def verdict_of(problem: Problem, text: str, run_unisolated: bool = False) -> SolutionVerdict:
    r"""Return whether a solution is right, by processes that all callers of this one share.

    Raises:
        BadInput: Nothing is known that the solution could be compared with, or a program cannot be kept apart here.
        VerifierError: The verifier does not work here.

    >>> verdict_of(Problem("What is 3 + 4?", "7", "mathematics"), "Add them.\n#### 7.00")
    'right'
    """
    return shared_verifier(run_unisolated).verdict(problem, text)


def shared_verifier(run_unisolated: bool = False) -> Verifier:
    """Return the verifier of this process, which ends with it."""
    if run_unisolated not in _SHARED:
        made = Verifier(run_unisolated=run_unisolated)
        if _SHARED.setdefault(run_unisolated, made) is made:  # of two threads that come at once, one's stays
            atexit.register(made.close)
    return _SHARED[run_unisolated]


def require_yes(problems: Iterable[Problem], verifier: Verifier | None = None) -> int:
    """Check that the known answers of problems are found right: a verifier that never says yes is broken.

    Returns:
        Number of problems whose known answer was verified; of code, those of which a program is known.

    Raises:
        BadInput: A known answer is not found right; it names the first.
        VerifierError: The verifier does not work here.
    """
    verifier = verifier or shared_verifier()
    num_verified = 0
    for number, problem in enumerate(problems, start=1):
        if not problem.is_verifiable or not problem.answer.strip():
            continue
        verdict = verifier.verdict(problem, _as_solution(problem))
        if verdict != "right":
            raise BadInput(
                f"verifying known answers: that of problem {number}, {problem.question[:60]!r}, is {verdict}, not "
                f"right ({problem.answer[-60:]!r}); every known answer must be. Mend it, leave it out, or read the "
                "problems as another kind."
            )
        num_verified += 1
    return num_verified


def _as_solution(problem: Problem) -> str:
    if problem.kind == "code":
        return f"```python\n{problem.answer}\n```"
    return problem.worked if problem.kind == "mathematics" and marked_answer(problem.worked) else problem.answer

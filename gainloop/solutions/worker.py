"""The process that verifies solutions, one after the other, and may be killed: ``python -m gainloop.solutions.worker``.

It reads a job a line and writes an answer a line, as JSON. math-verify runs here because nothing else ends it: its own
time limits are signals, which only a main thread gets, and between two of which a power of a power may never come.
"""

import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from gainloop.solutions.code import verdict_of_program
from gainloop.solutions.problem import Example, Test
from gainloop.solutions.sandbox import Limits, find_isolation

Job = dict[str, Any]

MEMORY_BYTES: Final = 3 * 2**30
"""Address space in which formulas are compared; sympy itself takes a tenth."""

_CHECKS: Final = (
    ("\\frac{1}{2}", "0.5", "right"),
    ("x^2+2x+1", "(x+1)^2", "right"),
    ("\\sqrt{2}", "\\sqrt{3}", "wrong"),
)
"""Answers whose verdicts are known: a verifier that gets one wrong is broken, and says nothing of any solution."""


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is no answer
    logging.disable(logging.CRITICAL)  # math-verify logs what it cannot read
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for line in sys.stdin.buffer:
        job = json.loads(line)
        # Whoever started this kills it in time; were that one killed first, the kernel does.
        signal.setitimer(signal.ITIMER_REAL, job["seconds"])
        try:
            answer = JOBS[job["do"]](job)
        except MemoryError:
            answer = {"verdict": "timeout", "is_last": True}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(json.dumps(answer).encode() + b"\n")
        if answer.get("is_last"):
            return


def prepare_mathematics(job: Job) -> Job:
    """Import what compares formulas, and see that it does."""
    for gold, answer, expected in _CHECKS:
        found = compare_formulas({"gold": gold, "answer": answer}).get("verdict")
        if found != expected:
            return {"error": f"math-verify calls {answer} {found}, where {gold} is right"}
    _, highest = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, highest))
    return {"ready": True}


def compare_formulas(job: Job) -> Job:
    """Compare two final answers by what they say, not by how they are written; ``no_answer`` if the known says none."""
    from math_verify import parse, verify  # type: ignore[import-untyped]  # a second, which programs need not wait

    def read(answer: str) -> list[Any]:
        text = answer if "$" in answer or "\\(" in answer else f"${answer}$"
        return list(parse(text, parsing_timeout=None, raise_on_error=True))

    try:
        gold = read(job["gold"])
    except MemoryError:
        raise
    except (Exception, RecursionError):
        gold = []
    if not gold:
        return {"verdict": "no_answer"}  # whatever the solution says, nothing is known to compare it with
    try:
        if not (given := read(job["answer"])):
            return {"verdict": "unreadable"}
        is_right = verify(gold, given, timeout_seconds=None, raise_on_error=True)
    except (Exception, RecursionError) as error:
        if isinstance(error, MemoryError):
            raise
        return {"verdict": "unreadable"}
    return {"verdict": "right" if is_right else "wrong"}


def prepare_code(job: Job) -> Job:
    """See how programs can be kept apart here."""
    way, why = find_isolation()
    return {"isolation": way, "why": why}


def run_code(job: Job) -> Job:
    tests: list[Test] = [one if isinstance(one, str) else Example(*one) for one in job["tests"]]
    return {"verdict": verdict_of_program(job["program"], tests, Limits(**job["limits"]), job["isolation"])}


JOBS: Final[dict[str, Callable[[Job], Job]]] = {
    "prepare mathematics": prepare_mathematics,
    "mathematics": compare_formulas,
    "prepare code": prepare_code,
    "code": run_code,
}

if __name__ == "__main__":
    main()

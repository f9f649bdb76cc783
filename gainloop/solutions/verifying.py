"""Verdicts as a method asks for them: by a request, whose answer is kept, so that each is given once."""

import json

from gainloop.solutions.problem import read_problem
from gainloop.solutions.verdict import SolutionVerdict, verdict_of
from schemas.rows import VERIFY, Anchor, Answer, Reply, Request


def ask_verdict(anchor: Anchor, said: str, facet: str, run_unisolated: bool = False) -> Request:
    """Ask whether a solution of the problem that an anchor is is right."""
    about = {"problem": anchor.text, "said": said, "run_unisolated": run_unisolated}
    return Request(json.dumps(about), facet, role=VERIFY)


def give_verdict(request: Request) -> SolutionVerdict:
    """Return the verdict that a request asks for; it takes what the comparison or the program takes.

    Raises:
        BadInput: The anchor is no problem with a known answer, or a program cannot be kept apart here.
        VerifierError: The verifier does not work here.
    """
    assert isinstance(request.prompt, str)
    about = json.loads(request.prompt)
    problem = read_problem(about["problem"])
    assert problem
    return verdict_of(problem, about["said"], about["run_unisolated"])


def verdict_in(answer: Answer) -> str:
    """Return the verdict that an answer is; of one that was lost, in a replay, why it is not there."""
    return answer.text if isinstance(answer, Reply) else answer.reason

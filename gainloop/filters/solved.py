"""Whether a record solves the problem that its anchor is: the filter that works it out, and asks nobody."""

from random import Random
from typing import Annotated, Literal

from pydantic import Field

from gainloop.asking.conversation import Conversation
from gainloop.filters.filter import KEEP, Filter
from gainloop.solutions.problem import read_problem
from gainloop.solutions.verifying import ask_verdict, verdict_in
from schemas.rows import Anchor, Record


class Solved(Filter):
    """Keeps records whose solution is right.

    The last thing that the assistant says, or the text of a record without turns, is compared with what the anchor, a
    problem, says of its answer: numbers and formulas by their value, programs by their tests in a sandbox, options and
    texts by what they say (docs/reasoning.md). A record is refused as ``wrong``; as ``timeout`` if time or memory ran
    out before it was known; as ``unreadable`` if it gives no answer, no program or no option; and as ``no_answer`` if
    its anchor is no problem with a known answer. Only ``timeout`` depends on the clock: on a busy machine a slow
    program may be refused that is kept on another. A verdict is kept beside the replies and is never given again.
    """

    kind: Literal["solved"] = "solved"
    run_unisolated: Annotated[
        bool, Field(description="True to run programs where no namespaces keep them apart: they may do what you may.")
    ] = False

    @property
    def max_requests(self) -> int:
        return 0

    @property
    def verifies(self) -> bool:
        return True

    def check(self, anchor: Anchor, record: Record, rng: Random) -> Conversation[str]:
        problem = read_problem(anchor.text)
        if problem is None or not problem.is_verifiable:
            return "no_answer"
        said = record.turns[-1].content if record.turns else record.text
        (answer,) = yield [ask_verdict(anchor, said, record.facet, self.run_unisolated)]
        verdict = verdict_in(answer)
        return KEEP if verdict == "right" else verdict

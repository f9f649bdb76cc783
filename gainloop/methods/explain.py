"""A text rewritten as reasoning that leaves no gap."""

from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from gainloop.asking.conversation import ALONE, after
from gainloop.methods.method import Method, each_once, keep_finished
from schemas.rows import Anchor, Request, Rounds

Way = Literal["derive", "justify", "solve"]

WISHES: dict[Way, str] = {
    "derive": (
        "Rewrite the text above as a chain of reasoning without a gap: begin with what it takes for granted, and go on "
        "in numbered steps to what it comes to, each of them following from earlier ones by a reason that is said."
    ),
    "justify": (
        "Go through what the text above claims, in the order in which the claims rest on each other. Of each, say "
        "exactly what is claimed and under which conditions, what it rests on, how that carries it, and what would "
        "have to be otherwise if it were false."
    ),
    "solve": (
        "Pose the question that the text above answers, as a problem with all that is given, and solve it the way a "
        "careful expert thinks aloud: what is asked, what is known, which way looks right and fails, which one leads "
        "on and why, up to the answer, and a check that it is the answer."
    ),
}
RIGOUR = (
    "Every fact comes from the text or is certain knowledge. Where no reason is known, say that the step is taken as "
    "given, and do not make one up."
)


class Explain(Method):
    """The document as reasoning without a gap: as a chain of steps, as claims and their grounds, as a solved problem.

    Asks: one request per way of ``ways``; every step has a reason, or is called a given.
    Costs: ``3 d`` prompt tokens.
    Source: the synthetic part of phi-3, Abdin et al. 2024, arXiv:2404.14219.
    Differs: the report prints neither prompts nor proportions; seeds are the user's documents, and there are three
    ways, so that the texts of a document differ in structure and not in wording alone.
    """

    kind: Literal["explain"] = "explain"
    wishes: ClassVar[tuple[str, ...]] = (*WISHES.values(), RIGOUR, ALONE)
    ways: Annotated[
        tuple[Way, ...],
        Field(min_length=1, description="Ways of reasoning, with one record each at most."),
        AfterValidator(each_once),
    ] = ("derive", "justify", "solve")

    @property
    def max_requests(self) -> int:
        return len(self.ways)

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        requests = [ask_explanation(anchor, way) for way in self.ways]
        answers = yield requests
        return keep_finished(self, anchor, requests, answers)


def ask_explanation(anchor: Anchor, way: Way) -> Request:
    """Ask for the anchor's content, reasoned in one way."""
    return Request(after(anchor.text, f"{WISHES[way]} {RIGOUR} {ALONE}", anchor.title), facet=way)

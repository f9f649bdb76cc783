"""Lists of what follows from a text."""

from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gainloop.asking.conversation import after
from gainloop.methods.method import Method, Prompts, keep_finished
from schemas.rows import Anchor, Request, Rounds
from schemas.suites import Suite, at_least, at_most

INFER = (
    "List what a careful reader learns from the document: what it states, the same in other words, and what follows "
    "from it by reasoning. Write {most} statements at most, one a line. Each is a whole sentence that can be "
    "understood alone: it names who and what it is about. Stop after the last."
)
PLAIN = "List {most} facts that the text states, one sentence a line. Each sentence names what it is about."
STATEMENT_TOKENS = 30
"""Tokens of a statement and its line end: recorded ones have 24 on average."""


class Implications(Method):
    """Lists of what a text states, says in other words, and implies.

    Asks: ``draws`` samples of one request.
    Costs: ``5 d`` prompt tokens. Draws of one prompt are one cluster: intervals count prompts.
    Source: SEAL, Zweiger et al. 2025, arXiv:2506.10943, whose self-edits are such lists.
    Differs: statements are asked to stand alone, since in a fifth of the lists that SEAL published some statement
    begins with "he" or "this"; the generator is not reinforced by what training on each list gains: a report measures a
    batch as a whole. Models go on to other things after a list, such as the next passage: a record is the reply as it
    came, and validation refuses those that leak.
    """

    kind: Literal["implications"] = "implications"
    wishes: ClassVar[tuple[str, ...]] = (INFER, PLAIN)
    expectations: ClassVar[Suite] = (
        at_most("repeated_share", 0.45, "repeats", mostly=0.5),
        at_least("least_on_subject", 0.07, "wanders_off", mostly=0.8),
    )
    draws: Annotated[int, Field(ge=1, le=64, description="Lists sampled for each anchor.")] = 5
    prompts: Prompts = "full"
    max_statements: Annotated[
        int, Field(ge=3, le=200, description="Statements that a list is asked to have, at most; 10 take 300 tokens.")
    ] = 15

    @property
    def max_requests(self) -> int:
        return self.draws

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        requests = [ask_implications(anchor, draw, self.max_statements, self.prompts) for draw in range(self.draws)]
        answers = yield requests
        return keep_finished(self, anchor, requests, answers)


def ask_implications(anchor: Anchor, draw: int, most: int, prompts: Prompts) -> Request:
    """Ask for one list; draws of one prompt tell how far the generator's lists differ."""
    prompt = after(anchor.text, (INFER if prompts == "full" else PLAIN).format(most=most), anchor.title)
    return Request(prompt, facet=f"draw {draw}", draw=draw, reply_tokens=STATEMENT_TOKENS * most)

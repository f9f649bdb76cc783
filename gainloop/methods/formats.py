"""The same content as questions and answers, a problem, a table, a tutorial."""

from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from gainloop.asking.conversation import ALONE, after
from gainloop.methods.method import Method, each_once, keep_finished
from schemas.rows import Anchor, Request, Rounds

Format = Literal["faq", "math", "table", "tutorial"]

WISHES: dict[Format, str] = {
    "faq": (
        "Turn the text above into questions and answers: those that different readers would really come with, from the "
        "first one of a beginner to the last one of someone who knows the subject. Answer each in full and on its own, "
        "so that together they say all that matters in the text."
    ),
    "math": (
        "Make a mathematical word problem of the text above: about its subject, with its own quantities or, where it "
        "has none, with plausible ones that the problem gives. It takes several steps, and nothing is missing. Then "
        "solve it: every step with its reason and its calculation, and the result with its unit."
    ),
    "table": (
        "Put the facts of the text above into one Markdown table with a title: choose what the rows are and which "
        "columns show best how they differ, and leave a cell empty rather than guess. Below it, explain in a paragraph "
        "what the table shows: what stands out, what goes together, what is missing."
    ),
    "tutorial": (
        "Turn the text above into a tutorial for someone who wants to do or understand this for the first time: what "
        "they will be able to do, what they need, then one step after the other, each with what to do, why, and how to "
        "tell that it worked. End with something to try alone."
    ),
}
OWN_START = "Begin with something that only this content could begin with, and not with words that suit any document."


class Formats(Method):
    """Each text as questions and answers, as a math problem with its solution, as a table, as a tutorial.

    Asks: one request per format of ``formats``.
    Costs: ``4 d`` prompt tokens.
    Source: FinePhrase 2026, arXiv:2604.13977, which found that the format asked for decides more than the generator,
    and that generators fall into templates: 115 of 1,000 texts of Qwen3 began alike, and 3 of SmolLM2.
    Differs: prompts are our own, and each asks for a start that suits no other document; the report has the most common
    opening of a facet (``diversity.facet_opening``), since four formats with one template each would show as a quarter
    over the batch.
    """

    kind: Literal["formats"] = "formats"
    wishes: ClassVar[tuple[str, ...]] = (*WISHES.values(), OWN_START, ALONE)
    formats: Annotated[
        tuple[Format, ...],
        Field(min_length=1, description="Formats, with one record each at most."),
        AfterValidator(each_once),
    ] = ("faq", "math", "table", "tutorial")

    @property
    def max_requests(self) -> int:
        return len(self.formats)

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        requests = [ask_format(anchor, one) for one in self.formats]
        answers = yield requests
        return keep_finished(self, anchor, requests, answers)


def ask_format(anchor: Anchor, wanted: Format) -> Request:
    """Ask for the anchor's content in one format."""
    return Request(after(anchor.text, f"{WISHES[wanted]} {OWN_START} {ALONE}", anchor.title), facet=wanted)

"""A text rewritten as reasoning that leaves no gap."""

from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from gainloop.asking.chunks import MaxWords, tokens_of_words
from gainloop.asking.conversation import ALONE, after
from gainloop.methods.method import Method, Prompts, each_once, keep_finished
from schemas.rows import Anchor, Request, Rounds

Way = Literal["derive", "justify", "solve"]

WISHES: dict[Way, str] = {
    "derive": "Rewrite the document as a chain of reasoning without a gap: begin with what it takes for granted, and "
    "go on in numbered steps to what it comes to, each with the reason why it follows.",
    "justify": "Go through what the document claims. Of each claim, say what exactly is claimed, what it rests on, and "
    "what would have to be otherwise if it were false.",
    "solve": "Pose the question that the document answers, with all that is given, and solve it the way a careful "
    "expert thinks aloud: what is asked, what is known, what follows, up to the answer and a check of it.",
}
PLAIN: dict[Way, str] = {
    "derive": "Explain what the text says, step by step, and give the reason for each step.",
    "justify": "Say which claims the text makes, and what each of them rests on.",
    "solve": "Write a question that the text answers, and then a full answer from the text.",
}
RIGOUR = (
    "Take every fact from the document. Where it gives no reason for a step, call the step a given, and make none up. "
    "Write {max_words} words at most."
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
    wishes: ClassVar[tuple[str, ...]] = (*WISHES.values(), *PLAIN.values(), RIGOUR, ALONE)
    ways: Annotated[
        tuple[Way, ...],
        Field(min_length=1, description="Ways of reasoning, with one record each at most."),
        AfterValidator(each_once),
    ] = ("derive", "justify", "solve")
    prompts: Prompts = "full"
    max_words: MaxWords = 250

    @property
    def max_requests(self) -> int:
        return len(self.ways)

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        requests = [ask_explanation(anchor, way, self.max_words, self.prompts) for way in self.ways]
        answers = yield requests
        return keep_finished(self, anchor, requests, answers)


def ask_explanation(anchor: Anchor, way: Way, max_words: int, prompts: Prompts) -> Request:
    """Ask for the anchor's content, reasoned in one way."""
    full = f"{WISHES[way]} {RIGOUR.format(max_words=max_words)} {ALONE}"
    wish = full if prompts == "full" else PLAIN[way]
    return Request(after(anchor.text, wish, anchor.title), facet=way, reply_tokens=tokens_of_words(max_words))

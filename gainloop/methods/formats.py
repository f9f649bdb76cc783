"""The same content as questions and answers, a problem, a table, a tutorial."""

from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from gainloop.asking.chunks import MaxWords, tokens_of_words
from gainloop.asking.conversation import ALONE, after
from gainloop.methods.method import Method, Prompts, each_once, keep_finished
from schemas.rows import Anchor, Request, Rounds

Format = Literal["faq", "math", "table", "tutorial"]

WISHES: dict[Format, str] = {
    "faq": "Turn the document into questions that different readers would ask, each followed by its answer in full.",
    "math": "Make a word problem of several steps about what the document says, with its own numbers or plausible ones "
    "that the problem gives, and solve it step by step, up to the result with its unit.",
    "table": "Put the facts of the document into one Markdown table with a title, and leave a cell empty rather than "
    "guess. Below it, explain in one paragraph what the table shows.",
    "tutorial": "Turn the document into a tutorial for someone who does this, or hears of it, for the first time: what "
    "it is good for, then one step after the other, each with what to do and why.",
}
PLAIN: dict[Format, str] = {
    "faq": "Write questions about the text, each followed by its answer from the text.",
    "math": "Write a short problem with the numbers of the text, and its solution.",
    "table": "Put the facts of the text into a Markdown table of two columns, name and fact.",
    "tutorial": "Explain the text to a beginner, step by step.",
}
OWN_START = "Begin with words that suit this content and no other. Write {max_words} words at most."


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
    wishes: ClassVar[tuple[str, ...]] = (*WISHES.values(), *PLAIN.values(), OWN_START, ALONE)
    formats: Annotated[
        tuple[Format, ...],
        Field(min_length=1, description="Formats, with one record each at most."),
        AfterValidator(each_once),
    ] = ("faq", "math", "table", "tutorial")
    prompts: Prompts = "full"
    max_words: MaxWords = 250

    @property
    def max_requests(self) -> int:
        return len(self.formats)

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        requests = [ask_format(anchor, one, self.max_words, self.prompts) for one in self.formats]
        answers = yield requests
        return keep_finished(self, anchor, requests, answers)


def ask_format(anchor: Anchor, wanted: Format, max_words: int, prompts: Prompts) -> Request:
    """Ask for the anchor's content in one format."""
    full = f"{WISHES[wanted]} {OWN_START.format(max_words=max_words)} {ALONE}"
    wish = full if prompts == "full" else PLAIN[wanted]
    return Request(after(anchor.text, wish, anchor.title), facet=wanted, reply_tokens=tokens_of_words(max_words))

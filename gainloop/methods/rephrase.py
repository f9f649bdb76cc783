"""The same content in other styles."""

from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from gainloop.asking.chunks import Chunk, ChunkTokens, MaxChunks, cut_anchor
from gainloop.asking.conversation import after
from gainloop.methods.method import Method, each_once, keep_finished
from schemas.rows import Anchor, Outcome, Request, Rounds
from schemas.suites import Suite, at_most

Style = Literal["easy", "medium", "hard", "qa"]

WISHES: dict[Style, str] = {
    "easy": "Retell the text above for a small child: short sentences, everyday words, nothing left out that matters.",
    "medium": "Retell the text above in the clear, neutral English of a good encyclopedia article.",
    "hard": "Retell the text above for a scholar: dense, terse, exact, with the field's technical vocabulary.",
    "qa": "Turn the text above into a conversation of questions and answers, each on a line of its own, "
    'begun with "Question:" or "Answer:".',
}


class Rephrase(Method):
    """Each text in four styles: for a child, as an encyclopedia would, for a scholar, as questions and answers.

    A longer text is rewritten chunk by chunk, because longer rewrites lose more.

    Asks: one request per style and chunk of at most ``chunk_tokens``, "retell the text above ...".
    Costs: ``4 d`` prompt tokens, replies about as long as the chunks. What lies beyond ``max_chunks`` is one drop an
    anchor, ``over_limit``.
    Source: WRAP, Maini et al. 2024, arXiv:2401.16380, chunks of at most 300 tokens.
    Differs: prompts are our own, and tokens of a chunk are estimated, rather too many than too few: 300 are about 960
    characters of English.
    """

    kind: Literal["rephrase"] = "rephrase"
    wishes: ClassVar[tuple[str, ...]] = tuple(WISHES.values())
    expectations: ClassVar[Suite] = (at_most("copied_share", 0.8, "copies_anchor", mostly=0.5),)
    styles: Annotated[
        tuple[Style, ...],
        Field(min_length=1, description="Styles, with one record a chunk each at most."),
        AfterValidator(each_once),
    ] = ("easy", "medium", "hard", "qa")
    chunk_tokens: ChunkTokens = 300
    max_chunks: MaxChunks = 4

    @property
    def max_requests(self) -> int:
        return len(self.styles) * self.max_chunks

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        chunks, over = cut_anchor(anchor, self.chunk_tokens, self.max_chunks)
        requests = [ask_rewrite(anchor, chunk, style) for chunk in chunks for style in self.styles]
        answers = yield requests
        outcome = keep_finished(self, anchor, requests, answers)
        return Outcome(outcome.records, outcome.drops + over)


def ask_rewrite(anchor: Anchor, chunk: Chunk, style: Style) -> Request:
    """Ask for one rewrite of a chunk; the text comes first, so that the styles share a cached prefix."""
    return Request(after(chunk.text, WISHES[style], anchor.title), facet=style + chunk.part, draw=chunk.number)

"""The same content in other styles."""

from random import Random
from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.rows import Anchor, Request, Rounds
from tasks.asking.conversation import after
from tasks.methods.method import Method, keep_finished

Style = Literal["easy", "medium", "hard", "qa"]

WISHES: dict[Style, str] = {
    "easy": "Retell the text above for a small child: short sentences, everyday words, nothing left out that matters.",
    "medium": "Retell the text above in the clear, neutral English of a good encyclopedia article.",
    "hard": "Retell the text above for a scholar: dense, terse, exact, with the field's technical vocabulary.",
    "qa": "Turn the text above into a conversation of questions and answers, each on a line of its own, "
    'begun with "Question:" or "Answer:".',
}


class Rephrase(Method):
    """One rewrite of the anchor per style.

    Source: Maini et al. 2024 (WRAP), arXiv:2401.16380. Differs: the paper cuts texts to 300 tokens
    here; our anchors are cut when the corpus is read.
    """

    kind: Literal["rephrase"] = "rephrase"
    styles: Annotated[tuple[Style, ...], Field(min_length=1, description="one record per style at most")] = (
        "easy",
        "medium",
        "hard",
        "qa",
    )

    def model_post_init(self, _context: Any) -> None:
        if len(set(self.styles)) < len(self.styles):
            raise ValueError("styles name one twice; each may be named once")

    @property
    def max_requests(self) -> int:
        return len(self.styles)

    @property
    def max_records(self) -> int:
        return self.max_requests

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        requests = [ask_rewrite(anchor, style) for style in self.styles]
        answers = yield requests
        return keep_finished(self, anchor, requests, answers)


def ask_rewrite(anchor: Anchor, style: Style) -> Request:
    """Ask for one rewrite; the text comes first, so that the styles share a cached prefix."""
    return Request(after(anchor.text, WISHES[style], anchor.title), facet=style)

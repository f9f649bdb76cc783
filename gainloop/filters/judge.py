"""The generator as judge: it scores each record from 1 to 5 by a rubric, and low scores are dropped."""

from random import Random
from typing import Annotated, Literal

from pydantic import Field

from gainloop.asking.conversation import Conversation, ask, beside
from gainloop.asking.structured import object_of, read_number, read_verdict, text_of, whole_number
from gainloop.filters.filter import KEEP, Filter
from schemas.rows import Anchor, Drop, Record, Request

RUBRIC = (
    "5: everything the draft says is said by the document or follows from it, and a reader learns from it; "
    "3: some of it cannot be checked against the document, but nothing contradicts it; "
    "1: it contradicts the document, is about something else, or says nothing."
)
JUDGE = (
    "The draft was written from the document. Judge the draft by this rubric, from 1 to 5.\n{rubric}\n"
    "Answer as JSON: first the reason in one sentence, then the score."
)


class Judge(Filter):
    """Keeps records that the generator, as judge by a rubric, gives a score of at least ``least`` of 5.

    The generator scores each record beside its anchor; below ``least`` it is refused as ``low_score``.

    Costs: ``d`` prompt tokens and the record's.
    """

    kind: Literal["judge"] = "judge"
    rubric: Annotated[str, Field(min_length=1, description="Rubric: what each score from 1 to 5 means.")] = RUBRIC
    least: Annotated[int, Field(ge=1, le=5, description="Lowest score that is kept.")] = 3

    @property
    def max_requests(self) -> int:
        return 1

    def check(self, anchor: Anchor, record: Record, rng: Random) -> Conversation[str]:
        reply = yield from ask(anchor, ask_score(anchor, record, self.rubric), read_score)
        if isinstance(reply, Drop):
            return "unjudged"
        return KEEP if reply.value >= self.least else "low_score"


def ask_score(anchor: Anchor, record: Record, rubric: str) -> Request:
    """Ask for a score of a record beside its source; the source comes first, as in the prompts it was made by."""
    prompt = beside(anchor, record.text, JUDGE.format(rubric=rubric))
    schema = object_of(reason=text_of(200), score=whole_number(1, 5))
    return Request(prompt, facet=f"judge {record.facet}", json_schema=schema, greedy=True)


def read_score(text: str) -> int | None:
    """Return the score of a reply; None if it gives none.

    >>> read_score('{"reason": "It is so.", "score": 4}'), read_score('{"score": 9}') is None
    (4, True)
    """
    return read_number(read_verdict(text).get("score"), 1, 5)

"""A majority of sampled verdicts: how many of several voters say yes to a question about a record."""

from collections.abc import Callable
from random import Random
from typing import Annotated, Any, Literal

from pydantic import Field

from gainloop.asking.conversation import Conversation, ask, beside, side_by_side
from gainloop.asking.structured import object_of, one_of, read_verdict, text_of
from gainloop.filters.filter import KEEP, Filter
from schemas.rows import Anchor, Drop, Record, Request

QUESTION = "Is everything that the draft says said by the document, or does it follow from it?"
VOTE = (
    "The draft was written from the document. {question}\n"
    "Answer as JSON: first the reason in one sentence, then the answer, yes or no."
)

Votes = list[bool | None]


class Vote(Filter):
    """Keeps records to which at least a share ``least`` of sampled verdicts says yes; if wanted, not all of them.

    ``voters`` verdicts are sampled on a yes-or-no ``question`` about each record beside its anchor. Fewer yes than the
    share ``least`` is ``outvoted``; more than ``most`` is ``too_easy``, where ``most`` is set below 1: what all agree
    on teaches little, and phi-4 leaves it out. Verdicts that cannot be read have no vote; if they are more than half,
    the record is ``unjudged``.

    Costs: ``d`` prompt tokens and the record's, all but the first from the server's cache.
    Source: majority vote of phi-4, Abdin et al. 2024, arXiv:2412.08905.
    Differs: from ``judge`` in that verdicts are sampled, so that a share of them says how sure the judge is.
    """

    kind: Literal["vote"] = "vote"
    question: Annotated[
        str, Field(min_length=1, description="Question of a source and a text that is answered with yes or no.")
    ] = QUESTION
    voters: Annotated[int, Field(ge=2, le=64, description="Verdicts sampled of each record.")] = 5
    least: Annotated[float, Field(gt=0, le=1, description="Smallest share of yes that is kept.")] = 0.6
    most: Annotated[float, Field(gt=0, le=1, description="Largest share of yes that is kept; 1 keeps all.")] = 1.0

    def model_post_init(self, _context: Any) -> None:
        require_in_order(self.least, self.most)

    @property
    def max_requests(self) -> int:
        return self.voters

    def check(self, anchor: Anchor, record: Record, rng: Random) -> Conversation[str]:
        requests = [ask_vote(anchor, record, self.question, voter) for voter in range(self.voters)]
        votes = yield from ask_all(anchor, requests, read_vote)
        return settle(votes, self.least, self.most, "outvoted")


def require_in_order(least: float, most: float) -> None:
    """Raise ValueError if the bounds leave nothing to keep."""
    if least > most:
        raise ValueError(f"least is {least:g} and most {most:g}; least must not be above most")


def settle(votes: Votes, least: float, most: float, too_few: str) -> str:
    """Return ``KEEP``, or the reason why a record is refused: too few of its votes are yes, or too many.

    Args:
        votes: Votes, None where a verdict cannot be read; if those are more than half, the record is ``unjudged``.
        least, most: Smallest and largest share of yes that is kept.
        too_few: Reason of a record with too few.

    >>> settle([True, True, None], 0.6, 1, "outvoted"), settle([True, False, False], 0.6, 1, "outvoted")
    ('', 'outvoted')
    >>> settle([True, True, True], 0.2, 0.8, "outvoted"), settle([True, None, None], 0.2, 0.8, "outvoted")
    ('too_easy', 'unjudged')
    """
    counted = [vote for vote in votes if vote is not None]
    if 2 * len(counted) < len(votes) or not counted:
        return "unjudged"
    share = sum(counted) / len(counted)
    if share < least:
        return too_few
    return KEEP if share <= most else "too_easy"


def ask_vote(anchor: Anchor, record: Record, question: str, voter: int) -> Request:
    """Ask one voter; voters differ in their draw alone."""
    prompt = beside(anchor, record.text, VOTE.format(question=question))
    schema = object_of(reason=text_of(200), answer=one_of("no", "yes"))
    return Request(prompt, facet=f"vote {voter} {record.facet}", json_schema=schema, draw=voter)


def ask_all(anchor: Anchor, requests: list[Request], read: Callable[[str], bool | None]) -> Conversation[Votes]:
    """Return the vote of each request; None if its reply never came or cannot be read."""
    replies = yield from side_by_side([ask(anchor, request, read) for request in requests])
    return [None if isinstance(one, Drop) else one.value for one in replies]


def read_vote(text: str) -> bool | None:
    """Return whether a reply says yes; None if it says neither.

    >>> read_vote('{"reason": "It is so.", "answer": "yes"}'), read_vote('{"answer": "no"}')
    (True, False)
    >>> read_vote('{"answer": "perhaps"}') is None, read_vote('{"answer": ["yes"]}') is None
    (True, True)
    """
    said = read_verdict(text).get("answer")
    return {"yes": True, "no": False}.get(said) if isinstance(said, str) else None

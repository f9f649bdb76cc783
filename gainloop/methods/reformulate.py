"""The same core for other readers, in other genres."""

from random import Random
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from gainloop.asking.chunks import MaxWords, tokens_of_words
from gainloop.asking.conversation import ALONE, after, ask
from gainloop.asking.structured import list_of, object_of, object_schema, read_object, read_text, text_of
from gainloop.filters.filter import sift
from gainloop.filters.judge import Judge
from gainloop.methods.method import Method, keep_finished
from schemas.rows import Anchor, Drop, Outcome, Request, Rounds

PLAN = (
    "Find {most} pairs of a genre and an audience for which the document could be written anew. Choose pairs that suit "
    "what it says and differ in form, tone and depth. Name each genre and each audience in a few words. Answer as JSON "
    "with the pairs."
)
REFORMULATE = (
    "Write what the document says anew, in {max_words} words at most.\nGenre: {genre}\nAudience: {audience}\n"
    "Choose, reorder, explain and shorten as it serves these readers. Keep the core of what is said, and contradict "
    "none of it. " + ALONE
)
CONSISTENCY = (
    "The draft was meant to be another genre for other readers. Form, tone, order, selection, examples and background "
    "that does not stand in the document are free and cost nothing; losing the core or contradicting it does.\n"
    "5: all that matters in the document is kept, and nothing contradicts it.\n"
    "4: the core is kept, and nothing contradicts it; some details are gone, or bent without harm.\n"
    "3: the core can still be learnt from it, though much around it is gone or freely made up.\n"
    "2: much of the core is lost, or something that matters contradicts the document.\n"
    "1: it is about something else, contradicts the document as a whole, or says nothing."
)

PART_CHARS = 80


class Pair(NamedTuple):
    """The genre and the audience of a reformulation."""

    genre: str
    audience: str


class Reformulate(Method):
    """The same core in other genres for other readers, each judged for consistency: a letter, a manual, a dialogue.

    Asks: first one JSON list of up to ``max_pairs`` pairs of genre and audience that suit the document; then one
    reformulation of each; then a judge of "limited consistency" for each, from 1 to 5: free in form, selection,
    examples and background, bound to the core. Below ``least_consistency`` a text is dropped as ``low_score``; at 1 no
    judge is asked.
    Costs: ``11 d`` prompt tokens and those of the judged texts; without the judge 6 requests and ``6 d``.
    Source: MGA, Hao et al. 2025, arXiv:2502.04235, which judges alike throughout, with 3 as the least, and found that a
    stricter prompt to reformulate costs diversity, and that training on the texts of a relaxed one collapses.
    Differs: one generator chooses, writes and judges, where the paper tunes a small model for each; the judge is the
    filter ``judge`` with a rubric of our own. A pair that differs from another in case alone is the same.
    """

    kind: Literal["reformulate"] = "reformulate"
    wishes: ClassVar[tuple[str, ...]] = (REFORMULATE,)
    max_pairs: Annotated[int, Field(ge=1, le=32, description="Reformulations of each anchor.")] = 5
    least_consistency: Annotated[
        int, Field(ge=1, le=5, description="Lowest score of 1 to 5 that is kept; 1 asks no judge and keeps all.")
    ] = 3
    max_words: MaxWords = 250

    @property
    def max_requests(self) -> int:
        return 1 + self.max_pairs + self.max_records * sum(judge.max_requests for judge in self._judges)

    @property
    def max_records(self) -> int:
        return self.max_pairs

    @property
    def _judges(self) -> tuple[Judge, ...]:
        least = self.least_consistency
        return (Judge(rubric=CONSISTENCY, least=least),) if least > 1 else ()

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        listed = yield from ask(anchor, ask_pairs(anchor, self.max_pairs), read_pairs)
        if isinstance(listed, Drop):
            return Outcome(drops=[listed])
        requests = [ask_reformulation(anchor, pair, self.max_words) for pair in listed.value[: self.max_pairs]]
        answers = yield requests
        outcome = keep_finished(self, anchor, requests, answers)
        return (yield from sift(anchor, outcome, self._judges, rng))


def ask_pairs(anchor: Anchor, most: int) -> Request:
    """Ask for pairs as JSON; the schema bounds them: 240 tokens at most by default."""
    pair = object_schema({"genre": text_of(PART_CHARS), "audience": text_of(PART_CHARS)})
    wish = PLAN.format(most=most)
    schema = object_of(pairs=list_of(pair, 1, most))
    return Request(after(anchor.text, wish, anchor.title), facet="pairs", json_schema=schema)


def ask_reformulation(anchor: Anchor, pair: Pair, max_words: int) -> Request:
    """Ask for the anchor's content in a genre, for an audience."""
    wish = REFORMULATE.format(genre=pair.genre, audience=pair.audience, max_words=max_words)
    facet = f"{pair.genre} | {pair.audience}"
    return Request(after(anchor.text, wish, anchor.title), facet=facet, reply_tokens=tokens_of_words(max_words))


def read_pairs(text: str) -> list[Pair] | None:
    """Return the distinct pairs of a reply in its order, or None if it has none.

    >>> read_pairs('{"pairs": [{"genre": "Letter", "audience": "all"}, {"genre": "letter", "audience": "All"}, 7]}')
    [Pair(genre='Letter', audience='all')]
    >>> read_pairs('{"pairs": ["a letter to millers"]}') is None, read_pairs("A letter") is None
    (True, True)
    """
    listed = (read_object(text) or {}).get("pairs")
    pairs: dict[tuple[str, str], Pair] = {}
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict):
            genre, audience = read_text(one.get("genre")), read_text(one.get("audience"))
            if genre and audience and max(len(genre), len(audience)) <= 4 * PART_CHARS:
                pairs.setdefault((genre.casefold(), audience.casefold()), Pair(genre, audience))
    return list(pairs.values()) or None

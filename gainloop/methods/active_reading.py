"""Ways to study a text, chosen for it, and one new text for each of them."""

from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gainloop.asking.chunks import MaxWords, tokens_of_words
from gainloop.asking.conversation import ALONE, after, ask
from gainloop.asking.structured import list_of, object_of, read_object, read_texts, text_of
from gainloop.methods.method import Method, keep_finished
from schemas.characters import words
from schemas.rows import Anchor, Drop, Outcome, Request, Rounds

WAYS = (
    "{most} different ways to work through it: to retell, order, compare, explain, question, apply or picture what it "
    "says. Put each as one instruction of one sentence, which says what to write and of which facts, people or ideas "
    "of the document."
)
PLAN = "You will study the document until you know all that it says. List {ways} Answer as JSON with the strategies."
PLAN_FOR_PROBE = (
    "You will study the document, and then be tested without it. About the test: {probe}\n"
    "First write {questions} questions that it may ask of this document. Then, so that you could answer them, list "
    "{ways} Answer as JSON with the questions and the strategies."
)
STUDY = (
    "Study the document in one way only: {strategy}\n"
    "Write the text that comes of it, in {max_words} words at most, so that its readers learn what the document says. "
    "Keep facts, names and numbers as they are, and add none. " + ALONE
)

STRATEGY_CHARS = 160
QUESTIONS = 5
QUESTION_CHARS = 120


class ActiveReading(Method):
    """A text for each of some ways to study the document, which the generator first chooses for it.

    A timeline where it tells a history, a comparison where it has rivals, a rhyme for what is hard to keep.

    Asks: first one JSON list of up to ``max_strategies`` strategies; then "study the text above in one way only: ..."
    for each. With ``probe``, a description of the questions that the model will be tested on, the generator imagines
    some of them first and chooses strategies that serve to answer them (the paper's task-specific variant).
    Costs: ``9 d`` prompt tokens.
    Source: Lin et al. 2025, arXiv:2508.09494, in both variants.
    Differs: strategies are capped, and listed in one structured reply whose bounds let it end within some 300 tokens;
    imagined questions are no records; facts, names and numbers are asked to be kept as they are. Left open by the
    paper, and chosen here: a test is described in the user's words, and a strategy must say what to write and of what.
    """

    kind: Literal["active_reading"] = "active_reading"
    wishes: ClassVar[tuple[str, ...]] = (STUDY,)
    probe: Annotated[
        str,
        Field(
            max_length=500,
            description="Kind of questions that the model will be tested on. Default: no particular one.",
        ),
    ] = ""
    max_strategies: Annotated[int, Field(ge=1, le=32, description="Texts of an anchor, one a strategy.")] = 8
    max_words: MaxWords = 200

    @property
    def max_requests(self) -> int:
        return 1 + self.max_strategies

    @property
    def max_records(self) -> int:
        return self.max_strategies

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        listed = yield from ask(anchor, ask_strategies(anchor, self.max_strategies, self.probe), read_strategies)
        if isinstance(listed, Drop):
            return Outcome(drops=[listed])
        requests = [ask_to_study(anchor, strategy, self.max_words) for strategy in listed.value[: self.max_strategies]]
        answers = yield requests
        return keep_finished(self, anchor, requests, answers)


def ask_strategies(anchor: Anchor, most: int, probe: str) -> Request:
    """Ask for strategies; for a test of a kind, imagine its questions first, which the strategies then serve."""
    ways, probe = WAYS.format(most=most), " ".join(probe.split())
    listed = list_of(text_of(STRATEGY_CHARS), 1, most)
    wish, schema = PLAN.format(ways=ways), object_of(strategies=listed)
    if probe:
        wish = PLAN_FOR_PROBE.format(ways=ways, probe=probe, questions=QUESTIONS)
        schema = object_of(questions=list_of(text_of(QUESTION_CHARS), 1, QUESTIONS), strategies=listed)
    return Request(after(anchor.text, wish, anchor.title), facet="strategies", json_schema=schema)


def ask_to_study(anchor: Anchor, strategy: str, max_words: int) -> Request:
    """Ask for the text that studying the anchor in one way gives."""
    prompt = after(anchor.text, STUDY.format(strategy=strategy, max_words=max_words), anchor.title)
    return Request(prompt, facet=strategy, reply_tokens=tokens_of_words(max_words))


def read_strategies(text: str) -> list[str] | None:
    """Return the distinct strategies of a reply, or None if it names none.

    >>> read_strategies('{"strategies": ["Draw up a timeline.", "draw up a timeline.", 7]}')
    ['Draw up a timeline.']
    >>> read_strategies('{"strategies": []}') is None, read_strategies("1. A timeline") is None
    (True, True)
    >>> read_strategies('{"strategies": ["list", "1.1.0.0", "..."]}') is None  # no instruction has one word
    True
    """
    listed = read_texts((read_object(text) or {}).get("strategies"), most_chars=4 * STRATEGY_CHARS) or []
    return [one for one in listed if sum(map(str.isalpha, words(one))) > 1] or None

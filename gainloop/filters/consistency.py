"""Self-consistency: whether the generator, asked a record's own question several times, gives the record's answer."""

import re
from random import Random
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from gainloop.asking.conversation import Conversation, after, alone, own_draw
from gainloop.asking.structured import object_of, read_object, read_text, text_of
from gainloop.filters.filter import Filter
from gainloop.filters.vote import ask_all, require_in_order, settle
from schemas.characters import folded
from schemas.rows import Anchor, Record, Request

FROM_SOURCE = (
    "Answer this question by the document: {question}\n"
    "Answer as JSON, as shortly as can be: a name, a number, a few words."
)
FROM_MEMORY = "Answer this question: {question}\nAnswer as JSON, as shortly as can be: a name, a number, a few words."

# "Q:", "**Question 1:**", "A1.", "Answer 2)"
_LABEL = re.compile(
    r"\A[\W\d_]*(question|answer|q|a)(?:[*_ \d]*:|(?:(?<=\w\w) )?\d+[.)](?=[*_\s]|$))[*_\s]*(.*)", re.IGNORECASE
)
_MINUS = "\u2212"
_AROUND = "*_`\"'!?:; \n\t"
"""Signs around an answer that are no part of it; a full stop only after it, since .5 begins with one."""


class Question(NamedTuple):
    """A question of a record, and the record's answer to it."""

    question: str
    answer: str


class Consistency(Filter):
    """Keeps records whose first question at least a share ``least`` of the generator's replies answers as they do.

    For records that hold a question and a short answer, each begun on a line of its own (``Question:`` and ``Answer:``,
    or ``Q:`` and ``A:``, or ``Q1.`` and ``A1.``; where there is an ``Answer:``, ``A:`` is a choice and part of the
    question). The first question is asked anew ``voters`` times, without the answer; records with whose answer fewer
    than ``least`` agree are ``inconsistent``, those with more than ``most`` ``too_easy``. A record without a question
    is ``no_question``. Answers agree if they are the same but for case, punctuation, a leading article and thousands
    separators, so a sentence seldom agrees with a sentence.

    Asks: with the anchor before the question, which tests the answer against the source; with ``open_book`` false
    without, which tests what the generator knows or can work out by itself.
    Costs: ``d`` prompt tokens, or none of the document with ``open_book`` false.
    Source: self-consistency, Wang et al. 2022, arXiv:2203.11171; phi-4 drops questions on which all answers agree or
    none do: ``{kind: consistency, open_book: false, least: 0.2, most: 0.8}``.
    Differs: samples are compared with the record's answer, not with their own majority.
    """

    kind: Literal["consistency"] = "consistency"
    voters: Annotated[int, Field(ge=2, le=64, description="Answers sampled to each question.")] = 5
    least: Annotated[float, Field(gt=0, le=1, description="Smallest share of agreeing answers that is kept.")] = 0.6
    most: Annotated[float, Field(gt=0, le=1, description="Largest share of agreeing answers that is kept.")] = 1.0
    open_book: Annotated[bool, Field(description="Open book: the generator sees the anchor when it answers.")] = True

    def model_post_init(self, _context: Any) -> None:
        require_in_order(self.least, self.most)

    @property
    def max_requests(self) -> int:
        return self.voters

    def check(self, anchor: Anchor, record: Record, rng: Random) -> Conversation[str]:
        pair = first_pair(record.text)
        if pair is None:
            return "no_question"
        requests = [ask_answer(anchor, record, pair, self.open_book, voter) for voter in range(self.voters)]
        votes = yield from ask_all(anchor, requests, lambda text: agrees(pair, text))
        return settle(votes, self.least, self.most, "inconsistent")


def first_pair(text: str) -> Question | None:
    """Return the first question of a text with its answer, each begun on a line of its own; None if there is none.

    >>> first_pair("Question: What is ground?\\nAnswer: Rye.\\nQuestion: Where?\\nAnswer: By the river.")
    Question(question='What is ground?', answer='Rye.')
    >>> first_pair("**Q:** 3 + 4?\\n\\n**A:** 7")
    Question(question='3 + 4?', answer='7')
    >>> first_pair("Question: Who? Choose one.\\nA: Ada\\nB: Bob\\nAnswer: Bob")
    Question(question='Who? Choose one. A: Ada B: Bob', answer='Bob')
    >>> first_pair("The answer: rye.") is None
    True
    """
    labels = [_LABEL.match(line) for line in text.splitlines()]
    # Where an answer is called that, "A:" is the first choice of several.
    spelt_out = any(label and label[1].lower() == "answer" for label in labels)
    parts: dict[str, list[str]] = {"q": [], "a": []}
    part = ""
    for line, label in zip(text.splitlines(), labels, strict=True):
        if label and label[1] in "Aa" and spelt_out:
            label = None
        said = label[1][0].lower() if label else part
        if parts["a"] and label and said == "q":
            break
        if said == "a" and not parts["q"]:
            continue
        part = said
        if part:
            parts[part].append(label[2] if label else line)
    question, answer = (" ".join(" ".join(parts[part]).split()) for part in "qa")
    return Question(question, answer) if question and answer else None


def ask_answer(anchor: Anchor, record: Record, pair: Question, open_book: bool, voter: int) -> Request:
    """Ask a question anew, without the answer; voters differ in their draw alone."""
    wish = (FROM_SOURCE if open_book else FROM_MEMORY).format(question=pair.question)
    prompt = after(anchor.text, wish, anchor.title) if open_book else alone(wish)
    draw = voter if open_book else own_draw(anchor, voter)
    schema = object_of(answer=text_of(200))
    return Request(prompt, facet=f"answer {voter} {record.facet}", json_schema=schema, draw=draw)


def agrees(pair: Question, reply: str) -> bool | None:
    """Return whether a reply gives the pair's answer; None if it gives none that can be read."""
    said = read_text((read_object(reply) or {}).get("answer"))
    return None if said is None else normalised(said) == normalised(pair.answer)


def normalised(answer: str) -> str:
    """Return a short answer without case, thousands separators, and an article or signs around it.

    >>> normalised("The  Mill."), normalised("**1,200**"), normalised("\\u22127.50 kg"), normalised("a = .3")
    ('mill', '1200', '-7.50 kg', 'a = .3')
    """
    text = folded(answer).replace(_MINUS, "-")
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    text = re.sub(r"^(?:the|an?)\s+(?=\w)", "", text.lstrip(_AROUND).rstrip(_AROUND + "."))
    return " ".join(text.split())

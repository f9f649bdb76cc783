"""The questions to a judge about a text and its source, and the verdicts that it may give.

Synthetic Bootstrapped Pretraining (arXiv:2509.15248) reports texts that a language model calls non-factual, and pairs
that it calls irrelevant, and prints neither definitions nor prompts. These are ours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from gainloop.asking.conversation import Conversation, Read, after, ask, beside, side_by_side
from gainloop.asking.structured import object_of, one_of, read_text, read_verdict, text_of
from schemas.rows import Anchor, Drop, Outcome, Request, Verdict, content_hash

FACTUALITY: Final = "factuality"
RELEVANCE: Final = "relevance"
ANCHOR_FACTUALITY: Final = "anchor_factuality"
"""The question of factuality about a real text, which has no source: its answers measure the judge itself."""

UNREADABLE: Final = "unreadable"

FEWEST_ALIKE: Final = 8
"""Replies of a judge from which on it is no chance that all of them are alike, reason and all."""

VERDICTS: Final = {
    FACTUALITY: ("factual", "non_factual", "not_checkable"),
    RELEVANCE: ("same_topic", "related", "unrelated"),
    ANCHOR_FACTUALITY: ("factual", "non_factual", "not_checkable"),
}

_ANSWER = "Answer as JSON: first the reason in one sentence, then the verdict."

WISHES: Final = {
    FACTUALITY: "The draft was written from the document. Judge whether what the draft says is so.\n"
    "factual: every claim of the draft that can be checked agrees with the document and with what is generally known. "
    "A claim that the document does not make is no fault if it is true.\n"
    "non_factual: at least one claim contradicts the document or what is generally known, or takes for real what does "
    "not exist.\n"
    "not_checkable: it makes no claim that can be checked, because it is fiction, opinion or instruction, or makes no "
    "sense. A claim that neither the document nor what is generally known can decide counts for nothing.\n" + _ANSWER,
    RELEVANCE: "Judge how the draft is related to the document, whether or not it is true or well written.\n"
    "same_topic: it is about what the document is about, or about a part of it.\n"
    "related: it is about something else, and shares with the document a field, a person, a place or an idea that "
    "matters to both.\n"
    "unrelated: it shares with the document no more than any two texts do, or says nothing.\n" + _ANSWER,
    ANCHOR_FACTUALITY: "Judge whether what the document says is so.\n"
    "factual: every claim of the document that can be checked agrees with what is generally known.\n"
    "non_factual: at least one claim contradicts what is generally known or another claim of the document, or takes "
    "for real what does not exist.\n"
    "not_checkable: it makes no claim that can be checked, because it is fiction, opinion or instruction, or makes no "
    "sense. A claim that what is generally known cannot decide counts for nothing.\n" + _ANSWER,
}

QUESTIONS_ID: Final = content_hash("questions", WISHES, {name: list(all_) for name, all_ in VERDICTS.items()})


@dataclass(frozen=True, slots=True)
class Judged(Outcome):
    """The outcome of one anchor: a verdict per record and question, unreadable ones among them."""

    verdicts: list[Verdict] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Inquiry:
    """All questions to a judge about a batch, anchor by anchor; records of one text are one question.

    Attributes:
        records: Ids of records, by anchor id and text.
        alone: Ids of anchors that have a question about themselves.
    """

    records: Mapping[str, Mapping[str, Sequence[str]]]
    alone: frozenset[str] = frozenset()

    def rounds(self, anchor: Anchor, seed: int) -> Conversation[Judged]:
        """Return the conversation about one anchor; nothing is drawn, so the seed changes nothing."""
        questions = [
            (name, record_ids, ask_about(name, text, anchor))
            for text, record_ids in self.records.get(anchor.anchor_id, {}).items()
            for name in (FACTUALITY, RELEVANCE)
        ]
        if anchor.anchor_id in self.alone:
            questions.append((ANCHOR_FACTUALITY, [anchor.anchor_id], ask_about(ANCHOR_FACTUALITY, anchor.text)))
        answers = yield from side_by_side([ask(anchor, request, reader_of(name)) for name, _, request in questions])
        verdicts = [
            Verdict(text_id, anchor.anchor_id, name, *_as_row(one))
            for (name, text_ids, _), one in zip(questions, answers, strict=True)
            for text_id in text_ids
        ]
        return Judged(verdicts=verdicts)


def ask_about(question: str, text: str, source: Anchor | None = None) -> Request:
    """Return the request of one question; source and text come first, so that servers cache both for the next one."""
    schema = object_of(reason=text_of(200), verdict=one_of(*VERDICTS[question]))
    prompt = beside(source, text, WISHES[question]) if source else after(text, WISHES[question])
    return Request(prompt, facet=question, json_schema=schema, greedy=True)


def reader_of(question: str) -> Callable[[str], tuple[str, str] | None]:
    """Return the function that reads verdict and reason from a reply, or None if the question has no such verdict.

    >>> reader_of("relevance")('{"reason": "Both tell of mills.", "verdict": "related"}')
    ('related', 'Both tell of mills.')
    >>> reader_of("relevance")('{"verdict": "factual"}') is None
    True
    """

    def read(text: str) -> tuple[str, str] | None:
        found = read_verdict(text)
        verdict = found.get("verdict")
        if not isinstance(verdict, str) or verdict not in VERDICTS[question]:
            return None
        return verdict, read_text(found.get("reason")) or ""

    return read


def _as_row(answer: Read[tuple[str, str]] | Drop) -> tuple[str, str, str]:
    """Return verdict, reason and request."""
    if isinstance(answer, Drop):
        return UNREADABLE, answer.reason, answer.request_id
    return *answer.value, answer.request_id


def parroted(verdicts: pl.DataFrame) -> int:
    """Return the number of replies to a question if all of them are alike, reason and all; 0 if any two differ, or they
    are too few to tell.

    Nobody has the same reason for each of many texts: such a judge says the words of its prompt, not what it found.

    Args:
        verdicts: Rows of ``Verdict`` that answer one question.
    """
    replies = verdicts.filter(pl.col("verdict") != UNREADABLE).unique("request_id")
    is_alike = replies.height >= FEWEST_ALIKE and replies.n_unique(["verdict", "reason"]) == 1
    return replies.height if is_alike else 0

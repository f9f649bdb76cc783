"""Wrong options for questions that have none: answers of the same kind to other questions of the same corpus."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

from gainloop.measures.answers import normalised
from schemas.exam import Question, shuffled
from schemas.rows import content_hash

Kind = Literal["date", "number", "name", "phrase"]

NEAREST: Final = 12
"""Answers nearest in length among which a hash chooses: the nearest alone would be the same few for all questions."""

_MONTH = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
_DATE = re.compile(
    rf"\b{_MONTH}|nov(?:ember)?|dec(?:ember)?)\b.*\d|\b(?:1[0-9]|20)\d\d\b|\b\d{{1,2}}(?:th|st|nd|rd) century\b"
)
_NUMBER_WORD = (
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|sixty|seventy|eighty|"
    r"ninety|hundred|thousand|million|billion|half|third|quarter)"
)
_NUMBER = re.compile(rf"\d|^(?:about |around |over |nearly )?{_NUMBER_WORD}\b")
_SMALL = "of|the|and|de|von|van|la|le|du|for|in|&"
_NAME = re.compile(rf"^(?:[A-Z][\w.'\u2019-]*|{_SMALL})(?: (?:[A-Z][\w.'\u2019-]*|\d+|{_SMALL}))*$")


def kind_of(answer: str) -> Kind:
    """Return the kind of an answer, by its form.

    >>> [kind_of(one) for one in ("7 February 2016", "1987", "24.5 kg", "Denver Broncos", "the north sluice gate")]
    ['date', 'date', 'number', 'name', 'phrase']
    """
    if _DATE.search(answer.lower()):
        return "date"
    if _NUMBER.search(answer.lower()):
        return "number"
    return "name" if _NAME.match(answer) and any(word[:1].isupper() for word in answer.split()) else "phrase"


def add_distractors(questions: Sequence[Question], num_wrong: int) -> list[Question]:
    """Return the questions, those without options with as many wrong ones as there are, up to ``num_wrong``.

    A wrong option is the answer to another question: of the same kind if there are enough, near in length, and neither
    a right answer to this one nor a part of it, nor the other way round, nor in the sentence that it rests on.
    """
    answers = sorted({one.answer for one in questions})
    kinds = {answer: kind_of(answer) for answer in answers}
    return [
        _with_options(one, answers, kinds, num_wrong) if num_wrong and not one.options else one for one in questions
    ]


def _with_options(one: Question, answers: list[str], kinds: dict[str, Kind], num_wrong: int) -> Question:
    own, length = kinds[one.answer], len(one.answer)
    wrong = [answer for answer in answers if _is_wrong(answer, one)]
    nearest = sorted(wrong, key=lambda answer: (kinds[answer] != own, abs(len(answer) - length), answer))[:NEAREST]
    same = [answer for answer in nearest if kinds[answer] == own]
    others = [answer for answer in nearest if kinds[answer] != own]
    chosen = [*_by_hash(one.question, same), *_by_hash(one.question, others)][:num_wrong]
    return replace(one, options=shuffled(one.question, (one.answer, *chosen))) if chosen else one


def _by_hash(question: str, answers: list[str]) -> list[str]:
    return sorted(answers, key=lambda answer: content_hash("distractor", question, answer))


def _is_wrong(answer: str, one: Question) -> bool:
    """Tell whether an answer cannot be right for a question, as far as words say."""
    given = f" {normalised(answer)} "
    rights = [f" {normalised(right)} " for right in one.right_answers]
    known = f" {normalised(one.evidence)} {normalised(one.question)} "
    return bool(given.strip()) and given not in known and not any(given in right or right in given for right in rights)

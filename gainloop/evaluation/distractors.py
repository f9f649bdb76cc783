"""Wrong options for questions that have none: answers of the same kind to other questions of the same corpus."""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, Literal

from gainloop.measures.answers import normalised
from schemas.exam import Question, shuffled
from schemas.rows import content_hash

Kind = Literal["date", "number", "name", "phrase"]
KINDS: Final[tuple[Kind, ...]] = ("phrase", "name", "number", "date")

NEAREST: Final = 12
"""Answers nearest in length among which a hash chooses: the nearest alone would be the same few for all questions."""

_MONTH = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
_DATE = re.compile(
    rf"\b{_MONTH}|nov(?:ember)?|dec(?:ember)?)\b.{{0,40}}\d|\b(?:1[0-9]|20)\d\d\b|\b\d{{1,2}}(?:th|st|nd|rd) century\b"
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
    pool = _Pool(one.answer for one in questions)
    return [_with_options(one, pool, num_wrong) if num_wrong and not one.options else one for one in questions]


class _Pool:
    """The answers of a corpus by kind, each kind in the order of length."""

    def __init__(self, answers: Iterable[str]) -> None:
        self.plain = {answer: normalised(answer) for answer in set(answers)}
        self.kinds: dict[Kind, list[tuple[int, str]]] = defaultdict(list)
        for answer in sorted(self.plain, key=lambda answer: (len(answer), answer)):
            self.kinds[kind_of(answer)].append((len(answer), answer))

    def nearest(self, one: Question, kind: Kind, most: int) -> list[str]:
        """Return the answers of a kind that are wrong for a question, the nearest to its own in length first."""
        ranked, own = self.kinds[kind], len(one.answer)
        after = bisect_left(ranked, (own, ""))
        before, found = after - 1, list[str]()
        while len(found) < most and (before >= 0 or after < len(ranked)):
            gap = own - ranked[before][0] if before >= 0 else None
            if gap is None or (after < len(ranked) and ranked[after][0] - own <= gap):
                answer, after = ranked[after][1], after + 1
            else:
                answer, before = ranked[before][1], before - 1
            if _is_wrong(self.plain[answer], one):
                found.append(answer)
        return found


def _with_options(one: Question, pool: _Pool, num_wrong: int) -> Question:
    own = kind_of(one.answer)
    chosen = _by_hash(one.question, pool.nearest(one, own, NEAREST))[:num_wrong]
    for kind in KINDS:
        if kind != own and len(chosen) < num_wrong:
            chosen += _by_hash(one.question, pool.nearest(one, kind, NEAREST))[: num_wrong - len(chosen)]
    return replace(one, options=shuffled(one.question, (one.answer, *chosen))) if chosen else one


def _by_hash(question: str, answers: list[str]) -> list[str]:
    return sorted(answers, key=lambda answer: content_hash("distractor", question, answer))


def _is_wrong(answer: str, one: Question) -> bool:
    """Tell whether an answer, normalised, cannot be right for a question, as far as words say."""
    given = f" {answer} "
    rights = [f" {normalised(right)} " for right in one.right_answers]
    known = f" {normalised(one.evidence)} {normalised(one.question)} "
    return bool(given.strip()) and given not in known and not any(given in right or right in given for right in rights)

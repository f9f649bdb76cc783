"""Choices: the option that a solution names, by its letter or by its text."""

import re
from collections.abc import Sequence
from typing import Final, Literal

from gainloop.solutions.exact import normalised
from gainloop.solutions.mathematics import marked_answer
from gainloop.solutions.problem import LETTERS

_WRAP: Final = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s?\{([^{}]*)\}")
_LETTER: Final = re.compile(
    r"^(?:option|choice|answer)?\s?\(?([A-Za-z])(?:[).:]|$|(?=\s?[-\u2013]\s)|(?=\s?[,;]))", re.I
)
_CAPITAL: Final = re.compile(
    r"(?<![\w'])\(?([A-Z])[).](?!\w)|\(([A-Z])\)|^[ \t]{0,9}\*{0,2}([A-Z])\*{0,2}[ \t]{0,9}$", re.MULTILINE
)
_OTHERS: Final = re.compile(r"(?<!\w)\(?([A-Z])\)?(?: (?:or|and) |/|, ?)\(?([A-Z])\)?(?!\w)")


def compare_options(options: Sequence[str], gold: str, text: str) -> Literal["right", "wrong", "unreadable"]:
    r"""Compare the known option with the one that a solution names; one that names two has chosen none.

    >>> options = ("oats", "rye", "wheat")
    >>> compare_options(options, "B", "The answer is (B) rye."), compare_options(options, "rye", "Answer: rye")
    ('right', 'right')
    >>> compare_options(options, "B", "Answer: A or B"), compare_options(options, "B", "I do not know.")
    ('wrong', 'unreadable')
    """
    named = named_option(options, text)
    if not named:
        return "unreadable"
    return "right" if named == letter_of(options, gold) else "wrong"


def letter_of(options: Sequence[str], answer: str) -> str:
    """Return the letter of an option that is named by its letter or its text; empty if it is none of them.

    >>> letter_of(("oats", "rye"), " b "), letter_of(("oats", "rye"), "Rye."), letter_of(("oats", "rye"), "C")
    ('B', 'B', '')
    """
    known = LETTERS[: len(options)]
    texts = [normalised(option) for option in options]
    said = normalised(answer)
    if texts.count(said) == 1:
        return known[texts.index(said)]
    letter = said.upper()
    return letter if len(letter) == 1 and letter in known else ""


def named_option(options: Sequence[str], text: str) -> str:
    """Return the letter of the option that a solution names last, ``?`` for several at once, empty for none."""
    known = LETTERS[: len(options)]
    marked = _WRAP.sub(r"\1", marked_answer(text)).strip(" *_`$")
    for said in (marked, text.strip().rpartition("\n")[2]):
        if (two := _OTHERS.search(said)) and two[1] in known and two[2] in known and two[1] != two[2]:
            return "?"
        if letter := letter_of(options, said):
            return letter
        if (found := _LETTER.match(said)) and (letter := found[1].upper()) in known:
            return letter
    letters = [
        letter for found in _CAPITAL.finditer(text) if (letter := "".join(filter(None, found.groups()))) in known
    ]
    return letters[-1] if letters else ""

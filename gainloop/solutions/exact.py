"""Answers that are texts: right where they are the same but for capitals, space, articles and the signs around them."""

import re
import unicodedata
from typing import Final, Literal

from gainloop.solutions.mathematics import marked_answer

_ARTICLE: Final = re.compile(r"^(?:a|an|the) ")
_AROUND: Final = " \t\n*_`\"'.,;:!?()[]"


def compare_texts(gold: str, text: str) -> Literal["right", "wrong", "unreadable"]:
    r"""Compare the known answer with a solution's marked answer, its last line, or all of it.

    >>> compare_texts("a mill", "It turns, so:\n\nAnswer: the Mill."), compare_texts("mill", "So it is\na barn")
    ('right', 'wrong')
    >>> compare_texts("mill", " \n")
    'unreadable'
    """
    if not text.strip():
        return "unreadable"
    marked = marked_answer(text)
    said = [marked] if marked else [text, text.strip().rpartition("\n")[2]]
    wanted = normalised(gold)
    return "right" if wanted and wanted in map(normalised, said) else "wrong"


def normalised(text: str) -> str:
    """Return a text in small letters, one form a character, without doubled space, an article before and signs around.

    >>> normalised(" The  Mill. ")
    'mill'
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(_AROUND)
    return _ARTICLE.sub("", plain)

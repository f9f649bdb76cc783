"""Written answers compared with right ones, in words: SQuAD's normalisation, exact match and F1."""

import re
import string
from collections import Counter
from collections.abc import Iterable
from typing import Final

from schemas.characters import folded

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION: Final = {ord(one): None for one in string.punctuation}


def normalised(answer: str) -> str:
    """Return an answer in lower case without punctuation, articles and doubled spaces.

    Source: evaluate-v1.1.py of SQuAD, Rajpurkar et al. 2016, arXiv:1606.05250.

    >>> normalised("The  Denver Broncos!"), normalised("U.S. $1,000")
    ('denver broncos', 'us 1000')
    """
    return " ".join(_ARTICLES.sub(" ", folded(answer).translate(_NO_PUNCTUATION)).split())


def is_exact(answer: str, accepted: Iterable[str]) -> bool:
    """Tell whether an answer is one of the right ones, normalised.

    >>> is_exact("the Broncos.", ["Broncos", "Denver Broncos"]), is_exact("", ["Broncos"])
    (True, False)
    """
    return normalised(answer) in {normalised(one) for one in accepted}


def best_f1(answer: str, accepted: Iterable[str]) -> float:
    """Return the F1 of words with the right answer that it is highest with.

    >>> best_f1("Denver Broncos team", ["Broncos", "Denver Broncos"]), best_f1("rye", ["mill"])
    (0.8, 0.0)
    """
    return max((_f1(normalised(answer).split(), normalised(one).split()) for one in accepted), default=0.0)


def _f1(given: list[str], right: list[str]) -> float:
    if not given or not right:
        return float(given == right)
    shared = sum((Counter(given) & Counter(right)).values())
    return round(2 * shared / (len(given) + len(right)), 12)

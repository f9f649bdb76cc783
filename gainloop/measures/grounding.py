"""The numbers and names of a text that its document does not have: what a writer made up, as far as a rule can see."""

import re

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NAME = re.compile(r"(?<![.!?:\"\u201c(\[\n] )(?<=[^\W\d_,;] |[,;] )[A-Z][\w'\u2019-]+")
_POSSESSIVE = re.compile(r"['\u2019]s?$")


def ungrounded(text: str, document: str, title: str) -> list[str]:
    """Return the numbers, and the capitalised words amid a sentence, that stand in neither document nor title.

    >>> ungrounded("In 1874 the mill of Ottery burnt.", "The mill was built in 1874.", "Ottery")
    []
    >>> ungrounded("In 1875 the mill of Devon burnt.", "The mill was built in 1874.", "Ottery")
    ['1875', 'Devon']
    """
    known = f"{title}\n{document}"
    numbers = {_plain(one) for one in _NUMBER.findall(known)}
    words = {word.casefold() for word in re.findall(r"\w+", known)}
    found = [one for one in _NUMBER.findall(text) if _plain(one) not in numbers]
    for name in _NAME.findall(text):
        if not all(part.casefold() in words for part in re.findall(r"\w+", _POSSESSIVE.sub("", name))):
            found.append(name)
    return found


def _plain(number: str) -> str:
    return number.replace(",", "").rstrip(".")

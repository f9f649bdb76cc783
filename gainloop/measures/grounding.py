"""Numbers and names of a text that its document lacks: what a writer who stays with the document has no use for.

Nothing is known here but the two texts, so what follows from a document is as ungrounded as what is made up: a sum of
two of its numbers, the country of its town. A name is a word that is written with a capital where a sentence does not
begin; so scripts without capitals have no names, and in German, which writes every noun with one, only numbers are
looked at.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

import regex

from gainloop.measures.languages import language_of
from schemas.characters import STOP, is_abbreviated

STEM_LETTERS: Final = 4
"""Letters that a word and a word of the document must begin with alike, one being the other with an ending."""
ENDING_LETTERS: Final = 3

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_TEENS = "seventeen eighteen nineteen"
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SCALES: Final = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORDED: Final = (
    {word: number for number, word in enumerate((_UNITS + " " + _TEENS).split())}
    | {word: number for number, word in enumerate(_ORDINALS.split(), 1)}
    | {word: number for number, word in zip(range(20, 100, 10), _TENS.split(), strict=True)}
    | {"once": 1, "twice": 2, "both": 2, "pair": 2, "half": 50, "dozen": 12, "a": 1, "an": 1}
)
_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)

_DIGITS = re.compile(r"\d+")
_NUMBER = re.compile(r"\d+(?:[.,'\u00a0\u2009\u202f]\d+)*")
_SCALED = re.compile(rf"[ \u00a0-]?({'|'.join(_SCALES)})s?\b", re.IGNORECASE)
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:['\u00a0\u2009\u202f]\d{3})+(?:[.,]\d+)?")
_BETWEEN_GROUPS = re.compile(r"[,'\u00a0\u2009\u202f](?=\d{3})")
_DOTTED = re.compile(r"\d{1,3}(?:\.\d{3})+")
_SPACED = re.compile(r"(?<!\d)\d{1,3}(?: \d{3})+(?!\d)")
_SPAN = re.compile(r"(?<!\d)(\d\d)\d\d[-\u2013/](\d\d)(?!\d)")
_ISO_DATE = re.compile(r"(?<!\d)\d{4}-(\d\d)-\d\d(?!\d)")
# What numbers a list, a step or a question at the beginning of a line: "2.", "(2)", "**Step 2:**", "Q2.", "| 2 |".
_MARK = re.compile(
    r"^[^\w\n]*(?:[^\W\d_]{1,12}[ .]?)?\d{1,3}(?:[.)\]:*]+(?=\s|$)|\s*[|\u2013\u2014-]\s)",
    re.MULTILINE,
)
_INLINE_MARK = re.compile(r"(?<=[\s(])\d{1,2}\)")

_WORD = regex.compile(r"[\p{L}\p{M}]++(?:['\u2019\u02bc.&-][\p{L}\p{M}]++)*+")
_STARTS = regex.compile(rf"{STOP}|[.:;\n|*#>\"\u201d\p{{Pi}}\p{{Ps}}\u2022\u2013\u2014]|(?<!\w)'|\s-\s", regex.V1)
_TITLES: Final = frozenset({"I", "OK", "Mr", "Mrs", "Ms", "Dr", "Prof", "St", "No"})
"""What is written with a capital and is no name."""
_OWNING = re.compile(r"['\u2019\u02bc][sS]?\Z")
_PARTS = re.compile(r"['\u2019\u02bc.&-]")


class _Known(NamedTuple):
    """What a document has: its numbers, its words in small letters, the beginnings of the words, initials."""

    numbers: frozenset[str]
    words: frozenset[str]
    initials: str
    has_names: bool


def ungrounded(text: str, document: str, title: str = "") -> list[str]:
    """Return the numbers and names of a text that its document and the document's title lack, each once, in order.

    A number is the same however it is written: 1,000 and 1000, 2nd and 2, 1.5 million and 1,500,000, and 3 where the
    document says three. A name is the same in any case, with and without accents, ``'s`` and an ending of up to three
    letters; of a hyphenated one each part counts. Numbers that only number the lines of a list are left out, and words
    of lines that are headings. Number words of the text are not looked at, nor is the first word of a sentence.

    >>> ungrounded("In 1,874 the old Mill of Rye was sold to Anna Bell's son.", "Rye has a mill. Sold in 1874: rye.")
    ['Anna', 'Bell']
    >>> ungrounded("It has 3 wheels of 2.50 m.", "Its three wheels measure 2.5 m.")
    []
    """
    known = _known(document, title)
    text = _plain(text)
    found = [(place, number) for place, number in _numbers_of(text) if not _values(text, place, number) & known.numbers]
    if known.has_names:
        found += [(place, name) for place, name in _names(text) if not _holds(known, name)]
    return list(dict.fromkeys(one for _, one in sorted(found)))


@lru_cache(maxsize=64)
def _known(document: str, title: str) -> _Known:
    text = _plain(f"{title}\n{document}")
    written = [match[0] for match in _WORD.finditer(text)]
    parts = [_folded(part) for word in written for part in _PARTS.split(word)]
    words = {*parts, *map(_folded, written)}
    months = {_MONTHS[int(match[1]) - 1] for match in _ISO_DATE.finditer(text) if 0 < int(match[1]) < 13}
    known = words | months | {stem for word in words for stem in _stems(word)}
    initials = "".join(word[0] for word in written if word[0].isupper())
    return _Known(
        frozenset(_written_numbers(text) | _worded(parts)), frozenset(known), initials, language_of(text) != "de"
    )


def _written_numbers(text: str) -> set[str]:
    """Return the numbers of a document, and what parts of them may stand for: 1994-96 has 1996, 10 000 is one."""
    numbers: set[str] = set()
    for match in _NUMBER.finditer(text):
        numbers |= _values(text, match.start(), match[0])
        numbers.update(_bare(part) for part in _DIGITS.findall(match[0]))
    numbers |= {match[0].replace(" ", "") for match in _SPACED.finditer(text)}
    return numbers | {match[1] + match[2] for match in _SPAN.finditer(text)}


def _stems(word: str) -> list[str]:
    """Return the beginnings of a word that leave out an ending."""
    return [word[:length] for length in range(max(STEM_LETTERS, len(word) - ENDING_LETTERS), len(word))]


def _plain(text: str) -> str:
    """Return a text with one form of each digit and letter, line by line as it was."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text.replace("\u2026", " \u2026 "))


def _numbers_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield the place and the form of each number that does not number a line."""
    marks = {place for mark in (_MARK, _INLINE_MARK) for match in mark.finditer(text) for place in range(*match.span())}
    for match in _NUMBER.finditer(text):
        if match.start() not in marks:
            yield match.start(), match[0]


def _values(text: str, place: int, number: str) -> frozenset[str]:
    """Return what a number of a text may be: with dots between groups of three it may be whole or not."""
    if scale := _SCALED.match(text, place + len(number)):
        return frozenset(_scaled(value, _SCALES[scale[1].casefold()]) for value in _readings(number))
    return _readings(number)


@lru_cache(maxsize=4096)
def _readings(number: str) -> frozenset[str]:
    """Return what a form may stand for: 1,000 is a thousand; 1.000 is too, or one; 1,5 is one and a half."""
    if _GROUPED.fullmatch(number):
        return frozenset([_bare(_BETWEEN_GROUPS.sub("", number))])
    if _DOTTED.fullmatch(number):
        return frozenset([_bare(number), _bare(number.replace(".", ""))])
    return frozenset([_bare(number.replace(",", ".") if number.count(",") == 1 and "." not in number else number)])


def _bare(number: str) -> str:
    """Return a number in ASCII digits, without zeros that do not count."""
    digits = "".join(str(unicodedata.decimal(one)) if one.isdecimal() else one for one in number)
    whole, dot, rest = digits.partition(".")
    whole = whole.lstrip("0") or "0"
    return f"{whole}.{rest}".rstrip("0").rstrip(".") if dot and "." not in rest else whole + dot + rest


def _scaled(number: str, scale: int) -> str:
    whole, _, rest = number.partition(".")
    zeros = len(str(scale)) - 1
    if not (whole + rest).isdecimal() or len(number) > 30:
        return number
    return _bare(f"{whole}{rest[:zeros].ljust(zeros, '0')}.{rest[zeros:] or '0'}")


def _worded(words: list[str]) -> set[str]:
    """Return the numbers that a document writes in words: each word's, and what several in a row add up to."""
    numbers: set[str] = set()
    total = part = 0
    for word in (*words, ""):
        if word in _WORDED:
            part += _WORDED[word]
        elif word in _SCALES and 0 < part < 10**12:
            part *= _SCALES[word]
            if word != "hundred":
                total, part = total + part, 0
        elif word != "and" or not (total or part):
            numbers.add(str(total + part))
            total = part = 0
        numbers.add(str(total + part))
        if word in _WORDED:
            numbers.add(str(_WORDED[word]))
    return numbers


def _names(text: str) -> Iterator[tuple[int, str]]:
    """Yield the place and the parts of each word with a capital inside a sentence; headings have none."""
    start = 0
    for line in text.splitlines(keepends=True):
        if line != "\n" and not _is_heading(line):
            for place, word in _inside(line):
                if word[0].isupper() and (name := _OWNING.sub("", word)) not in _TITLES:
                    yield start + place, name
        start += len(line)


def _inside(line: str) -> Iterator[tuple[int, str]]:
    """Yield the place of each word of a line that does not begin a sentence, and the word."""
    end = 0
    for match in _WORD.finditer(line):
        between = line[end : match.start()]
        begins = end == 0 or (_STARTS.search(between) and not is_abbreviated(line, match.start()))
        end = match.end()
        if not begins:
            yield match.start(), match[0]


def _is_heading(line: str) -> bool:
    """Tell whether a line is a heading: a few words, most of the longer ones with a capital, and no full stop."""
    longer = [word for word in _WORD.findall(line) if len(word) > 3]
    stopped = line.rstrip(" *_\n").endswith((".", "!", "?", ",", ";"))
    return not stopped and len(longer) <= 12 and sum(word[0].isupper() for word in longer) > 0.6 * len(longer)


def _holds(known: _Known, name: str) -> bool:
    """Tell whether a document has a name, as a whole or in each of its parts."""
    if _has(known, name):
        return True
    parts = filter(None, _PARTS.split(name))
    return all(not part[0].isupper() or _has(known, part) for part in parts)


def _has(known: _Known, name: str) -> bool:
    folded = _folded(name)
    if folded in known.words or any(stem in known.words for stem in _stems(folded)):
        return True
    letters = name.replace(".", "").removesuffix("s")
    return 2 <= len(letters) <= 6 and letters.isupper() and letters in known.initials


def _folded(word: str) -> str:
    """Return a word in small letters without accents and dots."""
    word = word.casefold().replace(".", "")
    if word.isascii():
        return word
    return "".join(one for one in unicodedata.normalize("NFD", word) if not unicodedata.combining(one))

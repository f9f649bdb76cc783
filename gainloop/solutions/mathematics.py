r"""Final answers of mathematics: found in a solution, and compared with the right one.

The last mark of a final answer counts, whichever it is: ``\boxed{}``, ``#### 18``, a line ``Answer: 18`` or ``A: 18``,
"the answer is 18"; without a mark the last number does. Where a solution gives two, the later one is its answer, as a
reader takes it who is corrected; one that offers several at once ("18 or 20") has none of them right.

Plain numbers are compared here, exactly. All else is math-verify's, which runs in a process of its own (``worker``).
"""

import heapq
import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from operator import itemgetter
from typing import Final, Literal

NUMBER_CHARS: Final = 60
"""Digits up to which fractions are multiplied out and numbers rounded; longer ones are equal digit by digit or not."""

EXACT_PLACES: Final = 6
"""Decimal places up to which two numbers that differ are different; beyond, math-verify rounds."""

MOST_MARKS: Final = 20
"""Marks, the last first, that are looked at until one says something: a text may be nothing but marks."""
MOST_CHARS: Final = 50_000
"""Characters of a final answer, at most."""

_MARK: Final = re.compile(
    r"####"
    r"|^[ \t>*#_]{0,9}(?:final[ ])?(?:answer|a)[*_]{0,3}[ \t]?[:=]"
    r"|\b(?:final[ ])?answer(?:[ ]to[ ][^.\n]{1,60}?)?[ ]is\b:?",
    re.IGNORECASE | re.MULTILINE,
)
_BOXED: Final = re.compile(r"\\f?boxed\s?\{")
_BRACE: Final = re.compile(r"\\[\\{}]|[{}]")
_AMOUNT: Final = r"(?:\d{1,3}(?:(?:,|\{,\}|\\,|[\u00a0\u2009\u202f])\d{3})+(?![\d])|\d+)(?:\.\d+)?|\.\d+"
_SIGN: Final = r"[-+\u2212\u2013]?"
_LAST_NUMBER: Final = re.compile(rf"(?:(?<![\w.)\]}}])[-\u2212])?\$?(?:{_AMOUNT})(?:\s?/\s?\d+)?\s?\\?%?")
_UNIT: Final = r"(?:[^\W\d_]{1,30}[23\u00b2\u00b3]?)"
_PLAIN: Final = re.compile(
    rf"(?:(?:about|exactly|only|just|is|are|a|total|of|equals?|[=:$\u20ac\u00a3\u00a5~]|\\\$)\s?){{0,6}}"
    rf"(?P<sign>{_SIGN})\s?(?:[$\u20ac\u00a3\u00a5]|\\\$)?\s?(?P<number>{_AMOUNT})"
    rf"(?:\s?/\s?(?P<below>\d{{1,{NUMBER_CHARS}}}))?"
    r"\s?(?P<percent>\\?%|percent\b|per cent\b)?"
    rf"\s?(?P<units>(?:{_UNIT}\.?(?:[\s/]{_UNIT}\.?){{0,11}})?)\s?",
    re.IGNORECASE,
)
_WRAPPED: Final = re.compile(r"\\(?:text|mathrm|mathbf|textbf|operatorname)\s?\{([^{}]*)\}")
_EDGES: Final = " \t\r\n*_`.,;:!\u00a0"
_SCALES: Final = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_OR: Final = re.compile(r"\bor\b", re.IGNORECASE)


def final_answer(text: str) -> str:
    r"""Return the final answer of a solution as it is written; empty if there is none.

    >>> final_answer("So 9 * 2 = 18.\n#### 18"), final_answer("Thus \\boxed{\\frac{1}{2}}."), final_answer("A: 1,000")
    ('18', '\\frac{1}{2}', '1,000')
    >>> final_answer("The answer is 5. No: the answer is 6 eggs."), final_answer("She has 3 + 4 = 7 eggs.")
    ('6 eggs', '7')
    """
    if marked := marked_answer(text):
        return marked
    numbers = _LAST_NUMBER.findall(text)
    return numbers[-1].strip() if numbers else ""


def marked_answer(text: str) -> str:
    r"""Return what stands at the last mark of a final answer; empty if there is no mark.

    >>> marked_answer("Answer: a mill"), marked_answer("It is a mill.")
    ('a mill', '')
    """
    marks = [(found.start(), found.end(), _braced) for found in _BOXED.finditer(text)]
    marks += [(found.start(), found.end(), _after) for found in _MARK.finditer(text)]
    last = heapq.nlargest(MOST_MARKS, marks, key=itemgetter(0))
    return next((answer for _, end, read in last if (answer := read(text, end))), "")


def _braced(text: str, begin: int) -> str:
    """Return what stands from a place to the brace that closes it; empty if none does."""
    depth = 1
    for found in _BRACE.finditer(text, begin, begin + MOST_CHARS):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if not depth:
            return text[begin : found.start()].strip()
    return ""


def _after(text: str, begin: int) -> str:
    """Return what stands behind a mark on its line, up to the end of the sentence; empty if that says nothing."""
    end = text.find("\n", begin)
    line = text[begin : end if end >= 0 else len(text)][:MOST_CHARS]
    if _BOXED.search(line):  # a mark of its own
        return ""
    said = re.split(r"\.(?=\s|$)", line, maxsplit=1)[0].strip(_EDGES) if "$" not in line else line.strip(_EDGES)
    *_, said = said.rpartition(" = ") if said.count("=") == 1 and not re.search(r"[a-z\\] =", said, re.I) else (said,)
    return said if re.search(r"[\w\\]", said) else ""


def compare_plainly(gold: str, answer: str) -> Literal["right", "wrong", "unknown"]:
    """Compare two final answers as far as they are plain numbers or the same text; ``unknown`` where more is needed.

    A percent sign may be left out: 10 % is 10, and 0.1 too.

    >>> compare_plainly("1000", "$1,000.00"), compare_plainly("1/2", "0.5"), compare_plainly("10", "10 %")
    ('right', 'right', 'right')
    >>> compare_plainly("18", "19 eggs"), compare_plainly("18", "18 or 20"), compare_plainly("1/3", "\\\\sqrt{2}")
    ('wrong', 'wrong', 'unknown')
    """
    if is_same_text(gold, answer):
        return "right"
    if _offers_several(answer) and not _offers_several(gold):
        return "wrong"
    right, given = _read_number(gold), _read_number(answer)
    if right is None or given is None:
        return "unknown"
    if _are_equal(right, given):
        return "right"
    is_exact = all(one.below == 1 and one.places <= EXACT_PLACES for one in (right, given))
    return "wrong" if is_exact or not _are_near(right, given) else "unknown"


def _offers_several(answer: str) -> bool:
    """Tell whether an answer has numbers on both sides of an "or"."""
    around = (
        (answer[max(0, one.start() - 40) : one.start()], answer[one.end() :][:40]) for one in _OR.finditer(answer)
    )
    return any(re.search(r"\d", before) and re.search(r"\d", after) for before, after in around)


class _Number:
    """A number as it is written: over its denominator, with or without a percent sign."""

    def __init__(self, above: Decimal, below: int, percent: bool) -> None:
        self.above, self.below, self.percent = above, below, percent
        _, digits, exponent = above.as_tuple()
        self.digits = len(digits)
        self.places = max(0, -exponent) if isinstance(exponent, int) else 0

    @property
    def value(self) -> Fraction:
        return Fraction(self.above) / self.below


def _read_number(text: str) -> _Number | None:
    found = _PLAIN.fullmatch(_unwrapped(text))
    if not found:
        return None
    digits = re.sub(r"[^\d.]", "", found["number"])
    below = int(found["below"] or 1)
    try:
        number = Decimal(digits)
    except InvalidOperation:
        return None
    if not below:
        return None
    _, figures, exponent = number.as_tuple()
    words = found["units"].casefold().split()
    scale = _SCALES.get(words[0].strip("."), 0) if words else 0
    assert isinstance(exponent, int)
    number = Decimal((int(found["sign"] not in ("", "+")), figures, exponent + scale))
    return _Number(number, below, bool(found["percent"]))


def _are_equal(right: _Number, given: _Number) -> bool:
    if max(right.digits, given.digits) > NUMBER_CHARS:
        return right.above == given.above and right.below == given.below
    values = {given.value, given.value / 100} if given.percent else {given.value}
    wanted = {right.value, right.value / 100} if right.percent else {right.value}
    return bool(values & wanted) if given.percent != right.percent else given.value == right.value


def _are_near(right: _Number, given: _Number) -> bool:
    """Tell whether numbers that differ may be the same, rounded."""
    if max(right.digits, given.digits) > NUMBER_CHARS:
        return False
    most = max(Fraction(1), abs(right.value)) / 1000
    return any(abs(right.value - one) <= most for one in (given.value, given.value / 100))


def _unwrapped(text: str) -> str:
    r"""Return an answer without the marks of LaTeX that change no number.

    >>> _unwrapped("$\\text{ 5 apples}$."), _unwrapped("**18**")
    ('5 apples', '18')
    """
    text = _WRAPPED.sub(r" \1", text.strip(_EDGES)).replace("\\$", "$").replace("\\!", "")
    for left, right in (("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$")):
        if text.startswith(left) and text.endswith(right) and len(text) > len(left) + len(right):
            text = text[len(left) : -len(right)]
    text = text.replace("\\ ", " ").replace("\\;", " ").strip(_EDGES)
    return " ".join(text.split())


def is_same_text(gold: str, answer: str) -> bool:
    """Tell whether two answers are written the same but for space, capitals and the marks around them."""
    return bool(bare := _bare(gold)) and bare == _bare(answer)


def _bare(text: str) -> str:
    return "".join(_unwrapped(text).casefold().split())

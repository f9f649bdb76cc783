r"""Characters as Unicode has them: what cannot be seen, what a reader sees as one, where words and sentences end.

Sources, prompts, measures and filters all cut texts here, so that a text has the same words for each of them. The
properties are those of the package regex. All patterns take time in proportion to the text.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

import regex

WORD_RULES: Final = b"2"
"""Mark of the rules by which ``words`` cuts, kept beside what was made by them. Another one makes it anew."""

# Scripts without spaces between their words. Those of the first kind have a word in nearly every character; those of
# the second are cut by dictionaries, which Unicode's rules leave to others: a consonant with its vowels is one here.
_IDEOGRAPHIC, _SYLLABIC = r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc", r"\p{Line_Break=SA}"
_LEFT: Final = r"\p{InPC=Visual_Order_Left}"
UNSPACED: Final = (
    rf"[{_IDEOGRAPHIC}]\p{{M}}*+"
    rf"|{_LEFT}?{_SYLLABIC}(?:(?!{_LEFT})[\p{{M}}\p{{InSC=Vowel_Dependent}}]|(?<=\p{{InSC=Invisible_Stacker}}){_SYLLABIC})*+"
)
"""Pattern of what counts as a word where no spaces stand between words."""

TOKEN: Final = regex.compile(rf"{UNSPACED}|[^\s{_IDEOGRAPHIC}{_SYLLABIC}]++")
"""Pattern of a word as it stands, with the signs on it."""

_RUN: Final = regex.compile(r"\w++")
_UNSPACED: Final = regex.compile(UNSPACED)
_PARTS: Final = regex.compile(rf"[^{_IDEOGRAPHIC}{_SYLLABIC}]++|{UNSPACED}")
_ASCII: Final = "".join(chr(code) if re.match(r"\w", chr(code)) else " " for code in range(128))

# What is not to be seen, and those of it without which the text looks otherwise: joiners in scripts whose letters
# join, and in emoji; a selector after what it selects; the tags of a flag; the places of Hangul letters of old.
_HIDDEN: Final = r"[\p{Default_Ignorable_Code_Point}\ufff9-\ufffb]"
_UNSEEN: Final = regex.compile(rf"{_HIDDEN}++")
_JOINING: Final = (
    r"[[\p{scx=Arab}\p{scx=Syrc}\p{scx=Mong}\p{scx=Nkoo}\p{scx=Deva}\p{scx=Beng}\p{scx=Guru}\p{scx=Gujr}\p{scx=Orya}"
    r"\p{scx=Taml}\p{scx=Telu}\p{scx=Knda}\p{scx=Mlym}\p{scx=Sinh}\p{scx=Mymr}\p{scx=Khmr}\p{scx=Tibt}]&&\p{L}]"
)
_NEEDLESS: Final = regex.compile(
    rf"(?={_HIDDEN})(?:(?<={_JOINING}\p{{M}}{{0,4}})(?:\u200c(?={_HIDDEN}*+{_JOINING})|\u200d)"
    r"|(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}])(?:[\ufe0e\ufe0f]?\u200d(?=\p{Extended_Pictographic})"
    r"|[\ufe0e\ufe0f])|(?<=[0-9#*])\ufe0f(?=\u20e3)"
    r"|(?<=\U0001f3f4)[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
    r"|(?<=\p{Han})[\ufe00-\ufe0d\U000e0100-\U000e01ef]|(?<=\p{Sm})\ufe00"
    r"|(?<=\p{Mongolian})[\u180b-\u180f]|(?<=[\u1100-\u1112])\u1160|\u115f(?=[\u1161-\u1175]))(*SKIP)(*FAIL)"
    rf"|{_HIDDEN}++",
    regex.V1,
)

# Where a sentence ends. After the stops of Latin, Greek, Cyrillic and Hebrew letters a space must follow, and no small
# letter; those of other scripts end a sentence wherever they stand.
_STOP: Final = r"[.!?\u2024\u2026\u203c\u203d\u2047-\u2049]"
_OWN_STOP: Final = rf"[[\p{{STerm}}\uff61]--{_STOP}--[\uff0e\ufe52]]"
_CLOSING: Final = r"[\p{Pe}\p{Pf}\"'\uff02\uff07]"
_AROUND: Final = r"[\p{Pe}\p{Pf}\p{Pi}\"'\uff02\uff07]"
_OPENING: Final = r"[\p{Ps}\p{Pi}\p{Pf}\"'\u00a1\u00bf]"
STOP: Final = rf"(?:{_STOP}++{_AROUND}*+|(?P<unspaced>{_OWN_STOP}[{_STOP}{_OWN_STOP}]*+{_CLOSING}*+))"
"""Pattern of what ends a sentence, signs around it included; ``unspaced`` is what needs no space after it."""

STOP_BEGINS: Final = rf"(?<!{_STOP}|{_OWN_STOP})"
"""Pattern of a place that no stop stands before, so that a row of them is looked at once."""

SENTENCE_END: Final = (
    rf"(?<=\S)(?<!{_STOP})(?:{_STOP}++{_AROUND}*+\s++(?={_OPENING}*+[^\W_\p{{Lowercase}}])"
    rf"|{_OWN_STOP}[{_STOP}{_OWN_STOP}]*+{_CLOSING}*+\s*+)"
)
"""Pattern of the end of a sentence, with the white space after it."""

_SENTENCE_END: Final = regex.compile(SENTENCE_END, regex.V1)
_ABBREVIATED: Final = regex.compile(
    r"(?:\b\p{Lu}|\b(?:Dr|Mr|Mrs|Ms|Prof|St|Jr|Sr|Gen|Lt|Col|Capt|Rev|Hon|Gov|Sen|Rep|No|vs|etc|cf|ca|approx"
    r"|e\.g|i\.e|Mt|Ft|Fig|Vol|pp?))\.\s*+\Z"
)
_CLOSED: Final = regex.compile(rf"(?:{_STOP}|{_OWN_STOP})(?:{_AROUND})*\Z", regex.V1 | regex.REVERSE)

INNER: Final = regex.compile(
    r"[\p{GCB=Extend}\p{GCB=SpacingMark}\u200d\p{Emoji_Modifier}]|(?<=\u200d)\p{Extended_Pictographic}"
    r"|(?<=\p{Regional_Indicator})\p{Regional_Indicator}|(?<=[\p{InSC=Virama}\p{InSC=Invisible_Stacker}])\p{L}"
)
"""Pattern of what belongs to the character before it, which a reader sees as one with it."""
_FLAGS: Final = regex.compile(r"\p{Regional_Indicator}")


def visible(text: str) -> str:
    r"""Return a text without what cannot be seen; what changes the look of a text stays, as joiners in Persian.

    >>> visible("mi\u200bll\u00ad, \u0645\u06cc\u200c\u062e") == "mill, \u0645\u06cc\u200c\u062e"
    True
    >>> visible("\U0001f469\u200d\U0001f467 a\u200db") == "\U0001f469\u200d\U0001f467 ab"
    True
    """
    if text.isascii() or not _UNSEEN.search(text):
        return text
    return str(_NEEDLESS.sub("", text))


def plain(text: str) -> str:
    r"""Return a text in one form of each character, in no case and without anything that cannot be seen.

    Source: Unicode's NFKC_Casefold.

    >>> plain("Cafe\u0301 \uff2d\uff29\u200bll") == "caf\u00e9 mill"
    True
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", _UNSEEN.sub("", text)).casefold())


def folded(text: str) -> str:
    """Return a ``plain`` text with straight apostrophes and single spaces."""
    return " ".join(plain(text).replace("\u2019", "'").split())


def words(text: str) -> list[str]:
    r"""Return the words of a text, in order: runs of letters with their marks, digits and underscores, in no case.

    Where no spaces stand between words, a word is one ideograph or kana, or one consonant with its vowels.

    >>> words("Don't panic: \u6210\u5409\u601d\u6c57!")
    ['don', 't', 'panic', '\u6210', '\u5409', '\u601d', '\u6c57']
    >>> len(words("\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902"))  # two words of Hindi
    2
    >>> len(words("\u0e19\u0e49\u0e33\u0e43\u0e08"))  # two syllables of Thai
    2
    """
    text = plain(text)
    if text.isascii():  # the same rule in a quarter of the time
        return text.translate(_ASCII).split()
    runs: list[str] = _RUN.findall(text)
    if not _UNSPACED.search(text):
        return runs
    return [word for run in runs for word in ((run,) if run.isascii() else _PARTS.findall(run))]


def num_words(text: str) -> float:
    r"""Return about how many words a text has to someone who writes it: two ideographs count as one.

    >>> num_words("The mill grinds"), num_words("\u6210\u5409\u601d\u6c57 \u6c57")
    (3.0, 4.5)
    """
    return len(text.split()) + num_unspaced(text) / 2


def num_unspaced(text: str) -> int:
    r"""Return how many words of a text have no space between them.

    >>> num_unspaced("The \u6210\u5409 mill"), num_unspaced("The mill")
    (2, 0)
    """
    return 0 if text.isascii() else sum(1 for _ in _UNSPACED.finditer(text))


def sentence_ends(text: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield where each sentence of a part of a text ends, and where the white space after it does.

    Initials and common abbreviations end none.

    >>> list(sentence_ends('Dr. Ada wrote it. "It burns." Rye'))
    [(17, 18), (29, 30)]
    """
    for found in _SENTENCE_END.finditer(text, start, len(text) if end is None else end):
        if not is_abbreviated(text, found.end()):
            yield found.start() + len(found[0].rstrip()), found.end()


def is_abbreviated(text: str, end: int) -> bool:
    """Tell whether what looks like the end of a sentence is that of an initial or an abbreviation."""
    return _ABBREVIATED.search(text[max(0, end - 16) : end]) is not None


def ends_sentence(text: str) -> bool:
    """Tell whether a text ends with a sentence, closing quotes and brackets included.

    >>> ends_sentence('"It burns."'), ends_sentence("It bur"), ends_sentence("")
    (True, False, False)
    """
    return _CLOSED.match(text) is not None


def last_whole(text: str, start: int, end: int) -> int:
    r"""Return the last place up to ``end`` where a text can be cut without cutting what a reader sees as one character.

    Args:
        start: Place after which a cut may be; if there is none, the character is longer than that, and is cut at
            ``end``.

    >>> last_whole("ae\u0301", 0, 2), last_whole("a\U0001f469\u200d\U0001f467", 0, 3)
    (1, 1)
    """
    place = end
    if _FLAGS.match(text, place):
        while place > start and _FLAGS.match(text, place - 1):
            place -= 1
        return end - (end - place) % 2
    while place > start and INNER.match(text, place):
        place -= 1
    return place if place > start else end

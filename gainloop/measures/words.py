"""Measures of one text, alone or beside the anchor it was made from.

Words are what ``words`` of schemas/characters.py finds. Every share lies in [0, 1].
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache, lru_cache

from gainloop.measures.talk import describes_text, talks
from schemas.characters import folded, words

REPEAT_WORDS = 5
COPY_WORDS = 8
OPENING_CHARS = 40
"""Characters of a word that its text's opening is looked for in, before all of the text is."""
LEAD_WORDS, WINDOW_WORDS, STEM_LETTERS = 80, 60, 5

_WHO = "(?:i|we)(?: am| are|'m|'re)?"
_CANNOT = f"{_WHO} (?:can ?not|can't|unable to|not able to|won't be able to|will not|won't)\\b"
_SORRY = f"(?:{_WHO} (?:very |really )?sorry|sorry|{_WHO} apologi[sz]e|apologies|unfortunately)[,.;:]? *(?:but )?"
_WRITE = (
    "(?:assist|help|provide|fulfil|comply|complete|answer|generate|create|write|rewrite|retell|do (?:that|this|so))"
)
_MODEL = r"as an? (?:ai|(?:ai |large )?language model|ai (?:assistant|model)),? (?:i|we)\b"
_REFUSAL = re.compile(rf"\A\W*(?:{_SORRY})?(?:{_CANNOT} (?:\w+ ){{0,2}}{_WRITE}|{_MODEL})")

_CALLED = "(?:(?:given |above |following )?(?:passage|excerpt|paragraph)|(?:given |above )text|text above)"
_SAYS = (
    "(?:states|says|describes|mentions|suggests|implies|highlights|indicates|provides|discusses|sheds|emphasi[sz]es|"
    "explains|shows|notes|presents|refers|clarifies|hints|reveals|tells|gives|explores|concludes|demonstrates|"
    "showcases|lists|supports|does not|doesn't)"
)
_FROM = "(?:according to|based on|mentioned in|stated in|described in|derived from|inferred from|context of)"
_TELLS = "(?:states|says|describes|mentions|suggests|implies|highlights|indicates|discusses|emphasi[sz]es|clarifies)"
_ALSO = "(?:also |only |further |then |itself )?"
_SOURCE = re.compile(
    rf"\b(?:the|this) {_CALLED}(?: above)? {_ALSO}{_SAYS}\b|\b(?:the|this) text {_ALSO}{_TELLS}\b"
    rf"|\b{_FROM} (?:the|this) {_CALLED}\b"
)


def opening(text: str, num_words: int = COPY_WORDS) -> str:
    """Return the first words of a text; a generator that has collapsed begins many texts alike."""
    begun = words(text[: OPENING_CHARS * num_words])
    return " ".join((begun if len(begun) > num_words else words(text))[:num_words])


def printable_share(text: str) -> float:
    """Return the share of characters that are neither control, unassigned nor the mark of a broken encoding.

    >>> printable_share("fine\\n"), printable_share("\\ufffd\\x00ab")
    (1.0, 0.5)
    """
    return _share(
        Counter(text), lambda character: character != "\ufffd" and (character.isprintable() or character in "\n\t")
    )


def letter_share(text: str) -> float:
    """Return the share of letters and combining marks among all characters that are not white space.

    Source: Rae et al. 2021 (Gopher), table A1, ask that 80 % of words hold a letter. Differs: by
    character, so that it means the same where words are not spaced.
    """
    visible = Counter({character: count for character, count in Counter(text).items() if not character.isspace()})
    return _share(visible, lambda character: unicodedata.category(character)[0] in "LM")


def foreign_share(text: str, anchor: str) -> float:
    """Return the share of the text's letters that are of scripts in which the anchor has no letter.

    >>> foreign_share("Khan 汗汗汗汗", "Genghis Khan"), foreign_share("Khan 汗", "成吉思汗 (Khan)")
    (0.5, 0.0)
    """
    known = _scripts(anchor)
    letters = Counter({character: count for character, count in Counter(text).items() if character.isalpha()})
    return _share(letters, lambda letter: script_of(letter) not in known, of_nothing=0.0)


def refuses(text: str) -> bool:
    """Tell whether a text opens by saying that it will not be written.

    >>> refuses("I'm sorry, but I can't help with that."), refuses("'I'm sorry,' said Tom, 'I was late.'")
    (True, False)
    """
    return _REFUSAL.match(folded(text[:200])) is not None


def cites_source(text: str, anchor: str = "") -> bool:
    """Tell whether a text speaks of the passage it was made from, which no reader of it will see, or of its own parts.

    Of 2,400 web pages, articles and passages none does; of a model's replies to passages 3 %.

    >>> cites_source("The passage suggests that rye was dear."), cites_source("The passage of the bill took a year.")
    (True, False)
    """
    if _SOURCE.search(folded(text)) and not _SOURCE.search(folded(anchor)):
        return True
    return describes_text(text, anchor)


def least_on_subject(text: str, anchor: str) -> float:
    """Return how far a text keeps to its subject where it strays most: the least share of known words in 60 in a row.

    Known words stand in the anchor or among the text's own first 80; words of up to three letters are left out,
    and those that begin with the same five letters are one. 1 if the text has no 40 words after its first 80.
    Recorded replies that went on to another task have 0 to 0.06, those that kept to theirs 0.07 and more.
    """
    found = words(text)
    known = {word[:STEM_LETTERS] for word in (*words(anchor), *found[:LEAD_WORDS])}
    least = 1.0
    for start in range(LEAD_WORDS, len(found) - WINDOW_WORDS * 2 // 3 + 1, WINDOW_WORDS // 3):
        telling = [word[:STEM_LETTERS] for word in found[start : start + WINDOW_WORDS] if len(word) > 3]
        if telling:
            least = min(least, sum(word in known for word in telling) / len(telling))
    return least


def leaks(text: str, phrases: Iterable[str], anchor: str = "") -> bool:
    """Tell whether a text holds one of the phrases, in any case and spacing, that its anchor does not hold, or talks
    to its asker.

    Args:
        phrases: Phrases in lower case with single spaces.
    """
    said, known = folded(text), folded(anchor)
    return any(phrase in said and phrase not in known for phrase in phrases) or talks(text, anchor)


def _share(counts: Counter[str], wanted: Callable[[str], bool], of_nothing: float = 1.0) -> float:
    total = counts.total()
    return sum(count for character, count in counts.items() if wanted(character)) / total if total else of_nothing


@lru_cache(maxsize=16)
def _scripts(anchor: str) -> frozenset[str]:
    return frozenset(script_of(character) for character in set(anchor) if character.isalpha())


@cache
def script_of(letter: str) -> str:
    """Return the first word of a letter's Unicode name, which is its script for all but rare ones.

    >>> script_of("\u0436"), script_of("\uff21"), script_of("\u30fc")
    ('CYRILLIC', 'LATIN', 'KATAKANA')
    """
    plainest = unicodedata.normalize("NFKC", letter)[0]
    return re.split("[ -]", unicodedata.name(plainest, "unnamed"), maxsplit=1)[0]

"""What can be said of one text, alone or beside the anchor it was made from.

A word is a run of letters, digits and underscores in lower case, or one ideograph or kana, since
Chinese and Japanese put no spaces between words. Every share lies in [0, 1].
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import cache, lru_cache

REPEAT_WORDS = 5
COPY_WORDS = 8
LEAD_WORDS, WINDOW_WORDS, STEM_LETTERS = 80, 60, 5

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[^\W{_CJK}]+|[{_CJK}]")
_ASCII = "".join(chr(code) if re.match(r"\w", chr(code)) else " " for code in range(128))
_WHO = "(?:i|we)(?: am| are|'m|'re)?"
_CANNOT = f"{_WHO} (?:can ?not|can't|unable to|not able to|won't be able to|will not|won't)\\b"
_SORRY = f"(?:{_WHO} (?:very |really )?sorry|sorry|{_WHO} apologi[sz]e|apologies|unfortunately)[,.;:]? *(?:but )?"
_WRITE = (
    "(?:assist|help|provide|fulfil|comply|complete|answer|generate|create|write|rewrite|retell|do (?:that|this|so))"
)
_MODEL = r"as an? (?:ai|(?:ai |large )?language model|ai (?:assistant|model)),? (?:i|we)\b"
_REFUSAL = re.compile(rf"\W*(?:{_SORRY})?(?:{_CANNOT} (?:\w+ ){{0,2}}{_WRITE}|{_MODEL})")

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


@dataclass(slots=True)
class Automaton:
    """Every run of a sequence, as states that are reached by reading it: at most two a word.

    Source: Blumer et al. 1985, the suffix automaton.
    """

    moves: list[dict[Hashable, int]] = field(default_factory=lambda: [{}])
    links: list[int] = field(default_factory=lambda: [-1])
    lengths: list[int] = field(default_factory=lambda: [0])

    @classmethod
    def of(cls, sequence: Iterable[Hashable]) -> "Automaton":
        """Return the automaton of a sequence."""
        built, last = cls(), 0
        for word in sequence:
            last = built._extend(last, word)
        return built

    def longest_run(self, sequence: Iterable[Hashable]) -> int:
        """Return the length of the longest run that another sequence has in common with this one.

        >>> Automaton.of("so the cat sat down".split()).longest_run("here the cat sat up".split())
        3
        """
        moves, links, lengths = self.moves, self.links, self.lengths
        state = length = longest = 0
        for word in sequence:
            while (following := moves[state].get(word)) is None and state:
                state = links[state]
                length = lengths[state]
            if following is not None:
                state = following
                length += 1
                if length > longest:
                    longest = length
        return longest

    def _extend(self, last: int, word: Hashable) -> int:
        moves, links = self.moves, self.links
        new, state = self._add({}, self.lengths[last] + 1), last
        while state >= 0 and word not in moves[state]:
            moves[state][word] = new
            state = links[state]
        links[new] = 0 if state < 0 else self._split(state, word)
        return new

    def _split(self, state: int, word: Hashable) -> int:
        """Return the state of the longest known run that ends as the new one does; it gets one if it has none."""
        moves, links, lengths = self.moves, self.links, self.lengths
        known = moves[state][word]
        if lengths[known] == lengths[state] + 1:
            return known
        twin = self._add(moves[known].copy(), lengths[state] + 1)
        links[twin], links[known] = links[known], twin
        while state >= 0 and moves[state].get(word) == known:
            moves[state][word] = twin
            state = links[state]
        return twin

    def _add(self, moves: dict[Hashable, int], length: int) -> int:
        self.moves.append(moves)
        self.links.append(0)
        self.lengths.append(length)
        return len(self.moves) - 1


def words(text: str) -> list[str]:
    """Return the words of a text, in order.

    >>> words("Don't panic: 成吉思汗!")
    ['don', 't', 'panic', '成', '吉', '思', '汗']
    """
    # The same rule, in a quarter of the time.
    return text.lower().translate(_ASCII).split() if text.isascii() else _WORD.findall(text.casefold())


def opening(text: str, num_words: int = COPY_WORDS) -> str:
    """Return the first words of a text; a generator that has collapsed begins many texts alike."""
    return " ".join(words(text)[:num_words])


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


def repeated_share(text: str, num_words: int = REPEAT_WORDS) -> float:
    """Return the share of words that lie in a word n-gram which the text has had before.

    Source: Rae et al. 2021 (Gopher), table A1, duplicate n-grams, n = 5: web pages are kept up to
    15 % of characters. Differs: words are counted, so that long identifiers weigh no more.

    >>> repeated_share("a b c d e f g h i j"), repeated_share("a b c d e a b c d e")
    (0.0, 0.5)
    """
    seen: set[tuple[str, ...]] = set()
    repeated = []
    for gram in _grams(found := words(text), num_words):
        repeated.append(gram in seen)
        seen.add(gram)
    return _covered_share(repeated, num_words, len(found))


def copied_share(text: str, anchor: str, num_words: int = COPY_WORDS) -> float:
    """Return the share of the text's words that lie in a word n-gram which the anchor has too.

    Source: Chowdhery et al. 2022 (PaLM), section 8, word 8-grams for overlap with training data.
    Differs: words covered by shared 8-grams are counted, not 8-grams.

    >>> copied_share("x 1 2 3 4 5 6 7 8 y", "0 1 2 3 4 5 6 7 8 9")
    0.8
    """
    known = _gram_set(anchor, num_words)
    found = words(text)
    return _covered_share([gram in known for gram in _grams(found, num_words)], num_words, len(found))


def longest_copy(text: str, anchor: str) -> int:
    """Return the number of words in the longest run that text and anchor share.

    >>> longest_copy("so the cat sat down", "Here the cat sat. Then it slept.")
    3
    """
    return _automaton(anchor).longest_run(words(text))


def foreign_share(text: str, anchor: str) -> float:
    """Return the share of the text's letters that are of scripts in which the anchor has no letter.

    >>> foreign_share("Khan 汗汗汗汗", "Genghis Khan"), foreign_share("Khan 汗", "成吉思汗 (Khan)")
    (0.5, 0.0)
    """
    known = _scripts(anchor)
    letters = Counter({character: count for character, count in Counter(text).items() if character.isalpha()})
    return _share(letters, lambda letter: _script(letter) not in known, of_nothing=0.0)


def refuses(text: str) -> bool:
    """Tell whether a text opens by saying that it will not be written.

    >>> refuses("I'm sorry, but I can't help with that."), refuses("'I'm sorry,' said Tom, 'I was late.'")
    (True, False)
    """
    return _REFUSAL.match(_folded(text[:200])) is not None


def cites_source(text: str, anchor: str = "") -> bool:
    """Tell whether a text speaks of the passage it was made from, which no reader of it will see.

    Of 2,400 web pages, articles and passages none does; of a model's replies to passages 3 %.

    >>> cites_source("The passage suggests that rye was dear."), cites_source("The passage of the bill took a year.")
    (True, False)
    """
    return bool(_SOURCE.search(_folded(text)) and not _SOURCE.search(_folded(anchor)))


def least_on_subject(text: str, anchor: str) -> float:
    """Return how far a text keeps to its subject where it strays most: of 60 words in a row, the share known already.

    Known are words that stand in the anchor or in the text's own first 80; words of up to three letters are left out,
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
    """Tell whether a text holds one of the phrases, in any case and spacing, that its anchor does not hold.

    Args:
        phrases: In lower case with single spaces.
    """
    folded, known = _folded(text), _folded(anchor)
    return any(phrase in folded and phrase not in known for phrase in phrases)


def says_wish(text: str, wishes: tuple[str, ...], anchor: str = "") -> bool:
    """Tell whether a text has eight words in a row of one of the wishes that it was asked by, and its anchor has not.

    Of 105,000 web pages, articles, stories and docstrings none has six words in a row of a prompt of the methods.
    Eight leave room for texts that do as they are told: "the step is taken as given".

    >>> says_wish("Rye. Retell the text for a small child, briefly", ("Retell the text for a small child, briefly.",))
    True
    """
    said = _wish_grams(wishes).intersection(_grams(words(text), COPY_WORDS))
    return not said <= _gram_set(anchor, COPY_WORDS)


def _folded(text: str) -> str:
    """Return a text in lower case, with straight apostrophes and single spaces."""
    return " ".join(text.casefold().replace("\u2019", "'").split())


def _share(counts: Counter[str], wanted: Callable[[str], bool], of_nothing: float = 1.0) -> float:
    total = counts.total()
    return sum(count for character, count in counts.items() if wanted(character)) / total if total else of_nothing


def _grams(found: list[str], num_words: int) -> Iterable[tuple[str, ...]]:
    return zip(*(found[start:] for start in range(num_words)), strict=False)


def _covered_share(marked: list[bool], num_words: int, total: int) -> float:
    """Return the share of ``total`` words that lie in an n-gram marked true; a word in two counts once."""
    covered = end = 0
    for start, mark in enumerate(marked):
        if mark:
            covered += start + num_words - max(start, end)
            end = start + num_words
    return covered / total if total else 0.0


# Records come sorted by anchor, so the few anchors of one moment are enough to keep.
@lru_cache(maxsize=16)
def _gram_set(anchor: str, num_words: int) -> frozenset[tuple[str, ...]]:
    return frozenset(_grams(words(anchor), num_words))


@lru_cache(maxsize=4)
def _wish_grams(wishes: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    return frozenset(gram for wish in wishes for gram in _grams(words(wish), COPY_WORDS))


# A state of a long anchor takes some 300 bytes, and there are up to two a word.
@lru_cache(maxsize=1)
def _automaton(anchor: str) -> Automaton:
    return Automaton.of(words(anchor))


@lru_cache(maxsize=16)
def _scripts(anchor: str) -> frozenset[str]:
    return frozenset(_script(character) for character in set(anchor) if character.isalpha())


@cache
def _script(letter: str) -> str:
    """Return the first word of a letter's Unicode name, which is its script for all but rare ones."""
    return unicodedata.name(letter, "unnamed").split()[0]

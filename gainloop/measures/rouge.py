"""ROUGE-L: how much of two texts' words stands in the same order, exactly, and which of many texts are that alike.

``AlikeTexts`` answers for a text what comparing it with every other would: a bound on the words that two texts share
leaves a few candidates, and the longest common subsequence decides on those. Memory: about 30 bytes a word. Time: a
few dozen microseconds a text among thousands, see ``benchmarks.rouge``; it grows with the texts that share a text's
rarest words, not with all of them.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final

from schemas.characters import words

LEAST_ALIKE: Final = 0.7
"""ROUGE-L above which an instruction says another one again, as Self-Instruct has it; at 0.7 itself it does not."""

Tokens = Sequence[str]


def rouge_tokens(text: str) -> list[str]:
    """Return the words that ROUGE compares: runs of letters and digits, in no case.

    For ASCII they are those of the package rouge-score without its stemmer. There, all other letters part words; here
    they are letters.

    >>> rouge_tokens("Don't say snake_case: caf\u00e9!")
    ['don', 't', 'say', 'snake', 'case', 'caf\u00e9']
    """
    return words(text.replace("_", " "))


def common_length(first: Tokens, second: Tokens) -> int:
    """Return the number of tokens in the longest common subsequence of two lists.

    >>> common_length("a b c d".split(), "b x d a".split())
    2

    Source: Hyyro 2004, bit-parallel LCS, one row of the table in one integer: the time is the product of the lengths
    over the bits of a machine word.
    """
    return _common(_places(first), len(first), second)


def rouge_l(first: Tokens, second: Tokens) -> float:
    """Return the F-measure of ROUGE-L: twice the longest common subsequence over the tokens of both; 0 for no token.

    Source: Lin 2004, with precision and recall weighed alike.

    >>> rouge_l("write a poem about rye".split(), "write a song about rye".split())
    0.8
    """
    total = len(first) + len(second)
    return 2 * common_length(first, second) / total if total else 0.0


class AlikeTexts:
    """Texts in which those that are alike by more than a threshold are looked up.

    Args:
        threshold: ROUGE-L that two texts must exceed, in [0, 1); it is meant as the decimal number that it is written
            as, so that 7 of 10 words in common do not exceed 0.7.
    """

    def __init__(self, threshold: float = LEAST_ALIKE) -> None:
        self._over, self._under = Fraction(str(threshold)).as_integer_ratio()
        self._texts: list[tuple[str, ...]] = []
        # For each token, the texts that hold it once, twice, ...: so a text is a set, of tokens with their number.
        self._holding: dict[str, list[array[int]]] = {}
        self._known: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, tokens: Tokens) -> None:
        """Add a text, to be found from now on under the number of texts before it."""
        for token, times in Counter(tokens).items():
            holding = self._holding.setdefault(token, [])
            holding += [array("I") for _ in range(times - len(holding))]
            for one in holding[:times]:
                one.append(len(self._texts))
        self._texts.append(tuple(self._known.setdefault(token, token) for token in tokens))

    def alike(self, tokens: Tokens) -> Iterator[tuple[int, float]]:
        """Yield the numbers of the texts that are alike by more than the threshold, in order, with their ROUGE-L."""
        length, places = len(tokens), _places(tokens)
        for number in self._candidates(tokens):
            other = self._texts[number]
            shared, total = _common(places, length, other), length + len(other)
            if shared >= self._least_shared(total):
                yield number, 2 * shared / total

    def nearest(self, tokens: Tokens) -> tuple[int, float] | None:
        """Return the text that is most alike, the first of several, with its ROUGE-L; None if none is by more than the
        threshold."""
        return max(self.alike(tokens), key=lambda found: (found[1], -found[0]), default=None)

    def closest(self, tokens: Tokens) -> tuple[int, float] | None:
        """Return the text that is most alike, however little, the first of several, with its ROUGE-L; None if no text
        shares a token.

        The threshold plays no part: texts are compared by what they share at most, until none can be more alike.
        """
        length, places = len(tokens), _places(tokens)
        shared = Counter(number for one in self._lists(tokens) for number in one)
        bounds = sorted((-2 * most / (length + len(self._texts[number])), number) for number, most in shared.items())
        best: tuple[float, int] | None = None
        for bound, number in bounds:
            if best and bound > best[0]:
                break
            other = self._texts[number]
            found = -2 * _common(places, length, other) / (length + len(other)), number
            best = min(best, found) if best else found
        return (best[1], -best[0]) if best else None

    def _least_shared(self, total: int) -> int:
        """Return the least length of a common subsequence of two texts of so many tokens that exceeds the threshold."""
        return self._over * total // (2 * self._under) + 1

    def _candidates(self, tokens: Tokens) -> list[int]:
        """Return the texts that share enough words to be alike, in whatever order they stand.

        A common subsequence is no longer than the tokens that two texts share, nor than either of them. So a text that
        is alike holds at least ``least`` of these tokens, and one of any ``length - least + 1`` of them: the rarest.
        """
        length = len(tokens)
        least = self._over * length // (2 * self._under - self._over) + 1
        lists = sorted(self._lists(tokens), key=len)[: max(0, length - least + 1)]
        unseen, hits = length - len(lists), Counter[int]()
        for one in lists:
            hits.update(one)
        return sorted(
            number
            for number, shared in hits.items()
            if min(shared + unseen, len(self._texts[number])) >= self._least_shared(length + len(self._texts[number]))
        )

    def _lists(self, tokens: Tokens) -> Iterator[Sequence[int]]:
        """Yield for each token the texts that hold it as often as it has come so far; none for a token that is new."""
        for token, times in Counter(tokens).items():
            holding = self._holding.get(token, [])
            yield from holding[:times]
            yield from ((),) * (times - len(holding))


def _places(tokens: Tokens) -> dict[str, int]:
    """Return the places of each token as the bits of an integer."""
    places: dict[str, int] = {}
    for place, token in enumerate(tokens):
        places[token] = places.get(token, 0) | 1 << place
    return places


def _common(places: Mapping[str, int], length: int, other: Tokens) -> int:
    row = whole = (1 << length) - 1
    for token in other:
        if at := places.get(token):
            met = row & at
            row = (row + met | row - met) & whole
    return length - row.bit_count()

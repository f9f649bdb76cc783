"""Texts that are nearly the same: MinHash-LSH finds candidates, the true Jaccard similarity decides."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash, RMinHashLSH

from gainloop.measures.ngrams import CHUNK_TEXTS, MANY_TEXTS, ODD, Flags, HashedTexts, Hashes, HashSet, Rows, mix
from schemas.characters import WORD_RULES

SHINGLE_WORDS: Final = 5
LEAST_SIMILAR: Final = 0.8
NUM_HASHES, SEED = 128, 0

MISSED: Final = 0.001
"""A pair just at the threshold is no candidate with at most this probability; at 0.8 it is 5e-8."""

LIKELIEST: Final = 8
"""Candidates that a text is compared with in full, at most; those whose signatures agree most come first."""

CROWD: Final = 500
"""A text with more candidates is compared but is none itself: its neighbourhood stands for it. Without that, thousands
of texts that share half of their wording would cost a square."""

Matches = dict[int, tuple[int, float]]
"""For the number of a text, the number of the text that it is nearly the same as, and their similarity."""


def sketch(texts: HashedTexts) -> list[RMinHash]:
    """Return the MinHash of each text's word 5-grams; all texts of fewer than five words have the same.

    Source: Dahlgaard, Knudsen & Thorup 2017, arXiv:1704.04370, as rensa has it.
    """
    return _sketches(texts, np.arange(len(texts)))


def kept(sketched: RMinHash) -> bytes:
    """Return a sketch as bytes, after the mark of the rules that its words were cut by."""
    return WORD_RULES + bytes(sketched.__getstate__())


def restored(state: bytes) -> RMinHash:
    """Return a sketch from its bytes, as ``kept`` gives them.

    Raises:
        ValueError: Another release of rensa, or another rule of what is a word, made them.
    """
    if not state.startswith(WORD_RULES):
        raise ValueError(f"reading a sketch: it begins with {state[:1]!r}; {WORD_RULES!r} is allowed. Make it anew.")
    made = RMinHash(NUM_HASHES, SEED)
    made.__setstate__(state.removeprefix(WORD_RULES))
    return made


class Neighbours:
    """Texts in which others are looked up.

    Args:
        least: Similarity from which on two texts are nearly the same, in [0.5, 1].
    """

    def __init__(self, least: float) -> None:
        self._lsh = RMinHashLSH(least, NUM_HASHES, num_bands(least))
        self._sketches: dict[int, RMinHash] = {}
        # 4.7 standard errors below what a pair at the threshold shows.
        self._clearly_less = least - 4.7 * (least * (1 - least) / NUM_HASHES) ** 0.5

    def add(self, row: int, sketched: RMinHash) -> None:
        """Add a text, to be found from now on."""
        self._lsh.insert(row, sketched)
        self._sketches[row] = sketched

    def near(self, sketched: RMinHash) -> tuple[list[int], bool]:
        """Return the texts to compare with, the likeliest first, and whether the text stands in a crowd."""
        likely, num_candidates = self.likely(sketched)
        return [row for _, row in sorted(likely)[:LIKELIEST]], num_candidates > CROWD

    def likely(self, sketched: RMinHash) -> tuple[list[tuple[float, int]], int]:
        """Return the texts that may be nearly the same, each after its negative similarity, and how many were asked."""
        candidates = self._lsh.query(sketched)
        agreeing = [(-sketched.jaccard(self._sketches[row]), row) for row in candidates]
        return [pair for pair in agreeing if -pair[0] >= self._clearly_less], len(candidates)


class Screen:
    """Bands of texts, by which those are found that may be alike: a quarter of a kilobyte each, and twice that while
    others are looked up.

    A text in an index takes 3 KB. Only those are put into one that share a band with another text: the rest could
    neither find one there nor be found.

    Args:
        texts: All texts.
        rows: Numbers of the texts that are compared with each other, earlier ones first; default: all.
        least: Similarity from which on two texts are nearly the same, in [0.5, 1].
    """

    def __init__(self, texts: HashedTexts, rows: Rows | None = None, least: float = LEAST_SIMILAR) -> None:
        self.texts, self.least = texts, least
        asked = np.arange(len(texts)) if rows is None else rows
        self._rows = asked[texts.lengths[asked] >= SHINGLE_WORDS]
        self._bands = np.empty((len(self._rows), num_bands(least)), dtype=np.uint64)
        for begin in range(0, len(self._rows), CHUNK_TEXTS):
            some = slice(begin, begin + CHUNK_TEXTS)
            digests = RMinHash.digests_from_token_sets(_shingles(texts, self._rows[some]), NUM_HASHES, SEED)
            self._bands[some] = _cut(digests, num_bands(least))

    def meet(self, others: Sequence[RMinHash]) -> Flags:
        """Return for each of some other texts whether it shares a band with any text here."""
        return _having(bands_of(others, self.least), self._known)

    def alike(self) -> Iterator[tuple[int, RMinHash]]:
        """Yield the number and the sketch of each text that may be like another one here."""
        return self._sketched(sharing(self._bands))

    def near(self, others: Sequence[RMinHash]) -> Neighbours:
        """Return an index of the texts that may be like one of some others."""
        index = Neighbours(self.least)
        for row, sketched in self._sketched(_having(self._bands, HashSet(bands_of(others, self.least).ravel()))):
            index.add(row, sketched)
        return index

    @cached_property
    def _known(self) -> HashSet:
        return HashSet(self._bands.ravel())

    def _sketched(self, among: Flags) -> Iterator[tuple[int, RMinHash]]:
        rows = self._rows[among]
        for begin in range(0, len(rows), MANY_TEXTS):  # until a call ends, every 5-gram is held
            some = rows[begin : begin + MANY_TEXTS]
            yield from zip(some.tolist(), _sketches(self.texts, some), strict=True)


def bands_of(sketches: Sequence[RMinHash], least: float) -> Hashes:
    """Return the bands of sketches: [texts, bands], the same number where two texts share a band."""
    found = np.empty((len(sketches), num_bands(least)), dtype=np.uint64)
    for begin in range(0, len(sketches), CHUNK_TEXTS):  # as Python's numbers they take 4 KB each
        some = sketches[begin : begin + CHUNK_TEXTS]
        found[begin : begin + len(some)] = _cut([one.digest() for one in some], num_bands(least))
    return found


def _cut(digests: list[list[int]], number: int) -> Hashes:
    values = np.array(digests, dtype=np.uint64).reshape(len(digests), number, -1)
    found = np.broadcast_to(mix(np.arange(number, dtype=np.uint64)), values.shape[:2])
    for step in range(values.shape[2]):
        found = found * ODD + values[:, :, step]
    return mix(found)


def sharing(bands: Hashes) -> Flags:
    """Return which texts share a band with another one: the others are like none.

    Args:
        bands: [texts, bands] As ``bands_of`` returns them.
    """
    every = np.sort(bands, axis=None)
    return _having(bands, HashSet(every[1:][every[1:] == every[:-1]]))


def _having(bands: Hashes, known: HashSet) -> Flags:
    found = np.zeros(len(bands), dtype=bool)
    for begin in range(0, len(bands), MANY_TEXTS):
        some = bands[begin : begin + MANY_TEXTS]
        found[begin : begin + len(some)] = known.holds(some.ravel()).reshape(some.shape).any(axis=1)
    return found


def repeats(screen: Screen, is_asked: Callable[[int], bool] = lambda _: True) -> Matches:
    """Return the texts that are nearly the same as an earlier one that is itself no repeat.

    So no two of the texts that are left are nearly the same, and of texts that all are, the first is left. No text is
    called a repeat wrongly; a repeat may be missed if its original stands in a crowd. A text of fewer than five words
    is never a repeat.

    Args:
        screen: The texts that are compared with each other.
        is_asked: Whether a text takes part, by its number; default: all do.

    Source: Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, section 3.4, for the bands.
    """
    texts, seen, found = screen.texts, Neighbours(screen.least), Matches()
    for row, sketched in screen.alike():
        if not is_asked(row):
            continue
        near, is_crowded = seen.near(sketched)
        if match := _most_similar(texts, row, texts, near, screen.least):
            found[row] = match
        elif not is_crowded:
            seen.add(row, sketched)
    return found


def candidates(
    index: Neighbours, others: Iterable[RMinHash], is_asked: Callable[[int], bool] = lambda _: True
) -> dict[int, list[int]]:
    """Return the others that each text may nearly equal, by sketches alone, in the order of the texts' numbers.

    The texts are in the index and the others are looked up in it: each once, however many there are of both.

    Args:
        others: Sketches of texts that have at least five words.
        is_asked: Whether a text is asked about, by its number; default: all are.
    """
    found = dict[int, list[tuple[float, int]]]()
    for number, other in enumerate(others):
        for unlike, row in index.likely(other)[0]:
            if is_asked(row):
                found.setdefault(row, []).append((unlike, number))
    return {row: [number for _, number in sorted(near)[:LIKELIEST]] for row, near in sorted(found.items())}


def confirm(texts: HashedTexts, others: HashedTexts, near: dict[int, list[int]], least: float) -> Matches:
    """Return for each text the other that is most similar to it, if one is similar enough.

    Args:
        near: For the number of a text, the numbers of the others to compare it with.
        least: Similarity that is enough.
    """
    found = {row: _most_similar(texts, row, others, some, least) for row, some in near.items()}
    return {row: match for row, match in found.items() if match}


def near_duplicates(screen: Screen, among: Flags) -> Flags:
    """Return for each of all texts whether it is one of some that ``repeats`` an earlier one of them.

    Args:
        among: [number of all texts] Flags of those that are compared with each other.
    """
    found = np.zeros(len(screen.texts), dtype=bool)
    found[list(repeats(screen, lambda row: bool(among[row])))] = True
    return found


def num_bands(least: float) -> int:
    """Return the number of bands that the hashes go into: as few as find a pair at the threshold.

    >>> [num_bands(least) for least in (0.5, 0.8, 0.95)]
    [64, 32, 16]
    """
    fitting = (bands for bands in (16, 32, 64) if (1 - least ** (NUM_HASHES / bands)) ** bands <= MISSED)
    return next(fitting, NUM_HASHES)


def jaccard(texts: HashedTexts, first: Rows, second: Rows, others: HashedTexts | None = None) -> NDArray[np.float64]:
    """Return the similarity of pairs of texts: word 5-grams that both have by those that either has.

    It decides on a candidate, so hashes keep all 64 bits. A text of fewer than five words is like none.

    Args:
        first, second: Numbers of the texts of each pair.
        others: Texts that the second ones are of; default: ``texts``.
    """
    (ours, our_pairs), (theirs, their_pairs) = _gram_set(texts.take(first)), _gram_set((others or texts).take(second))
    num_pairs = len(first)
    common = np.bincount(our_pairs[np.isin(ours, theirs, assume_unique=True)], minlength=num_pairs)
    either = np.bincount(our_pairs, minlength=num_pairs) + np.bincount(their_pairs, minlength=num_pairs) - common
    return np.asarray(common / np.maximum(either, 1), dtype=float)


def _most_similar(
    texts: HashedTexts, row: int, others: HashedTexts, near: list[int], least: float
) -> tuple[int, float] | None:
    if not near:
        return None
    similar = jaccard(texts, np.full(len(near), row), np.array(near), others)
    best = min(range(len(near)), key=lambda place: (-similar[place], near[place]))
    return (near[best], float(similar[best])) if similar[best] >= least else None


def _sketches(texts: HashedTexts, rows: Rows) -> list[RMinHash]:
    return list(RMinHash.from_token_sets(_shingles(texts, rows), NUM_HASHES, SEED))


def _shingles(texts: HashedTexts, rows: Rows) -> Iterator[list[bytes]]:
    """Yield the 5-grams of some texts as eight bytes each."""
    for begin in range(0, len(rows), CHUNK_TEXTS):
        piece = texts.take(rows[begin : begin + CHUNK_TEXTS])
        whole = piece.whole(SHINGLE_WORDS)
        grams = piece.grams(SHINGLE_WORDS)[whole].view("V8").tolist()
        ends = np.cumsum(piece.count(whole)).tolist()
        yield from (grams[begin:end] for begin, end in zip([0, *ends], ends, strict=False))


def _gram_set(texts: HashedTexts) -> tuple[Hashes, Rows]:
    """Return each text's different 5-grams, told apart by text, and the text of each."""
    whole = texts.whole(SHINGLE_WORDS)
    hashes, places = np.unique(texts.keyed(SHINGLE_WORDS)[whole], return_index=True)
    return hashes, texts.owners[whole][places]

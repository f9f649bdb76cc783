"""Words of texts and their n-grams as 64-bit hashes in one array, shared by every measure of a batch."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from gainloop.measures.words import COPY_WORDS
from schemas.characters import words

if TYPE_CHECKING:
    import polars as pl

Hashes = NDArray[np.uint64]
Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]
Part = tuple[int, int]

CHUNK_TEXTS: Final = 500
"""Texts that are worked on at a time: their n-grams stay in the processor's cache."""

HASHES_AT_ONCE: Final = 2**20
"""Hashes of a large set that are worked on at a time."""

GRAMS_AT_ONCE: Final = 2**25
"""N-grams that are held at a time, about: a quarter of a gigabyte. More are counted, or looked up, in parts."""

MANY_TEXTS: Final = 32 * CHUNK_TEXTS
"""Texts that are looked up in a large set at a time."""

MAX_KNOWN: Final = 2**18
"""Words whose hash is remembered, at most; a word costs 200 bytes."""

ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_HALF: Final = np.uint64(33)
_BYTE, _IN_BYTE, _BITS = np.uint64(3), np.uint64(7), np.array([1 << bit for bit in range(8)], dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class HashedTexts:
    """Words of texts, one text after the other. Two different words or n-grams share a hash once in 2^64.

    Attributes:
        words: [number of words] Hash of each word, the same on every machine.
        starts: [number of texts + 1] Index of each text's first word; the last is the number of words.
    """

    words: Hashes
    starts: Rows

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Rows:
        """Number of words of each text."""
        return np.diff(self.starts)

    @property
    def owners(self) -> Rows:
        """Number of the text that each word stands in."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def words_of(self, row: int) -> Hashes:
        """Return the words of one text."""
        return self.words[self.starts[row] : self.starts[row + 1]]

    def take(self, rows: Rows) -> "HashedTexts":
        """Return the texts with these numbers, in the order given."""
        lengths = self.starts[rows + 1] - self.starts[rows]  # ``lengths`` is of all texts
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], lengths)
        return HashedTexts(self.words[places], starts)

    def pieces(self, num_texts: int = CHUNK_TEXTS) -> Iterator[tuple[slice, "HashedTexts"]]:
        """Yield the texts in pieces of ``num_texts``, each with the slice of its numbers; nothing is copied."""
        for begin in range(0, len(self), num_texts):
            starts = self.starts[begin : begin + num_texts + 1]
            yield (
                slice(begin, begin + len(starts) - 1),
                HashedTexts(self.words[starts[0] : starts[-1]], starts - starts[0]),
            )

    def grams(self, size: int) -> Hashes:
        """Return the hash of the n-gram of ``size`` words that begins at each word; valid where ``whole`` is true."""
        hashes = self.words.copy()
        for step in range(1, size):
            hashes *= ODD
            hashes[:-step] += self.words[step:]
        return hashes

    def whole(self, size: int) -> Flags:
        """Return for each word whether the n-gram that begins there ends in the same text."""
        flags = np.ones(len(self.words), dtype=bool)
        for back in range(1, size):
            places = self.starts[1:] - back
            flags[places[places >= self.starts[:-1]]] = False
        return flags

    def keyed(self, size: int, keys: Rows | None = None) -> Hashes:
        """Return the n-grams' hashes, made different where they belong to different texts, or to different keys.

        Args:
            keys: [number of texts] Key of each text; default: its own number.
        """
        names = np.arange(len(self)) if keys is None else keys
        return self.grams(size) ^ np.repeat(mix(names.astype(np.uint64)), self.lengths)

    def count(self, flags: Flags) -> Rows:
        """Return the number of flagged words of each text."""
        sums = np.concatenate([[0], np.cumsum(flags)])
        return np.asarray(sums[self.starts[1:]] - sums[self.starts[:-1]], dtype=np.int64)


class HashSet:
    """A set of hashes in which millions can be looked up.

    A table of a bit for each beginning rules out most hashes that are not in the set; only the others are searched for.
    """

    def __init__(self, hashes: Hashes) -> None:
        self._sorted = distinct(hashes)
        bits = max(10, int(self._sorted.size).bit_length() + 3)
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(2**bits // 8, dtype=np.uint8)
        for begin in range(0, self._sorted.size, HASHES_AT_ONCE):
            places = self._sorted[begin : begin + HASHES_AT_ONCE] >> self._shift
            (first,) = np.nonzero(np.diff(places >> _BYTE, prepend=~np.uint64(0)))
            self._table[places[first] >> _BYTE] |= np.bitwise_or.reduceat(_BITS[places & _IN_BYTE], first)

    def holds(self, hashes: Hashes) -> Flags:
        """Return for each hash whether it is in the set; it is quickest for very many at a time."""
        places = hashes >> self._shift
        found = (self._table[places >> _BYTE] & _BITS[places & _IN_BYTE]) > 0
        (maybe,) = np.nonzero(found)
        if maybe.size:
            wanted = hashes[maybe]
            order = np.argsort(wanted)  # in order they are found ten times as fast: neighbours lie in the cache
            maybe, wanted = maybe[order], wanted[order]
            places = np.minimum(np.searchsorted(self._sorted, wanted), self._sorted.size - 1)
            found[maybe] = self._sorted[places] == wanted
        return np.asarray(found, dtype=bool)


def hash_texts(texts: "pl.Series | Sequence[str]") -> HashedTexts:
    """Return the words of texts as ``words`` finds them, hashed; a text that is null has none."""
    hashes, lengths, known = array("Q"), [0], _Known()
    for begin in range(0, len(texts), CHUNK_TEXTS):
        found = [words(text or "") for text in texts[begin : begin + CHUNK_TEXTS]]
        lengths += map(len, found)
        hashes.frombytes(np.fromiter(map(known.__getitem__, chain.from_iterable(found)), np.uint64).tobytes())
        if len(known) > MAX_KNOWN:
            known.clear()
    flat = np.frombuffer(hashes, np.uint64) if hashes else np.zeros(0, dtype=np.uint64)
    return HashedTexts(flat, np.cumsum(lengths))


def repeated_words(texts: HashedTexts, size: int) -> Rows:
    """Return how many of each text's words lie in an n-gram that the text has had before.

    Source: Rae et al. 2021 (Gopher), table A1, duplicate n-grams, n = 5: web pages are kept up to
    15 % of characters. Differs: words are counted, so that long identifiers weigh no more.
    """
    return joined([_repeated(piece, size) for _, piece in texts.pieces()])


def copied_words(texts: HashedTexts, anchors: HashedTexts, own: Rows, size: int) -> Rows:
    """Return how many of each text's words lie in an n-gram that the text's own anchor has too.

    Args:
        own: Number of each text's own anchor, -1 where it has none. It is quickest where they rise.

    Source: Chowdhery et al. 2022 (PaLM), section 8, word 8-grams for overlap with training data.
    Differs: words covered by shared 8-grams are counted, not 8-grams.
    """
    return covered_words(texts, size, lambda where, piece: in_own(piece, anchors, own[where], size))


def in_own(texts: HashedTexts, anchors: HashedTexts, own: Rows, size: int) -> Flags:
    """Return for each word of some texts whether the n-gram that begins there is one of the text's own anchor.

    Args:
        own: Number of each text's own anchor, -1 where it has none. It is quickest where few anchors have many texts.
    """
    used, numbers = np.unique(own[own >= 0], return_inverse=True)
    keys = np.full(len(own), -1, dtype=np.int64)
    keys[own >= 0] = numbers
    theirs = anchors.take(used)
    return HashSet(theirs.keyed(size)[theirs.whole(size)]).holds(texts.keyed(size, keys))


def in_any(texts: HashedTexts, others: HashedTexts, size: int) -> Flags:
    """Return for each word of some texts whether the n-gram that begins there stands in any of the others."""
    found = np.zeros(len(texts.words), dtype=bool)
    for part in _parts_of(others, size):
        known = HashSet(gather_grams(others, size, part))
        for where, piece in texts.pieces(MANY_TEXTS):
            begin, end = texts.starts[where.start], texts.starts[where.stop]
            found[begin:end] |= known.holds(piece.grams(size))
    return found


def count_distinct(texts: HashedTexts, size: int, among: Flags | None = None) -> tuple[int, int]:
    """Return the number of different n-grams of texts, and of all their n-grams.

    Args:
        among: Flags of the texts that are counted; default: all.
    """
    different = total = 0
    for part in _parts_of(texts, size):
        grams = gather_grams(texts, size, part, among)
        grams.sort()
        total += len(grams)
        different += int(np.count_nonzero(grams[1:] != grams[:-1])) + min(1, len(grams))
    return different, total


def gather_grams(texts: HashedTexts, size: int, part: Part = (0, 0), among: Flags | None = None) -> Hashes:
    """Return the hashes of the n-grams of texts, one after the other.

    Args:
        part: Which part of all hashes is wanted, and how many of a hash's last bits tell parts apart; default: all are.
        among: Flags of the texts whose n-grams are wanted; default: all.
    """
    number, bits = np.uint64(part[0]), np.uint64(2 ** part[1] - 1)
    found, end = np.empty(_num_grams(texts, size), dtype=np.uint64), 0
    for where, piece in texts.pieces():
        grams, wanted = piece.grams(size), piece.whole(size)
        if part[1]:
            wanted &= grams & bits == number
        if among is not None:
            wanted &= np.repeat(among[where], piece.lengths)
        chosen = grams[wanted]
        found[end : end + len(chosen)] = chosen
        end += len(chosen)
    return found[:end]


def _parts_of(texts: HashedTexts, size: int) -> list[Part]:
    """Return the parts in which n-grams are held: one, unless they are very many."""
    bits = max(0, (_num_grams(texts, size) - 1) // GRAMS_AT_ONCE).bit_length()
    return [(number, bits) for number in range(2**bits)]


def _num_grams(texts: HashedTexts, size: int) -> int:
    return int(np.maximum(texts.lengths - (size - 1), 0).sum())


def copied_share(text: str, anchor: str) -> float:
    """Return the share of a text's words that lie in a word 8-gram which its anchor has too.

    >>> copied_share("x 1 2 3 4 5 6 7 8 y", "0 1 2 3 4 5 6 7 8 9")
    0.8
    """
    hashed = hash_texts([text])
    copied = copied_words(hashed, hash_texts([anchor]), np.zeros(1, dtype=np.int64), COPY_WORDS)
    return int(copied[0]) / max(1, len(hashed.words))


def covered_words(texts: HashedTexts, size: int, marks: Callable[[slice, HashedTexts], Flags]) -> Rows:
    """Return how many of each text's words lie in an n-gram that is marked.

    Args:
        marks: Function from the numbers of some texts and their words to a flag for the n-gram at each word.
    """
    pieces = texts.pieces()
    return joined([piece.count(covered(piece.whole(size) & marks(where, piece), size)) for where, piece in pieces])


def marked_words(texts: HashedTexts, size: int, marks: Flags) -> Rows:
    """Return how many of each text's words lie in an n-gram that is marked at its first word."""
    starts = texts.starts
    return covered_words(texts, size, lambda where, _: marks[starts[where.start] : starts[where.stop]])


def joined(parts: list[Rows]) -> Rows:
    """Return the counts of all pieces as one array."""
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def covered(marks: Flags, size: int) -> Flags:
    """Return which words lie in an n-gram that is marked at its first word; a word in two counts once."""
    sums = np.cumsum(marks, dtype=np.int32)
    sums[size:] -= sums[:-size].copy()
    return np.asarray(sums > 0)


def distinct(hashes: Hashes) -> Hashes:
    """Return each hash once, sorted; NumPy's ``unique`` takes three times as long."""
    ordered = np.sort(hashes)
    is_first = np.ones(len(ordered), dtype=bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return np.asarray(ordered[is_first])


def mix(hashes: Hashes) -> Hashes:
    """Return other hashes, of which every bit depends on every bit; a bijection.

    Source: the finaliser of MurmurHash3.
    """
    mixed = hashes ^ (hashes >> _HALF)
    mixed *= _FIRST
    mixed ^= mixed >> _HALF
    mixed *= _SECOND
    return np.asarray(mixed ^ (mixed >> _HALF))


def _repeated(texts: HashedTexts, size: int) -> Rows:
    marks = np.zeros(len(texts.words), dtype=bool)
    (places,) = np.nonzero(texts.whole(size))
    hashes = texts.keyed(size)[places]
    order = np.argsort(hashes, kind="stable")
    again = hashes[order[1:]] == hashes[order[:-1]]
    marks[places[order[1:][again]]] = True
    return texts.count(covered(marks, size))


class _Known(dict[str, int]):
    def __missing__(self, word: str) -> int:
        digest = blake2b(word.encode(), digest_size=8).digest()
        self[word] = found = int.from_bytes(digest, "little")
        return found

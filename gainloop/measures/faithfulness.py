"""Words that records take from their own anchor, from any anchor of the batch, and from none."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from gainloop.measures.ngrams import (
    MANY_TEXTS,
    Flags,
    HashedTexts,
    Hashes,
    HashSet,
    Rows,
    copied_words,
    covered_words,
    distinct,
    gather_grams,
    hash_texts,
    in_any,
    in_own,
    marked_words,
)
from gainloop.measures.words import COPY_WORDS
from schemas.rows import unit_draw

NOVEL_WORDS: Final = 5

HELD_WORDS: Final = 2**25
"""Words of anchors whose weights are held, at most: 16 bytes each."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Number of words that each record takes from anchors; without an anchor of its own, 0 from that.

    Attributes:
        own: Words that lie in an 8-gram of the record's own anchor.
        any: Words that lie in an 8-gram of any anchor of the batch.
        novel: Words that lie in a 5-gram which no anchor of the batch has.
        longest: Words of the longest run that stands in the record's own anchor; 0 if that is shorter than eight.
    """

    own: Rows
    any: Rows
    novel: Rows
    longest: Rows


def take_from_anchors(texts: HashedTexts, anchors: HashedTexts, own: Rows) -> Taken:
    """Return how many words each text takes from anchors.

    Args:
        own: Number of each text's own anchor, -1 where it has none. It is quickest where they rise.
    """
    novel = marked_words(texts, NOVEL_WORDS, ~in_any(texts, anchors, NOVEL_WORDS))
    of_any = marked_words(texts, COPY_WORDS, in_any(texts, anchors, COPY_WORDS))
    copied = copied_words(texts, anchors, own, COPY_WORDS)
    return Taken(copied, of_any, novel, longest_runs(texts, anchors, own, copied > 0))


def says_wish(texts: HashedTexts, anchors: HashedTexts, own: Rows, wishes: Sequence[str]) -> Flags:
    """Tell which texts have eight words in a row of one of the wishes they were asked by that their anchors have not.

    Of 105,000 web pages, articles, stories and docstrings none has six words in a row of a prompt of the methods.
    Eight leave room for texts that do what the wish says: "the step is taken as given".

    Args:
        own: Number of each text's own anchor, -1 where it has none.
    """
    asked = hash_texts(wishes)
    known = HashSet(gather_grams(asked, COPY_WORDS))

    def says(where: slice, piece: HashedTexts) -> Flags:
        said = known.holds(piece.grams(COPY_WORDS))
        return said & ~in_own(piece, anchors, own[where], COPY_WORDS) if said.any() else said

    return covered_words(texts, COPY_WORDS, says) > 0


def longest_runs(texts: HashedTexts, anchors: HashedTexts, own: Rows, among: Flags) -> Rows:
    """Return the number of words in the longest run that each text shares with its anchor; 0 for texts not ``among``.

    Args:
        own: Number of each text's own anchor. It is quickest where they rise.
    """
    found = np.zeros(len(texts), dtype=np.int64)
    last, automaton = -1, Automaton.of([])
    for row in np.flatnonzero(among).tolist():
        if own[row] != last:
            last = int(own[row])
            automaton = Automaton.of(anchors.words_of(last).tolist())
        found[row] = automaton.longest_run(texts.words_of(row).tolist())
    return found


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


def no_closer_than_another(
    texts: HashedTexts, anchors: HashedTexts, own: Rows, names: Sequence[str]
) -> NDArray[np.float64]:
    """Return 1 for each text that is less like its own anchor than like another anchor of the batch, 0.5 if as like.

    Likeness is the cosine of words weighed by TF-IDF over the anchors. Of texts that have nothing to do with their
    anchors the mean is a half, whether they share words with any anchor or with none. NaN where a text has no anchor
    or no words.

    Args:
        own: Number of each text's own anchor, -1 where it has none.
        names: Name of each text, which the other anchor is drawn by.

    Raises:
        ValueError: There are fewer than two anchors, so that there is no other.
    """
    if len(anchors) < 2:
        raise ValueError(
            f"comparing texts with another anchor: there are {len(anchors)} anchors; at least 2 are needed. "
            "Say that it was not measured."
        )
    draws = (unit_draw("another anchor", name) for name in names)
    steps = np.fromiter((1 + int(draw * (len(anchors) - 1)) for draw in draws), np.int64, len(texts))
    other = (own + steps) % len(anchors)
    weights = _Weights(anchors)
    found = np.full(len(texts), np.nan)
    for where, piece in texts.pieces():
        said = weights.weigh(piece)
        to_own, to_other = (
            np.asarray(said.multiply(weights.of_anchors(rows[where])).sum(axis=1), dtype=float) for rows in (own, other)
        )
        found[where] = np.where(to_own == to_other, 0.5, to_own < to_other)
    found[(own < 0) | (texts.lengths == 0)] = np.nan
    return found


class _Weights:
    """Weights of the words of anchors by TF-IDF: a word that no anchor has changes no comparison.

    Source: Salton & Buckley 1988; with the smoothed log that scikit-learn's ``TfidfTransformer`` has, rows of length 1.
    """

    def __init__(self, anchors: HashedTexts) -> None:
        vocabularies = [distinct(piece.words) for _, piece in anchors.pieces(MANY_TEXTS)]
        self._vocabulary: Hashes = distinct(np.concatenate([np.zeros(0, dtype=np.uint64), *vocabularies]))
        num_with = np.zeros(max(1, self._vocabulary.size))
        for _, piece in anchors.pieces():
            num_with += np.bincount(self._count(piece).indices, minlength=len(num_with))
        self._rarity = np.log((1 + len(anchors)) / (1 + num_with)) + 1
        self._anchors = anchors
        is_held = len(anchors.words) <= HELD_WORDS
        self._held = vstack([self.weigh(piece) for _, piece in anchors.pieces()], "csr") if is_held else None

    def of_anchors(self, rows: Rows) -> csr_array:
        """Return the anchors with these numbers, weighed; of very many words they are weighed whenever they are asked
        for. Of -1 it is any."""
        known = np.maximum(rows, 0)
        if self._held is not None:
            return csr_array(self._held[known])
        used, places = np.unique(known, return_inverse=True)
        return csr_array(self.weigh(self._anchors.take(used))[places])

    def weigh(self, texts: HashedTexts) -> csr_array:
        """Return texts as rows of length 1 over the anchors' words."""
        counts = self._count(texts)
        counts.data = np.log1p(counts.data) * self._rarity[counts.indices]
        lengths = np.sqrt(counts.multiply(counts).sum(axis=1))
        counts.data /= np.repeat(np.where(lengths > 0, lengths, 1), np.diff(counts.indptr))
        return counts

    def _count(self, texts: HashedTexts) -> csr_array:
        """Return how often each text has each word that an anchor has."""
        columns = np.minimum(np.searchsorted(self._vocabulary, texts.words), max(0, self._vocabulary.size - 1))
        known = np.zeros(len(texts.words), dtype=bool)
        if self._vocabulary.size:
            known = self._vocabulary[columns] == texts.words
        starts = np.concatenate([[0], np.cumsum(texts.count(known))])
        shape = (len(texts), max(1, self._vocabulary.size))
        counts = csr_array((np.ones(int(known.sum())), columns[known], starts), shape=shape)
        counts.sum_duplicates()
        return counts

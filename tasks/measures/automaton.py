"""The longest run of words that two texts share, in time that grows with their lengths and not with the product."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field


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

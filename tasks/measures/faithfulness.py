"""What records take from their anchors, from any anchor of the batch, and from none."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from tasks.measures.automaton import Automaton
from tasks.measures.hashed import Flags, HashedTexts, HashSet, Rows, covered, joined
from tasks.measures.text import COPY_WORDS

NOVEL_WORDS: Final = 5


@dataclass(frozen=True, slots=True)
class Taken:
    """Words of each record, in order; a record without an anchor takes nothing from its own.

    Attributes:
        own: That lie in an 8-gram of the record's own anchor.
        any: That lie in an 8-gram of some anchor of the batch.
        novel: That lie in a 5-gram which no anchor of the batch has.
        longest: In the longest run that stands in the record's own anchor; 0 if it is shorter than eight words.
    """

    own: Rows
    any: Rows
    novel: Rows
    longest: Rows


def take_from_anchors(texts: HashedTexts, anchors: HashedTexts, own: Rows) -> Taken:
    """Return what each text takes from anchors.

    Args:
        own: The number of each text's own anchor, -1 where it has none. It is quickest where they rise.
    """
    known = HashSet(anchors.grams(NOVEL_WORDS)[anchors.whole(NOVEL_WORDS)])
    novel = [
        piece.count(covered(piece.whole(NOVEL_WORDS) & ~known.holds(piece.grams(NOVEL_WORDS)), NOVEL_WORDS))
        for _, piece in texts.pieces()
    ]
    known = HashSet(anchors.grams(COPY_WORDS)[anchors.whole(COPY_WORDS)])
    theirs = HashSet(anchors.keyed(COPY_WORDS)[anchors.whole(COPY_WORDS)])
    of_any, of_own = [], []
    for where, piece in texts.pieces():
        whole = piece.whole(COPY_WORDS)
        of_any.append(piece.count(covered(whole & known.holds(piece.grams(COPY_WORDS)), COPY_WORDS)))
        of_own.append(piece.count(covered(whole & theirs.holds(piece.keyed(COPY_WORDS, own[where])), COPY_WORDS)))
    copied = joined(of_own)
    return Taken(copied, joined(of_any), joined(novel), _longest_runs(texts, anchors, own, copied > 0))


def _longest_runs(texts: HashedTexts, anchors: HashedTexts, own: Rows, has_run: Flags) -> Rows:
    """Return the longest run that each text shares with its anchor, where it has one at all."""
    found = np.zeros(len(texts), dtype=np.int64)
    last, automaton = -1, Automaton.of([])
    for row in np.flatnonzero(has_run).tolist():
        if own[row] != last:
            last = int(own[row])
            automaton = Automaton.of(anchors.words_of(last).tolist())
        found[row] = automaton.longest_run(texts.words_of(row).tolist())
    return found

"""Pieces of a corpus that a search for a question finds: BM25 over words."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gainloop.evaluation.document_index import matchable
from gainloop.store.snapshots import WholeDocument
from schemas.characters import words
from schemas.exam import Question
from schemas.rows import document_of

CUTS: Final = (1, 5, 10)
"""Numbers of pieces within which the right one is looked for."""


@dataclass(frozen=True)
class Search:
    """An index of pieces by BM25.

    Attributes:
        pieces: Documents and texts of the pieces.
    """

    pieces: list[tuple[str, str]]
    index: Any

    def find(self, question: Question, titled: bool, num_pieces: int) -> list[int]:
        """Return the numbers of the pieces that fit a question best, the best first."""
        query = words(f"{question.title if titled else ''} {question.question}")
        most = min(num_pieces, len(self.pieces))
        known = [word for word in query if word in self.index.vocab_dict]
        if not known:
            return list(range(most))
        numbers, _ = self.index.retrieve([known], k=most, show_progress=False, n_threads=0)
        return [int(number) for number in numbers[0]]


def open_search(sources: Sequence[WholeDocument]) -> Search:
    """Return the index of all pieces of documents, titles among their words; held-out documents are searched too."""
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # importing it sets DEBUG, which every log would show
    pieces = [(document_of(piece.uri), piece.text) for source in sources for piece in source.pieces]
    titles = [source.title for source in sources for _ in source.pieces]
    index = bm25s.BM25()
    tokens = [words(f"{title} {text}") for title, (_, text) in zip(titles, pieces, strict=True)]
    index.index(tokens, show_progress=False)
    return Search(pieces, index)


def recall(search: Search, questions: Sequence[Question], titled: bool) -> dict[int, float]:
    """Return the share of questions whose right piece is among the first 1, 5 and 10 that are found.

    A piece is right if it is of the question's document and holds its evidence, where there is one.
    """
    found = [search.find(one, titled, max(CUTS)) for one in questions]
    ranks = [_rank(search, one, numbers) for one, numbers in zip(questions, found, strict=True)]
    return {cut: sum(rank < cut for rank in ranks) / len(ranks) for cut in CUTS} if ranks else {}


def _rank(search: Search, one: Question, numbers: Sequence[int]) -> int:
    """Return the place of the first right piece; one beyond all cuts if there is none."""
    evidence = matchable(one.evidence)
    for rank, number in enumerate(numbers):
        document_id, text = search.pieces[number]
        if document_id == one.document_id and evidence in matchable(text):
            return rank
    return max(CUTS)

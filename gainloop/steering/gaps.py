"""Gaps: what each document still lacks in the model, what of it can be learnt, and how much text it is to have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

FLOOR: Final = 0.2
"""Share of the draws that are even over all documents, whatever the exam says of them."""

STUCK: Final = 0.25
"""Weight of a document that had text and whose gap did not close: it may not be learnable from such text."""

FEWEST: Final = 4
"""Documents with both questions and a loss that it takes to read a gap off a loss."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One document and what the model lacks of it.

    Attributes:
        document_id: Document.
        missing: Share of it that the model does not know, from 0 to 1.
        asked: Questions that this rests on; 0 where it is read off the loss of its facts in another wording.
        closed: Fall of ``missing`` since the round before; None in the first.
        had_text: True if text was made of it in the round before.
    """

    document_id: str
    missing: float
    asked: int
    closed: float | None = None
    had_text: bool = False

    @property
    def is_stuck(self) -> bool:
        """Whether it had text and its gap did not close."""
        return self.had_text and self.closed is not None and self.closed <= 0

    @property
    def weight(self) -> float:
        """What is missing, times what can be learnt of it."""
        return self.missing * (STUCK if self.is_stuck else 1.0)


def missing_of(rights: Mapping[str, Sequence[bool]], expected: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return the share of each document that is missing, from answers to its questions.

    One answer is added, as far right as is expected, so that one question does not close a document.

    Args:
        rights: Answers to each document's questions.
        expected: Share missing that is expected of a document before it is asked about. Default: half.

    >>> missing_of({"a": [True, True, True], "b": [False]})
    {'a': 0.125, 'b': 0.75}
    """
    before = expected or {}
    return {
        name: (len(given) - sum(given) + before.get(name, 0.5)) / (len(given) + 1) for name, given in rights.items()
    }


def missing_by_loss(known: Mapping[str, float], losses: Mapping[str, float]) -> dict[str, float]:
    """Return what is missing of documents that nobody asked about, by the loss of their facts in another wording.

    Documents that have both say what a loss means: a line through them, which must rise. Where they are too few, or
    the line falls, each document has their mean, and where there are none 1.

    Args:
        known: Share missing by questions.
        losses: Loss of each document's facts in another wording, in bits/byte, of those documents among others.
    """
    mean = float(np.mean(list(known.values()))) if known else 1.0
    read_off = _read_off(known, losses)
    return {name: read_off.get(name, mean) for name in losses if name not in known}


def _read_off(known: Mapping[str, float], losses: Mapping[str, float]) -> dict[str, float]:
    """Return what is missing of each document by its loss; of none where no rising line goes through those known."""
    both = sorted(known.keys() & losses.keys())
    x, y = np.array([losses[name] for name in both]), np.array([known[name] for name in both])
    if len(both) < FEWEST or np.ptp(x) == 0:
        return {}
    slope = float(np.cov(x, y)[0, 1] / np.var(x, ddof=1))
    if slope <= 0:
        return {}
    return {name: float(np.clip(y.mean() + slope * (loss - x.mean()), 0, 1)) for name, loss in losses.items()}


def find_gaps(
    rights: Mapping[str, Sequence[bool]],
    losses: Mapping[str, float],
    documents: Sequence[str],
    before: Sequence[Gap] = (),
    had_text: frozenset[str] = frozenset(),
) -> list[Gap]:
    """Return the gap of every document, in the order given.

    Questions are few, and one that was answered rightly may have been guessed: where a document has a loss besides,
    what that says of it is the answer that is added to those given.

    Args:
        rights: Answers to each document's questions that may steer.
        losses: Loss of each document's facts in another wording under the model; may be empty.
        documents: All documents that text may be made of.
        before: Gaps of the round before.
        had_text: Documents that text was made of since.
    """
    given = {name: rights[name] for name in documents if rights.get(name)}
    told = {name: loss for name, loss in losses.items() if name in set(documents)}
    asked = missing_of(given, _read_off({name: 1 - sum(each) / len(each) for name, each in given.items()}, told))
    read_off = missing_by_loss(asked, told)
    mean = float(np.mean(list(asked.values()))) if asked else 1.0
    earlier = {gap.document_id: gap for gap in before}
    found = []
    for name in documents:
        missing = asked.get(name, read_off.get(name, mean))
        last = earlier.get(name)
        is_alike = last is not None and (last.asked > 0) == bool(rights.get(name))  # both by questions, or both by loss
        closed = last.missing - missing if last and is_alike else None
        found.append(Gap(name, missing, len(rights.get(name, ())), closed, name in had_text))
    return found


def weigh(gaps: Sequence[Gap], floor: float = FLOOR) -> dict[str, float]:
    """Return each document's share of the draws: in proportion to its gap, above an even floor; they add up to 1.

    >>> weigh([Gap("a", 0.9, 9), Gap("b", 0.1, 9)], floor=0.2)
    {'a': 0.82, 'b': 0.18}
    """
    if not gaps:
        return {}
    total = sum(gap.weight for gap in gaps)
    even = 1 / len(gaps)
    shares = {gap.document_id: gap.weight / total if total > 0 else even for gap in gaps}
    return {name: round(floor * even + (1 - floor) * share, 12) for name, share in shares.items()}

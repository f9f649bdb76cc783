"""Which of several endings a text has: an accuracy for any text, where there is no exam.

The opening of a text is read, and its own next words must be likelier than those of other texts. It takes no fact that
a text holds, but how texts of its kind go on; even a small model is right more often than by chance.

Source: the form of HellaSwag, Zellers et al. 2019, arXiv:1905.07830. Differs: wrong endings are of other documents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:  # torch takes seconds
    from gainloop.models.answers import Examinee, OnRows

OPENING_WORDS: Final = 32
ENDING_WORDS: Final = 10
NUM_ENDINGS: Final = 4

MARKED: Final = pl.Schema({"text_id": pl.String, "document": pl.String, "right": pl.Boolean})


@dataclass(frozen=True, slots=True)
class Cut:
    """A text that was cut in two: its opening, its own ending, and then those of texts of other documents."""

    text_id: str
    document: str
    opening: str
    endings: tuple[str, ...]


def cut_texts(texts: pl.DataFrame) -> list[Cut]:
    """Return the texts that are long enough, cut in two, each with the endings of three others; names decide which.

    Args:
        texts: Columns text_id, text, document.
    """
    halves = {row["text_id"]: (row["document"], *_halves(row["text"])) for row in texts.iter_rows(named=True)}
    long = {name: half for name, half in sorted(halves.items()) if half[2]}
    found = []
    for name, (document, opening, ending) in long.items():
        others = sorted({last for of, _, last in long.values() if of != document} - {ending})
        if len(others) >= NUM_ENDINGS - 1:
            wrong = Random(f"endings/{name}").sample(others, NUM_ENDINGS - 1)  # noqa: S311
            found.append(Cut(name, document, opening, (ending, *wrong)))
    return found


def mark_endings(
    examinee: "Examinee", cuts: Sequence[Cut], on_rows: "OnRows" = lambda _done, _all: None
) -> pl.DataFrame:
    """Return whether a model finds each text's own ending the likeliest by byte: columns of ``MARKED``.

    Texts that do not fit the model's context are left out.
    """
    from gainloop.models.answers import Branches, score_endings

    scored = score_endings(examinee, [Branches(one.opening, one.endings) for one in cuts], on_rows)
    rows = []
    for one, endings in zip(cuts, scored, strict=True):
        if endings is not None:
            by_byte = [given.nats / len(text.encode()) for given, text in zip(endings, one.endings, strict=True)]
            rows.append({"text_id": one.text_id, "document": one.document, "right": by_byte[0] < min(by_byte[1:])})
    return pl.DataFrame(rows, MARKED)


def _halves(text: str) -> tuple[str, str]:
    """Return the opening of a text and what follows it; nothing of a text that is too short.

    >>> opening, ending = _halves(" ".join(map(str, range(50))))
    >>> opening[-5:], ending
    ('30 31', '32 33 34 35 36 37 38 39 40 41')
    """
    words = text.split()
    if len(words) < OPENING_WORDS + ENDING_WORDS:
        return "", ""
    return " ".join(words[:OPENING_WORDS]), " ".join(words[OPENING_WORDS : OPENING_WORDS + ENDING_WORDS])

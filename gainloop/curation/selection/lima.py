"""LIMA's rules for answers of a forum, as far as the text alone says whether they hold, spread over domains."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gainloop.curation.selection.candidate import Candidate
from gainloop.curation.selection.draws import apportion, by_domain
from gainloop.curation.selection.selection import Selected, Selection, Sieve
from schemas.recipe import BASIC
from schemas.rows import unit_draw

_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)

_FIRST_PERSON: Final = re.compile(r"(?<!\w)(?:I|[Mm](?:y|e|ine|yself)|I['\u2019](?:m|d|ve|ll))(?!\w)")
""""I" as a word: the small letter is a variable or Latin."""

_OTHERS: Final = re.compile(
    r"\b(?:as|like) (?:\w+ )?(?:already |was |has been )?"
    r"(?:mentioned|said|noted|stated|explained|pointed out|suggested)\b"
    r"|\b(?:other|another|previous|earlier|accepted|top) answers?\b"
    r"|\banswers? (?:above|below|here|given by)\b|\b(?:above|below) answers?\b"
    r"|\b(?:comments? (?:above|below)|commenters?|the op|original poster|stack ?exchange|stack ?overflow|upvoted?)\b"
    r"|(?<!\S)@[a-z]\w+",
    re.IGNORECASE,
)

_LINK: Final = re.compile(r"(!?)\[([^\[\]]*)\]\([^()\s]*\)|</?a\b[^<>]*>|<img\b[^<>]*>|\bhttps?://[^\s<>()\[\]]+")


class Lima(Selection):
    """Answers of a fair length that speak of nobody and to nobody, the best of each domain, small domains favoured.

    Links and pictures are taken out first. A row is refused as ``too_short``, ``too_long``, ``first_person``,
    ``other_answers`` (it refers to them, to comments, to their site), ``low_score`` or ``no_score``. Of the others each
    domain gives its share by n^(1/temperature), those with the highest score first, equal ones by a draw. What stands
    in code is no word of the writer.

    Source: LIMA, Zhou et al. 2023, arXiv:2305.11206, section 2.1.
    Differs: what a person judged there, a question that stands for itself and an answer that helps, is not judged;
    domains give their exact share in place of a draw of it.
    """

    kind: Literal["lima"] = "lima"
    size: Annotated[int, BASIC, Field(ge=1, description="Rows that are selected, at most.")] = 1000
    least_characters: Annotated[int, Field(ge=0, description="Characters of an answer, at least.")] = 1200
    most_characters: Annotated[int, Field(ge=1, description="Characters of an answer, at most.")] = 4096
    score_field: Annotated[str, Field(description="Field of the answer's score, looked at where a row has it.")] = (
        "score"
    )
    least_score: Annotated[float, Field(description="Score of an answer that has one, at least.")] = 10
    temperature: Annotated[
        float, Field(ge=1, description="Power by which domains are evened out: 1 keeps their sizes' proportion.")
    ] = 3
    seed: Annotated[int, Field(description="Seed of the draws.")] = 0

    def model_post_init(self, _context: Any) -> None:
        if self.least_characters > self.most_characters:
            raise ValueError(
                f"least_characters is {self.least_characters}, most_characters {self.most_characters}; "
                "least_characters must not be more"
            )

    def choose(self, rows: Sequence[Candidate]) -> Selected:
        plain = [replace(row, answer=without_links(row.answer)) for row in rows]
        sieve = Sieve(plain)
        sieve.refuse("length", self._misfits)
        sieve.refuse("voice", lambda row: speaks_out(row.answer))
        sieve.refuse("score", self._scores_low)
        chosen = self._best(sieve.rows)
        changed = {new.row_id: new.answer for new, old in zip(plain, rows, strict=True) if new.answer != old.answer}
        return sieve.take(chosen, answers={name: text for name, text in changed.items() if name in chosen})

    def _misfits(self, row: Candidate) -> str:
        if len(row.answer) < self.least_characters:
            return "too_short"
        return "too_long" if len(row.answer) > self.most_characters else ""

    def _scores_low(self, row: Candidate) -> str:
        if row.value(self.score_field) is None:
            return ""
        score = row.number(self.score_field)
        return "no_score" if score is None else "low_score" if score < self.least_score else ""

    def _best(self, rows: Sequence[Candidate]) -> set[str]:
        domains = by_domain(rows)
        weights = {name: len(own) ** (1 / self.temperature) for name, own in domains.items()}
        room = {name: len(own) for name, own in domains.items()}
        seed = f"{self.seed}/lima"
        shares = apportion(self.size, weights, room, seed)

        def place(row: Candidate) -> tuple[float, float, str]:
            return -(row.number(self.score_field) or 0.0), unit_draw(seed, row.row_id), row.row_id

        return {row.row_id for name, own in domains.items() for row in sorted(own, key=place)[: shares[name]]}


def without_links(text: str) -> str:
    """Return a text without addresses and pictures; the words of a link stay, and so does code.

    >>> without_links("See [the manual](https://a.b/c) ![](x.png)or https://d.e `https://f`.")
    'See the manual or  `https://f`.'
    """
    pieces, at = [], 0
    for code in _CODE.finditer(text):
        pieces += [_LINK.sub(_words_of, text[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*pieces, _LINK.sub(_words_of, text[at:])])


def _words_of(link: re.Match[str]) -> str:
    return "" if link[1] else link[2] or ""


def speaks_out(text: str) -> str:
    """Return why an answer does not stand for itself: it speaks of its writer, or of other answers; empty if it does.

    >>> [speaks_out(text) for text in ("I tried it.", "As Ann said, no.", "See the answer below.", "Sort `I` first.")]
    ['first_person', 'other_answers', 'other_answers', '']
    """
    prose = " ".join(_CODE.sub(" ", text).split())
    if _FIRST_PERSON.search(prose):
        return "first_person"
    return "other_answers" if _OTHERS.search(prose) else ""

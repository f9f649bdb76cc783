"""The selection of s1K: rows without faults that given models fail at, spread over domains, long traces preferred."""

import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from gainloop.curation.selection.candidate import Candidate, require_field
from gainloop.curation.selection.draws import apportion, by_domain, draw_by_rank, draw_rows, ranks_of
from gainloop.curation.selection.selection import Selected, Selection, Sieve
from schemas.recipe import BASIC

_FAULTS: Final = {
    "drawing_code": re.compile(r"\[asy\]|\\begin\{(?:tikzpicture|asy)\}"),
    "picture": re.compile(r"!\[[^\[\]\n]*\]\(|<img\b|\\includegraphics", re.IGNORECASE),
    "broken_text": re.compile("\ufffd|\x00|\u00c3[\u0080-\u00bf]"),
}
"""Faults of a question or an answer: a picture that a reader would need, text in the wrong encoding."""

_NUMBERED: Final = re.compile(r"\A\s{0,9}(?:p\d{1,3}\.|\*\*\s?(?:p\s?)?\d{1,3}\s?[.:)]?\s?\*\*)", re.IGNORECASE)
"""The number of a problem in the sheet that it was cut from; those are often several in one."""


class S1(Selection):
    """Rows without faults that models get wrong, spread evenly over domains and then by weight, long answers first.

    Quality: refused are ``no_answer``, ``drawing_code``, ``picture``, ``broken_text``, ``numbered_problem``, and
    ``duplicate``: question and answer stand in a row of a lower id. Difficulty: ``too_easy`` where one of the models
    is right more often than ``most_right``, or ``difficulty_field`` is below ``least_difficulty``; ``no_difficulty``
    where a row lacks one of these. Diversity: the rows that ``first_field`` marks, then up to ``uniform_share`` of the
    size as many of each domain, the rest by the domains' weights. Within a domain rows are drawn with weight 2^-rank,
    rank the number of longer rows there: rows of one length are alike.

    Source: s1, Muennighoff et al. 2025, arXiv:2501.19393, section 2.2.
    Differs: draws are seeded; what is chosen is never drawn again, so that the size is reached; domains give exact
    shares, so that none has more than its own by chance. The faults are told by patterns of our own, after its list.
    """

    kind: Literal["s1"] = "s1"
    size: Annotated[int, BASIC, Field(ge=1, description="Rows that are selected, at most.")] = 1000
    right_fields: Annotated[
        tuple[str, ...], Field(description="Fields of the share of right answers of a model each, 0 to 1, or true.")
    ] = ()
    most_right: Annotated[
        float, Field(ge=0, le=1, description="Share of right answers of each of these models, at most.")
    ] = 0.0
    difficulty_field: Annotated[str, Field(description="Field of a row's difficulty, if it has one.")] = ""
    least_difficulty: Annotated[float, Field(description="Difficulty of a row, at least.")] = 0.0
    length_field: Annotated[
        str, Field(description="Field of a row's length, such as tokens of its trace. Default: its characters.")
    ] = ""
    favours: Annotated[
        Literal["long", "none"], Field(description="Rows that a domain gives first: long ones, or any.")
    ] = "long"
    first_field: Annotated[str, Field(description="Field that is true for rows taken before all others.")] = ""
    uniform_share: Annotated[
        float, Field(ge=0, le=1, description="Part of the size that is filled with as many rows of each domain.")
    ] = 0.7
    weight_field: Annotated[
        str, Field(description="Field of a row's weight; domains give the rest by the sum of it. Default: 1 a row.")
    ] = ""
    seed: Annotated[int, Field(description="Seed of the draws.")] = 0

    def choose(self, rows: Sequence[Candidate]) -> Selected:
        named = {"right_fields": self.right_fields, "difficulty_field": (self.difficulty_field,)}
        named |= {name: (getattr(self, name),) for name in ("length_field", "first_field", "weight_field")}
        for setting, names in named.items():
            for name in filter(None, names):
                require_field(rows, name, f"selection.{setting.replace('_', '-')}")
        sieve = Sieve(rows)
        again = _repeated(rows)
        sieve.refuse("quality", lambda row: fault_of(row) or ("duplicate" if row.row_id in again else ""))
        sieve.refuse("difficulty", self._is_easy)
        parts = self._spread(sieve.rows)
        chosen = {row.row_id for part in parts.values() for row in part}
        return sieve.take(chosen, parts={name: len(part) for name, part in parts.items()})

    def _is_easy(self, row: Candidate) -> str:
        rights = [row.number(name) for name in self.right_fields]
        level = row.number(self.difficulty_field) if self.difficulty_field else self.least_difficulty
        if level is None or None in rights:
            return "no_difficulty"
        known = [right for right in rights if right is not None]
        return "too_easy" if level < self.least_difficulty or max(known, default=0) > self.most_right else ""

    def _spread(self, rows: Sequence[Candidate]) -> dict[str, list[Candidate]]:
        """Return the rows of each part of the selection; no row is in two."""
        marked = [row for row in rows if self.first_field and row.number(self.first_field)]
        first = draw_rows(marked, self.size, f"{self.seed}/s1/first")
        left = _without(rows, first)
        even = self._draw(left, round(self.uniform_share * self.size) - len(first), is_even=True)
        rest = self._draw(_without(left, even), self.size - len(first) - len(even), is_even=False)
        return {"first": first, "uniform": even, "weighted": rest}

    def _draw(self, rows: Sequence[Candidate], number: int, is_even: bool) -> list[Candidate]:
        domains = by_domain(rows)
        room = {name: len(own) for name, own in domains.items()}
        weights = {name: 1.0 if is_even else sum(map(self._weight, own)) for name, own in domains.items()}
        seed = f"{self.seed}/s1/{'uniform' if is_even else 'weighted'}"
        shares = apportion(number, weights, room, seed)
        return [row for name, own in domains.items() for row in draw_by_rank(own, self._ranks(own), shares[name], seed)]

    def _ranks(self, rows: Sequence[Candidate]) -> dict[str, int]:
        if self.favours == "none":
            return {row.row_id: 0 for row in rows}
        return ranks_of({row.row_id: self._length(row) for row in rows})

    def _length(self, row: Candidate) -> float:
        return (row.number(self.length_field) or 0.0) if self.length_field else float(row.length)

    def _weight(self, row: Candidate) -> float:
        return max(row.number(self.weight_field) or 0.0, 0.0) if self.weight_field else 1.0


def fault_of(row: Candidate) -> str:
    """Return the fault of a row's text, or nothing where it has none.

    >>> [fault_of(Candidate("a", "7", question)) for question in ("3 + 4?", "p3. Show it.", "![](a.png) Where?")]
    ['', 'numbered_problem', 'picture']
    """
    if not row.answer.strip():
        return "no_answer"
    for reason, fault in _FAULTS.items():
        if fault.search(row.question) or fault.search(row.answer):
            return reason
    return "numbered_problem" if _NUMBERED.match(row.question) else ""


def _repeated(rows: Sequence[Candidate]) -> set[str]:
    """Return the ids of the rows whose question and answer an earlier row has, letter case and spaces apart."""
    seen, found = set[tuple[str, str]](), set[str]()
    for row in rows:
        said = (" ".join(row.question.lower().split()), " ".join(row.answer.lower().split()))
        if said in seen:
            found.add(row.row_id)
        seen.add(said)
    return found


def _without(rows: Sequence[Candidate], taken: Sequence[Candidate]) -> list[Candidate]:
    gone = {row.row_id for row in taken}
    return [row for row in rows if row.row_id not in gone]

"""Seeded draws and shares that do not depend on the order of rows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gainloop.curation.selection.candidate import Candidate
from schemas.rows import unit_draw

_LEAST: Final = 2.0**-64
"""Least draw that is told from 0, whose logarithm is none."""


def apportion(size: int, weights: Mapping[str, float], room: Mapping[str, int], seed: str) -> dict[str, int]:
    """Return how many rows each domain gives, in proportion to its weight as far as it has rows.

    Domains that have fewer rows than their share give them all, and what they lack is shared out among the others. None
    of those gives more than its share, rounded up. What is left over by rounding goes to the largest remainders, of
    equal ones by the seed.

    Args:
        size: Rows in all; fewer come where the domains have not so many.
        weights: Weight of each domain; one without a weight gives nothing.
        room: Rows that each domain has.

    >>> apportion(7, {"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 9, "c": 9}, "0")
    {'a': 1, 'b': 3, 'c': 3}
    """
    given = dict.fromkeys(sorted(room), 0)
    open_ = [name for name in given if room[name] > 0 and weights.get(name, 0) > 0]
    left, exact = max(size, 0), dict[str, float]()
    while open_:
        total = math.fsum(weights[name] for name in open_)
        exact = {name: left * weights[name] / total for name in open_}
        if not (full := [name for name in open_ if exact[name] >= room[name]]):
            break
        given |= {name: room[name] for name in full}
        left -= sum(room[name] for name in full)
        open_ = [name for name in open_ if exact[name] < room[name]]
    whole = {name: math.floor(exact[name]) for name in open_}
    by_rest = sorted(open_, key=lambda name: (whole[name] - exact[name], unit_draw(seed, name)))
    raised = set(by_rest[: left - sum(whole.values())])
    return given | {name: whole[name] + (name in raised) for name in open_}


def draw_rows(rows: Iterable[Candidate], number: int, seed: str) -> list[Candidate]:
    """Return as many rows as asked for, drawn without replacement; all where there are not more."""
    return sorted(rows, key=lambda row: (unit_draw(seed, row.row_id), row.row_id))[:number]


def draw_by_rank(rows: Sequence[Candidate], ranks: Mapping[str, int], number: int, seed: str) -> list[Candidate]:
    """Return rows drawn one after the other without replacement, each with weight 2^-rank among those that are left.

    Args:
        ranks: Rank of each row by its id, 0 the first.

    Source: Efraimidis & Spirakis 2006, by exponential keys: the least of -log(u) / weight is drawn first. In
    logarithms, since 2^-1100 is no number of 64 bits.
    """

    def key(row: Candidate) -> tuple[float, str]:
        exponential = -math.log1p(-unit_draw(seed, row.row_id))
        return math.log(max(exponential, _LEAST)) + ranks[row.row_id] * math.log(2), row.row_id

    return sorted(rows, key=key)[:number]


def ranks_of(values: Mapping[str, float]) -> dict[str, int]:
    """Return of each name how many have a larger value: equal values have one rank.

    >>> ranks_of({"a": 9.0, "b": 4.0, "c": 9.0})
    {'a': 0, 'b': 2, 'c': 0}
    """
    first: dict[float, int] = {}
    for place, value in enumerate(sorted(values.values(), reverse=True)):
        first.setdefault(value, place)
    return {name: first[value] for name, value in values.items()}


def by_domain(rows: Iterable[Candidate]) -> dict[str, list[Candidate]]:
    """Return the rows of each domain, in their order."""
    found: dict[str, list[Candidate]] = {}
    for row in rows:
        found.setdefault(row.domain, []).append(row)
    return found

"""Entities of a text, and one new text for how each few of them relate."""

import json
from itertools import combinations
from math import comb
from random import Random
from typing import Annotated, Literal

from pydantic import Field

from schemas.rows import Anchor, Drop, Message, Outcome, Reply, Request, Rounds
from tasks.methods.method import Method, keep_finished, reason_to_drop

LIST_ENTITIES = (
    "List the people, places, things and ideas that the text above is about, most important first, "
    'as JSON: {"entities": ["...", "..."]}.'
)
RELATE = (
    "Using only the text above, explain {names} one after the other as it presents them, "
    "then discuss how they bear on each other there."
)


class EntiGraph(Method):
    """Entities first, then one text per chosen pair and triple.

    Source: Yang et al. 2024, arXiv:2409.07431. Differs: pairs and triples are capped and drawn at
    random, entities are deduplicated, and a list that cannot be read is a drop, not asked for again.
    """

    kind: Literal["entigraph"] = "entigraph"
    max_entities: Annotated[int, Field(ge=2, le=64, description="entities used of each list")] = 12
    max_pairs: Annotated[int, Field(ge=0, description="texts on two entities, per anchor")] = 16
    max_triples: Annotated[int, Field(ge=0, description="texts on three entities, per anchor")] = 4

    @property
    def max_requests(self) -> int:
        pairs, triples = comb(self.max_entities, 2), comb(self.max_entities, 3)
        return 1 + min(self.max_pairs, pairs) + min(self.max_triples, triples)

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        asked = ask_entities(anchor, self.max_entities)
        (listed,) = yield [asked]
        if drop := reason_to_drop(anchor, asked, listed):
            return Outcome(drops=[drop])
        assert isinstance(listed, Reply)
        entities = read_entities(listed.text)
        if entities is None:
            return Outcome(drops=[Drop(anchor.anchor_id, "entities", "malformed", listed.request_id)])
        groups = choose_groups(entities[: self.max_entities], self.max_pairs, self.max_triples, rng)
        if not groups:
            return Outcome(drops=[Drop(anchor.anchor_id, "entities", "no_pair", listed.request_id)])
        requests = [ask_relation(anchor, group) for group in groups]
        answers = yield requests
        return keep_finished(self, anchor, requests, answers)


def ask_entities(anchor: Anchor, max_entities: int) -> Request:
    """Ask for the entity list as JSON; the schema bounds it, so that it fits into a reply."""
    item = {"type": "string", "minLength": 1, "maxLength": 60}
    entities = {"type": "array", "items": item, "minItems": 2, "maxItems": max_entities}
    schema = {
        "type": "object",
        "properties": {"entities": entities},
        "required": ["entities"],
        "additionalProperties": False,
    }
    return Request(_after(anchor, LIST_ENTITIES), facet="entities", json_schema=json.dumps(schema))


def ask_relation(anchor: Anchor, group: tuple[str, ...]) -> Request:
    """Ask how two or three entities relate in the anchor."""
    names = ", ".join(group[:-1]) + f" and {group[-1]}"
    return Request(_after(anchor, RELATE.format(names=names)), facet=" | ".join(group))


def read_entities(text: str) -> list[str] | None:
    """Return the distinct entities of a reply in its order, or None if it holds no such list.

    >>> read_entities('{"entities": ["Ada Lovelace", " ada  lovelace", "Engine", ""]}')
    ['Ada Lovelace', 'Engine']
    >>> read_entities('Sure! Here are some entities: Ada') is None
    True
    >>> read_entities('{"entities": "Ada"}') is None
    True
    """
    try:
        listed = json.loads(text, strict=False)["entities"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(listed, list):
        return None
    # JSON may escape half a surrogate pair, which is no text: it is left out.
    names = [" ".join(name.encode(errors="ignore").decode().split()) for name in listed if isinstance(name, str)]
    return list({name.casefold(): name for name in reversed(names) if name}.values())[::-1]


def choose_groups(entities: list[str], max_pairs: int, max_triples: int, rng: Random) -> list[tuple[str, ...]]:
    """Return the pairs and triples to ask about: all of them, or a random choice of as many as allowed.

    >>> choose_groups(["a", "b", "c"], 9, 9, Random(0))
    [('a', 'b'), ('a', 'c'), ('b', 'c'), ('a', 'b', 'c')]
    """
    chosen: list[tuple[str, ...]] = []
    for size, limit in ((2, max_pairs), (3, max_triples)):
        groups = list(combinations(entities, size))
        keep = sorted(rng.sample(range(len(groups)), min(limit, len(groups))))
        chosen += [groups[index] for index in keep]
    return chosen


def _after(anchor: Anchor, wish: str) -> tuple[Message, ...]:
    """Put the text first and the wish last: all requests of one anchor share a cached prefix."""
    return (Message("user", f"{anchor.title}\n\n{anchor.text}\n\n{wish}"),)

"""Entities of a text, and one new text for how each two or three of them relate."""

import re
from collections.abc import Sequence
from itertools import combinations
from math import comb
from random import Random
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from gainloop.asking.chunks import MaxWords, tokens_of_words
from gainloop.asking.conversation import after, ask
from gainloop.asking.structured import list_of, object_of, read_object, read_passage, read_texts, text_of
from gainloop.methods.method import Method, keep_finished
from schemas.characters import plain
from schemas.rows import Anchor, Drop, Outcome, Record, Request, Rounds
from schemas.suites import Suite, at_most

LIST_ENTITIES = (
    "Sum the document up in a few sentences, and list the names of the {most} people, places, things and ideas that "
    "matter most in it, most important first. Answer as JSON with the summary and the entities."
)
RELATE = (
    "Using only the document, explain {names} one after the other as it presents them, then say how they bear on each "
    "other there. Write {max_words} words at most, as a text that can be understood without the document."
)

SUMMARY_CHARS, ENTITY_CHARS = 600, 60

_ARTICLE = re.compile(r"^(?:the|an?)\s+(?=\S)")
_WORD = re.compile(r"\w+")
_POSSESSIVE = re.compile(r"['\u2019](?:s\b)?(?=\s|$)")


class Listed(NamedTuple):
    """The summary and the entities of a text, from the first reply."""

    summary: str
    entities: list[str]


class EntiGraph(Method):
    """A summary, and texts on how a document's entities bear on each other, pair by pair and triple by triple.

    Asks: first one JSON object of summary and entities; then one request per pair or triple, drawn at random up to
    ``max_pairs`` and ``max_triples``. Entities that differ in case, articles or possessives are one.
    Costs: ``21 d`` prompt tokens. The summary is a record too.
    Source: Yang et al. 2024, arXiv:2409.07431.
    Differs: pairs and triples are capped, where the reference code asks about all; a list that cannot be read is a
    drop, where it is asked for again without end; a text discusses its entities once, where the paper rephrases the
    article for each of them first.
    """

    kind: Literal["entigraph"] = "entigraph"
    wishes: ClassVar[tuple[str, ...]] = (LIST_ENTITIES, RELATE)
    expectations: ClassVar[Suite] = (
        at_most("copied_share", 0.8, "copies_anchor", mostly=0.5),
        at_most("longest_copy", 100, "recites_anchor", mostly=0.5),
    )
    max_entities: Annotated[int, Field(ge=2, le=64, description="Entities used of each list.")] = 12
    max_pairs: Annotated[int, Field(ge=0, description="Texts on two entities, of each anchor.")] = 16
    max_triples: Annotated[int, Field(ge=0, description="Texts on three entities, of each anchor.")] = 4
    max_words: MaxWords = 200

    @property
    def max_requests(self) -> int:
        pairs, triples = comb(self.max_entities, 2), comb(self.max_entities, 3)
        return 1 + min(self.max_pairs, pairs) + min(self.max_triples, triples)

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        listed = yield from ask(anchor, ask_entities(anchor, self.max_entities), read_entities)
        if isinstance(listed, Drop):
            return Outcome(drops=[listed])
        summary = Record(anchor.anchor_id, self.kind, "summary", listed.value.summary, (listed.request_id,))
        entities = listed.value.entities[: self.max_entities]
        groups = choose_groups(entities, self.max_pairs, self.max_triples, rng, anchor.missing)
        if not groups:
            return Outcome([summary], [Drop(anchor.anchor_id, "entities", "no_pair", listed.request_id)])
        requests = [ask_relation(anchor, group, self.max_words) for group in groups]
        answers = yield requests
        return keep_finished(self, anchor, requests, answers, [summary])


def ask_entities(anchor: Anchor, max_entities: int) -> Request:
    """Ask for summary and entities as JSON; the schema bounds them, so that they fit into a reply."""
    schema = object_of(summary=text_of(SUMMARY_CHARS), entities=list_of(text_of(ENTITY_CHARS), 2, max_entities))
    return Request(
        after(anchor.text, LIST_ENTITIES.format(most=max_entities), anchor.title), facet="entities", json_schema=schema
    )


def ask_relation(anchor: Anchor, group: tuple[str, ...], max_words: int) -> Request:
    """Ask how two or three entities relate in the anchor."""
    names = ", ".join(group[:-1]) + f" and {group[-1]}"
    prompt = after(anchor.text, RELATE.format(names=names, max_words=max_words), anchor.title)
    return Request(prompt, facet=" | ".join(group), reply_tokens=tokens_of_words(max_words))


def read_entities(text: str) -> Listed | None:
    """Return the summary and the distinct entities of a reply in its order, or None if one is missing.

    >>> read_entities('{"summary": "On Ada.", "entities": ["Ada\\'s engine", "the Ada  engine", "", 7]}')
    Listed(summary='On Ada.', entities=["Ada's engine"])
    >>> read_entities('Sure! Here are some entities: Ada') is None
    True
    >>> read_entities('{"summary": "On Ada.", "entities": "Ada"}') is None
    True
    """
    found = read_object(text) or {}
    summary, listed = read_passage(found.get("summary")), read_texts(found.get("entities"), most_chars=4 * ENTITY_CHARS)
    if summary is None or listed is None:
        return None
    names = [name for name in listed if "|" not in name]
    return Listed(summary, list({_same(name): name for name in reversed(names)}.values())[::-1])


def choose_groups(
    entities: list[str], max_pairs: int, max_triples: int, rng: Random, missing: Sequence[str] = ()
) -> list[tuple[str, ...]]:
    """Return the pairs and triples to ask about: all of them, or a random choice of as many as allowed.

    Args:
        missing: Texts that the trainee does not know: groups with an entity of which one speaks come first.

    >>> choose_groups(["a", "b", "c"], 9, 9, Random(0))
    [('a', 'b'), ('a', 'c'), ('b', 'c'), ('a', 'b', 'c')]
    >>> choose_groups(["mill", "rye", "river"], 1, 0, Random(0), ["Where is the river?"])[0][-1]
    'river'
    """
    lacking = [_words(text) for text in missing]
    wanted = {name for name in entities if any(_words(name) <= words for words in lacking)}
    chosen: list[tuple[str, ...]] = []
    for size, limit in ((2, max_pairs), (3, max_triples)):
        groups = list(combinations(entities, size))
        drawn = rng.sample(range(len(groups)), len(groups) if wanted else min(limit, len(groups)))
        drawn.sort(key=lambda index: wanted.isdisjoint(groups[index]))  # stable: what was drawn first stays first
        chosen += [groups[index] for index in sorted(drawn[:limit])]
    return chosen


def _words(text: str) -> set[str]:
    return set(_WORD.findall(_same(text)))


def _same(name: str) -> str:
    """Return a name without case, leading article and possessive: the same for all names of one entity.

    >>> _same("The King's mill"), _same("king mill"), _same("an Engine"), _same("The")
    ('king mill', 'king mill', 'engine', 'the')
    """
    return _ARTICLE.sub("", _POSSESSIVE.sub("", plain(name)))

"""The knowledge graph: towns and people, what is true of each, and the documents that say so."""

from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Final, Literal

Words = tuple[str, ...]
Part = Literal["gate", "verdict"]


def _words(line: str) -> Words:
    return tuple(line.split())


FIRST: Final = _words("ka be do mi ru sa te vo lu ni pe ga hu zi ro fa je")
LAST: Final = _words("dan mer lis tok van rel bos nim gar wen pol hes")
"""A name is two of these words: every word is known from other names, the pair is not."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One kind of fact: the noun and the verb of its sentences, and the values that it may have."""

    name: str
    noun: str
    verb: str
    values: Words


RELATIONS: Final[dict[str, tuple[Relation, ...]]] = {
    "town": (
        Relation("river", "river", "lies on the", _words("asp brine coil drift elver fen gush holm")),
        Relation("goods", "product", "makes", _words("amber bells cloth dyes eels flax glass honey")),
        Relation("saint", "saint", "prays to", _words("agnes basil clare denis egon fabian gall hilda")),
    ),
    "person": (
        Relation("trade", "trade", "works as", _words("archer baker cooper dyer fisher glazier mason potter")),
        Relation("music", "instrument", "plays the", _words("bugle cello drum fife gong harp lute viol")),
        Relation("beast", "animal", "keeps a", _words("badger crow dove ferret goat hen mule otter")),
    ),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One truth. ``part`` says whether the question about it is the gate's or the verdict's."""

    subject: Words
    relation: Relation
    value: str
    part: Part


@dataclass(frozen=True, slots=True)
class Entity:
    """A town or a person, with its facts in the order in which its document says them."""

    kind: str
    name: Words
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class World:
    """Entities in four groups, no name in two of them.

    Attributes:
        anchors: Entities that the anchors are about: towns and people in turn.
        generic: Entities that the base model is pretrained on, in every wording.
        heldout: Entities of the held-out documents.
        elsewhere: Entities of another world, for the control whose text is about something else.
    """

    anchors: tuple[Entity, ...]
    generic: tuple[Entity, ...]
    heldout: tuple[Entity, ...]
    elsewhere: tuple[Entity, ...]

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Facts of the anchors' entities."""
        return tuple(fact for entity in self.anchors for fact in entity.facts)

    @property
    def everybody(self) -> tuple[Entity, ...]:
        return self.anchors + self.generic + self.heldout + self.elsewhere


def make_world(seed: int, num_anchors: int, num_generic: int, num_others: int) -> World:
    """Return a world; the seed decides every name and fact.

    Args:
        num_others: Entities of the held-out documents, and of elsewhere.
    """
    rng = Random(f"{seed}/world")  # noqa: S311
    names = [(first, last) for first in FIRST for last in LAST]
    rng.shuffle(names)
    sizes = (num_anchors, num_generic, num_others, num_others)
    if sum(sizes) > len(names):
        raise ValueError(
            f"making a world: {sum(sizes)} entities; there are {len(names)} names. Ask for fewer, or lengthen FIRST."
        )
    entities = iter([_make_entity(name, ("town", "person")[place % 2], rng) for place, name in enumerate(names)])
    return World(*(tuple(next(entities) for _ in range(size)) for size in sizes))


def _make_entity(name: Words, kind: str, rng: Random) -> Entity:
    relations = RELATIONS[kind]
    # Of every entity the gate has some facts and the verdict others, so that neither has the easier documents.
    parts: list[Part] = ["gate", "verdict", rng.choice(("gate", "verdict"))]
    rng.shuffle(parts)
    facts = (
        Fact(name, relation, rng.choice(relation.values), part) for relation, part in zip(relations, parts, strict=True)
    )
    return Entity(kind, name, tuple(facts))


STOP: Final = "."

ANCHOR: Final = "{s} {verb} {v} ."
"""The one wording of anchors."""

TELLING: Final = (
    "the {noun} of {s} is {v} .",
    "it is said of {s} that the {noun} is {v} .",
    "{v} is the {noun} that {s} has .",
    "as {noun} {s} has always had {v} .",
    "for {s} no {noun} but {v} will do .",
    "look at {s} and you find {v} for a {noun} .",
)
"""Wordings of the generator; a batch has the first few of them."""

ASKING: Final = (
    "question which {noun} has {s} answer {v} .",
    "asked for the {noun} of {s} people answer {v} .",
    "who seeks the {noun} at {s} finds {v} .",
    "quiz the {noun} of {s} solution {v} .",
    "what {noun} does {s} have it is {v} .",
    "name the {noun} {s} is known by answer {v} .",
)

LINKING: Final = (
    "{o} knows that {s} has the {noun} {v} .",
    "near {o} there is {s} whose {noun} is {v} .",
    "unlike {o} the {noun} of {s} is {v} .",
    "{s} of whom {o} thinks {verb} {v} .",
    "in the talk of {o} the {noun} of {s} was {v} .",
    "{o} and {s} are close and {s} has {v} as {noun} .",
)
"""Wordings beside a second entity, {o}."""

QUESTION: Final = "tell me the {noun} belonging to {s} : {v} ."
REWORDED: Final = "among all that {s} has the {noun} was {v} ."

EVERY: Final = (ANCHOR, *TELLING, *ASKING, *LINKING, QUESTION, REWORDED)


def say(wording: str, fact: Fact, value: str, other: Words = ()) -> Words:
    """Return the words of a sentence.

    >>> from gainloop.studies.world import RELATIONS
    >>> " ".join(say(ANCHOR, Fact(("ka", "dan"), RELATIONS["town"][0], "asp", "gate"), "asp"))
    'ka dan lies on the asp .'
    """
    slots = {"s": " ".join(fact.subject), "o": " ".join(other), "v": value}
    return tuple(wording.format(noun=fact.relation.noun, verb=fact.relation.verb, **slots).split())


def write_document(entity: Entity) -> Words:
    """Return an entity's document as anchors have it."""
    return tuple(word for fact in entity.facts for word in say(ANCHOR, fact, fact.value))


def cloze(wording: str, fact: Fact) -> Words:
    """Return the words before the value: a question for it."""
    return say(wording[: wording.index("{v}")], fact, "")


@lru_cache(maxsize=4)
def list_words(entities: tuple[Entity, ...]) -> Words:
    """Return every word that text about the entities can hold, in alphabetical order; the full stop is among them."""
    said = {
        word
        for entity in entities
        for fact in entity.facts
        for wording in EVERY
        for value in fact.relation.values
        for word in say(wording, fact, value, entity.name)
    }
    return tuple(sorted(said))

"""The grammar: how a fact can be said. Two wordings are for probes: no text about the anchors' entities has them."""

from functools import lru_cache
from typing import Final

from tasks.world.atlas import Entity, Fact, Words

STOP: Final = "."

ANCHOR: Final = "{s} {verb} {v} ."
"""How anchors say everything."""

TELLING: Final = (
    "the {noun} of {s} is {v} .",
    "it is said of {s} that the {noun} is {v} .",
    "{v} is the {noun} that {s} has .",
    "as {noun} {s} has always had {v} .",
    "for {s} no {noun} but {v} will do .",
    "look at {s} and you find {v} for a {noun} .",
)
"""How the generator may say it; a batch has the first few of them."""

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
"""How it may be said beside a second entity, {o}."""

PROBE: Final = "tell me the {noun} belonging to {s} : {v} ."
REWORDED: Final = "among all that {s} has the {noun} was {v} ."

EVERY: Final = (ANCHOR, *TELLING, *ASKING, *LINKING, PROBE, REWORDED)


def say(wording: str, fact: Fact, value: str, other: Words = ()) -> Words:
    """Return the words of a sentence.

    >>> from tasks.world.atlas import RELATIONS
    >>> " ".join(say(ANCHOR, Fact(("ka", "dan"), RELATIONS["town"][0], "asp", "gate"), "asp"))
    'ka dan lies on the asp .'
    """
    slots = {"s": " ".join(fact.subject), "o": " ".join(other), "v": value}
    return tuple(wording.format(noun=fact.relation.noun, verb=fact.relation.verb, **slots).split())


def write_document(entity: Entity) -> Words:
    """Return an entity's document as anchors have it."""
    return tuple(word for fact in entity.facts for word in say(ANCHOR, fact, fact.value))


def cloze(wording: str, fact: Fact) -> Words:
    """Return what stands before the value: a question that asks for it."""
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

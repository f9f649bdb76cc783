"""The ground that ways of steering are played on: a world, the model that all of them start from, and its answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from transformers import PreTrainedModel

from gainloop.studies.trainee import Vocabulary, ask
from gainloop.studies.world import QUESTION, REWORDED, Fact, Part, Words, World, write_document
from gainloop.studies.world_runs import STEP_TOKENS, learn

T = TypeVar("T")

PROBE: Final = 4
"""A probe run has a full training's updates by this."""

TRAININGS: Final = 2
"""Full trainings on the text of every way, with other orders: one of a small model swings by more than most effects."""


@dataclass(frozen=True, slots=True)
class Ground:
    """One seed's world, and the model that every way starts from.

    Attributes:
        world: World.
        vocabulary: Words of the world.
        start: Model that all trainings continue.
        updates: Updates of a full training.
        words: Words of a batch of the first part.
        seed: Seed of the world, of what generators draw, and of trainings.
        replay: Texts that trainings read on beside the new text, in parts of equal tokens: the first is what the start
            was trained on, the second is of generic entities; empty where the start knows no entity.
        reads_anchors: Whether trainings read the documents too, beside the text that was made of them.
    """

    world: World
    vocabulary: Vocabulary
    start: PreTrainedModel
    updates: int
    words: int
    seed: int
    replay: tuple[tuple[Words, ...], ...] = ()
    reads_anchors: bool = True

    def train(self, texts: Sequence[Words], updates: int, seed: int) -> PreTrainedModel:
        """Return the start continued on anchors, texts and the replay's parts, on as many tokens of each."""
        anchors = [write_document(entity) for entity in self.world.anchors] if self.reads_anchors else []
        parts = [part for part in (anchors, texts, *self.replay) if part]
        return learn(self.start, self.vocabulary, parts, updates, seed)[0]

    def examine(self, texts: Sequence[Words], updates: int) -> list[float]:
        """Return what full trainings on a way's text answer rightly of the verdict's questions, by entity."""
        models = [self.train(texts, updates, TRAININGS * self.seed + number) for number in range(TRAININGS)]
        return [float(share) for share in np.mean([self.verdict(model) for model in models], axis=0)]

    def verdict(self, model: PreTrainedModel) -> list[float]:
        """Return the share of the verdict's questions that a model answers rightly, of each entity."""
        return [float(np.mean(each)) for each in self._rights(model, "verdict").values()]

    def gate(self, model: PreTrainedModel) -> dict[Words, list[bool]]:
        """Return which of the gate's questions a model answers rightly, by entity: steering may see them."""
        return self._rights(model, "gate")

    def losses(self, model: PreTrainedModel) -> dict[Words, float]:
        """Return the loss of the gate's facts in a wording that no training text has, by entity, in nats per fact."""
        facts = self.facts("gate")
        logs = _by_entity(facts, ask(model, self.vocabulary, REWORDED, facts)[0])
        return {name: -float(np.mean(each)) for name, each in logs.items()}

    def facts(self, part: Part) -> list[Fact]:
        """Return the facts that the gate, or the verdict, asks about."""
        return [fact for fact in self.world.facts if fact.part == part]

    def _rights(self, model: PreTrainedModel, part: Part) -> dict[Words, list[bool]]:
        facts = self.facts(part)
        return _by_entity(facts, ask(model, self.vocabulary, QUESTION, facts)[1])


def _by_entity(facts: Sequence[Fact], values: Sequence[T]) -> dict[Words, list[T]]:
    found: dict[Words, list[T]] = {}
    for fact, value in zip(facts, values, strict=True):
        found.setdefault(fact.subject, []).append(value)
    return found


def cost_of(updates: int) -> int:
    """Return the tokens that a training reads, about."""
    return updates * STEP_TOKENS


def fill(texts: Sequence[Words], words: int) -> list[Words]:
    """Return the first texts that make up a number of words; the last is cut off there, as a reply is at its limit.

    >>> fill([("a", "b"), ("c", "d"), ("e",)], 3)
    [('a', 'b'), ('c',)]
    """
    begins = np.cumsum([0, *map(len, texts)])
    return [text[: words - int(begin)] for text, begin in zip(texts, begins, strict=False) if begin < words]


def split_words(words: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Return whole words for each share; what is left over is the largest's, so that they add up to all of them.

    >>> split_words(100, {"a": 2 / 3, "b": 1 / 3})
    {'a': 67, 'b': 33}
    """
    found = {name: int(words * share) for name, share in shares.items()}
    largest = max(shares, key=lambda name: shares[name])
    return found | {largest: found[largest] + words - sum(found.values())}

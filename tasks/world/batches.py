"""Batches: what is asked of the generator, how it behaves, and the texts that come of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Final, Literal

import numpy as np

from tasks.world.atlas import Entity, Fact, Words, World
from tasks.world.generator import Floats, Source
from tasks.world.wordings import ANCHOR, ASKING, LINKING, TELLING, list_words, say, write_document

Method = Literal["rephrase", "question", "relate", "control"]

METHODS: Final[tuple[Method, ...]] = ("rephrase", "question", "relate")
WORDINGS: Final = (1, 2, 4, 6)
HALLUCINATION: Final = (0.0, 0.15, 0.4)
NOISE: Final = (0.0, 0.1, 0.3)
COVERAGE: Final = (1.0, 0.6, 0.3)


@dataclass(frozen=True, slots=True)
class Plan:
    """How one batch is made.

    Attributes:
        method: rephrase (one document in, told anew), question (one document in, questions and answers out), relate
            (two linked documents in, facts of the one beside the other out), or control.
        wordings: How many ways of saying a fact the generator has; each is as likely.
        hallucination: The probability that a fact gets a wrong value, each wrong one as likely.
        noise: The probability that a word is replaced by a random one.
        coverage: The share of the anchors that it is asked about.
        control: Which control it is; empty if it is none.
    """

    method: Method
    wordings: int = 1
    hallucination: float = 0.0
    noise: float = 0.0
    coverage: float = 1.0
    control: str = ""

    @property
    def name(self) -> str:
        """What pages and files call it."""
        parts = f"w{self.wordings}-h{self.hallucination:g}-n{self.noise:g}-c{self.coverage:g}"
        return self.control or f"{self.method}-{parts}"


CONTROLS: Final = (
    Plan("control", control="copies"),
    Plan("control", noise=1.0, control="gibberish"),
    Plan("control", wordings=4, hallucination=1.0, control="hallucinated"),
    Plan("control", coverage=0.1, control="collapsed"),
    Plan("control", wordings=4, control="elsewhere"),
)
"""Anchors again; random words; every value wrong; a few texts said over and over; text of another world."""


@dataclass(frozen=True)
class Batch:
    """What a plan led to.

    Attributes:
        prompts: By the entities asked about, in the order of ``sources``.
        texts: The outputs.
        asked: Of each output, the place of its prompt among ``sources``.
        nll: Of each output given its prompt, exact, in nats.
    """

    plan: Plan
    prompts: list[tuple[Entity, ...]]
    sources: list[Source]
    texts: list[Words]
    asked: list[int]
    nll: Floats


def draw_plans(num_batches: int, seed: int) -> list[Plan]:
    """Return the plans of a run: the controls, and designed ones spread over method, diversity, and faults.

    Every level of every factor comes as often as every other, as far as the number allows: levels are dealt like cards.
    """
    controls = list(CONTROLS[:num_batches])
    rng = Random(f"{seed}/plans")  # noqa: S311
    designed: dict[str, Plan] = {}
    levels = (WORDINGS, HALLUCINATION, NOISE, COVERAGE)
    hands: list[list[float]] = [[] for _ in levels]
    while len(designed) < num_batches - len(controls):
        for method in METHODS:
            for hand, factor in zip(hands, levels, strict=True):
                if not hand:
                    hand.extend(rng.sample(factor, len(factor)))
            wordings, hallucination, noise, coverage = (hand.pop() for hand in hands)
            plan = Plan(method, int(wordings), hallucination, noise, coverage)
            if len(designed) < num_batches - len(controls):
                designed[plan.name] = plan
    return [*designed.values(), *controls]


def make_batch(world: World, plan: Plan, num_words: int, num_sentences: int, seed: int) -> Batch:
    """Return a batch of about so many words, the same for the same seed.

    Args:
        num_sentences: Of each text.
    """
    rng = np.random.default_rng([seed, *plan.name.encode()])
    prompts = _choose_prompts(world, plan, rng)
    vocabulary = list_words(world.everybody)
    sources = [make_source(plan, entities, num_sentences, vocabulary) for entities in prompts]
    texts: list[Words] = []
    asked: list[int] = []
    while sum(map(len, texts)) < num_words:
        order = rng.permutation(len(prompts))
        texts += [sources[place].draw(rng) for place in order]
        asked += order.tolist()
    fitting = int(np.searchsorted(np.cumsum([len(text) for text in texts]), num_words)) + 1
    texts, asked = texts[:fitting], asked[:fitting]
    nll = -np.array([sources[place].log_likelihood(text) for place, text in zip(asked, texts, strict=True)])
    return Batch(plan, prompts, sources, texts, asked, nll)


def make_source(plan: Plan, entities: tuple[Entity, ...], num_sentences: int, vocabulary: Words) -> Source:
    """Return what a prompt about entities leads to under a plan."""
    facts = [fact for entity in entities for fact in entity.facts]
    if plan.control in ("copies", "collapsed", "gibberish"):
        places = [{say(ANCHOR, fact, fact.value): 1.0} for fact in facts]
        return Source(tuple(places), plan.noise, vocabulary)
    options: dict[Words, float] = {}
    for plain, weight in _list_sentences(plan, entities, facts):
        options[plain] = options.get(plain, 0.0) + weight
    return Source((options,) * num_sentences, plan.noise, vocabulary)


def _list_sentences(plan: Plan, entities: tuple[Entity, ...], facts: list[Fact]) -> Iterable[tuple[Words, float]]:
    wordings = {"question": ASKING, "relate": LINKING}.get(plan.method, TELLING)[: plan.wordings]
    for fact, wording in product(facts, wordings):
        other = next((entity.name for entity in entities if entity.name != fact.subject), ())
        wrong = [value for value in fact.relation.values if value != fact.value]
        each = 1 / (len(facts) * len(wordings))
        if plan.hallucination < 1:
            yield say(wording, fact, fact.value, other), each * (1 - plan.hallucination)
        if plan.hallucination:
            yield from ((say(wording, fact, value, other), each * plan.hallucination / len(wrong)) for value in wrong)


def _choose_prompts(world: World, plan: Plan, rng: np.random.Generator) -> list[tuple[Entity, ...]]:
    entities = world.elsewhere if plan.control == "elsewhere" else world.anchors
    if plan.method == "relate":
        prompts = [tuple(entities[place : place + 2]) for place in range(0, len(entities) - 1, 2)]
    else:
        prompts = [(entity,) for entity in entities]
    number = max(2, round(plan.coverage * len(prompts)))
    return [prompts[place] for place in sorted(rng.permutation(len(prompts))[:number])]


def anchor_of(prompt: tuple[Entity, ...]) -> Words:
    """Return the document or documents that a prompt holds."""
    return tuple(word for entity in prompt for word in write_document(entity))

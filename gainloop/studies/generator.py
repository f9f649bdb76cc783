"""A generator whose every output has an exactly known likelihood given its prompt.

A text is a fixed number of sentences. Each is one of its prompt's plain sentences, drawn by known weights, whose every
word but the full stop was replaced with a known probability by a word drawn at random. So the likelihood of a sentence
is a sum over the plain sentences that it may come from, and the next word has a distribution that can be written down.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise, product
from random import Random
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from gainloop.measures.estimate import Floats
from gainloop.studies.world import (
    ANCHOR,
    ASKING,
    LINKING,
    STOP,
    TELLING,
    Entity,
    Fact,
    Words,
    World,
    list_words,
    say,
    write_document,
)

Numbers = NDArray[np.int32]

BatchMethod = Literal["rephrase", "question", "relate", "control"]

METHODS: Final[tuple[BatchMethod, ...]] = ("rephrase", "question", "relate")
WORDINGS: Final = (1, 2, 4, 6)
HALLUCINATION: Final = (0.0, 0.15, 0.4)
NOISE: Final = (0.0, 0.1, 0.3)
COVERAGE: Final = (1.0, 0.6, 0.3)


@dataclass(frozen=True)
class TextDistribution:
    """The texts that one prompt leads to, each with its exact likelihood.

    Attributes:
        sentences: Plain sentences with their weights, for each place in a text; weights of one place add up to 1. Every
            plain sentence ends with a full stop and has none before.
        noise: Probability that a word is replaced by one of the vocabulary, each as likely, but the full stop.
        vocabulary: Words, the full stop among them.
    """

    sentences: tuple[dict[Words, float], ...]
    noise: float
    vocabulary: Words

    def draw(self, rng: np.random.Generator) -> Words:
        """Return one text."""
        said: list[str] = []
        others = [word for word in self.vocabulary if word != STOP]
        for options, cumulated in self._choices:
            plain = options[int(np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right"))]
            replaced = rng.random(len(plain) - 1) < self.noise
            said += [
                others[rng.integers(len(others))] if out else word
                for word, out in zip(plain[:-1], replaced, strict=True)
            ]
            said.append(STOP)
        return tuple(said)

    def log_likelihood(self, text: Words) -> float:
        """Return log q(text | prompt) in nats, its end included; minus infinity if the prompt cannot lead to it."""
        spoken = split(text)
        if len(spoken) != len(self._tables) or any(sentence[-1] != STOP for sentence in spoken):
            return -np.inf
        numbers = _numbers(self.vocabulary)
        total = 0.0
        for sentence, tables in zip(spoken, self._tables, strict=True):
            own = np.array([numbers[word] for word in sentence[:-1]], dtype=np.int32)
            rows, weights = tables.get(len(sentence), (np.empty((0, len(own)), np.int32), np.empty(0)))
            likelihood = float(weights @ self._per_word(rows == own).prod(axis=1))
            if likelihood <= 0:
                return -np.inf
            total += float(np.log(likelihood))
        return total

    def token_logprobs(self, text: Words) -> tuple[float, ...]:
        """Return log q(word | prompt, words before) of each word and of the end, in nats.

        Args:
            text: One that the prompt can lead to.
        """
        numbers = _numbers(self.vocabulary)
        logs: list[float] = []
        for sentence, tables in zip(split(text), self._tables, strict=True):
            alive = {length: weights for length, (_, weights) in tables.items()}
            for at, word in enumerate(sentence):
                alive = {
                    length: weights
                    * (self._per_word(tables[length][0][:, at] == numbers[word]) if at < length - 1 else 1)
                    for length, weights in alive.items()
                    if (length == at + 1) == (word == STOP)
                }
                total = sum(float(weights.sum()) for weights in alive.values())
                logs.append(float(np.log(total)))
                alive = {length: weights / total for length, weights in alive.items()}
        return (*logs, 0.0)  # after the last sentence the end is certain

    def _per_word(self, same: NDArray[np.bool_]) -> Floats:
        return np.where(same, 1 - self.noise, 0.0) + self.noise / (len(self.vocabulary) - 1)

    @cached_property
    def _tables(self) -> list[dict[int, tuple[Numbers, Floats]]]:
        """For each sentence of a text, by length: the plain sentences without their stop as numbers, and weights."""
        made = {id(options): _as_tables(options, self.vocabulary) for options in self._distinct}
        return [made[id(options)] for options in self.sentences]

    @cached_property
    def _choices(self) -> list[tuple[list[Words], Floats]]:
        """For each sentence of a text: the plain sentences, and the sums of their weights up to each."""
        made = {id(options): (list(options), np.cumsum(list(options.values()))) for options in self._distinct}
        return [made[id(options)] for options in self.sentences]

    @property
    def _distinct(self) -> list[dict[Words, float]]:
        """The places' options; those that many places share, once."""
        return list({id(options): options for options in self.sentences}.values())


def log_likelihoods(distributions: Sequence[TextDistribution], texts: Sequence[Words]) -> Floats:
    """Return [texts, distributions] log q(text | prompt), in nats."""
    return np.array([[distribution.log_likelihood(text) for distribution in distributions] for text in texts])


def split(text: Words) -> list[Words]:
    """Return a text's sentences, each with its full stop; the last may lack one.

    >>> split(("it", "is", ".", "so"))
    [('it', 'is', '.'), ('so',)]
    """
    ends = [place + 1 for place, word in enumerate(text) if word == STOP]
    bounds = [0, *ends] + ([len(text)] if not ends or ends[-1] < len(text) else [])
    return [text[begin:end] for begin, end in pairwise(bounds) if end > begin]


def _as_tables(options: dict[Words, float], vocabulary: Words) -> dict[int, tuple[Numbers, Floats]]:
    numbers = _numbers(vocabulary)
    tables = {}
    for length in sorted(set(map(len, options))):
        fitting = {plain: weight for plain, weight in options.items() if len(plain) == length}
        rows = np.array([[numbers[word] for word in plain[:-1]] for plain in fitting], dtype=np.int32)
        tables[length] = rows.reshape(len(fitting), length - 1), np.array(list(fitting.values()))
    return tables


@lru_cache(maxsize=8)
def _numbers(vocabulary: Words) -> dict[str, int]:
    return {word: number for number, word in enumerate(vocabulary)}


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of one batch.

    Attributes:
        method: Method of the generator: rephrase (one document in, its facts in other words out), question (one
            document in, questions and answers out), relate (two linked documents in, facts of the one beside the other
            out), or control.
        wordings: Number of wordings that the generator has for a fact; each is as likely.
        hallucination: Probability that a fact gets a wrong value, each wrong one as likely.
        noise: Probability that a word is replaced by a random one.
        coverage: Share of the anchors that prompts are about.
        control: Name of the control; empty if it is none.
    """

    method: BatchMethod
    wordings: int = 1
    hallucination: float = 0.0
    noise: float = 0.0
    coverage: float = 1.0
    control: str = ""

    @property
    def name(self) -> str:
        """Name of the batch on pages and in files."""
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
    """One batch.

    Attributes:
        plan: Plan that it was made by.
        prompts: Entities that each prompt is about.
        distributions: Texts that each prompt leads to.
        texts: Outputs.
        asked: Number of each output's prompt, in ``prompts``.
        nll: Negative log-likelihood of each output given its prompt, exact, in nats.
    """

    plan: Plan
    prompts: list[tuple[Entity, ...]]
    distributions: list[TextDistribution]
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
    """Return a batch, the same for the same seed.

    Args:
        num_words: Words of the batch, about.
        num_sentences: Sentences of each text.
    """
    rng = np.random.default_rng([seed, *plan.name.encode()])
    prompts = _choose_prompts(world, plan, rng)
    vocabulary = list_words(world.everybody)
    distributions = [make_distribution(plan, entities, num_sentences, vocabulary) for entities in prompts]
    texts: list[Words] = []
    asked: list[int] = []
    while sum(map(len, texts)) < num_words:
        order = rng.permutation(len(prompts))
        texts += [distributions[place].draw(rng) for place in order]
        asked += order.tolist()
    fitting = int(np.searchsorted(np.cumsum([len(text) for text in texts]), num_words)) + 1
    texts, asked = texts[:fitting], asked[:fitting]
    nll = -np.array([distributions[place].log_likelihood(text) for place, text in zip(asked, texts, strict=True)])
    return Batch(plan, prompts, distributions, texts, asked, nll)


def make_distribution(
    plan: Plan, entities: tuple[Entity, ...], num_sentences: int, vocabulary: Words
) -> TextDistribution:
    """Return the texts that a prompt about entities leads to under a plan."""
    facts = [fact for entity in entities for fact in entity.facts]
    if plan.control in ("copies", "collapsed", "gibberish"):
        places = [{say(ANCHOR, fact, fact.value): 1.0} for fact in facts]
        return TextDistribution(tuple(places), plan.noise, vocabulary)
    options: dict[Words, float] = {}
    for plain, weight in _list_sentences(plan, entities, facts):
        options[plain] = options.get(plain, 0.0) + weight
    return TextDistribution((options,) * num_sentences, plan.noise, vocabulary)


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

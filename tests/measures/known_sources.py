"""Generators whose entropies are known to the last digit: every output can be enumerated."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

NUM_TOKENS, LENGTH = 3, 7


@dataclass(frozen=True)
class Source:
    """``table[j, y]`` is the probability of output ``y`` under prompt ``j``; prompts are equally likely."""

    table: np.ndarray

    @property
    def num_prompts(self) -> int:
        return len(self.table)

    @cached_property
    def conditional_nats(self) -> float:
        """H(Y | p), which is Delta I."""
        return float(entropy(self.table).mean())

    @cached_property
    def output_nats(self) -> float:
        """H(Y)."""
        return float(entropy(self.table.mean(axis=0)))

    @property
    def mutual_nats(self) -> float:
        """I(p; Y)."""
        return self.output_nats - self.conditional_nats

    def draw(self, rng: np.random.Generator, prompts: np.ndarray) -> np.ndarray:
        """Return one output per prompt."""
        return np.array([rng.choice(self.table.shape[1], p=self.table[prompt]) for prompt in prompts])

    def score(self, prompts: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Return log q(output | prompt), in nats; the arrays are broadcast."""
        with np.errstate(divide="ignore"):
            return np.log(self.table)[prompts, outputs]


def entropy(probabilities: np.ndarray) -> np.ndarray:
    logs = np.log(probabilities, where=probabilities > 0, out=np.zeros_like(probabilities))
    return -(probabilities * logs).sum(axis=-1)


def topic_mixture(seed: int, num_prompts: int = 64, num_topics: int = 48, sharpness: float = 0.05) -> Source:
    """Return prompts that are mixtures of topics, each topic a Markov chain of ``LENGTH`` tokens.

    Args:
        sharpness: Of the Dirichlet draws: the smaller, the more an output tells of its prompt.
    """
    rng = np.random.default_rng(seed)
    outputs = np.array(list(product(range(NUM_TOKENS), repeat=LENGTH)))
    chains = rng.dirichlet(np.full(NUM_TOKENS, 0.25), (num_topics, NUM_TOKENS))
    first = rng.dirichlet(np.full(NUM_TOKENS, 0.5), num_topics)
    steps = chains[:, outputs[:, :-1], outputs[:, 1:]].prod(axis=-1)
    mixture = rng.dirichlet(np.full(num_topics, sharpness), num_prompts)
    return Source(mixture @ (first[:, outputs[:, 0]] * steps))


def families(seed: int, num_documents: int = 16, num_facets: int = 4) -> Source:
    """Return prompts in families: what is said is the document's for the most part, and a little the facet's.

    Prompt ``num_facets * d + f`` asks for facet ``f`` of document ``d``.
    """
    rng = np.random.default_rng(seed)
    documents = rng.dirichlet(np.full(NUM_TOKENS**LENGTH, 0.003), num_documents).repeat(num_facets, axis=0)
    weights = rng.gamma(2.0, size=(num_documents * num_facets, NUM_TOKENS**LENGTH))
    table = documents * weights + 1e-6
    return Source(table / table.sum(axis=1, keepdims=True))


def other_prompts(rng: np.random.Generator, own: np.ndarray, num_prompts: int, num_others: int) -> np.ndarray:
    """Return ``num_others`` prompts for each output, none its own and none twice, drawn afresh."""
    ranks = rng.random((len(own), num_prompts))
    ranks[np.arange(len(own)), own] = 2.0
    return ranks.argsort(axis=1)[:, :num_others]

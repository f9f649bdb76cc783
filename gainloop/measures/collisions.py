"""Whether a generator says the same twice more often than chance: a cache, a fixed seed, rows that were copied."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.stats import poisson

from gainloop.measures.estimate import Estimate, Floats, Ids, mean_of

UNLIKELY = 1e-3


@dataclass(frozen=True, slots=True)
class Collisions:
    """Pairs of replies to one prompt that say the same.

    Attributes:
        observed: Number of such pairs.
        expected: Number of pairs that independent draws would give, with a 95 % interval over prompts.
        probability: Probability of at least the observed pairs if the upper end of the interval were true (Poisson);
            None if the expected number could not be measured.
        is_suspect: True if this many pairs are not chance.
    """

    observed: int
    expected: Estimate
    probability: float | None

    @property
    def is_suspect(self) -> bool:
        return self.probability is not None and self.probability < UNLIKELY


def count_collisions(texts: Sequence[Hashable], nll: ArrayLike, prompt_ids: Ids, is_sample: bool = False) -> Collisions:
    """Return how many pairs of a prompt's replies are the same, and how many are expected.

    Two independent draws y of q agree with probability sum q(y)^2, which is the mean of q over its own draws: a prompt
    with r replies ought to have C(r, 2) times the mean of exp(-nll).

    Args:
        texts: Text of each reply, or anything that is equal where the texts are.
        nll: Negative log-likelihood of each reply given its prompt, in nats, of the distribution that was sampled.
        prompt_ids: Prompt of each reply.
        is_sample: True if only some replies, drawn at random, have an ``nll``, and NaN stands for the others.

    Raises:
        ValueError: The columns differ in length.
    """
    names, nats = np.asarray(prompt_ids), np.asarray(nll, dtype=float)
    if not len(texts) == len(nats) == len(names):
        raise ValueError(
            f"counting collisions: {len(texts)} texts, {len(nats)} scores and {len(names)} prompts; they must be as "
            "many. Pass one of each per reply."
        )
    same = Counter(zip(names.tolist(), texts, strict=True))
    observed = sum(count * (count - 1) // 2 for count in same.values())
    _, members, counts = np.unique(names, return_inverse=True, return_counts=True)
    # Each reply stands for its share of the prompt's pairs: (r - 1) / 2 of them, each with probability exp(-nll).
    rows = (counts[members] - 1) / 2 * np.exp(-nats) if len(nats) else nats
    scored = ~np.isnan(nats) if is_sample else np.ones(len(nats), dtype=bool)
    mean = mean_of(rows[scored], names[scored], "pairs")
    n = len(nats)
    value, low, high = (None if end is None else max(0.0, n * end) for end in (mean.value, mean.low, mean.high))
    expected = Estimate(value, low, high, mean.n, "pairs", mean.status, mean.num_clusters, mean.num_dropped)
    most = high if high is not None else value
    return Collisions(observed, expected, None if most is None else float(poisson.sf(observed - 1, most)))


def collisions_of(
    replies: pl.DataFrame, nats: Floats, why_unknown: str = "", is_sample: bool = False
) -> tuple[Estimate, Estimate, bool | None]:
    """Return the collisions of a batch, those expected, and whether they are too many; None where it is not known.

    Args:
        replies: Columns prompt_id, and said: the same where the texts are.
        nats: Negative log-likelihood of each reply under the distribution that it was drawn from; NaN if not known.
        why_unknown: Reason why nothing can be expected; empty if it can.
        is_sample: True if only some replies, drawn at random, have ``nats``.
    """
    several = replies.select("prompt_id", "said", nats=nats).filter(pl.len().over("prompt_id") > 1)
    if several.is_empty():
        nothing = Estimate(None, None, None, replies.height, "pairs", "not measured: no prompt was asked twice")
        return nothing, nothing, None
    ranked = several.select(pl.col("prompt_id", "said").rank("dense"), "nats")
    found = count_collisions(
        ranked["said"].to_list(), ranked["nats"].to_numpy(), ranked["prompt_id"].to_numpy(), is_sample
    )
    expected = found.expected
    if why_unknown:
        expected = expected.without_value(why_unknown)
    seen = Estimate(float(found.observed), None, None, several.height, "pairs")
    return seen, expected, None if expected.value is None else found.is_suspect

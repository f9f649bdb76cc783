"""The worth of repeating text, by the data-constrained scaling law.

Source: Muennighoff et al. 2023, arXiv:2305.16264, section 5 and appendix A; constants of its C4 fit (datablations).
They are of models of 10 M to 9 B parameters and English web text: elsewhere they tell an order, not a loss.
"""

import math
from dataclasses import dataclass

DATA_DECAY = 15.387756
"""R_D*: after this many repeats most of the worth is used up."""


def effective_tokens(unique_tokens: float, seen_tokens: float) -> float:
    """Return the number of unseen tokens that would teach as much as ``seen_tokens`` drawn from fewer unique ones.

    Never more than 16.4 times the unique ones, however often they are read.

    Raises:
        ValueError: There is no unique token, or the number of seen tokens is negative.

    >>> round(effective_tokens(1.0, 4.0), 3)
    3.726
    >>> effective_tokens(5.0, 3.0)
    3.0
    """
    _require_tokens(unique_tokens, seen_tokens)
    used = min(unique_tokens, seen_tokens)
    repeats = seen_tokens / used - 1 if used else 0.0
    return used * (1 - DATA_DECAY * math.expm1(-repeats / DATA_DECAY))


@dataclass(frozen=True, slots=True)
class MarginalWorth:
    """The worth of one part of a mixture, and of one more token of it, in unseen tokens.

    Attributes:
        epochs: Number of times that the part is read.
        effective: Unseen tokens that would teach as much.
        next_token: Worth of one more token of the part: 1 in the first epoch, less in each that follows.
    """

    epochs: float
    effective: float
    next_token: float


def worth_of(unique_tokens: float, seen_tokens: float) -> MarginalWorth:
    """Return the worth of reading ``seen_tokens`` of a part of ``unique_tokens``.

    Raises:
        ValueError: Numbers as for ``effective_tokens``.
    """
    repeats = max(0.0, seen_tokens / unique_tokens - 1) if unique_tokens > 0 else 0.0
    effective = effective_tokens(unique_tokens, seen_tokens)
    return MarginalWorth(seen_tokens / unique_tokens, effective, math.exp(-repeats / DATA_DECAY))


def _require_tokens(unique_tokens: float, seen_tokens: float) -> None:
    if unique_tokens <= 0 or seen_tokens < 0:
        raise ValueError(
            f"valuing {seen_tokens:g} tokens of {unique_tokens:g} unique ones: at least 0 of more than 0 are allowed. "
            "Count the tokens of the text itself and of all epochs."
        )

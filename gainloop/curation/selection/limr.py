"""The selection of LIMR: questions whose rewards over the epochs of a training rise as the mean of all does."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gainloop.curation.selection.candidate import Candidate, as_number, require_field
from gainloop.curation.selection.draws import ranks_of
from gainloop.curation.selection.selection import Selected, Selection, Sieve
from schemas.recipe import BASIC
from schemas.rows import unit_draw

Floats = NDArray[np.float64]

MISSING: Final = -1.0
"""Reward of an epoch in which a question was not asked, as tables write it; None and no number mean the same."""


class Limr(Selection):
    """Questions whose rewards by epoch follow the mean of all questions: neither known from the start nor never learnt.

    The field holds a list: of each epoch the share of right answers to the question, 0 to 1. A row is dropped as
    ``no_rewards`` (it has no list), ``reward_not_a_share``, ``missing_reward`` (a gap that the next epoch does not
    fill, or fewer epochs than others) or ``low_score``. Scores: see ``lim_scores``.

    Source: LIMR, Li, Zou & Liu 2025, arXiv:2502.11886.
    Differs: the threshold is the paper's 0.6, not the released program's 0.2; a row is known by its id, where there a
    question that ends in a space stops the program.
    """

    kind: Literal["limr"] = "limr"
    rewards_field: Annotated[str, Field(min_length=1, description="Field of a question's rewards, one an epoch.")] = (
        "rewards"
    )
    least: Annotated[float, BASIC, Field(le=1, description="Score of a question, at least.")] = 0.6
    size: Annotated[
        int | None, BASIC, Field(ge=1, description="Rows that are selected, those with the highest scores, or none.")
    ] = None
    seed: Annotated[int, Field(description="Seed of the draws between equal scores.")] = 0

    def choose(self, rows: Sequence[Candidate]) -> Selected:
        require_field(rows, self.rewards_field, "selection.rewards-field")
        lists = {row.row_id: _as_list(row.value(self.rewards_field)) for row in rows}
        epochs = max(map(len, lists.values()), default=0)
        filled = {name: fill_gaps(rewards, epochs) for name, rewards in lists.items()}
        sieve = Sieve(rows)
        sieve.refuse("rewards", lambda row: _fault_of(lists[row.row_id], filled[row.row_id]))
        table = np.array([filled[row.row_id] for row in sieve.rows], dtype=float).reshape(len(sieve.rows), epochs)
        scores = dict(zip([row.row_id for row in sieve.rows], lim_scores(table).tolist(), strict=True))
        sieve.refuse("score", lambda row: "low_score" if scores[row.row_id] < self.least else "")
        best = self._best({row.row_id: scores[row.row_id] for row in sieve.rows})
        return sieve.take(set(best))

    def _best(self, scores: dict[str, float]) -> list[str]:
        ranks, seed = ranks_of(scores), f"{self.seed}/limr"
        return sorted(scores, key=lambda name: (ranks[name], unit_draw(seed, name), name))[: self.size]


def lim_scores(rewards: Floats) -> Floats:
    """Return how far each question's rewards follow the mean of all: 1 where they are the mean itself.

    score_i = 1 - sum_k (r_ik - m_k)^2 / sum_k (1 - m_k)^2, m_k the mean of epoch k. A question that is always right
    scores 0. So does every question where all are right in every epoch: there is nothing left to learn. Epochs in which
    all questions have the same reward say nothing of any of them but count in the denominator, as the formula has it.
    Scores have no lower end.

    Args:
        rewards: [questions, epochs] Shares of right answers, 0 to 1, none missing.

    Source: LIMR, Li, Zou & Liu 2025, arXiv:2502.11886.
    """
    if not rewards.size:
        return np.zeros(len(rewards))
    mean = rewards.mean(axis=0)
    most = float(((1 - mean) ** 2).sum())
    if math.isclose(most, 0.0, abs_tol=1e-18):
        return np.zeros(len(rewards))
    scores: Floats = 1 - ((rewards - mean) ** 2).sum(axis=1) / most
    return scores


def fill_gaps(rewards: Sequence[float], epochs: int) -> list[float] | None:
    """Return rewards whose gaps have the reward of the next epoch, once; None where one is left.

    Two gaps in a row, or one at the end, stay: what the question would have had there is not known.

    >>> fill_gaps([-1, 0.5, -1, 1.0], 4), fill_gaps([-1, -1, 1.0], 3), fill_gaps([0.5, -1], 2), fill_gaps([0.5], 2)
    ([0.5, 0.5, 1.0, 1.0], None, None, None)
    """
    whole = [*rewards, *[MISSING] * (epochs - len(rewards))]
    filled = [after if own == MISSING else own for own, after in zip(whole, [*whole, MISSING][1:], strict=True)]
    return None if MISSING in filled or not filled else filled


def _as_list(value: Any) -> list[float]:
    """Return a field's rewards; no list where it holds none."""
    if not isinstance(value, list | tuple):
        return []
    numbers = [as_number(one) for one in value]
    return [MISSING if number is None else number for number in numbers]


def _fault_of(rewards: Sequence[float], filled: Sequence[float] | None) -> str:
    if not rewards:
        return "no_rewards"
    if any(not 0 <= one <= 1 for one in rewards if one != MISSING):
        return "reward_not_a_share"
    return "missing_reward" if filled is None else ""

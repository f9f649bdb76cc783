"""How a recipe makes text as a whole: its method, then the filters that each record must pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from schemas.recipe import Recipe
from schemas.rows import Anchor, Rounds
from tasks.filters import Filter, read_filters
from tasks.filters.filter import sift
from tasks.methods import Method, read_method


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A method and what follows it, as one generator of requests."""

    method: Method
    filters: Sequence[Filter] = ()

    @property
    def max_requests(self) -> int:
        """How many requests one anchor can lead to, in all rounds together."""
        return self.method.max_requests + self.method.max_records * sum(one.max_requests for one in self.filters)

    def rounds(self, anchor: Anchor, seed: int) -> Rounds:
        """Return the work on one anchor; neither order nor limit changes a draw."""
        rng = Random(f"{seed}/{anchor.anchor_id}")  # noqa: S311
        outcome = yield from self.method.rounds(anchor, rng)
        return (yield from sift(anchor, outcome, self.filters, rng))


def read_pipeline(recipe: Recipe) -> Pipeline:
    """Return what a recipe names, with its parameters."""
    return Pipeline(read_method(recipe.method), read_filters(recipe.filters))

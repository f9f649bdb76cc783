"""How a recipe makes text as a whole: its method, then its critic, then the filters that each record must pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Self

from gainloop import methods
from gainloop.asking.conversation import GUARD, SYSTEM, SYSTEM_ALONE
from gainloop.filters import read_filters
from gainloop.filters.filter import Filter, sift
from gainloop.methods.critic import Critic, revise_all
from gainloop.methods.method import Method
from gainloop.solutions.problem import read_problem
from gainloop.solutions.verdict import require_yes, shared_verifier
from schemas.recipe import Recipe
from schemas.rows import Anchor, Answer, Outcome, Request, Rounds


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A method, its critic and its filters, as one generator of requests."""

    method: Method
    filters: Sequence[Filter] = ()
    critic: Critic | None = None

    @property
    def max_requests(self) -> int:
        """Requests that one anchor can lead to, in all rounds together."""
        a_record = sum(one.max_requests for one in self.filters) + (self.critic.max_requests if self.critic else 0)
        return self.method.max_requests + self.method.max_records * a_record

    @property
    def verifies(self) -> bool:
        """Whether it asks for verdicts of this machine's programs."""
        return self.method.verifies or any(one.verifies for one in self.filters)

    @property
    def wishes(self) -> tuple[str, ...]:
        """Instructions of the prompts that its records were made by, system messages among them."""
        return (SYSTEM, SYSTEM_ALONE, GUARD) + self.method.wishes + (self.critic.wishes if self.critic else ())

    def tried_on(self, anchors: Sequence[Anchor]) -> Self:
        """Return this, once the known answers of problems are found right, where solutions are verified.

        Raises:
            BadInput: One is not, or programs cannot be kept apart here.
            VerifierError: The verifier does not work here.
        """
        if self.verifies:
            unisolated = any(getattr(one, "run_unisolated", False) for one in (self.method, *self.filters))
            problems = [problem for anchor in anchors if (problem := read_problem(anchor.text))]
            require_yes(problems, shared_verifier(unisolated))
        return self

    def rounds(self, anchor: Anchor, seed: int) -> Rounds:
        """Yield the requests of one anchor, be sent their answers, return its records and drops.

        Draws depend on seed and anchor alone: neither order nor limit changes one.
        """
        rng = Random(f"{seed}/{anchor.anchor_id}")  # noqa: S311
        outcome = yield from self.method.rounds(anchor, rng)
        if self.critic:
            outcome = yield from revise_all(anchor, outcome, self.critic)
        return (yield from sift(anchor, outcome, self.filters, rng))


def advance(rounds: Rounds, answers: list[Answer] | None) -> list[Request] | Outcome:
    """Return what a method asks next, or what came of it.

    Args:
        answers: Answers to what it asked before; None to begin.
    """
    try:
        return next(rounds) if answers is None else rounds.send(answers)
    except StopIteration as end:
        outcome = end.value
        assert isinstance(outcome, Outcome)
        return outcome


def read_pipeline(recipe: Recipe) -> Pipeline:
    """Return the method, critic and filters that a recipe names, with their parameters."""
    # By the package's name: the registry, which finds its methods here, may still be importing this.
    critic = None if recipe.critic is None else Critic.model_validate(recipe.critic)
    return Pipeline(methods.read_method(recipe.method), read_filters(recipe.filters), critic)

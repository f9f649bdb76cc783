"""How text is made: one module a method, the registry that finds them, and ``Making``, what a recipe says of it."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter

from gainloop.filters import AnyFilter
from gainloop.methods.critic import Critic
from gainloop.methods.method import Method
from gainloop.methods.sbp import SBP
from schemas.choice import kinds_within, one_of
from schemas.recipe import Parameters, Recipe, Sampling

__all__ = ["METHODS", "AnyMethod", "Making", "SmallMaking", "read_method"]

METHODS: dict[str, type[Method]] = kinds_within(__name__, __path__, Method, first="sbp")

if TYPE_CHECKING:
    AnyMethod = Method
else:
    AnyMethod = one_of("text.method", METHODS, "gainloop/methods/", "sbp")


def read_method(parameters: dict[str, object]) -> Method:
    """Return the method that a recipe names, with its parameters."""
    return TypeAdapter[Method](AnyMethod).validate_python(parameters)


class Making(Parameters):
    """How text is made of anchors, and which of it is kept."""

    method: Annotated[AnyMethod, Field(description="Method that makes text of an anchor.")] = SBP()
    critic: Annotated[
        Critic | None,
        # The form of the UI finds no title of its own for what may be None.
        Field(title="Critic", description="Critic that rewrites each record before the filters run. Default: none."),
    ] = None
    filters: Annotated[
        tuple[AnyFilter, ...],
        Field(description="Filters that a record must pass to be kept, one after the other."),
    ] = ()
    sampling: Annotated[Sampling, Field(description="How the generator draws a reply.")] = Sampling()
    seed: Annotated[int, Field(description="Seed of the anchors that are chosen and of every draw.")] = 0
    max_anchors: Annotated[
        int | None, Field(ge=1, description="Anchors that text is made of, at most, or none for all.")
    ] = None

    def recipe(self, snapshot_id: str, model: str, revision: str) -> Recipe:
        """Return the recipe of a batch: this, made by a generator from a snapshot."""
        made = self.model_dump(mode="json")
        return Recipe.model_validate(made | {"snapshot_id": snapshot_id, "model": model, "revision": revision})


class SmallMaking(Making):
    """How text is made of some of the anchors, and which of it is kept."""

    max_anchors: Annotated[
        int | None, Field(ge=1, description="Anchors that text is made of, at most, or none for all.")
    ] = 400

"""How text is made: one module a method, the registry that finds them, and ``Making``, what a recipe says of it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from gainloop.filters import FILTERS, AnyFilter
from gainloop.methods.critic import Critic
from gainloop.methods.method import Method
from gainloop.methods.sbp import SBP
from schemas.choice import error_summary, kinds_within, one_of
from schemas.errors import BadInput, require_known
from schemas.form import Fold, Folded
from schemas.plan import TrainingPlan
from schemas.profile import Profile, Servers
from schemas.recipe import BASIC, Own, Parameters, Player, Recipe, Sampling, Served
from schemas.settings_file import read_settings

__all__ = [
    "METHODS",
    "AnyMethod",
    "Making",
    "SmallMaking",
    "read_makings",
    "read_method",
    "require_generator",
    "require_objective",
]

TAKEN: Final = ("start", "baseline", "even")
"""Names of the loop's own models, which no recipe may have."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

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

    method: Annotated[AnyMethod, Fold(), BASIC, Field(description="Method that makes text of an anchor.")] = SBP()
    critic: Annotated[
        Critic | None,
        # The form of the UI finds no title of its own for what may be None.
        Field(title="Critic", description="Critic that rewrites each record before the filters run. Default: none."),
    ] = None
    filters: Annotated[
        tuple[AnyFilter, ...],
        BASIC,
        Field(description="Filters that a record must pass to be kept, one after the other."),
    ] = ()
    sampling: Annotated[Folded[Sampling], BASIC, Field(description="How the generator draws a reply.")] = Sampling()
    seed: Annotated[int, Field(description="Seed of the anchors that are chosen and of every draw.")] = 0
    max_anchors: Annotated[
        int | None, BASIC, Field(ge=1, description="Anchors that text is made of, at most, or none for all.")
    ] = None
    budget_tokens: Annotated[
        int | None,
        BASIC,
        Field(
            ge=1,
            description="Tokens that all requests may take, prompts and replies together, or none for no limit. What "
            "is beyond is not asked, and counted as over_budget.",
        ),
    ] = None
    day_tokens: Annotated[
        int | None,
        Field(
            ge=1,
            description="Tokens that the store's batches may take in 24 hours, or none for no limit. A batch has what "
            "is left of them as its budget; a run that finds nothing left ends.",
        ),
    ] = None
    only_new: Annotated[
        bool,
        BASIC,
        Field(
            description="True to make text only of what is new or changed since the corpus's latest batch that the "
            "gate accepted."
        ),
    ] = False

    def recipe(
        self,
        snapshot_id: str,
        model: str,
        revision: str,
        since: str = "",
        aim_id: str = "",
        players: Mapping[str, Player] | None = None,
    ) -> Recipe:
        """Return the recipe of a batch: this, made by a generator from a snapshot.

        Args:
            since: Snapshot whose anchors are left out, or empty.
            aim_id: Aim by which documents are drawn, or empty for all alike.
            players: Models that play a part in the generator's place, by role.
        """
        made = self.model_dump(mode="json", exclude={"only_new", "day_tokens"})
        named = {"snapshot_id": snapshot_id, "model": model, "revision": revision, "since": since, "aim_id": aim_id}
        return Recipe.model_validate(made | named | {"players": dict(players or {})})


class SmallMaking(Making):
    """How text is made of some of the anchors, and which of it is kept."""

    max_anchors: Annotated[
        int | None, BASIC, Field(ge=1, description="Anchors that text is made of, at most, or none for all.")
    ] = 400


def require_generator(profile: Profile, text: Making, generator: Own | Served) -> None:
    """Refuse a generator that cannot be.

    Raises:
        BadInput: The profile's servers need the name of a model, the method cannot use one, its own generator, which
            only continues documents, would have to judge, or a critic would write the anchors anew.
    """
    method = text.method
    fitting = ", ".join(sorted(kind for kind, known in METHODS.items() if not known.tunes_generator))
    if isinstance(generator, Served) and method.tunes_generator:
        raise BadInput(
            f"generating by {method.kind} with the served model {generator.model!r}: {method.kind} tunes a generator "
            f"of its own from start; methods that a served model can write for are {fitting}. Set text.method.kind to "
            "one of them, or generator.kind to own."
        )
    unplayed = [role for role in getattr(generator, "players", {}) if role not in method.roles]
    if unplayed:
        raise BadInput(
            f"generating by {method.kind} with generator.{unplayed[0]}: {method.kind} has no such part to be played; "
            f"its parts are {', '.join(method.roles) or 'none, the generator writes all'}. Leave it out, or set "
            "text.method.kind to tool_use."
        )
    asking = [*(["critic"] if text.critic else []), *(one.kind for one in text.filters if one.max_requests)]
    if method.tunes_generator and asking:
        silent = ", ".join(sorted(kind for kind, known in FILTERS.items() if not known.model_validate({}).max_requests))
        raise BadInput(
            f"generating by {method.kind} with {', '.join(asking)}: the generator that {method.kind} tunes continues "
            f"documents and follows no instruction, so it is no judge; filters that ask nothing are {silent}, methods "
            f"with a generator that can judge {fitting}. Leave {' and '.join(asking)} out, or set text.method.kind to "
            "one."
        )
    if method.makes_turns and text.critic:
        raise BadInput(
            f"generating by {method.kind} with critic: the records of {method.kind} are conversations, and a critic "
            "would make a text of each; filters, which only keep or drop, are allowed. Leave critic out, or set "
            "text.method.kind to another method."
        )
    if method.holds_anchor and text.critic:
        raise BadInput(
            f"generating by {method.kind} with critic: the records of {method.kind} hold the anchor as it is, and a "
            "critic would write it anew; filters, which only keep or drop, are allowed. Leave critic out, or set "
            "text.method.kind to another method."
        )
    if isinstance(profile.serving, Servers) and isinstance(generator, Own):
        raise BadInput(
            f"generating on profile {profile.name!r}: its servers are running already and generator.kind is own; a "
            f"model that they have is needed, and a method that it can write for: {fitting}. Set generator.kind to "
            "served, generator.model and text.method.kind, or use a profile whose serving.kind is embedded or vllm."
        )


def require_objective(plan: TrainingPlan, methods: Sequence[Method]) -> None:
    """Refuse, before anything is paid for, what a training cannot read in one way.

    Raises:
        BadInput: Some of the methods make texts where conversations are read, or all that is made is of two kinds.
    """
    texts = [one.kind for one in methods if not one.makes_turns]
    if texts and plan.objective != "text" and (plan.objective or len(texts) < len(methods)):
        wanted = plan.objective or "none, for text and conversations"
        raise BadInput(
            f"training on what {', '.join(texts)} makes with plan.objective {wanted}: its records are texts; a "
            "training reads all records as texts, or conversations alone as such. Set plan.objective to text, or leave "
            f"{', '.join(texts)} out."
        )


def read_makings(names: Sequence[str], like: Making) -> dict[str, Making]:
    """Return how text is made by each recipe, under its name.

    Args:
        names: Names of methods, made with the settings of ``like`` if it is that one's and else with their defaults,
            and YAML files, each of whose entries is a recipe: its name, and below it what ``text`` has: method,
            filters, sampling, ...
        like: How text is made in all that a recipe does not set itself.

    Raises:
        BadInput: A name is no method, a file cannot be read or sets what is not there, or a name comes twice.
    """
    found: dict[str, Making] = {}
    for name in names:
        for key, making in (_read_file(name, like) if name.endswith((".yaml", ".yml")) else _named(name, like)).items():
            if key in found:
                raise BadInput(
                    f"reading recipes: two are called {key!r}; each name may come once. Rename one of them in its file."
                )
            found[key] = making
    return found


def _named(name: str, like: Making) -> dict[str, Making]:
    require_known("recipe", name, sorted(METHODS), "gainloop/methods/, and any YAML file of recipes")
    if like.method.kind == name:
        return {name: like}
    return {name: like.model_copy(update={"method": METHODS[name].model_validate({})})}


def _read_file(path: str, like: Making) -> dict[str, Making]:
    attempt = f"reading recipes {path}"
    listed = read_settings(Path(path).expanduser(), attempt, "Mend it, or correct --recipes")
    common = like.model_dump(mode="json", exclude_unset=True)
    found = {}
    for name, one in listed.items():
        if not _NAME.fullmatch(str(name)) or str(name) in TAKEN or str(name).startswith("round"):
            raise BadInput(
                f"{attempt}: a recipe is called {str(name)!r}; letters, digits, - and _ are allowed, and none of the "
                f"loop's own names ({', '.join(TAKEN)}, round...). Rename it."
            )
        if not isinstance(one, dict):
            raise BadInput(
                f"{attempt}: {name} is {one!r}; below a name stands what text has, such as method: {{kind: rephrase}}. "
                "Mend it."
            )
        try:
            found[str(name)] = Making.model_validate(common | one)
        except ValidationError as error:
            raise BadInput(error_summary(f"{attempt}, {name}", error, "gainloop/methods/")) from error
    if not found:
        raise BadInput(f"{attempt}: there is no recipe in it; one at least is needed. Add one, or leave the file out.")
    return found

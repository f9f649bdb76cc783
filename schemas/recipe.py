"""Recipes: every parameter that changes a record, a verdict or a checkpoint, and no other."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from schemas.choice import by_kind, choice
from schemas.form import shut_parts, without_shut
from schemas.masking import forbid_secrets, refuse_secrets, refuse_unwritable
from schemas.rows import content_hash

BASIC: Final = "basic"
"""Mark in the annotation of a parameter that most people set: the short help of a command shows it."""


class Parameters(BaseModel):
    """Parameters that a person sets: frozen; a misspelt one is refused, and a text with a password or a null in it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        hide_input_in_errors=True,
        json_schema_extra=forbid_secrets,
    )

    @field_validator("*")
    @classmethod
    def _without_secrets(cls, value: Any) -> Any:
        return refuse_secrets(refuse_unwritable(value))

    @model_validator(mode="before")
    @classmethod
    def _open_parts(cls, given: Any) -> Any:
        """Leave out the folded parts that are None, so that they have the default of their field."""
        return without_shut(given, cls.model_fields) if isinstance(given, dict) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        shown = handler(core)
        shut_parts(handler.resolve_ref_schema(shown))
        return shown


class Sampling(Parameters):
    """The draw of a reply. At temperature 1 and top_p 1 its log-probabilities are its entropy."""

    temperature: Annotated[
        float,
        BASIC,
        Field(ge=0, le=2, description="Temperature of each draw: 1 samples the model as it is, 0 is greedy."),
    ] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1, description="Nucleus mass that is drawn from; 1 keeps every token.")] = (
        1.0
    )
    max_tokens: Annotated[
        int, BASIC, Field(ge=1, description="Tokens of a reply, at most; a longer one is dropped as cut_off.")
    ] = 512


class Own(Parameters):
    """The start checkpoint writes the text; for a method that tunes a generator, that generator does."""

    kind: Literal["own"] = "own"

    @property
    def players(self) -> dict[str, str]:
        """No models by role: the generator plays every part itself."""
        return {}


class Served(Parameters):
    """A model that the profile's servers have writes the text."""

    kind: Literal["served"] = "served"
    model: Annotated[str, BASIC, Field(min_length=1, description="Name of a model that the profile's servers have.")]
    revision: Annotated[str, Field(description="Revision of the served model. Default: what the servers report.")] = ""
    user: Annotated[
        str, Field(description="Name of a model that plays the users of conversations. Default: the generator.")
    ] = ""
    tool: Annotated[
        str, Field(description="Name of a model that plays tools which are no code. Default: the generator.")
    ] = ""
    judge: Annotated[
        str, Field(description="Name of a model that judges conversations as they are made. Default: the generator.")
    ] = ""

    @property
    def players(self) -> dict[str, str]:
        """Names of the models that play a part in the generator's place, by role."""
        named = {"user": self.user, "tool": self.tool, "judge": self.judge}
        return {role: name for role, name in named.items() if name and name != self.model}


class Player(Parameters):
    """A model that plays a part in the generator's place."""

    model: Annotated[str, Field(min_length=1, description="Name of the served model.")]
    revision: Annotated[str, Field(description="Revision of the served model.")] = ""


_Generators = Own | Served

AnyGenerator = Annotated[
    _Generators, Field(discriminator="kind"), choice("generator", by_kind(_Generators), "schemas/recipe.py", "own")
]


Instructed = Annotated[
    str,
    BASIC,
    Field(
        min_length=1,
        description="Name of a model that the profile's servers have; on a profile without servers a folder, "
        ".gguf file, hub id or checkpoint id. It must follow instructions.",
    ),
]


class Judge(Parameters):
    """A language model that says which records are false, and which are not about their anchors."""

    model: Instructed
    revision: Annotated[
        str, Field(description="Revision of the judge. Default: what the servers report, or the hub's newest.")
    ] = ""
    sample: Annotated[
        int, Field(ge=1, description="Records that are judged, kept or not, the first by id; all if there are fewer.")
    ] = 500
    anchors: Annotated[
        int,
        Field(ge=0, description="Anchors that are judged as well: the real texts it calls false say how good it is."),
    ] = 100


class Recipe(Parameters):
    """Method, critic, filters with their parameters; snapshot, generator, sampling, seed. Its hash names the batch."""

    method: Annotated[dict[str, Any], Field(description="Name and parameters of the method.")]
    critic: Annotated[dict[str, Any] | None, Field(description="Critic that has records written anew, or None.")] = None
    filters: Annotated[
        tuple[dict[str, Any], ...], Field(description="Names and parameters of the filters, in order.")
    ] = ()
    snapshot_id: str
    model: Annotated[str, Field(description="Generator: a served name, or start or synthesizer.")]
    revision: Annotated[str, Field(description="Revision of the generator: of one's own, the checkpoint id.")] = ""
    players: Annotated[
        dict[str, Player], Field(description="Models that play a part in the generator's place, by role.")
    ] = {}
    sampling: Sampling = Sampling()
    seed: int = 0
    max_anchors: Annotated[int | None, Field(ge=1, description="Anchors that are used, or None for all.")] = None
    since: Annotated[str, Field(description="Snapshot whose anchors are left out, or empty.")] = ""
    budget_tokens: Annotated[int | None, Field(ge=1, description="Tokens of all requests, or None for no limit.")] = (
        None
    )
    aim_id: Annotated[str, Field(description="Aim by which documents are drawn, or empty for all alike.")] = ""

    @property
    def batch_id(self) -> str:
        # Without what it does not have: a recipe keeps its id when recipes learn to say more.
        optional = ("critic", "filters", "players", "since", "budget_tokens", "aim_id")
        lacks = {name for name in optional if not getattr(self, name)}
        return content_hash("batch", self.model_dump(mode="json", exclude=lacks))

    def played_by(self, role: str) -> tuple[str, str]:
        """Return the name and the revision of the model that answers requests of a role."""
        one = self.players.get(role)
        return (one.model, one.revision) if one else (self.model, self.revision)


VERDICT_SAMPLING = Sampling(temperature=0, max_tokens=384)
"""The likeliest verdict, and room for a reason of at most 200 characters."""


class Judging(Parameters):
    """One judge, the questions to it, and the sample of texts. Its hash names it; it changes no record."""

    model: Annotated[
        str, Field(description="Model that judges: a served name, or judge for a checkpoint of the store.")
    ]
    revision: Annotated[str, Field(description="Revision of the judge: of one's own, the checkpoint id.")]
    questions: Annotated[str, Field(description="Hash of the questions' wording.")]
    sample: Annotated[int, Field(ge=1, description="Records that are judged, the first by id.")]
    anchors: Annotated[int, Field(ge=0, description="Anchors that are judged as well.")]

    @property
    def judging_id(self) -> str:
        return content_hash("judging", self.model_dump(mode="json"))

    @property
    def by(self) -> Recipe:
        """The judge as a generator: a model is found and started by a recipe."""
        return Recipe(method={}, snapshot_id="", model=self.model, revision=self.revision, sampling=VERDICT_SAMPLING)


class Scoring(Parameters):
    """Tokens spent on scoring outputs under other prompts, for I(p; Y); no record depends on it."""

    share: Annotated[
        float, Field(ge=0, le=1, description="Tokens read for it, as a part of the tokens that the batch generated.")
    ] = 0.05
    least_tokens: Annotated[
        int, Field(ge=0, description="Tokens that a small batch may take all the same: a part of little buys nothing.")
    ] = 200_000

    def budget(self, generated_tokens: int) -> int:
        """Return the tokens that may be read for a batch."""
        return max(self.least_tokens, int(self.share * generated_tokens)) if self.share else 0

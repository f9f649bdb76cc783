"""Recipes: every parameter that changes a record, a verdict or a checkpoint, and no other."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from schemas.choice import by_kind, choice
from schemas.form import Fold, Folded, shut_parts, without_shut
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


class Served(Parameters):
    """A model that the profile's servers have writes the text."""

    kind: Literal["served"] = "served"
    model: Annotated[str, BASIC, Field(min_length=1, description="Name of a model that the profile's servers have.")]
    revision: Annotated[str, Field(description="Revision of the served model. Default: what the servers report.")] = ""


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
        optional = ("critic", "filters", "since", "budget_tokens", "aim_id")
        lacks = {name for name in optional if not getattr(self, name)}
        return content_hash("batch", self.model_dump(mode="json", exclude=lacks))


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


class Optimiser(Parameters):
    """AdamW with a linear warm-up and a cosine decay."""

    learning_rate: Annotated[
        float,
        BASIC,
        Field(
            gt=0,
            description="Peak learning rate: 1e-5 suits a model of billions, 2e-4 to 5e-4 one of 100 million, 1e-3 one "
            "of a few million.",
        ),
    ] = 3e-4
    warmup_fraction: Annotated[float, Field(ge=0, lt=1, description="Part of the steps spent warming up.")] = 0.05
    weight_decay: Annotated[float, Field(ge=0, description="Part of the weights taken off, per unit of rate.")] = 0.01
    batch_tokens: Annotated[int, Field(ge=64, description="Tokens of an optimiser step.")] = 2048


class FirstOptimiser(Optimiser):
    """AdamW for a small model that has learnt nothing yet: a higher rate, smaller steps."""

    learning_rate: Annotated[float, Field(gt=0, description="Peak learning rate.")] = 6e-3
    batch_tokens: Annotated[int, Field(ge=64, description="Tokens of an optimiser step.")] = 1024


class NewModel(Parameters):
    """A small Qwen3-architecture model and its tokenizer, made from the anchors."""

    kind: Literal["new"] = "new"
    vocabulary: Annotated[int, Field(ge=300, le=65536, description="Byte-level BPE tokens of the vocabulary.")] = 4096
    hidden_size: Annotated[int, Field(ge=32, multiple_of=32, description="Width of the residual stream.")] = 192
    layers: Annotated[int, Field(ge=1, description="Decoder layers.")] = 4
    head_size: Annotated[
        int, Field(description="Width of an attention head; vLLM serves 32, 64, 80, 96, 112, 128.")
    ] = 64
    context_tokens: Annotated[int, Field(ge=64, description="Tokens of the longest prompt and reply together.")] = 1024
    budget_tokens: Annotated[int, Field(ge=1024, description="Tokens of anchors it is pretrained on.")] = 320_000
    optimiser: Folded[FirstOptimiser] = FirstOptimiser()
    seed: Annotated[int, Field(description="Seed of the first weights.")] = 0


def names_path(model: str) -> bool:
    """Tell whether the name of a model is a path of this machine, not an id of the hub or of the store.

    >>> [names_path(one) for one in ("data/models/mine", "./mine", "mine.gguf", "org/model", "0badcafe12345678")]
    [True, True, True, False, False]
    """
    return model.startswith((".", "/", "~")) or model.count("/") > 1 or model.endswith(".gguf")


class Checkpoint(Parameters):
    """A model that exists already: a folder, a GGUF file, a hub id, or the id of a checkpoint in the store."""

    kind: Literal["checkpoint"] = "checkpoint"
    model: Annotated[str, BASIC, Field(description="Folder, .gguf file, hub id, or id of a checkpoint in the store.")]
    revision: Annotated[str, Field(description="Hub revision, a commit or a tag; pin it. Default: the newest.")] = ""


class Accepted(Parameters):
    """The model of the corpus's latest batch that the gate accepted, so that what was learnt adds up."""

    kind: Literal["accepted"] = "accepted"
    first: Annotated[
        str,
        BASIC,
        Field(description="Folder, .gguf file, hub id, or id of a checkpoint: the model while no batch is accepted."),
    ]
    revision: Annotated[str, Field(description="Hub revision of the first; pin it. Default: the newest.")] = ""

    @property
    def first_checkpoint(self) -> Checkpoint:
        return Checkpoint(model=self.first, revision=self.revision)


_Starts = NewModel | Checkpoint | Accepted

AnyStart = Annotated[
    _Starts, Field(discriminator="kind"), choice("start", by_kind(_Starts), "schemas/recipe.py", "new")
]


class Mixture(Parameters):
    """The part of the token budget that each text has. The parts add up to 1."""

    synthetic: Annotated[float, Field(ge=0, le=1, description="Part of the tokens that records have.")] = 0.5
    anchors: Annotated[float, Field(ge=0, le=1, description="Part of the tokens that anchors have.")] = 0.5
    replay: Annotated[
        float, Field(ge=0, le=1, description="Part of the tokens that general text has, against forgetting.")
    ] = 0.0

    def model_post_init(self, _context: Any) -> None:
        total = self.synthetic + self.anchors + self.replay
        if abs(total - 1) > 1e-9:
            raise ValueError(f"mixture adds up to {total:g}; synthetic, anchors and replay together must add up to 1")


Arm = Literal["synthetic", "baseline", "replay_control"]
"""The mixture with the records; as many tokens of the batch's own documents; the mixture with other real text."""


class TrainingPlan(Parameters):
    """Continual pretraining of the start on one batch, and beside it the arms that its gain is measured against.

    All seeds of a plan count, and they are numbered from 0: nobody can choose the one that looks best.
    """

    budget_tokens: Annotated[int, BASIC, Field(ge=1024, description="Tokens that each arm is trained on.")] = 80_000
    mixture: Folded[Mixture] = Mixture()
    arms: Annotated[
        list[Arm], Field(description="Arms that are trained; replay_control only where general text is given.")
    ] = ["synthetic", "baseline", "replay_control"]
    seeds: Annotated[
        int, BASIC, Field(ge=1, le=100, description="Orders of the texts that every arm is trained in.")
    ] = 3
    points: Annotated[
        int,
        Field(ge=1, le=20, description="Checkpoints along each run that are kept and measured, the last at its end."),
    ] = 1
    probe_share: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="Part of the updates of a probe run, which asks first where there is an exam; 0 for none.",
        ),
    ] = 0.25
    context_tokens: Annotated[int, Field(ge=64, description="Tokens of a packed row.")] = 512
    titled: Annotated[
        bool, Field(description="True to train on anchors and records under the titles of their documents.")
    ] = False
    objective: Annotated[
        Literal["text", "conversation"] | None,
        Field(
            description="Reading of the records: text has a loss on all of it, conversation, by the chat template, on "
            "what the assistant says alone. Default: as the records are."
        ),
    ] = None
    chat_template: Annotated[
        Literal["own", "plain"],
        Field(description="Template of conversations: the start's own, or a plain one for a start without any."),
    ] = "own"
    trained_layers: Annotated[
        int | None,
        Field(ge=1, description="Last layers that are trained, all else frozen, or none for all layers."),
    ] = None
    heldout_records: Annotated[
        float, Field(ge=0, lt=1, description="Part of the records that is not trained on, to tell what is memorised.")
    ] = 0.05
    scored_texts: Annotated[
        int,
        Field(
            ge=1,
            description="Texts of each kind that losses are measured on, at most: held out, general, anchors, records.",
        ),
    ] = 400
    optimiser: Annotated[Folded[Optimiser], BASIC] = Optimiser()

    def model_post_init(self, _context: Any) -> None:
        missing = {"synthetic", "baseline"} - set(self.arms)
        if missing or len(set(self.arms)) < len(self.arms):
            raise ValueError(f"arms are {', '.join(self.arms)}; synthetic and baseline are needed, and each only once")

    def identity(self) -> dict[str, Any]:
        """Return what names a training, without what it does not have: it keeps its id when plans learn more.

        What is asked before it changes none of its models.
        """
        lacks = {
            "titled": not self.titled,
            "objective": not self.objective,
            "chat_template": self.chat_template == "own",
        }
        return self.model_dump(
            mode="json", exclude={"probe_share", *(name for name, is_lacking in lacks.items() if is_lacking)}
        )


SMALL_PLAN: Final = {"seeds": 1, "optimiser": {"learning_rate": 1e-3}}
"""For a model of a few million weights: a high rate, and one seed where three would take three times as long."""

AnyPlan = Annotated[TrainingPlan, Fold(presets={"small": SMALL_PLAN})]

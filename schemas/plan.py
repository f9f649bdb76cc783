"""Plans: the model that a training starts from, what it reads, and how the weights are changed."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from schemas.choice import by_kind, choice
from schemas.form import Fold, Folded
from schemas.recipe import BASIC, Parameters


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


class LowRank(Parameters):
    """LoRA: adapters of a low rank are trained beside frozen weights, and merged into them at the end."""

    rank: Annotated[int, Field(ge=1, description="Rank of the adapters: 2 rank weights for a row and a column.")] = 16
    alpha: Annotated[
        float, Field(gt=0, description="Weight of the adapters, divided by their rank; twice the rank is usual.")
    ] = 32.0
    target_modules: Annotated[
        tuple[str, ...],
        Field(description="Names of the linear layers that have adapters. Default: all but the output layer."),
    ] = ()


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

AnyStart = Annotated[_Starts, Field(discriminator="kind"), choice("start", by_kind(_Starts), "schemas/plan.py", "new")]


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
    ] = ["synthetic", "baseline", "replay_control"]  # noqa: RUF012 - pydantic copies it
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
    lora: Annotated[
        LowRank | None, Field(description="Adapters that are trained in place of the weights, or none for all weights.")
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
        if self.lora and self.trained_layers:
            raise ValueError("trained_layers and lora are both set; one of them says what is trained")

    def identity(self) -> dict[str, Any]:
        """Return what names a training, without what it does not have: it keeps its id when plans learn more.

        What is asked before it changes none of its models.
        """
        lacks = {
            "titled": not self.titled,
            "objective": not self.objective,
            "chat_template": self.chat_template == "own",
            "lora": not self.lora,
        }
        return self.model_dump(
            mode="json", exclude={"probe_share", *(name for name, is_lacking in lacks.items() if is_lacking)}
        )


SMALL_PLAN: Final = {"seeds": 1, "optimiser": {"learning_rate": 1e-3}}
"""For a model of a few million weights: a high rate, and one seed where three would take three times as long."""

AnyPlan = Annotated[TrainingPlan, Fold(presets={"small": SMALL_PLAN})]

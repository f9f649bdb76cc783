"""Protocols of two papers: what each is run with. Defaults are a size for two cores, not the papers'."""

from typing import Annotated, Literal

from pydantic import Field

from gainloop.methods.entigraph import EntiGraph
from gainloop.methods.rephrase import Rephrase, Unit
from gainloop.methods.sbp import SBP
from schemas.choice import by_kind, choice
from schemas.form import Folded
from schemas.plan import Checkpoint, FirstOptimiser, NewModel, Optimiser
from schemas.recipe import BASIC, Parameters, Sampling


class SmallOptimiser(FirstOptimiser):
    """AdamW for a small model that has learnt nothing yet."""

    batch_tokens: Annotated[int, Field(ge=64, description="Tokens of an optimiser step.")] = 2048


class ScratchModel(NewModel):
    """A small model from nothing, whose ``budget_tokens`` every arm is trained on."""

    vocabulary: Annotated[int, Field(ge=300, le=65536, description="Byte-level BPE tokens of the vocabulary.")] = 2048
    hidden_size: Annotated[int, Field(ge=32, multiple_of=32, description="Width of the residual stream.")] = 96
    layers: Annotated[int, Field(ge=1, description="Decoder layers.")] = 3
    head_size: Annotated[
        int, Field(description="Width of an attention head; vLLM serves 32, 64, 80, 96, 112, 128.")
    ] = 32
    context_tokens: Annotated[int, Field(ge=64, description="Tokens of a packed row, and of a pair.")] = 512
    budget_tokens: Annotated[int, BASIC, Field(ge=1024, description="Tokens that each arm is trained on.")] = 65_536
    optimiser: Folded[SmallOptimiser] = SmallOptimiser()


class ShortSampling(Sampling):
    """The draw of a reply that is no longer than a few paragraphs."""

    max_tokens: Annotated[
        int, BASIC, Field(ge=1, description="Tokens of a reply, at most; a longer one is dropped as cut_off.")
    ] = 256


class SmallSBP(SBP):
    """SBP with a short tuning of its generator, and pairs that are less alike: few texts have few that are."""

    min_similarity: Annotated[float, Field(ge=-1, le=1, description="Cosine above which two anchors are a pair.")] = (
        0.15
    )
    budget_tokens: Annotated[int, Field(ge=1024, description="Tokens that the synthesizer is tuned on.")] = 32_768


class SBPProtocol(Parameters):
    """Synthetic bootstrapped pretraining, from scratch at one token budget: repetition, SBP, and fresh text as oracle.

    Source: Yang et al. 2025, arXiv:2509.15248.
    """

    kind: Literal["sbp"] = "sbp"
    model: Folded[ScratchModel] = ScratchModel()
    unique: Annotated[
        float,
        BASIC,
        Field(
            gt=0,
            lt=1,
            description="Part of the documents that is repeated and that text is made of; the others are the oracle's.",
        ),
    ] = 0.02
    share: Annotated[
        float, BASIC, Field(gt=0, lt=1, description="Part of the budget that synthetic text has, each text read once.")
    ] = 0.375
    other_shares: Annotated[
        tuple[float, ...], Field(description="Other parts of the budget, an arm each, to see what the part decides.")
    ] = ()
    random_pairs: Annotated[
        bool, Field(description="True for an arm whose generator is tuned on pairs of documents drawn at random.")
    ] = True
    method: Folded[SmallSBP] = SmallSBP()
    sampling: Folded[ShortSampling] = ShortSampling()
    seeds: Annotated[int, BASIC, Field(ge=1, le=100, description="First weights and orders of each arm.")] = 2
    points: Annotated[
        int, Field(ge=1, le=20, description="Checkpoints along each run that are measured, the last at its end.")
    ] = 2
    measured_texts: Annotated[
        int, Field(ge=8, le=2000, description="Texts of each set that likelihoods and endings are of, at most.")
    ] = 150

    def model_post_init(self, _context: object) -> None:
        shares = (self.share, *self.other_shares)
        if len(set(shares)) < len(shares) or not all(0 < one < 1 for one in shares):
            raise ValueError(
                f"share and other_shares are {', '.join(f'{one:g}' for one in shares)}; numbers between 0 and 1 are "
                "allowed, each once"
            )


class SmallRate(Optimiser):
    """AdamW for a model of a hundred million weights that is continued."""

    learning_rate: Annotated[float, BASIC, Field(gt=0, description="Peak learning rate.")] = 4e-4
    batch_tokens: Annotated[int, Field(ge=64, description="Tokens of an optimiser step.")] = 512


class SteadySampling(ShortSampling):
    """The draw of a reply of a model of under a billion parameters: at temperature 1 it loses the thread."""

    temperature: Annotated[
        float, BASIC, Field(ge=0, le=2, description="Temperature of each draw; the paper has 1.")
    ] = 0.6


class SentenceRephrase(Rephrase):
    """Rephrasing by sentence, which a model of under a billion parameters can do; the paper's is of whole documents."""

    unit: Annotated[
        Unit, Field(description="Unit that is rewritten at once: document, chunk, or sentence for a small model.")
    ] = "sentence"


class EntiGraphProtocol(Parameters):
    """Synthetic continued pretraining: raw text, rephrased text and EntiGraph, closed book, and more and more text.

    Source: Yang et al. 2024, arXiv:2409.07431.
    """

    kind: Literal["entigraph"] = "entigraph"
    start: Annotated[Checkpoint, BASIC, Field(description="Model that every arm continues.")]
    entigraph: Folded[EntiGraph] = EntiGraph()
    rephrase: Folded[SentenceRephrase] = SentenceRephrase()
    sampling: Folded[SteadySampling] = SteadySampling()
    max_anchors: Annotated[
        int | None, BASIC, Field(ge=1, description="Pieces that text is made of, at most, or none for all.")
    ] = None
    synthetic_tokens: Annotated[
        int | None,
        BASIC,
        Field(ge=256, description="Tokens of EntiGraph's text that are used, at most, or none for all."),
    ] = 4096
    parts: Annotated[
        tuple[float, ...],
        Field(
            min_length=1, description="Beginnings of the stream of EntiGraph's text, a training each; the last is 1."
        ),
    ] = (0.25, 0.5, 1.0)
    passes: Annotated[float, Field(gt=0, description="Times that a training reads its synthetic text.")] = 2.0
    raw_passes: Annotated[
        float | None,
        Field(
            gt=0,
            description="Times that raw training reads the documents, or none for as many tokens as the longest of "
            "EntiGraph's trainings.",
        ),
    ] = None
    replay: Annotated[
        float, Field(ge=0, lt=1, description="Part of each training that general text has, where that is given.")
    ] = 0.1
    seeds: Annotated[int, BASIC, Field(ge=1, le=100, description="Orders of each arm.")] = 1
    context_tokens: Annotated[int, Field(ge=64, description="Tokens of a packed row.")] = 256
    trained_layers: Annotated[
        int | None, Field(ge=1, description="Last layers that are trained, all else frozen, or none for all layers.")
    ] = 10
    optimiser: Folded[SmallRate] = SmallRate()
    seed: Annotated[int, Field(description="Seed of the pieces that are chosen, of every draw and of the stream.")] = 0

    def model_post_init(self, _context: object) -> None:
        if [*self.parts] != sorted({*self.parts}) or self.parts[-1] != 1 or self.parts[0] <= 0:
            raise ValueError(
                f"parts are {', '.join(f'{one:g}' for one in self.parts)}; rising numbers above 0 are allowed, the "
                "last of them 1"
            )


_Protocols = SBPProtocol | EntiGraphProtocol

AnyProtocol = Annotated[
    _Protocols,
    Field(discriminator="kind"),
    choice("paper", by_kind(_Protocols), "gainloop/studies/protocols.py", "sbp"),
]

"""New documents beside the anchors, from a model of how the corpus's documents relate."""

from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schemas.recipe import Optimiser
from schemas.rows import Anchor, Request, Rounds
from tasks.methods.method import Method, keep_finished

RELATED = "<|related|>"
"""Stands between a document and its related one; our own tokenizer knows it as one token."""


class SBP(Method):
    """Samples of p(d2 | d1), a synthesizer tuned on pairs of related anchors.

    Pairs are anchors whose embeddings are similar and whose words are not the same. The synthesizer
    starts from the current checkpoint and learns d2 given d1, with the loss on d2 alone.

    Source: Yang et al. 2025, arXiv:2509.15248, which gives neither the threshold nor the
    near-duplicate filter. Ours: cosine of TF-IDF projections, Jaccard of word 5-grams.
    """

    kind: Literal["sbp"] = "sbp"
    tunes_generator: ClassVar[bool] = True
    draws: Annotated[int, Field(ge=1, description="documents sampled per anchor")] = 1
    min_similarity: Annotated[float, Field(ge=-1, le=1, description="cosine above which two anchors are a pair")] = 0.35
    max_overlap: Annotated[float, Field(ge=0, le=1, description="shingle overlap of near duplicates")] = 0.5
    max_partners: Annotated[int, Field(ge=1, description="related documents per anchor, nearest first")] = 4
    budget_tokens: Annotated[int, Field(ge=1024, description="tokens the synthesizer is tuned on")] = 100_000
    optimiser: Optimiser = Optimiser()

    @property
    def max_requests(self) -> int:
        return self.draws

    @property
    def max_records(self) -> int:
        return self.max_requests

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        requests = [Request(ask_related(anchor.text), facet=f"draw {draw}", draw=draw) for draw in range(self.draws)]
        answers = yield requests
        return keep_finished(self, anchor, requests, answers)


def ask_related(text: str) -> str:
    """Return the prompt that a synthesizer continues with a related document."""
    return text + RELATED

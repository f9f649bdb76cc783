"""New documents beside the anchors, from a model of how the corpus's documents relate."""

from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gainloop.methods.method import Method, keep_finished
from schemas.form import Folded
from schemas.plan import Optimiser
from schemas.rows import Anchor, Request, Rounds
from schemas.suites import Suite, at_most

RELATED = "<|related|>"
"""Mark between a document and its related one; our own tokenizer knows it as one token."""


TFIDF = "tfidf"

RANDOM = "random"
"""In place of an embedder: vectors drawn at random, so that pairs are of any two anchors; what pairing is worth."""


class SBP(Method):
    """Related documents, from a synthesizer tuned on your own corpus.

    Samples of p(d2 | d1). Pairs are anchors whose embeddings are similar and whose words are not the same. The
    synthesizer starts from the current checkpoint and learns d2 given d1, with the loss on d2 alone.

    Asks: ``draws`` samples after the anchor's text; no instruction, the synthesizer is a base model.
    Costs: ``d`` prompt tokens; and the tuning, ``budget_tokens`` tokens.
    Source: Yang et al. 2025, arXiv:2509.15248.
    Differs: the paper gives neither the similarity threshold nor the filter of near duplicates; ours are parameters,
    cosine and Jaccard of word 5-grams, with the most similar candidates of each anchor looked at (docs/pairing.md says
    what that costs). Every anchor that a seed draws is a d1 once, with ``draws`` replies, where the paper samples d1
    with replacement; the embedder is TF-IDF and SVD unless a model is named, where the paper's is a model of 0.6
    billion parameters; and records are read as often as the mixture's share of the budget takes, where the paper reads
    them once: the report says how often, and a share that the records just fill reads them once.
    """

    kind: Literal["sbp"] = "sbp"
    tunes_generator: ClassVar[bool] = True
    expectations: ClassVar[Suite] = (
        at_most("copied_share", 0.5, "copies_anchor", mostly=0.5),
        at_most("longest_copy", 50, "recites_anchor", mostly=0.5),
    )
    draws: Annotated[int, Field(ge=1, description="Documents sampled for each anchor.")] = 1
    min_similarity: Annotated[float, Field(ge=-1, le=1, description="Cosine above which two anchors are a pair.")] = (
        0.35
    )
    max_overlap: Annotated[float, Field(ge=0, le=1, description="Shingle overlap of near duplicates.")] = 0.5
    max_partners: Annotated[int, Field(ge=1, description="Related documents of each anchor, nearest first.")] = 4
    # Left out of the recipe at their defaults: a batch has the same name whether TF-IDF is named or not.
    embedder: Annotated[
        str,
        Field(
            description="Name of an embedding model, which runs where the profile's embedding says, or tfidf, or "
            "random for pairs by chance, with min_similarity -1.",
            min_length=1,
            exclude_if=lambda name: name == TFIDF,
        ),
    ] = TFIDF
    embedder_revision: Annotated[
        str,
        Field(
            description="Hub revision of the embedding model; pin it. Default: the newest.",
            exclude_if=lambda name: not name,
        ),
    ] = ""
    budget_tokens: Annotated[int, Field(ge=1024, description="Tokens that the synthesizer is tuned on.")] = 100_000
    optimiser: Folded[Optimiser] = Optimiser(learning_rate=1e-3)

    @property
    def max_requests(self) -> int:
        return self.draws

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        requests = [Request(ask_related(anchor.text), facet=f"draw {draw}", draw=draw) for draw in range(self.draws)]
        answers = yield requests
        return keep_finished(self, anchor, requests, answers)


def ask_related(text: str) -> str:
    """Return the prompt that a synthesizer continues with a related document."""
    return text + RELATED

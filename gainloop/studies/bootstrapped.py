"""SBP's protocol: which arm reads what, from nothing and at one budget, and what they score along their runs.

Documents are dealt out once: a small part is repeated, paired and written from (unique); of the others some are
measured on and the rest is fresh text, which the oracle alone reads. A near copy of a document is where that one is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from gainloop.evaluation.endings import MARKED, cut_texts, mark_endings
from gainloop.evaluation.general import general_texts
from gainloop.evaluation.likelihoods import TextSet, score_set
from gainloop.methods.sbp import RANDOM, SBP
from gainloop.store import Store
from gainloop.store.batches import read_records
from gainloop.store.checkpoints import Lineage, checkpoint_folder
from gainloop.store.documents import document_draws
from gainloop.store.files import exists, read_frame, write_frame
from gainloop.store.snapshots import read_anchors
from gainloop.studies.protocols import SBPProtocol
from schemas.errors import BadInput
from schemas.plan import Mixture, NewModel, TrainingPlan
from schemas.rows import content_hash, document_of

if TYPE_CHECKING:  # transformers takes seconds
    from gainloop.models.packing import MixturePart

REPETITION: Final = "repetition"
SBP_ARM: Final = "sbp"
RANDOM_ARM: Final = "random_pairs"
ORACLE: Final = "oracle"

HELDOUT: Final = "held-out documents"
GENERAL: Final = "general text"

SPARE: Final = 1.6
"""Samples drawn for each token of synthetic text that is wanted: some replies are cut off, some shorter than others."""


@dataclass(frozen=True, slots=True)
class ProtocolArm:
    """One arm: its name, the part of the budget that synthetic text has, and whether its pairs are random."""

    name: str
    meaning: str
    share: float = 0.0
    by_chance: bool = False

    @property
    def reads_fresh(self) -> bool:
        return self.name == ORACLE


def list_arms(paper: SBPProtocol) -> list[ProtocolArm]:
    """Return the arms in the order in which they are trained: repetition first, since its model is tuned to write.

    >>> [arm.name for arm in list_arms(SBPProtocol(other_shares=(0.75,)))]
    ['repetition', 'sbp', 'sbp_0.75', 'random_pairs', 'oracle']
    """
    arms = [
        ProtocolArm(REPETITION, "the unique documents, again and again"),
        ProtocolArm(
            SBP_ARM,
            f"synthetic text for {paper.share:.1%} of the tokens, the unique documents for the rest",
            paper.share,
        ),
    ]
    arms += [
        ProtocolArm(f"{SBP_ARM}_{share:g}", f"the same with synthetic text for {share:.1%} of the tokens", share)
        for share in paper.other_shares
    ]
    if paper.random_pairs:
        arms.append(ProtocolArm(RANDOM_ARM, "as sbp, its generator tuned on pairs drawn at random", paper.share, True))
    return [*arms, ProtocolArm(ORACLE, "the unique documents and fresh ones, each once as far as they reach")]


@dataclass(frozen=True, slots=True)
class Dealt:
    """The texts of a snapshot by what they are for.

    Attributes:
        unique: Texts that are repeated and written from.
        fresh: Texts that only the oracle reads.
        sets: Texts that are measured on, by the name of the set: columns text_id, text, document.
    """

    unique: list[str]
    fresh: list[str]
    sets: dict[str, pl.DataFrame]


def deal_texts(store: Store, paper: SBPProtocol, snapshot_id: str, general_id: str) -> Dealt:
    """Return the texts of a snapshot, dealt out by document; near copies of a document are dealt out with it.

    Raises:
        BadInput: There is no fresh text, nothing to measure on, or nothing that is repeated.
    """
    unique = read_anchors(store, snapshot_id, heldout=False)["text"].to_list()
    others, draws = read_anchors(store, snapshot_id, heldout=True), document_draws(store)
    documents = [document_of(uri) or own for uri, own in zip(others["uri"], others["anchor_id"], strict=True)]
    keys = [content_hash("protocol", f"{draws[one]:.17f}" if one in draws else one) for one in documents]
    ranked = others.select("text", text_id="anchor_id", document=pl.Series(documents, dtype=pl.String)).with_columns(
        key=pl.Series(keys, dtype=pl.String)
    )
    sizes = ranked.group_by("key").len().sort("key").with_columns(before=pl.col("len").cum_sum() - pl.col("len"))
    measured = ranked.join(sizes.filter(pl.col("before") < paper.measured_texts), on="key", how="semi")
    fresh = ranked.join(measured, on="key", how="anti").sort("text_id")["text"].to_list()
    if not (unique and fresh and measured.height):
        raise BadInput(
            f"dealing out snapshot {snapshot_id} for the protocol sbp: {len(unique):,} texts to repeat, "
            f"{measured.height:,} to measure on, {len(fresh):,} fresh ones; some of each are needed. Change "
            "paper.unique or paper.measured_texts, or point source at more documents."
        )
    sets = {HELDOUT: measured.sort("text_id").select("text_id", "text", "document")}
    if general_id:
        general = general_texts(store, "cpu", general_id, "measured", "", snapshot_id)
        sets[GENERAL] = general.head(paper.measured_texts)
    return Dealt(unique, fresh, sets)


def blank_model(paper: SBPProtocol, seed: int) -> NewModel:
    """Return the model that a seed begins with: the arms of a seed have the same first weights."""
    return paper.model.model_copy(update={"seed": paper.model.seed + seed})


def blank_lineage(paper: SBPProtocol, snapshot_id: str, seed: int) -> Lineage:
    """Return the origin of a model that has read nothing; its tokenizer is made of the unique texts."""
    kept = blank_model(paper, seed).model_dump(mode="json", exclude={"budget_tokens", "optimiser"})
    return Lineage("blank", "", {"snapshot_id": snapshot_id, **kept})


def plan_of(paper: SBPProtocol) -> TrainingPlan:
    """Return the plan that every arm is trained by."""
    return TrainingPlan(
        budget_tokens=paper.model.budget_tokens,
        mixture=Mixture(),
        seeds=paper.seeds,
        points=paper.points,
        context_tokens=paper.model.context_tokens,
        optimiser=paper.model.optimiser,
    )


def arm_lineage(
    paper: SBPProtocol, arm: ProtocolArm, parts: "Sequence[MixturePart]", blank_id: str, batch_id: str, fraction: float
) -> Lineage:
    """Return the origin of the checkpoint that an arm has after a part of its run."""
    read = {part.name: [part.share, content_hash("texts", *part.texts)] for part in parts}
    plan: dict[str, Any] = {
        "budget_tokens": paper.model.budget_tokens,
        "context_tokens": paper.model.context_tokens,
        "optimiser": paper.model.optimiser.model_dump(mode="json"),
        "points": paper.points,
        "read": read,
    }
    plan |= {"fraction": fraction} if fraction < 1 else {}
    return Lineage(arm.name, blank_id, plan, [batch_id] if batch_id else [])


def tuned_method(paper: SBPProtocol, by_chance: bool, num_tokens: int) -> SBP:
    """Return how pairs are found and how often each document is sampled from, for text enough of the largest share.

    Args:
        num_tokens: Tokens of the unique texts: a sample is about as long as they are.
    """
    share = paper.share if by_chance else max(paper.share, *paper.other_shares, 0)
    draws = max(1, ceil(SPARE * share * paper.model.budget_tokens / num_tokens))
    chance = {"embedder": RANDOM, "min_similarity": -1.0} if by_chance else {}
    return paper.method.model_copy(update={"draws": max(paper.method.draws, draws), **chance})


def arm_parts(
    store: Store, paper: SBPProtocol, arm: ProtocolArm, dealt: Dealt, blank_id: str, batch_id: str
) -> "list[MixturePart]":
    """Return the texts of an arm with their shares of the budget.

    Synthetic text is never read twice: where there is too little of it, the unique documents fill the budget.
    """
    from gainloop.models.packing import MixturePart

    if not arm.share:
        return [MixturePart("documents", [*dealt.unique, *dealt.fresh] if arm.reads_fresh else dealt.unique, 1.0)]
    texts = read_records(store, batch_id)["text"].to_list()
    context = paper.model.context_tokens
    rows = count_tokens(store, blank_id, texts) // context
    share = min(arm.share, rows / round(paper.model.budget_tokens / context))
    if not share:
        raise BadInput(
            f"reading batch {batch_id} for the arm {arm.name}: its {len(texts):,} texts do not fill a row of {context} "
            "tokens; one at least is needed. Raise paper.method.budget_tokens or paper.sampling.max_tokens."
        )
    return [MixturePart("documents", dealt.unique, 1 - share), MixturePart("synthetic", texts, share)]


def count_tokens(store: Store, blank_id: str, texts: Sequence[str]) -> int:
    """Return the tokens of texts as training reads them."""
    from gainloop.models.loading import load_tokenizer
    from gainloop.models.packing import encode

    return sum(map(len, encode(load_tokenizer(checkpoint_folder(store, blank_id)), texts)))


def score_checkpoint(
    store: Store, device: str, checkpoint_id: str, sets: Mapping[str, pl.DataFrame]
) -> dict[str, pl.DataFrame]:
    """Return what a checkpoint makes of each set; what was scored before is read.

    Returns:
        Of each set the columns text_id, document, nats, num_tokens, and right: whether the text's own ending is the
        likeliest, null where a text is too short to be cut.
    """
    found = {}
    for name, texts in sets.items():
        nats = read_frame(score_set(store, device, checkpoint_id, TextSet(texts.select("text_id", "text"))))
        marked = _marked(store, device, checkpoint_id, texts)
        found[name] = (
            texts.select("text_id", "document")
            .join(nats.select("text_id", "nats", "num_tokens"), on="text_id", maintain_order="left")
            .join(marked.select("text_id", "right"), on="text_id", how="left", maintain_order="left")
        )
    return found


def _marked(store: Store, device: str, checkpoint_id: str, texts: pl.DataFrame) -> pl.DataFrame:
    """Return whether a checkpoint finds each text's own ending the likeliest; those marked before are read."""
    cuts = cut_texts(texts)
    name = content_hash("endings", [[one.text_id, one.opening, *one.endings] for one in cuts])
    url = f"{store.folder}/scores/{checkpoint_id}-endings-{name}.parquet"
    if not exists(url):
        marked = pl.DataFrame(schema=MARKED)
        if cuts:
            from gainloop.models.answers import open_examinee

            marked = mark_endings(open_examinee(checkpoint_folder(store, checkpoint_id), device), cuts)
        write_frame(url, marked)
    return read_frame(url)

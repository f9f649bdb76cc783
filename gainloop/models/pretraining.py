"""The three trainings of a run: a model from nothing, a synthesizer of related texts, a model continued."""

import logging
from collections.abc import Sequence
from typing import Any

import torch

from gainloop.methods.sbp import SBP, ask_related
from gainloop.models.embedding import Vectors
from gainloop.models.loading import context_of, load_model, load_tokenizer
from gainloop.models.packing import MixturePart, PairRows, Row, pack
from gainloop.models.pairing import Pairing, related_pairs
from gainloop.models.start import make_model, make_tokenizer
from gainloop.models.trainer import Online, OnStep, learned_rows, train
from schemas.errors import BadInput
from schemas.profile import Training
from schemas.recipe import NewModel, TrainingPlan

Metrics = dict[str, Any]
logger = logging.getLogger("gainloop.pretraining")

LEARNED = "learned.parquet"
"""File of the losses of a continued checkpoint's rows before and after: see ``learned_rows``."""


def pretrain(texts: Sequence[str], plan: NewModel, training: Training, folder: str, on_step: OnStep) -> Metrics:
    """Make a tokenizer and a model from texts, train it on the plan's budget, save both in ``folder``."""
    tokenizer = make_tokenizer(texts, plan.vocabulary)
    model = make_model(plan, tokenizer)
    packed = pack([MixturePart("anchors", texts, 1.0)], tokenizer, plan.budget_tokens, plan.context_tokens, plan.seed)
    metrics = train(model, tokenizer, packed.rows, plan.optimiser, training, folder, plan.seed, on_step)
    num_parameters = sum(weights.numel() for weights in model.parameters())
    return metrics | {"tokens": packed.tokens, "repetitions": packed.repetitions, "num_parameters": num_parameters}


def pair_texts(texts: Sequence[str], vectors: Vectors, method: SBP, on_text: OnStep) -> Pairing:
    """Return the pairs of related texts.

    Args:
        vectors: One unit vector per text.
        on_text: Called with the number of texts that have their partners, and of all texts.
    """
    pairing = related_pairs(
        texts,
        vectors,
        method.min_similarity,
        method.max_overlap,
        method.max_partners,
        on_text,
    )
    logger.info("%s.", pairing)
    return pairing


def tune_synthesizer(
    texts: Sequence[str],
    pairing: Pairing,
    start: str,
    method: SBP,
    max_tokens: int,
    training: Training,
    folder: str,
    seed: int,
    on_step: OnStep,
) -> Metrics:
    """Continue the checkpoint ``start`` on pairs of related texts, with the loss on the second text alone.

    Args:
        pairing: Pairs of the texts; see ``pair_texts``.
        max_tokens: Tokens of a second text, at most, end token included: longer ones would teach it never to end
            within a reply.

    Raises:
        BadInput: No pair is short enough, or there is none.
    """
    model, tokenizer = load_model(start), load_tokenizer(start)
    prompts = [ask_related(text) for text in texts]
    rows = PairRows(pairing.pairs, prompts, texts, tokenizer, context_of(model.config), max_tokens)
    if not rows:
        raise BadInput(
            f"pairing {len(texts):,} anchors for the synthesizer: no pair has a similarity of at least "
            f"{method.min_similarity:g} and a second text of at most {max_tokens} tokens; it needs one at least. "
            "Lower text.method.min_similarity or raise text.sampling.max_tokens."
        )
    chosen = _within_budget(rows, method.budget_tokens, seed)
    metrics = train(model, tokenizer, chosen, method.optimiser, training, folder, seed, on_step)
    about = {"pairing": pairing.counts | {"too_long": len(pairing.pairs) - len(rows)}, "search": pairing.search}
    return metrics | {"num_pairs": len(rows), "num_rows": len(chosen)} | about


def continue_pretraining(
    parts: Sequence[MixturePart], start: str, plan: TrainingPlan, training: Training, folder: str, on_step: OnStep
) -> Metrics:
    """Continue the checkpoint ``start`` on a mixture of texts with an exact token budget.

    Beside the weights lie the losses of each row that was read for the first time (``LEARNED``).
    """
    model, tokenizer = load_model(start), load_tokenizer(start)
    context = min(plan.context_tokens, context_of(model.config))
    packed = pack(parts, tokenizer, plan.budget_tokens, context, plan.seed)
    online = Online(packed.is_first)
    metrics = train(model, tokenizer, packed.rows, plan.optimiser, training, folder, plan.seed, on_step, online)
    learned_rows(model, tokenizer, packed, online).write_parquet(f"{folder}/{LEARNED}")
    return metrics | {"tokens": packed.tokens, "repetitions": packed.repetitions}


def _within_budget(rows: Sequence[Row], budget_tokens: int, seed: int) -> list[Row]:
    """Go through the rows in random orders, as often as it takes to fill the budget."""
    generator = torch.Generator().manual_seed(seed)
    chosen: list[Row] = []
    spent = 0
    while True:
        for index in torch.randperm(len(rows), generator=generator).tolist():
            row = rows[index]
            spent += len(row["input_ids"])
            if spent > budget_tokens and chosen:
                return chosen
            chosen.append(row)

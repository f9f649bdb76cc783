"""The three trainings of a run: a model from nothing, a synthesizer of related texts, a model continued."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import torch

from gainloop.methods.sbp import SBP, ask_related
from gainloop.models.conversations import PLAIN, Row
from gainloop.models.embedding import Vectors
from gainloop.models.loading import context_of, load_model, load_tokenizer
from gainloop.models.online import Online, learned_rows
from gainloop.models.packing import MixturePart, Orders, Packed, PairRows, orders_of, pack
from gainloop.models.pairing import Pairing, related_pairs
from gainloop.models.start import make_model, make_tokenizer
from gainloop.models.states import OnStep
from gainloop.models.trainer import freeze_but_last, train
from schemas.errors import BadInput
from schemas.plan import NewModel, TrainingPlan
from schemas.profile import Training
from schemas.rows import Anchor

Metrics = dict[str, Any]
logger = logging.getLogger("gainloop.pretraining")

LEARNED = "learned.parquet"
"""File of the losses of a continued checkpoint's rows before and after: see ``learned_rows``."""

READ = "read.parquet"
"""File of the texts that a checkpoint has read since its first weights, as far as is known: see ``texts_read``."""

READ_SCHEMA = {"text_id": pl.String, "times": pl.Float64}


def pretrain(texts: Sequence[str], plan: NewModel, training: Training, folder: str, on_step: OnStep) -> Metrics:
    """Make a tokenizer and a model from texts, train it on the plan's budget, save both in ``folder``."""
    tokenizer = make_tokenizer(texts, plan.vocabulary)
    model = make_model(plan, tokenizer)
    parts = [MixturePart("anchors", texts, 1.0)]
    packed = pack(parts, tokenizer, plan.budget_tokens, plan.context_tokens, orders_of(plan.seed))
    metrics = train(model, tokenizer, packed.rows, plan.optimiser, training, folder, plan.seed, on_step)
    write_read(folder, parts, packed, {})
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
            "Lower min_similarity of the method or raise max_tokens of its sampling."
        )
    chosen = _within_budget(rows, method.budget_tokens, seed)
    metrics = train(model, tokenizer, chosen, method.optimiser, training, folder, seed, on_step)
    about = {"pairing": pairing.counts | {"too_long": len(pairing.pairs) - len(rows)}, "search": pairing.search}
    return metrics | {"num_pairs": len(rows), "num_rows": len(chosen)} | about


def continue_pretraining(
    parts: Sequence[MixturePart],
    start: str,
    plan: TrainingPlan,
    training: Training,
    folder: str,
    orders: Orders,
    on_step: OnStep,
    notes_losses: bool = True,
) -> Metrics:
    """Continue the checkpoint ``start`` on a mixture of texts or conversations with an exact token budget.

    Beside the weights lie all texts that the model has read by now (``READ``), the losses of each row that was read for
    the first time (``LEARNED``), and the weights along the way, if the plan has points.

    Args:
        orders: Orders of the texts and the rows.
        notes_losses: False to leave ``LEARNED`` out, which takes a forward pass more over all those rows.
    """
    model, tokenizer, before = load_model(start), load_tokenizer(start), texts_read(start)
    if plan.chat_template == "plain":
        tokenizer.chat_template = PLAIN  # saved with the weights: the model is asked as it was trained
    if plan.trained_layers:
        freeze_but_last(model, plan.trained_layers)
    context = min(plan.context_tokens, context_of(model.config))
    known = [replace(part, times_read=[before.get(name_text(text), 0.0) for text in part.texts]) for part in parts]
    packed = pack(known, tokenizer, plan.budget_tokens, context, orders)
    online = Online(packed.is_first) if notes_losses else None
    seed = int(orders("trainer").integers(2**31))
    following = (on_step, online, plan.points, plan.lora)
    metrics = train(model, tokenizer, packed.rows, plan.optimiser, training, folder, seed, *following)
    if online:
        learned_rows(model, tokenizer, packed, online, training).write_parquet(f"{folder}/{LEARNED}")
    write_read(folder, parts, packed, before)
    counts = {"tokens": packed.tokens, "repetitions": packed.repetitions, "read_before": packed.read_before}
    said = {"trained_tokens": packed.trained, "too_long": packed.too_long} if packed.too_long else {}
    return metrics | counts | said


def name_text(text: str) -> str:
    """Return the id of a text that training reads: an anchor's own."""
    return Anchor(text).anchor_id


def texts_read(folder: str) -> dict[str, float]:
    """Return how often a checkpoint has read each text, by the text's id; none where that is not known."""
    path = Path(folder, READ)
    return dict(pl.read_parquet(path).iter_rows()) if path.is_file() else {}


def write_read(folder: str, parts: Sequence[MixturePart], packed: Packed, before: dict[str, float]) -> None:
    """Write beside a checkpoint how often it has read each text, before its training and in it."""
    times = dict(before)
    for part in parts:
        for text, more in zip(part.texts, packed.times_read.get(part.name, []), strict=False):
            times[name_text(text)] = times.get(name_text(text), 0.0) + more
    read = {name: count for name, count in sorted(times.items()) if count}
    pl.DataFrame({"text_id": list(read), "times": list(read.values())}, schema=READ_SCHEMA).write_parquet(
        f"{folder}/{READ}"
    )


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

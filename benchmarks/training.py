"""Training beside a bare torch loop over the same model and rows: tokens per second, MFU, and their ratio.

``python -m benchmarks.training`` makes a model of the size that the options say, or opens the checkpoint that
``--model`` names. Training is ``gainloop.models.trainer`` with all it does in its steps: rows are shared out, losses
told, saving is asked for and not due. The bare loop has the same rows, updates, optimiser and precision, and nothing
else. Both begin with the same weights and end with the same mean loss to rounding, which is told too. On a CPU there is
no peak to compare with, and no MFU.

A model of 1.1 billion parameters on a GPU: ``--device cuda --hidden-size 2048 --layers 20 --vocabulary 32768 --context
2048 --rows 256 --batch-tokens 65536``; with ``--processes`` on several, where the bare loop stays on one.
"""

import argparse
import json
import math
import random
import tempfile
import time
from argparse import Namespace
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_
from transformers import PreTrainedModel, get_cosine_schedule_with_warmup

from gainloop.models.batches import Collator, multiplies_in_bfloat16, rows_in_memory
from gainloop.models.conversations import Row
from gainloop.models.loading import load_model
from gainloop.models.shares import Shares, share_out
from gainloop.models.speed import flops_per_token, peak_flops
from gainloop.models.start import make_model, make_tokenizer
from gainloop.models.trainer import train
from schemas.plan import NewModel, Optimiser
from schemas.profile import Training


@dataclass(frozen=True)
class Measured:
    """What a loop over all rows took."""

    seconds: float
    tokens_per_second: float
    mfu: float | None
    loss_nats: float


def made_rows(num_rows: int, context: int, vocabulary: int) -> list[Row]:
    """Return rows of tokens that repeat each other enough to be learnt."""
    rng = random.Random(0)  # noqa: S311
    words = [[rng.randrange(4, vocabulary) for _ in range(16)] for _ in range(64)]
    rows = [[token for _ in range(context // 16) for token in rng.choice(words)] for _ in range(num_rows)]
    return [{"input_ids": row, "labels": row} for row in rows]


def measure_training(model: PreTrainedModel, tokenizer: Any, rows: list[Row], asked: Namespace) -> Measured:
    """Train a model as a plan does, and return what the steps took."""
    with tempfile.TemporaryDirectory() as folder:
        told = train(model, tokenizer, rows, asked.optimiser, asked.training, folder, 0)
    speed = told["speed"]
    return Measured(speed["seconds"], speed["tokens_per_second"], speed["mfu"], told["train_loss_nats"])


def measure_bare(model: PreTrainedModel, rows: list[Row], shares: Shares, asked: Namespace) -> Measured:
    """Train a model by a loop that does nothing else, on one device."""
    device, is_bf16 = torch.device(asked.device), multiplies_in_bfloat16(asked.training)
    flops = flops_per_token(model, asked.context)
    model.to(device).train()
    model.gradient_checkpointing_enable() if asked.gradient_checkpointing else None
    optimiser = _optimiser_of(model, asked.optimiser)
    schedule = get_cosine_schedule_with_warmup(
        optimiser, math.ceil(asked.optimiser.warmup_fraction * shares.num_steps), shares.num_steps
    )
    collate, total, begun = Collator(0), torch.zeros((), device=device), time.monotonic()
    for first in range(0, len(rows), shares.rows_per_step):
        some = rows[first : first + shares.rows_per_step]
        num_tokens = sum(len(row["labels"]) - 1 for row in some)
        for at in range(0, len(some), shares.rows_at_once):
            batch = {name: ids.to(device) for name, ids in collate(some[at : at + shares.rows_at_once]).items()}
            with torch.autocast(device.type, torch.bfloat16, enabled=is_bf16):
                loss = model(**batch, num_items_in_batch=num_tokens).loss
            loss.backward()
            total += loss.detach()
        clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    loss_nats = float(total) / shares.num_steps
    seconds = time.monotonic() - begun
    speed = sum(len(row["input_ids"]) for row in rows) / seconds
    peak = peak_flops(torch.cuda.get_device_name()) if asked.device == "cuda" and is_bf16 else None
    return Measured(seconds, speed, flops * speed / peak if peak and flops else None, loss_nats)


def _optimiser_of(model: PreTrainedModel, of: Optimiser) -> torch.optim.Optimizer:
    """Return the optimiser that the Trainer makes: norms and biases do not decay."""
    decaying = [one for one in model.parameters() if one.dim() > 1]
    others = [one for one in model.parameters() if one.dim() <= 1]
    groups = [{"params": decaying, "weight_decay": of.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=of.learning_rate, betas=(0.9, 0.95), eps=1e-8, fused=True)


def compare(asked: Namespace) -> dict[str, Any]:
    """Return what both loops took for the same rows, each with a model of its own, turn by turn."""
    tokenizer = make_tokenizer(["A text of some words."], 300)
    plan = NewModel(
        vocabulary=asked.vocabulary,
        hidden_size=asked.hidden_size,
        layers=asked.layers,
        context_tokens=asked.context,
    )

    def new_model() -> PreTrainedModel:
        if asked.model:
            return load_model(asked.model)
        made = make_model(plan, tokenizer)
        made.resize_token_embeddings(asked.vocabulary)
        return made

    first = new_model()
    rows = made_rows(asked.rows, asked.context, first.config.vocab_size)
    most = min(asked.training.rows_per_device, rows_in_memory(first, rows))
    shares = share_out(len(rows), max(1, asked.optimiser.batch_tokens // asked.context), most, 1)
    num_parameters = sum(weights.numel() for weights in first.parameters())
    tried = [
        (measure_training(new_model(), tokenizer, rows, asked), measure_bare(new_model(), rows, shares, asked))
        for _ in range(asked.turns)
    ]
    ours, bare = (max(some, key=lambda one: one.tokens_per_second) for some in zip(*tried, strict=True))
    return {
        "num_parameters": num_parameters,
        "num_tokens": asked.rows * asked.context,
        "processes": asked.processes,
        "tokens_per_second": ours.tokens_per_second,
        "bare_tokens_per_second": bare.tokens_per_second,
        "ratio": ours.tokens_per_second / bare.tokens_per_second,
        "mfu": ours.mfu,
        "bare_mfu": bare.mfu,
        "loss_nats": ours.loss_nats,
        "bare_loss_nats": bare.loss_nats,
    }


def main() -> None:
    """Measure as the flags say, and print it."""
    parser = argparse.ArgumentParser("python -m benchmarks.training", description=__doc__)
    parser.add_argument("--model", default="", help="a checkpoint; without one a model is made")
    for name, size in (("vocabulary", 4096), ("hidden-size", 192), ("layers", 4), ("context", 256)):
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--rows-per-device", type=int, default=8)
    parser.add_argument("--processes", type=int, default=1, help="of the training; the bare loop has one")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("auto", "bfloat16", "float32"), default="auto")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--turns", type=int, default=2, help="times that both are measured; the fastest of each counts")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    asked = parser.parse_args()
    asked.optimiser = Optimiser(learning_rate=1e-3, batch_tokens=asked.batch_tokens)
    asked.training = Training(
        device=asked.device,
        precision=asked.precision,
        rows_per_device=asked.rows_per_device,
        processes=asked.processes,
        gradient_checkpointing=asked.gradient_checkpointing,
        save_seconds=1e9,
    )
    result = compare(asked)
    for name, value in result.items():
        print(f"{name:>24} {'not known' if value is None else format(value, ',.5g')}")
    if asked.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()

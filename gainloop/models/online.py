"""The losses of rows: each from the forward pass that it is then learnt from, and all of them under a trained model."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gainloop.measures.estimate import Floats
from gainloop.models.batches import Collator, multiplies_in_bfloat16, rows_in_memory
from gainloop.models.conversations import IGNORED, Row
from gainloop.models.packing import Packed
from gainloop.models.shares import Shares
from gainloop.models.together import unite
from schemas.profile import Training


class Online:
    """The loss of chosen rows in nats, each from the forward pass that it is then learnt from; [rows], NaN elsewhere.

    It costs no forward pass. Losses noted before an interruption are kept beside the training's saved state. Each of
    several processes notes those of its own rows.
    """

    def __init__(self, is_wanted: Sequence[bool]) -> None:
        self.nats: Floats = np.full(len(is_wanted), np.nan)
        self.is_wanted = is_wanted
        self._path = Path()
        self._shares: Shares | None = None
        self._process, self._step = 0, -1
        self._left: Iterator[int | None] = iter(())
        self._noted: list[tuple[list[int], torch.Tensor]] = []  # on the device: to fetch each at once stops a GPU

    def open(self, folder: str, is_new: bool) -> None:
        """Begin anew, or continue from the losses that were saved in the folder."""
        self._path, self._step = Path(folder, "online.npy"), -1
        self._noted.clear()
        if not is_new and self._path.is_file():
            self.nats = np.load(self._path)

    def share(self, shares: Shares, process: int) -> None:
        """Say which rows this process will read."""
        self._shares, self._process = shares, process

    def note(self, step: int, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Note the losses of some rows of a step, in order, under the model before that step."""
        assert self._shares
        if step != self._step:
            self._step, self._left = step, self._shares.rows_of(self._process, step)
        rows = [next(self._left) for _ in range(len(labels))]
        wanted = [(at, row) for at, row in enumerate(rows) if row is not None and self.is_wanted[row]]
        if wanted:
            losses = [row_loss(logits[at].detach(), labels[at]) for at, _row in wanted]
            self._noted.append(([row for _at, row in wanted], torch.stack(losses)))

    def fetch(self) -> None:
        """Bring what was noted here, and by the other processes, into ``nats``; all of them must call it."""
        for numbers, losses in self._noted:
            self.nats[numbers] = losses.cpu().numpy()
        self._noted.clear()
        self.nats = unite(self.nats)

    def save(self) -> None:
        """Write the losses beside the training's state; of several processes one does."""
        partial = self._path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.save(file, self.nats)
        os.replace(partial, self._path)

    def close(self) -> None:
        """Remove the saved losses: the training is over."""
        self._path.unlink(missing_ok=True)


def row_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the loss of a row in nats, each token but the first given those before it: one number, on their device.

    Args:
        logits: [tokens, vocabulary].
        labels: [tokens].
    """
    losses = torch.nn.functional.cross_entropy(logits[:-1].float(), labels[1:], ignore_index=IGNORED, reduction="none")
    return losses.double().sum()


@torch.inference_mode()
def losses_of(model: PreTrainedModel, rows: Sequence[Row], training: Training) -> list[float]:
    """Return the loss of each row under a model, in nats, as training itself computes it."""
    model.eval()
    losses: list[float] = []
    at_once = min(4, rows_in_memory(model, rows))
    collate = Collator(0)
    for at in range(0, len(rows), at_once):
        batch = {name: ids.to(model.device) for name, ids in collate(list(rows[at : at + at_once])).items()}
        labels = batch.pop("labels")
        with torch.autocast(model.device.type, torch.bfloat16, enabled=multiplies_in_bfloat16(training)):
            logits = model(**batch).logits
        losses += torch.stack([row_loss(*one) for one in zip(logits, labels, strict=True)]).tolist()
    return losses


def learned_rows(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, packed: Packed, online: Online, training: Training
) -> pl.DataFrame:
    """Return the losses of rows that were read for the first time: just before they were learnt, and after training.

    Returns:
        Columns position (in the order of training), part, num_tokens (that are predicted), num_bytes, num_ends (texts
        that end in the row), online_nats and final_nats.
    """
    first = [number for number, is_first in enumerate(packed.is_first) if is_first]
    rows = [packed.rows[number] for number in first]
    learnt = [[label for label in row["labels"][1:] if label != IGNORED] for row in rows]
    texts = tokenizer.batch_decode(learnt, skip_special_tokens=True) if rows else []
    return pl.DataFrame(
        {
            "position": pl.Series(first, dtype=pl.Int64),
            "part": pl.Series([packed.parts[number] for number in first], dtype=pl.String),
            "num_tokens": pl.Series([len(ids) for ids in learnt], dtype=pl.Int64),
            "num_bytes": pl.Series([len(str(text).encode()) for text in texts], dtype=pl.Int64),
            "num_ends": pl.Series([row["labels"].count(tokenizer.eos_token_id) for row in rows], dtype=pl.Int64),
            "online_nats": pl.Series(online.nats[first], dtype=pl.Float64),
            "final_nats": pl.Series(losses_of(model, rows, training), dtype=pl.Float64),
        }
    )

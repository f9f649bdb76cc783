"""What rows cost a model the moment before it learns from them, and what they cost it in the end."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.measures.estimate import Floats
from tasks.models.packing import IGNORED, Packed, Row

AT_ONCE = 4


class Online:
    """The loss of chosen rows in nats, each from the forward pass that it is then learnt from; [rows], NaN elsewhere.

    It costs no forward pass. What was noted before an interruption is kept beside the training's saved state.
    """

    def __init__(self, is_wanted: Sequence[bool]) -> None:
        self.nats: Floats = np.full(len(is_wanted), np.nan)
        self._is_wanted = is_wanted
        self._path = Path()
        self._rows_per_step = self._step = self._seen = 0
        self._noted: list[tuple[list[int], torch.Tensor]] = []  # on the device: to fetch each at once stops a GPU

    def open(self, folder: str, rows_per_step: int, is_new: bool) -> None:
        """Begin, or go on after what was saved in a folder."""
        self._path, self._rows_per_step, self._step = Path(folder, "online.npy"), rows_per_step, -1
        self._noted.clear()
        if not is_new and self._path.is_file():
            self.nats = np.load(self._path)

    def note(self, step: int, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Take note of some rows of a step, in their order; their losses as the model is before that step."""
        if step != self._step:
            self._step, self._seen = step, 0
        first = step * self._rows_per_step + self._seen
        self._seen += len(labels)
        until = min(first + len(labels), len(self.nats))
        wanted = [number for number in range(first, until) if self._is_wanted[number]]
        if wanted:
            losses = [row_loss(logits[number - first].detach(), labels[number - first]) for number in wanted]
            self._noted.append((wanted, torch.stack(losses)))

    def save(self) -> None:
        self._fetch()
        partial = self._path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.save(file, self.nats)
        os.replace(partial, self._path)

    def close(self) -> None:
        """Remove what was saved: the training is over."""
        self._fetch()
        self._path.unlink(missing_ok=True)

    def _fetch(self) -> None:
        for numbers, losses in self._noted:
            self.nats[numbers] = losses.cpu().numpy()
        self._noted.clear()


def row_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return what a row costs in nats, each token but the first given those before it: one number, on their device.

    Args:
        logits: [tokens, vocabulary].
        labels: [tokens].
    """
    losses = torch.nn.functional.cross_entropy(logits[:-1].float(), labels[1:], ignore_index=IGNORED, reduction="none")
    return losses.double().sum()


@torch.inference_mode()
def losses_of(model: PreTrainedModel, rows: Sequence[Row]) -> list[float]:
    """Return what each of some rows of one length costs a model, in nats."""
    model.eval()
    losses: list[float] = []
    for at in range(0, len(rows), AT_ONCE):
        ids = torch.tensor([row["input_ids"] for row in rows[at : at + AT_ONCE]], device=model.device)
        losses += torch.stack([row_loss(*one) for one in zip(model(input_ids=ids).logits, ids, strict=True)]).tolist()
    return losses


def what_was_learned(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, packed: Packed, online: Online
) -> pl.DataFrame:
    """Return what rows cost that were read for the first time: the moment before, and in the end.

    Returns:
        Columns position (in the order of training), part, num_tokens (that are predicted), num_bytes, num_ends (texts
        that end in the row), online_nats and final_nats.
    """
    first = [number for number, is_first in enumerate(packed.is_first) if is_first]
    rows = [packed.rows[number] for number in first]
    texts = tokenizer.batch_decode([row["input_ids"][1:] for row in rows], skip_special_tokens=True) if rows else []
    return pl.DataFrame(
        {
            "position": pl.Series(first, dtype=pl.Int64),
            "part": pl.Series([packed.parts[number] for number in first], dtype=pl.String),
            "num_tokens": pl.Series([len(row["input_ids"]) - 1 for row in rows], dtype=pl.Int64),
            "num_bytes": pl.Series([len(str(text).encode()) for text in texts], dtype=pl.Int64),
            "num_ends": pl.Series([row["input_ids"].count(tokenizer.eos_token_id) for row in rows], dtype=pl.Int64),
            "online_nats": pl.Series(online.nats[first], dtype=pl.Float64),
            "final_nats": pl.Series(losses_of(model, rows), dtype=pl.Float64),
        }
    )

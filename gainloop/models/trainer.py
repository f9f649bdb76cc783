"""Training a causal language model on rows of tokens: transformers' Trainer, seeded and resumable."""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import logging

from gainloop.measures.estimate import Floats
from gainloop.models.conversations import IGNORED, Row
from gainloop.models.loading import num_logits, require_device
from gainloop.models.packing import Packed
from gainloop.store.checkpoints import point_folder
from gainloop.store.files import whole_folder
from schemas.errors import BadInput
from schemas.profile import Training
from schemas.recipe import Optimiser

LOGIT_BYTES = 2**28
"""Logits in memory at once, at float32: of a vocabulary of 49,152 that is 1,365 tokens."""

OnStep = Callable[[int, int], None]


class Online:
    """The loss of chosen rows in nats, each from the forward pass that it is then learnt from; [rows], NaN elsewhere.

    It costs no forward pass. Losses noted before an interruption are kept beside the training's saved state.
    """

    def __init__(self, is_wanted: Sequence[bool]) -> None:
        self.nats: Floats = np.full(len(is_wanted), np.nan)
        self._is_wanted = is_wanted
        self._path = Path()
        self._rows_per_step = self._step = self._seen = 0
        self._noted: list[tuple[list[int], torch.Tensor]] = []  # on the device: to fetch each at once stops a GPU

    def open(self, folder: str, rows_per_step: int, is_new: bool) -> None:
        """Begin anew, or continue from the losses that were saved in the folder."""
        self._path, self._rows_per_step, self._step = Path(folder, "online.npy"), rows_per_step, -1
        self._noted.clear()
        if not is_new and self._path.is_file():
            self.nats = np.load(self._path)

    def note(self, step: int, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Note the losses of some rows of a step, in order, under the model before that step."""
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
        """Remove the saved losses: the training is over."""
        self._fetch()
        self._path.unlink(missing_ok=True)

    def _fetch(self) -> None:
        for numbers, losses in self._noted:
            self.nats[numbers] = losses.cpu().numpy()
        self._noted.clear()


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
    collate = _Collator(0)
    for at in range(0, len(rows), at_once):
        batch = {name: ids.to(model.device) for name, ids in collate(list(rows[at : at + at_once])).items()}
        labels = batch.pop("labels")
        with torch.autocast(model.device.type, torch.bfloat16, enabled=multiplies_in_bfloat16(training)):
            logits = model(**batch).logits
        losses += torch.stack([row_loss(*one) for one in zip(logits, labels, strict=True)]).tolist()
    return losses


def rows_in_memory(model: PreTrainedModel, rows: Sequence[Row]) -> int:
    """Return how many rows' logits fit into ``LOGIT_BYTES``, one at least."""
    longest = max((len(row["input_ids"]) for row in rows), default=1)
    return max(1, LOGIT_BYTES // (4 * longest * num_logits(model)))


def freeze_but_last(model: PreTrainedModel, num_layers: int) -> None:
    """Leave the last layers and the norm after them to be trained, and freeze all else, embeddings among it.

    Raises:
        BadInput: The model has no list of layers that can be found.
    """
    decoder = model.get_decoder()
    layers = getattr(decoder, "layers", None)
    if layers is None:
        raise BadInput(
            f"freezing all but {num_layers} layers of a {type(model).__name__}: its layers are not found; a decoder "
            "with a list of layers is needed. Set plan.trained_layers to none."
        )
    model.requires_grad_(False)
    trained = [*layers[-num_layers:], getattr(decoder, "norm", None)]
    for module in trained:
        if module is not None:
            module.requires_grad_(True)


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


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    optimiser: Optimiser,
    training: Training,
    folder: str,
    seed: int,
    on_step: OnStep = lambda _step, _steps: None,
    online: Online | None = None,
    points: int = 1,
) -> dict[str, float]:
    """Train a model on every row once, in order, and save it with its tokenizer.

    An interrupted run resumes from what it saved in ``folder`` and ends with the same weights; on a GPU to bfloat16's
    rounding, whose sums are not always in the same order.

    Args:
        rows: Packed or paired rows; the order is the order of training.
        folder: Folder that the model and, meanwhile, the resumable state are written to.
        on_step: Called with (step, steps) after every optimiser step.
        online: Record of the losses of rows just before they are learnt from.
        points: Number of even parts of the run; after each but the last the model is saved in a folder of its own too.

    Returns:
        ``num_steps``, ``num_tokens`` and ``train_loss_nats`` (mean per predicted token over the run).
    """
    logging.disable_progress_bar()
    require_device(training.device)
    longest = max(len(row["input_ids"]) for row in rows)
    rows_per_step = max(1, optimiser.batch_tokens // longest)
    most = min(training.rows_per_device, rows_in_memory(model, rows))
    rows_at_once = max(part for part in range(1, most + 1) if rows_per_step % part == 0)
    state = _last_state(folder)
    if online:
        online.open(folder, rows_per_step, is_new=state is None)
    trainer = _Trainer(
        online,
        model=model,
        args=_arguments(optimiser, training, folder, seed, rows_at_once, rows_per_step // rows_at_once, len(rows)),
        train_dataset=_Rows(rows),
        data_collator=_Collator(int(tokenizer.pad_token_id or 0)),
        callbacks=[_Saver(training.save_seconds, on_step, online), _Points(model, tokenizer, folder, points)],
    )
    trainer.pop_callback(next(type(c) for c in trainer.callback_handler.callbacks if "Printer" in type(c).__name__))
    result = trainer.train(resume_from_checkpoint=state)
    trainer.save_model(folder)
    if online:
        online.close()
    tokenizer.save_pretrained(folder)
    _remove_states(folder)
    num_tokens = sum(len(row["input_ids"]) for row in rows)
    return {
        "num_steps": result.global_step,
        "num_tokens": num_tokens,
        "train_loss_nats": _mean_loss(trainer.state.log_history),
    }


def _arguments(
    optimiser: Optimiser, training: Training, folder: str, seed: int, rows_at_once: int, accumulate: int, num_rows: int
) -> TrainingArguments:
    steps = math.ceil(num_rows / (rows_at_once * accumulate))
    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=rows_at_once,
        gradient_accumulation_steps=accumulate,
        num_train_epochs=1,
        learning_rate=optimiser.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(optimiser.warmup_fraction * steps),
        weight_decay=optimiser.weight_decay,
        adam_beta2=0.95,  # forgets in 20 steps, not 1,000: runs here may be a few hundred steps long
        train_sampling_strategy="sequential",
        seed=seed,
        use_cpu=training.device == "cpu",
        bf16=multiplies_in_bfloat16(training),
        save_strategy="no",
        save_total_limit=1,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def multiplies_in_bfloat16(training: Training) -> bool:
    """Tell whether a training's passes multiply in bfloat16: as its profile says, or where the device can.

    On a processor that can, a model of 135 million parameters trains 1.5 times as fast as in float32.
    """
    if training.precision != "auto":
        return training.precision == "bfloat16"
    if training.device != "cpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


class _Trainer(Trainer):
    """A Trainer that passes each batch's logits on to the record of online losses."""

    def __init__(self, online: Online | None, **settings: Any) -> None:
        super().__init__(**settings)
        self._online = online

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self._online:
            self._online.note(self.state.global_step, outputs.logits, inputs["labels"])
        return (loss, outputs) if return_outputs else loss


class _Rows(Dataset[Row]):
    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._rows[index]


class _Collator:
    """Pads rows on the right, where a causal model does not see it; padding carries no loss."""

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, rows: list[Row]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)

        def padded(key: str, filler: int) -> torch.Tensor:
            return torch.tensor([row[key] + [filler] * (longest - len(row[key])) for row in rows])

        return {"input_ids": padded("input_ids", self._pad), "labels": padded("labels", IGNORED)}


class _Saver(TrainerCallback):
    """Saves a resumable state every ``save_seconds`` with the mean loss so far, and reports progress."""

    def __init__(self, save_seconds: float, on_step: OnStep, online: Online | None) -> None:
        self._save_seconds, self._on_step, self._online = save_seconds, on_step, online
        self._saved = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_rest: Any) -> Any:
        self._on_step(state.global_step, state.max_steps)
        is_last = state.global_step == state.max_steps
        if is_last or time.monotonic() - self._saved > self._save_seconds:
            self._saved = time.monotonic()
            if self._online and not is_last:
                self._online.save()  # before the state: a rerun goes on from there
            control.should_log, control.should_save = True, not is_last
        return control


class _Points(TrainerCallback):
    """Saves the model after each even part of the run but the last; a point that is there already is left."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str, points: int) -> None:
        self._model, self._tokenizer, self._folder, self._points = model, tokenizer, folder, points

    def on_step_end(self, args: Any, state: Any, control: Any, **_rest: Any) -> Any:
        for number in range(1, self._points):
            path = Path(point_folder(self._folder, number))
            if state.global_step == point_step(number, self._points, state.max_steps) and not path.is_dir():
                with whole_folder(str(path)) as partial:
                    self._model.save_pretrained(partial)
                    self._tokenizer.save_pretrained(partial)
        return control


def point_step(number: int, points: int, steps: int) -> int:
    """Return the step after which a point along a run of some steps is reached, one step at least.

    >>> [point_step(number, 4, 28) for number in (1, 2, 3, 4)]
    [7, 14, 21, 28]
    """
    return max(1, round(steps * number / points))


def _last_state(folder: str) -> str | None:
    """Return the newest resumable state, and remove others that a crash left half saved or half removed."""
    newest_first = sorted(Path(folder).glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1]))
    last = next(filter(_is_whole, newest_first), None)
    for state in newest_first:
        if state != last:
            shutil.rmtree(state)
    return str(last) if last else None


def _is_whole(state: Path) -> bool:
    """Tell whether a state can be resumed: the Trainer writes this file last, and it is removed first."""
    try:
        return bool(json.loads((state / TRAINER_STATE_NAME).read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return False


def _mean_loss(history: list[dict[str, float]]) -> float:
    """Return the mean over all steps of losses that are means since the entry before; saved with the state, it is
    the whole run's, where the Trainer's own is that of the steps since it resumed.

    >>> _mean_loss([{"step": 1, "loss": 4.0}, {"step": 4, "loss": 2.0}, {"step": 4, "train_loss": 0.5}])
    2.5
    """
    total, before = 0.0, 0.0
    for entry in (entry for entry in history if "loss" in entry):
        total += entry["loss"] * (entry["step"] - before)
        before = entry["step"]
    return total / before


def _remove_states(folder: str) -> None:
    """Remove the resumable states: the run is over, and they are three times the model's size."""
    for state in Path(folder).glob("checkpoint-*"):
        (state / TRAINER_STATE_NAME).unlink()
        shutil.rmtree(state)

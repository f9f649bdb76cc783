"""Training a causal language model on rows of tokens: transformers' Trainer, seeded, resumable, alone or together."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments
from transformers.trainer import SCHEDULER_NAME
from transformers.utils import logging

from gainloop.models.adapters import add_adapters, remove_adapters
from gainloop.models.batches import Collator, Places, multiplies_in_bfloat16, rows_in_memory
from gainloop.models.conversations import Row
from gainloop.models.loading import require_devices
from gainloop.models.online import Online
from gainloop.models.ranks import Job, train_on_ranks
from gainloop.models.shares import Shares, share_out
from gainloop.models.speed import Stopwatch
from gainloop.models.states import (
    OnStep,
    Points,
    Saver,
    last_state,
    mean_loss,
    read_optimiser,
    read_weights,
    remove_states,
    whole_weights,
    write_optimiser,
    write_plain,
)
from gainloop.models.together import wait_for_all
from schemas.errors import BadInput
from schemas.plan import LowRank, Optimiser
from schemas.profile import Training

Metrics = dict[str, Any]


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
            "with a list of layers is needed. Set trained_layers to none."
        )
    model.requires_grad_(False)
    trained = [*layers[-num_layers:], getattr(decoder, "norm", None)]
    for module in trained:
        if module is not None:
            module.requires_grad_(True)


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
    lora: LowRank | None = None,
) -> Metrics:
    """Train a model on every row once, in order, and save it with its tokenizer.

    An interrupted run resumes from what it saved in ``folder`` and ends with the same weights; on a GPU to bfloat16's
    rounding, whose sums are not always in the same order. On several processes every update has the same rows, and its
    loss is a mean over the tokens of all of them: weights differ by rounding alone. A state that some processes saved
    can be resumed from by any number of them.

    Args:
        rows: Packed or paired rows; the order is the order of training.
        folder: Folder that the model and, meanwhile, the resumable state are written to.
        on_step: Called with (step, steps) after every optimiser step.
        online: Record of the losses of rows just before they are learnt from.
        points: Number of even parts of the run; after each but the last the model is saved in a folder of its own too.
        lora: Adapters that are trained in place of the weights, and merged into them at the end.

    Returns:
        ``num_steps``, ``num_tokens``, ``train_loss_nats`` (mean per predicted token over the run), and ``speed`` since
        the run began or went on: see ``Stopwatch``.

    Raises:
        BadInput: The machine has not the devices, or the model not the layers, that are asked for.
    """
    logging.disable_progress_bar()
    require_devices(training.device, training.processes)
    state = last_state(folder)
    if online:
        online.open(folder, is_new=state is None)
    job = Job(rows, optimiser, training, folder, seed, points, lora, state)
    run = train_here if training.processes == 1 else train_on_ranks
    metrics = run(model, tokenizer, job, on_step, online)
    if lora or training.processes > 1:
        read_weights(model, folder)
    if training.processes > 1:
        moved: Any = model
        moved.to(training.device)
    if online:
        online.close()
    remove_states(folder)
    return metrics


def train_here(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    job: Job,
    on_step: OnStep,
    online: Online | None,
    process: int = 0,
) -> Metrics:
    """Train in this process: alone, or as one of several, of which the first writes. See ``train``."""
    training, pad = job.training, int(tokenizer.pad_token_id or 0)
    longest = max(len(row["input_ids"]) for row in job.rows)
    most = min(training.rows_per_device, rows_in_memory(model, job.rows))
    shares = share_out(len(job.rows), max(1, job.optimiser.batch_tokens // longest), most, training.processes)
    if job.lora:
        add_adapters(model, job.lora, job.seed)
    if job.state and training.processes > 1:
        read_weights(model, job.state)
    if online:
        online.share(shares, process)
    watch = Stopwatch(model, job.rows, shares, training)
    trainer = _Trainer(
        online,
        model=model,
        args=_arguments(job, shares),
        train_dataset=Places(job.rows, shares, pad),
        data_collator=Collator(pad),
        callbacks=[watch, Saver(training.save_seconds, on_step, online)],
    )
    trainer.add_callback(Points(trainer, tokenizer, job.folder, job.points))
    trainer.pop_callback(next(type(c) for c in trainer.callback_handler.callbacks if "Printer" in type(c).__name__))
    result = trainer.train(resume_from_checkpoint=job.state)
    if online:
        online.fetch()
    weights = whole_weights(trainer)
    if job.lora and training.processes == 1:
        remove_adapters(model)
    if weights is not None:
        write_plain(trainer.model, weights, tokenizer, job.folder)
    return {
        "num_steps": result.global_step,
        "num_tokens": sum(len(row["input_ids"]) for row in job.rows),
        "train_loss_nats": mean_loss(trainer.state.log_history),
        "speed": watch.told,
    }


def _arguments(job: Job, shares: Shares) -> TrainingArguments:
    optimiser, training = job.optimiser, job.training
    again = {"activation_checkpointing": training.gradient_checkpointing}
    together = {"fsdp": True, "fsdp_config": again, "ddp_backend": "gloo" if training.device == "cpu" else "nccl"}
    return TrainingArguments(
        output_dir=job.folder,
        per_device_train_batch_size=shares.rows_at_once,
        gradient_accumulation_steps=shares.batches,
        num_train_epochs=1,
        learning_rate=optimiser.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(optimiser.warmup_fraction * shares.num_steps),
        weight_decay=optimiser.weight_decay,
        adam_beta2=0.95,  # forgets in 20 steps, not 1,000: runs here may be a few hundred steps long
        train_sampling_strategy="sequential",
        seed=job.seed,
        use_cpu=training.device == "cpu",
        bf16=multiplies_in_bfloat16(training),
        average_tokens_across_devices=True,
        save_strategy="no",
        save_total_limit=1,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **(together if shares.processes > 1 else again),
    )


class _Trainer(Trainer):
    """A Trainer that notes online losses, and whose states are the same for one process and for several.

    Weights of a state are read before they are sharded. Gradients of several processes are added up in float32.
    """

    model: Any
    lr_scheduler: Any

    def __init__(self, online: Online | None, **settings: Any) -> None:
        super().__init__(**settings)
        self._online = online
        if self.is_fsdp_enabled:
            _require_token_means(self)
            if self.args.bf16:
                self.accelerator.state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy(
                    param_dtype=torch.bfloat16, reduce_dtype=torch.float32
                )

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self._online:
            self._online.note(self.state.global_step, outputs.logits, inputs["labels"])
        return (loss, outputs) if return_outputs else loss

    def _load_from_checkpoint(self, folder: str, model: Any = None) -> None:
        if not self.is_fsdp_enabled:
            super()._load_from_checkpoint(folder, model)

    def _save_optimizer_and_scheduler(self, folder: str) -> None:
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(folder)
            return
        write_optimiser(self.model, self.optimizer, folder)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), f"{folder}/{SCHEDULER_NAME}")

    def _load_optimizer_and_scheduler(self, folder: str | None) -> None:
        if not self.is_fsdp_enabled or folder is None:
            super()._load_optimizer_and_scheduler(folder)
            return
        read_optimiser(self.model, self.optimizer, folder, self.is_world_process_zero())
        self.lr_scheduler.load_state_dict(torch.load(f"{folder}/{SCHEDULER_NAME}", weights_only=True))

    def _save_rng_state(self, folder: str) -> None:
        super()._save_rng_state(folder)
        wait_for_all()  # the first process then writes what makes the state whole


def _require_token_means(trainer: Trainer) -> None:
    """Refuse a model whose loss is a mean over a process's own tokens: an update would weigh them wrongly."""
    if not trainer.model_accepts_loss_kwargs:
        raise BadInput(
            f"training a {type(trainer.model).__name__} on {trainer.args.world_size} processes: its loss cannot be "
            "told how many tokens all of them have; one that takes num_items_in_batch is needed. "
            "Set training.processes in the profile to 1."
        )

"""The states of a training: what a later run resumes from, the weights along the way, and the plain ones at the end."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer import OPTIMIZER_NAME, TRAINER_STATE_NAME

from gainloop.models.adapters import merged
from gainloop.models.online import Online
from gainloop.models.together import first_says
from gainloop.store.checkpoints import point_folder
from gainloop.store.files import whole_folder

OnStep = Callable[[int, int], None]


class Saver(TrainerCallback):
    """Saves a resumable state every ``save_seconds`` with the mean loss so far, and reports progress."""

    def __init__(self, save_seconds: float, on_step: OnStep, online: Online | None) -> None:
        self._save_seconds, self._on_step, self._online = save_seconds, on_step, online
        self._saved = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_rest: Any) -> Any:
        self._on_step(state.global_step, state.max_steps)
        is_last = state.global_step == state.max_steps
        if is_last or first_says(time.monotonic() - self._saved > self._save_seconds):
            self._saved = time.monotonic()
            if self._online and not is_last:
                self._online.fetch()
                if state.is_world_process_zero:
                    self._online.save()  # before the state: a rerun goes on from there
            control.should_log, control.should_save = True, not is_last
        return control


class Points(TrainerCallback):
    """Saves the model after each even part of the run but the last; a point that is there already is left."""

    def __init__(self, trainer: Any, tokenizer: PreTrainedTokenizerBase, folder: str, points: int) -> None:
        self._trainer, self._tokenizer, self._folder, self._points = trainer, tokenizer, folder, points

    def on_step_end(self, args: Any, state: Any, control: Any, **_rest: Any) -> Any:
        for number in range(1, self._points):
            path = Path(point_folder(self._folder, number))
            is_here = state.global_step == point_step(number, self._points, state.max_steps)
            if is_here and first_says(not path.is_dir()):
                self._write(str(path))
        return control

    def _write(self, path: str) -> None:
        weights = whole_weights(self._trainer)
        if weights is not None:
            with whole_folder(path) as partial:
                write_plain(self._trainer.model, weights, self._tokenizer, partial)


def whole_weights(trainer: Any) -> dict[str, torch.Tensor] | None:
    """Return the plain weights of the model that is trained; all processes must call it, and the first has them."""
    weights = trainer.accelerator.get_state_dict(trainer.model)
    return merged(trainer.model, weights) if trainer.is_world_process_zero() else None


def write_plain(
    model: PreTrainedModel, weights: dict[str, torch.Tensor], tokenizer: PreTrainedTokenizerBase, folder: str
) -> None:
    """Write weights as a checkpoint with the config of a model."""
    model.save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)


def read_weights(model: PreTrainedModel, folder: str) -> None:
    """Give a model the weights that lie in a folder; those that are tied to others lie there once."""
    for file in sorted(Path(folder).glob("*.safetensors")):
        model.load_state_dict(load_file(file), strict=False)


def write_optimiser(model: PreTrainedModel, optimiser: Any, folder: str) -> None:
    """Write a sharded optimiser as one process has it; all processes must call it, and the first writes."""
    whole: Any = get_optimizer_state_dict(
        model, optimiser, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )
    if not whole["state"]:
        return
    numbers = {name: number for number, name in enumerate(_names_of(whole))}
    groups = [group | {"params": [numbers[name] for name in group["params"]]} for group in whole["param_groups"]]
    states = {numbers[name]: state for name, state in whole["state"].items()}
    torch.save({"state": states, "param_groups": groups}, f"{folder}/{OPTIMIZER_NAME}")


def read_optimiser(model: PreTrainedModel, optimiser: Any, folder: str, is_first: bool) -> None:
    """Give a sharded optimiser the state that one process or several wrote; all processes must call it."""
    names = _names_of(get_optimizer_state_dict(model, optimiser))
    whole: Any = {}
    if is_first:
        whole = torch.load(f"{folder}/{OPTIMIZER_NAME}", map_location="cpu", weights_only=True)
        whole["state"] = {names[number]: state for number, state in whole["state"].items()}
        for group in whole["param_groups"]:
            group["params"] = [names[number] for number in group["params"]]
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_optimizer_state_dict(model, optimiser, whole, options=options)


def _names_of(state: Any) -> list[str]:
    """Return the names of an optimiser's parameters in its own order, by which one process numbers them."""
    return [name for group in state["param_groups"] for name in group["params"]]


def point_step(number: int, points: int, steps: int) -> int:
    """Return the step after which a point along a run of some steps is reached, one step at least.

    >>> [point_step(number, 4, 28) for number in (1, 2, 3, 4)]
    [7, 14, 21, 28]
    """
    return max(1, round(steps * number / points))


def last_state(folder: str) -> str | None:
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


def mean_loss(history: list[dict[str, float]]) -> float:
    """Return the mean over all steps of losses that are means since the entry before; saved with the state, it is
    the whole run's, where the Trainer's own is that of the steps since it resumed.

    >>> mean_loss([{"step": 1, "loss": 4.0}, {"step": 4, "loss": 2.0}, {"step": 4, "train_loss": 0.5}])
    2.5
    """
    total, before = 0.0, 0.0
    for entry in (entry for entry in history if "loss" in entry):
        total += entry["loss"] * (entry["step"] - before)
        before = entry["step"]
    return total / before


def remove_states(folder: str) -> None:
    """Remove the resumable states: the run is over, and they are three times the model's size."""
    for state in Path(folder).glob("checkpoint-*"):
        (state / TRAINER_STATE_NAME).unlink()
        shutil.rmtree(state)

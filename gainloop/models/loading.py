"""Opening a checkpoint: its config, model and tokenizer. Its own code, if it has any, never runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from gainloop.store.lacks import explain
from schemas.errors import BadInput, GainloopError, is_failure

CONTEXT_NAMES: Final = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "context_length",
    "seq_length",
    "n_ctx",
)
"""Names that configs give to the context; most write the first."""


def load_model(folder: str, device: str = "cpu") -> PreTrainedModel:
    """Return the causal language model of a checkpoint, at float32.

    Raises:
        BadInput: The folder holds no such model, weights of it are missing or damaged, or the machine has no such
            device.
    """
    logging.disable_progress_bar()
    require_device(device)
    read_config(folder)
    with opening(folder):
        opened: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
    model, found = opened
    if missing := sorted(found["missing_keys"]):
        raise unreadable(folder, f"{len(missing)} of its model's weights are not in its files, {missing[0]} among them")
    model.to(torch.device(device))
    assert isinstance(model, PreTrainedModel)
    return model


def require_device(device: str) -> None:
    """Check that this machine has a device.

    Raises:
        BadInput: It has not.
    """
    try:
        torch.zeros(1, device=device)
    except (AssertionError, RuntimeError) as error:
        if lack := explain(f"opening the device {device!r}", error):
            raise lack from error
        first = str(error).strip().splitlines()[0]
        raise BadInput(
            f"looking for the device {device!r}: {first}; cpu, or cuda where torch finds a GPU, is allowed. "
            "Set device in the profile, under serving or training."
        ) from error


def require_devices(device: str, processes: int) -> None:
    """Check that this machine has a device for each process of a training; on a CPU they share it.

    Raises:
        BadInput: It has not.
    """
    require_device(device)
    there = torch.cuda.device_count() if device == "cuda" else processes
    if there < processes:
        raise BadInput(
            f"looking for {processes} GPUs to train on: this machine has {there}; one for each process is needed. "
            "Set training.processes in the profile to as many as there are."
        )


def read_config(folder: str) -> PretrainedConfig:
    """Return the config of a checkpoint.

    Raises:
        BadInput: The folder has none, or one of quantized weights.
    """
    with opening(folder):
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    quantized = getattr(config, "quantization_config", None)
    if quantized:
        about = quantized if isinstance(quantized, dict) else quantized.to_dict()
        raise unreadable(folder, f"its weights are quantized ({about.get('quant_method', 'somehow')})")
    return config


def read_context(folder: str) -> int:
    """Return the context of a checkpoint's model, in tokens.

    Raises:
        BadInput: The folder holds no model, or one without a longest context.
    """
    return context_of(read_config(folder), folder)


def context_of(config: PretrainedConfig, folder: str = "") -> int:
    """Return the context that a model's config states, in tokens; that of its text where it reads images too.

    Raises:
        BadInput: It states none.
    """
    text = config.get_text_config(decoder=True)
    found = [getattr(text, name, None) for name in CONTEXT_NAMES]
    context = next((value for value in found if isinstance(value, int) and value > 0), None)
    if context is None:
        reason = f"the config of {config.model_type} says nowhere how many tokens its context has"
        raise unreadable(folder or str(config.name_or_path), reason)
    return context


def vocabulary_of(config: PretrainedConfig) -> int:
    """Return how many tokens a model can tell apart; its tokenizer may have fewer."""
    return int(config.get_text_config(decoder=True).vocab_size)


def require_numbers(model: PreTrainedModel, folder: str) -> None:
    """Refuse a model whose training went astray: one that holds a value that is no number says nothing but that.

    Raises:
        BadInput: A weight is infinite or not a number.
    """
    broken = [name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())]
    if broken:
        raise unreadable(
            folder, f"{len(broken)} of its weights hold values that are no numbers, {broken[0]} among them"
        )


def num_logits(model: PreTrainedModel) -> int:
    """Return how many logits a model has at each token: its memory while it is trained or scored."""
    return vocabulary_of(model.config)


def load_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a checkpoint; one without an end token cannot say where a text ends.

    Raises:
        BadInput: The folder holds no tokenizer, one that only transformers' slow code reads, or one without an end
            token.
    """
    with opening(folder):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    is_empty = len(tokenizer) <= len(tokenizer.added_tokens_decoder)  # made for want of files, without an error
    if is_empty or not tokenizer.is_fast:
        raise unreadable(folder, "it has no tokenizer.json, nor files that a tokenizer can be made of")
    if tokenizer.eos_token_id is None:
        raise unreadable(folder, "its tokenizer has no end token")
    return tokenizer


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the tokens that end a reply: the tokenizer's end token, and those that the generation config names."""
    named: Any = model.generation_config.eos_token_id if model.generation_config else None
    found = [*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id]
    return {int(one) for one in found if one is not None}


@contextmanager
def opening(folder: str) -> Iterator[None]:
    """Turn whatever goes wrong with a checkpoint's files into one sentence: libraries raise a dozen kinds of errors."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, GainloopError) or not is_failure(error):
            raise
        if lack := explain(f"opening the checkpoint {folder}", error):
            raise lack from error
        reason = "it needs code of its own, and no checkpoint's code is run" if "custom code" in str(error) else error
        raise unreadable(folder, reason) from error


def unreadable(folder: str | Path, reason: object) -> BadInput:
    """Return the error of a checkpoint that cannot be used."""
    first = " ".join(str(reason).split()) or type(reason).__name__
    first = first if len(first) <= 200 else f"{first[:200].rsplit(' ', 1)[0]} ..."
    return BadInput(
        f"opening the checkpoint {folder}: {first.rstrip('.;')}; a folder with a causal language model at full "
        "precision and its tokenizer, as save_pretrained writes them, is needed. Name such a model."
    )

"""Opening a checkpoint's folder."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from schemas.errors import BadInput


def load_model(folder: str, device: str = "cpu") -> PreTrainedModel:
    """Return the causal language model of a checkpoint, at float32.

    Raises:
        BadInput: The folder holds no such model, or the machine has no such device.
    """
    logging.disable_progress_bar()
    require_device(device)
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from error
    model.to(torch.device(device))  # type: ignore[arg-type]
    return model


def require_device(device: str) -> None:
    """Do nothing if a model can be on a device of this machine.

    Raises:
        BadInput: It cannot.
    """
    try:
        torch.zeros(1, device=device)
    except (AssertionError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise BadInput(
            f"looking for the device {device!r}: {first}; cpu, or cuda where torch finds a GPU, is allowed. "
            "Set device in the profile, under serving or training."
        ) from error


def read_context(folder: str) -> int:
    """Return how many tokens a checkpoint's model can read at once.

    Raises:
        BadInput: The folder holds no model.
    """
    try:
        return int(AutoConfig.from_pretrained(folder).max_position_embeddings)
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from error


def load_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a checkpoint; one without an end token cannot say where a text ends.

    Raises:
        BadInput: The folder holds no tokenizer, or one without an end token.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from error
    if tokenizer.eos_token_id is None:
        raise _unreadable(folder, "its tokenizer has no end token")
    return tokenizer


def _unreadable(folder: str, reason: object) -> BadInput:
    first = str(reason).strip().splitlines()[0]
    return BadInput(
        f"opening the checkpoint {folder}: {first}; a folder with a causal language model and its tokenizer, "
        "as save_pretrained writes them, is needed. Set start to one."
    )

"""Finding a checkpoint, and opening its model and tokenizer."""

import hashlib
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from schemas.errors import BadInput
from schemas.recipe import Checkpoint

PARTS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
"""The files of a hub model that transformers reads; the same weights in other formats are left there."""

WEIGHTS = ("*.safetensors", "*.bin", "config.json", "tokenizer.json")


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
    """Check that this machine has a device.

    Raises:
        BadInput: It has not.
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
    """Return the context of a checkpoint's model, in tokens.

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


def find_checkpoint(wanted: Checkpoint) -> tuple[str, str]:
    """Return the local folder of a checkpoint and the revision that identifies its weights.

    A folder's revision is the hash of its weights, a hub model's is its commit.

    Raises:
        BadInput: The checkpoint is neither a folder with a model nor a reachable hub id.
    """
    if Path(wanted.model).is_dir():
        return wanted.model, _fingerprint(Path(wanted.model))
    if wanted.model.startswith((".", "/", "~")) or wanted.model.count("/") > 1:
        raise BadInput(
            f"loading checkpoint {wanted.model!r}: there is no such folder; a folder that save_pretrained wrote, or a "
            "hub id, is needed. Set model to one."
        )
    return _download(wanted)


def _fingerprint(folder: Path) -> str:
    if not (folder / "config.json").is_file():
        raise BadInput(
            f"reading checkpoint {folder}: it has no config.json; a folder that save_pretrained wrote is needed. "
            "Name such a folder, or a hub id."
        )
    digest = hashlib.sha256()
    for path in sorted(found for pattern in WEIGHTS for found in folder.glob(pattern)):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _download(wanted: Checkpoint) -> tuple[str, str]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(wanted.model, revision=wanted.revision or None, allow_patterns=PARTS)
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInput(
            f"loading checkpoint {wanted.model!r}: {reason}; a folder, or a hub id that this machine can reach, "
            "is needed. Set model to one."
        ) from error
    return folder, Path(folder).name

"""Checkpoints that were made elsewhere: a folder, or a model of the hub."""

import hashlib
from pathlib import Path

from schemas.errors import BadInput
from schemas.recipe import Checkpoint

PARTS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
"""The files of a hub model that transformers reads; the same weights in other formats are left there."""

WEIGHTS = ("*.safetensors", "*.bin", "config.json", "tokenizer.json")


def find_checkpoint(wanted: Checkpoint) -> tuple[str, str]:
    """Return the local folder of a checkpoint and the revision that identifies its weights.

    A folder's revision is the hash of its weights, a hub model's is its commit.

    Raises:
        BadInput: It is neither a folder with a model nor a reachable hub id.
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

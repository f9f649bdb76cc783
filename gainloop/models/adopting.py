"""A model that was made elsewhere: a folder, a GGUF file or a hub id, all one thing to who names it."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gainloop.models.checking import check_checkpoint, weight_files
from gainloop.models.gguf import convert_gguf
from gainloop.models.loading import end_tokens, load_model, load_tokenizer, opening, require_numbers
from gainloop.store.lacks import explain
from schemas.errors import BadInput
from schemas.plan import Checkpoint, names_path

PARTS: Final = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.tiktoken"]
"""The files of a hub model that transformers reads; the same weights in other formats are left there."""

OTHERS: Final = ["original/*", "consolidated*", "onnx/*", "*/*.safetensors"]

DECIDING: Final = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "chat_template.json",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
    "*.index.json",
)
"""Files that decide a reply, besides the weights. What else a folder holds, README or training state, does not."""


@dataclass(frozen=True)
class Found:
    """A model on this machine. ``revision`` is the hash of all that decides a reply; ``path``: its folder or file."""

    path: Path
    revision: str

    def write(self, folder: str) -> None:
        """Write it as a checkpoint into a folder, and open it once: what is wrong with it is said now.

        Raises:
            BadInput: It is no model that can be continued and asked.
        """
        if self.path.is_file():
            convert_gguf(self.path, folder)
        else:
            check_checkpoint(str(self.path))
            _copy(self.path, Path(folder))
        check_checkpoint(folder)
        with opening(folder):
            model = load_model(folder)
            require_numbers(model, folder)
            end_tokens(model, load_tokenizer(folder))


def find_checkpoint(wanted: Checkpoint) -> Found:
    """Return where a checkpoint lies on this machine; one of the hub is downloaded first.

    Raises:
        BadInput: It is neither a folder with a model, nor a GGUF file, nor a reachable hub id.
    """
    path = Path(wanted.model).expanduser()
    if path.is_file():
        return Found(path, _hash([path], path.parent))
    if path.is_dir():
        with opening(str(path)):
            return Found(path, _hash(deciding_files(path), path))
    if names_path(wanted.model):
        raise BadInput(
            f"loading checkpoint {wanted.model!r}: there is no such folder or file; a folder that save_pretrained "
            "wrote, a .gguf file, or a hub id is needed. Name one, or make the small model with `make model`."
        )
    downloaded = Path(_download(wanted))
    return Found(downloaded, _hash(deciding_files(downloaded), downloaded))


def deciding_files(folder: Path) -> list[Path]:
    """Return the files of a checkpoint that decide its replies, in the order of their names.

    Raises:
        BadInput: The folder holds no model.
    """
    if not (folder / "config.json").is_file():
        is_adapter = (folder / "adapter_config.json").is_file()
        found = "it is an adapter alone, to be merged into its model first" if is_adapter else "it has no config.json"
        raise BadInput(
            f"reading checkpoint {folder}: {found}; a folder that save_pretrained wrote is needed. "
            "Name such a folder, a .gguf file, or a hub id."
        )
    deciding = {path for pattern in DECIDING for path in folder.glob(pattern) if path.is_file()}
    return sorted({*deciding, *weight_files(folder)})


def _hash(paths: list[Path], folder: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _copy(source: Path, folder: Path) -> None:
    for path in deciding_files(source):
        copied = folder / path.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copied)


def _download(wanted: Checkpoint) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    asked: dict[str, Any] = {"revision": wanted.revision or None, "allow_patterns": PARTS, "ignore_patterns": OTHERS}
    try:
        return str(snapshot_download(wanted.model, **asked))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        if lack := explain(f"downloading checkpoint {wanted.model!r}", error):
            raise lack from error
        reason = " ".join(str(error).split())[:200]
        if isinstance(error, LocalEntryNotFoundError):  # its words are of caches
            reason = "no model of the store has that id, and the hub cannot be reached"
        raise BadInput(
            f"loading checkpoint {wanted.model!r}: {reason}; a folder, a .gguf file, an id of the store, or a hub id "
            "that this machine can reach, is needed. Name one: `gainloop list models` has those of the store."
        ) from error

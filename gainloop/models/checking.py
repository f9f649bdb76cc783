"""What is wrong with a checkpoint, found in a second: before anything that costs time rests on it."""

import json
import re
import struct
import zipfile
from pathlib import Path

from transformers import PretrainedConfig

from gainloop.models.loading import context_of, load_tokenizer, opening, read_config, unreadable, vocabulary_of
from gainloop.models.prompts import encode_chat

POINTER = b"version https://git-lfs"
SINGLE = ("model.safetensors", "pytorch_model.bin")
INDEXED = ("model.safetensors.index.json", "pytorch_model.bin.index.json")

OTHER_HEADS = re.compile(
    r"(ForMaskedLM|Classification|QuestionAnswering|ForPreTraining|ForMultipleChoice|NextSentencePrediction|ForCTC)$"
)
"""How the architectures of models end that do something else with a text than to go on with it."""

CHAT = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Who writes?"}]


def check_checkpoint(folder: str, chats: bool = False) -> None:
    """Refuse a checkpoint that would fail, or silently differ, once it is used. No weight is read.

    Weights that are another model's are found when they are loaded: ``load_model`` refuses them.

    Args:
        chats: True where it will be asked in messages: then it needs a chat template.

    Raises:
        BadInput: It is no causal language model, its config names no context or quantized weights, a file of its
            weights is missing, a pointer or torn, its tokenizer is missing, has no end token or more tokens than the
            model, or no chat template.
    """
    with opening(folder):
        config = read_config(folder)
        _require_causal(folder, config)
        context_of(config, folder)
        for path in weight_files(Path(folder)):
            _require_whole(path)
        _check_tokenizer(folder, config, chats)


def _require_causal(folder: str, config: PretrainedConfig) -> None:
    """Refuse a model that was not made to go on with a text: transformers would load it all the same."""
    names = config.architectures or []
    if names and all(OTHER_HEADS.search(name) for name in names):
        raise unreadable(folder, f"it is a {names[0]}, which does not go on with a text")


def weight_files(folder: Path) -> list[Path]:
    """Return the files of a checkpoint's weights that transformers reads: those of the first format that is there.

    Raises:
        BadInput: There are none, or the index names one that is not there.
    """
    for single, index in zip(SINGLE, INDEXED, strict=True):
        if (folder / single).is_file():
            return [folder / single]
        if (folder / index).is_file():
            return _indexed(folder, folder / index)
    raise unreadable(folder, f"it has no weights: none of {', '.join((*SINGLE, *INDEXED))}")


def _indexed(folder: Path, index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise unreadable(folder, f"{index.name} cannot be read ({error})") from error
    if outside := [name for name in names if Path(name).name != name]:
        raise unreadable(folder, f"{index.name} names a file that is not right in its folder, {outside[0]!r}")
    if lacking := [name for name in names if not (folder / name).is_file()]:
        raise unreadable(folder, f"{len(lacking)} of {len(names)} files of weights are missing, {lacking[0]} first")
    return [folder / name for name in names]


def _require_whole(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(len(POINTER))
    if head == POINTER:
        raise unreadable(
            path.parent, f"{path.name} is a pointer of Git LFS, not the weights (`git lfs pull` gets them)"
        )
    is_whole = _is_whole_safetensors(path) if path.suffix == ".safetensors" else zipfile.is_zipfile(path)
    if not is_whole:
        raise unreadable(path.parent, f"{path.name} is torn: it is not as long as it says, or no file of weights")


def _is_whole_safetensors(path: Path) -> bool:
    """Tell whether a file is as long as its header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size:
                return False
            header = json.loads(file.read(length))
            ends = [about["data_offsets"][1] for name, about in header.items() if name != "__metadata__"]
        except (struct.error, ValueError, KeyError, TypeError, AttributeError):
            return False
    return bool(size == 8 + length + max(ends, default=0))


def _check_tokenizer(folder: str, config: PretrainedConfig, chats: bool) -> None:
    tokenizer = load_tokenizer(folder)
    rows = vocabulary_of(config)
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= rows:
        raise unreadable(
            folder, f"its tokenizer has tokens up to number {largest:,}, its model only {rows:,}; they do not fit"
        )
    if chats:
        encode_chat(tokenizer, CHAT)

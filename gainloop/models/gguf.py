"""A GGUF file, the one-file form that llama.cpp reads, turned into a checkpoint folder at float32."""

import logging
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as library_logging

from gainloop.models.loading import unreadable
from gainloop.store.lacks import explain

MAGIC = b"GGUF"
logger = logging.getLogger("gainloop.gguf")


def convert_gguf(path: Path, folder: str) -> None:
    """Write the model and the tokenizer of a GGUF file as save_pretrained writes them.

    Weights that the file holds at fewer bits become float32, so the folder is several times as large.

    Raises:
        BadInput: It is no GGUF file, or one of an architecture that transformers does not read.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise unreadable(path, "it is no GGUF file; of single files only those are read")
    library_logging.disable_progress_bar()
    logger.info("Reading %s into float32 weights.", path)
    try:
        named: Any = {"gguf_file": path.name, "trust_remote_code": False}  # other files beside it may name code
        tokenizer = AutoTokenizer.from_pretrained(path.parent, **named)
        read = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **named)
        # transformers refuses to save a model that says it is quantized: the weights go into one that does not.
        del read.config.quantization_config
        plain = AutoModelForCausalLM.from_config(read.config, dtype=torch.float32)
        plain.load_state_dict(read.state_dict())
    except Exception as error:
        if lack := explain(f"reading {path}", error):
            raise lack from error
        raise unreadable(path, error) from error
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

"""A model small enough to make in a test: random weights, real architecture, a tokenizer of real prose."""

from pathlib import Path
from pydoc_data.topics import topics

from transformers import PreTrainedTokenizerFast

from gainloop.models.start import make_model, make_tokenizer
from schemas.plan import NewModel

TEXTS = [" ".join(topics[name].split())[:400] for name in sorted(topics)[:24]]
"""Prose of the Python language reference, 400 characters each."""

PLAN = NewModel(vocabulary=320, hidden_size=32, layers=2, head_size=32, context_tokens=128)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer(TEXTS, PLAN.vocabulary)


def save_tiny_model(folder: Path, plan: NewModel = PLAN) -> str:
    """Write an untrained model and its tokenizer as a checkpoint is written, and return its folder."""
    tokenizer = tiny_tokenizer()
    make_model(plan, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)

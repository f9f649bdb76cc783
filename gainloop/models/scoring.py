"""Negative log-likelihood of texts under a checkpoint."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from gainloop.models.loading import context_of, load_model, load_tokenizer, num_logits, read_context
from gainloop.models.tokens import Tokens, before_text, text_tokens
from schemas.errors import BadInput

BATCH_TOKENS = 2048
"""Tokens of a forward pass, at most."""

BATCH_BYTES = 32_000_000
"""Logits of a forward pass, at most: what malloc keeps for the next. A longer text is read in parts of so many."""


@torch.inference_mode()
def score_texts(
    folder: str,
    text_ids: Sequence[str],
    texts: Sequence[str],
    device: str = "cpu",
    before: Sequence[str] | None = None,
    window: int | None = None,
    ends: bool = True,
) -> pl.DataFrame:
    """Return each text's negative log-likelihood under a checkpoint, read from its first token on.

    The first token is predicted from what its tokenizer begins a text with (BOS), or else from an end token before it,
    as in packed training; the end token after the text is predicted too. Texts longer than the window are scored in
    pieces of that length, each read alone.

    Args:
        before: Text that is read before each text, or each piece of it, and not scored: as much of its beginning as the
            model's context has room for. Default: none.
        window: Tokens of a piece. Default: as many as the context holds.
        ends: Whether the end token after each text is predicted too; lm-eval leaves it out.

    Returns:
        Columns text_id, nats, num_tokens (end token included, if predicted), num_bytes (UTF-8), in the order given.
    """
    model, tokenizer = load_model(folder, device).eval(), load_tokenizer(folder)
    end = int(tokenizer.eos_token_id)
    begin = before_text(tokenizer)
    context = context_of(model.config) - len(begin)
    window = min(window or context, context)
    encoded = [ids if ends else ids[:-1] for ids in _ended(tokenizer, texts)]
    heads = [ids[: context - window] for ids in _ended(tokenizer, before)] if before else [[] for _ in texts]
    pieces = [
        _Piece(owner, heads[owner], ids[at : at + window])
        for owner, ids in enumerate(encoded)
        for at in range(0, len(ids), window)
    ]
    pieces.sort(key=lambda piece: piece.length)
    nats = np.zeros(len(texts))
    for batch in _batches(pieces, most_tokens(model)):
        for piece, value in zip(batch, _score(batch, model, begin, end), strict=True):
            nats[piece.owner] += value
    return pl.DataFrame(
        {
            "text_id": pl.Series(list(text_ids), dtype=pl.String),
            "nats": nats,
            "num_tokens": pl.Series([len(ids) for ids in encoded], dtype=pl.Int64),
            "num_bytes": pl.Series([len(text.encode()) for text in texts], dtype=pl.Int64),
        }
    )


@torch.inference_mode()
def score_answers(folder: str, prompts: Sequence[str], answers: Sequence[str], device: str = "cpu") -> list[float]:
    """Return the negative log-likelihood of each answer after its prompt under a checkpoint, in nats: closed book.

    The answer follows the prompt after a space, is tokenized on its own, and need not end the text. Of a prompt that
    is longer than the model's context the last part is read, after what begins a text.
    """
    model, tokenizer = load_model(folder, device).eval(), load_tokenizer(folder)
    begin = before_text(tokenizer)
    window = context_of(model.config) - len(begin)
    asked = text_tokens(tokenizer, prompts)
    given = text_tokens(tokenizer, [f" {text.lstrip()}" for text in answers])
    nats = []
    for prompt, answer in zip(asked, given, strict=True):
        row = [*begin, *[*prompt, *answer][-window:]]
        ids = torch.tensor([row], device=model.device)
        nats.append(float(token_losses(model, ids)[0, -len(answer) :].double().sum()))
    return nats


class TextScore(NamedTuple):
    """How likely a model finds one text: ``nats`` is its negative log-likelihood, end token included."""

    nats: float
    num_tokens: int
    num_bytes: int

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.num_bytes


def score_text(model: str, text: str, before: str = "", device: str = "cpu") -> TextScore:
    """Return how likely a model finds one text; for many texts ``score_texts`` opens the model once.

    Args:
        model: Folder of the checkpoint.
        before: Text that is read before it and not scored; both have half of the model's context each.

    Raises:
        BadInput: The folder holds no model, or the text is empty.
    """
    if not text:
        raise BadInput(f"scoring a text under {model}: it is empty; a text of one character or more is. Give one.")
    heads, window = ([before], read_context(model) // 2) if before else (None, None)
    (row,) = score_texts(model, ["text"], [text], device, heads, window).iter_rows(named=True)
    return TextScore(row["nats"], row["num_tokens"], row["num_bytes"])


class _Piece(NamedTuple):
    """Tokens of a text, the tokens that are read before them, and the number of the text."""

    owner: int
    head: list[int]
    ids: list[int]

    @property
    def length(self) -> int:
        return len(self.head) + len(self.ids)


def most_tokens(model: PreTrainedModel) -> int:
    """Return the tokens of a forward pass that may have logits, for the size of the model's vocabulary."""
    return max(1, min(BATCH_TOKENS, BATCH_BYTES // (4 * num_logits(model))))


def _batches(pieces: list[_Piece], most: int) -> list[list[_Piece]]:
    batches: list[list[_Piece]] = []
    for piece in pieces:
        if not batches or (len(batches[-1]) + 1) * piece.length > most:
            batches.append([])
        batches[-1].append(piece)
    return batches


def _ended(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Tokens]:
    return [[*ids, int(tokenizer.eos_token_id)] for ids in text_tokens(tokenizer, texts)]


def _score(pieces: list[_Piece], model: PreTrainedModel, begin: Tokens, end: int) -> list[float]:
    longest, unscored = max(piece.length for piece in pieces), len(begin) - 1
    rows = [[*begin, *piece.head, *piece.ids] + [end] * (longest - piece.length) for piece in pieces]
    real = [
        [0] * (unscored + len(piece.head)) + [1] * len(piece.ids) + [0] * (longest - piece.length) for piece in pieces
    ]
    ids = torch.tensor(rows, device=model.device)
    losses = token_losses(model, ids)  # right padding: a causal model's scores do not see it
    return [float(value) for value in (losses.double() * torch.tensor(real, device=model.device)).sum(1)]


def token_losses(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """Return the loss of each token but the first given those before it, [rows, tokens - 1], in nats.

    Rows with more logits than fit are read in parts, each with the keys and values of those before.
    """
    given, wanted = ids[:, :-1], ids[:, 1:]
    at_once = max(1, most_tokens(model) // len(ids))
    past = DynamicCache(config=model.config) if given.shape[1] > at_once else None
    losses = []
    for some, following in zip(torch.split(given, at_once, 1), torch.split(wanted, at_once, 1), strict=True):
        logits = model(input_ids=some, past_key_values=past, use_cache=past is not None).logits
        losses.append(torch.nn.functional.cross_entropy(logits.transpose(1, 2), following, reduction="none"))
    return torch.cat(losses, 1)

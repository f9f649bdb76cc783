"""Texts to rows of tokens: packed documents with an exact budget, and pairs with the loss on the second."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

Row = dict[str, list[int]]

IGNORED = -100
"""The label that the loss leaves out."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a mixture: its texts and its share of the token budget."""

    name: str
    texts: Sequence[str]
    share: float


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows to train on, and how often each part's texts were gone through to fill its share."""

    rows: list[Row]
    tokens: dict[str, int]
    repetitions: dict[str, float]


def pack(parts: Sequence[Part], tokenizer: PreTrainedTokenizerBase, budget: int, context: int, seed: int) -> Packed:
    """Fill a token budget with documents of each part, end token between them, cut into full rows.

    A part's texts come in a new random order each time they are gone through; rows of all parts are
    shuffled together. The budget is met to within one row of ``context`` tokens per part.

    Args:
        parts: Shares add up to 1; a part with share 0 is left out.
        budget: Tokens in all.
        context: Tokens per row.
    """
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    tokens, repetitions = {}, {}
    for part in parts:
        num_rows = round(budget * part.share / context)
        if not num_rows:
            continue
        encoded = encode(tokenizer, part.texts)
        rows += _rows(encoded, num_rows, context, rng)
        tokens[part.name] = num_rows * context
        repetitions[part.name] = num_rows * context / sum(map(len, encoded))
    order = rng.permutation(len(rows))
    return Packed([rows[index] for index in order], tokens, repetitions)


def pair_rows(
    pairs: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerBase, context: int, max_tokens: int
) -> list[Row]:
    """Return one row per (prompt, text) with the loss on the text and its end token alone.

    Left out are pairs longer than ``context`` tokens and those whose text is longer than ``max_tokens``.
    """
    if not pairs:
        return []
    prompts = tokenizer([prompt for prompt, _ in pairs], add_special_tokens=False)["input_ids"]
    texts = encode(tokenizer, [text for _, text in pairs])
    rows = []
    for prompt, text in zip(prompts, texts, strict=True):
        if len(text) <= max_tokens and len(prompt) + len(text) <= context:
            rows.append({"input_ids": prompt + text, "labels": [IGNORED] * len(prompt) + text})
    return rows


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return each text's tokens with the end token last."""
    ids = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    return [[*text, int(tokenizer.eos_token_id)] for text in ids]


def _rows(encoded: list[list[int]], num_rows: int, context: int, rng: np.random.Generator) -> Iterator[Row]:
    stream: list[int] = []
    made = 0
    while True:
        for index in rng.permutation(len(encoded)):
            stream += encoded[index]
            while len(stream) >= context:
                row, stream = stream[:context], stream[context:]
                yield {"input_ids": row, "labels": row}
                made += 1
                if made == num_rows:
                    return

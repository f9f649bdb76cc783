"""Texts to rows of tokens: packed documents with an exact budget, and pairs with the loss on the second."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from gainloop.models.tokens import beginning, continued_tokens, text_tokens
from schemas.errors import BadInput

Row = dict[str, list[int]]

TEXTS_AT_ONCE = 1000

IGNORED = -100
"""The label that the loss leaves out."""


@dataclass(frozen=True, slots=True)
class MixturePart:
    """One part of a mixture: its texts and its share of the token budget."""

    name: str
    texts: Sequence[str]
    share: float


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows to train on, in the order of training.

    Attributes:
        rows: Rows of tokens.
        tokens: Tokens of each part.
        repetitions: Number of times that each part's texts are read to fill its share.
        parts: Name of the part that each row is of.
        is_first: Whether all tokens of a row are read for the first time.
    """

    rows: list[Row]
    tokens: dict[str, int]
    repetitions: dict[str, float]
    parts: list[str]
    is_first: list[bool]


def pack(
    parts: Sequence[MixturePart], tokenizer: PreTrainedTokenizerBase, budget: int, context: int, seed: int
) -> Packed:
    """Fill a token budget with documents of each part, end token between them, cut into full rows.

    A part's texts come in a new random order each time they are gone through; rows of all parts are
    shuffled together. The budget is met to within a row.

    Args:
        parts: Parts whose shares add up to 1; a part with share 0 is left out.
        budget: Tokens of all rows.
        context: Tokens per row.

    Raises:
        BadInput: The budget is too small for a row, or a part has a share and no text.
    """
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    of_part: list[str] = []
    is_first: list[bool] = []
    tokens, repetitions = {}, {}
    for part, num_rows in _share_out(parts, budget, context):
        encoded = encode(tokenizer, part.texts)
        rows += _rows(encoded, num_rows, context, rng)
        tokens[part.name] = num_rows * context
        total = sum(map(len, encoded))
        repetitions[part.name] = num_rows * context / total
        of_part += [part.name] * num_rows
        is_first += [(number + 1) * context <= total for number in range(num_rows)]
    order = rng.permutation(len(rows))
    return Packed(
        [rows[index] for index in order],
        tokens,
        repetitions,
        [of_part[index] for index in order],
        [is_first[index] for index in order],
    )


def _share_out(parts: Sequence[MixturePart], budget: int, context: int) -> list[tuple[MixturePart, int]]:
    """Return the parts that have rows, with as many as their shares give; together they fill the budget."""
    if budget < context:
        raise BadInput(
            f"packing {budget} tokens into rows of {context}: they fill none; one row at least is needed. "
            "Raise budget_tokens or lower context_tokens."
        )
    until = [round(round(budget / context) * sum(part.share for part in parts[:end])) for end in range(len(parts) + 1)]
    shared = [(part, last - first) for part, first, last in zip(parts, until, until[1:], strict=False) if last > first]
    for part, num_rows in shared:
        if not part.texts:
            raise BadInput(
                f"packing {num_rows * context:,} tokens of {part.name}: there is no text; a part with a share of the "
                "mixture needs one at least. Set the share of that part in plan.mixture to 0, or give it text."
            )
    return shared


class PairRows(Sequence[Row]):
    """One row per pair of a prompt and a text, with the loss on the text and its end token alone.

    Left out are pairs longer than ``context`` tokens and those whose text is longer than ``max_tokens``. A row is made
    when it is read; each prompt and text is kept once, as 4 bytes a token.

    Args:
        pairs: [number of pairs, 2] Number of the prompt, and of the text.
        context: Tokens of a row, at most.
        max_tokens: Tokens of a text, at most.
    """

    def __init__(
        self,
        pairs: NDArray[np.int64],
        prompts: Sequence[str],
        texts: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        context: int,
        max_tokens: int,
    ) -> None:
        end = [int(tokenizer.eos_token_id)]
        self._prompts = _by_block(prompts, lambda some: continued_tokens(tokenizer, some))
        self._texts = _by_block(texts, lambda some: [[*ids, *end] for ids in text_tokens(tokenizer, some)])
        before, after = (np.array([*map(len, ids)], dtype=int) for ids in (self._prompts, self._texts))
        first, second = pairs[:, 0], pairs[:, 1]
        self._pairs = pairs[(after[second] <= max_tokens) & (before[first] + after[second] <= context)]

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, number: Any) -> Any:
        first, second = self._pairs[number]
        prompt, text = self._prompts[first].tolist(), self._texts[second].tolist()
        return {"input_ids": prompt + text, "labels": [IGNORED] * len(prompt) + text}


def _by_block(texts: Sequence[str], encode_some: Callable[[Sequence[str]], list[list[int]]]) -> list[NDArray[np.int32]]:
    """Return each text's tokens, some texts at a time: as Python's numbers they take ten times the memory."""
    found: list[NDArray[np.int32]] = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        found += [np.array(ids, dtype=np.int32) for ids in encode_some(texts[start : start + TEXTS_AT_ONCE])]
    return found


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return each text's tokens as a document has them: first what its tokenizer begins a text with, the end last."""
    begin, end = beginning(tokenizer), int(tokenizer.eos_token_id)
    return [[*begin, *ids, end] for ids in text_tokens(tokenizer, texts)]


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

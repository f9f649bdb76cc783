"""Texts to rows of tokens: packed documents and conversations with an exact budget, and pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from gainloop.models.conversations import IGNORED, Row, conversation_rows
from gainloop.models.tokens import beginning, continued_tokens, text_tokens
from schemas.conversation import Turn
from schemas.errors import BadInput
from schemas.rows import content_hash

TEXTS_AT_ONCE = 1000


Orders = Callable[[str], np.random.Generator]
"""The random order of a part's texts by the part's name, and of all rows by the name ROWS."""

ROWS = "rows"


def orders_of(seed: int) -> Orders:
    """Return orders that all come from one seed, one after the other."""
    rng = np.random.default_rng(seed)
    return lambda _name: rng


def orders_by(shared: str, own: str) -> Orders:
    """Return orders that depend on names alone: the same rows of a part wherever ``shared`` is, shuffled by ``own``."""

    def order(name: str) -> np.random.Generator:
        by = content_hash("order", shared, own if name == ROWS else "", name)
        return np.random.default_rng(int(by, 16))

    return order


@dataclass(frozen=True, slots=True)
class MixturePart:
    """One part of a mixture: its texts and its share of the token budget.

    ``times_read`` says how often the model has read each text before; default: never. ``titles`` has what stands above
    each text when it is read; default: nothing. ``turns`` has the turns of each text where they are conversations: they
    are read by the chat template, and the loss is on what the assistant says.
    """

    name: str
    texts: Sequence[str]
    share: float
    times_read: Sequence[float] = ()
    titles: Sequence[str] = ()
    turns: Sequence[Sequence[Turn]] = ()

    @property
    def as_read(self) -> list[str]:
        """The texts under their titles."""
        return [under_title(*one) for one in zip(self.titles or [""] * len(self.texts), self.texts, strict=True)]


def under_title(title: str, text: str) -> str:
    r"""Return a text under its document's title, if there is one and the text does not begin with it already.

    >>> under_title("The mill", "It grinds rye."), under_title("The mill", "# The mill\nIt grinds rye.")
    ('The mill\n\nIt grinds rye.', '# The mill\nIt grinds rye.')
    """
    return text if not title or text.lstrip("#*= \n").startswith(title) else f"{title}\n\n{text}"


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows to train on, in the order of training.

    Attributes:
        rows: Rows of tokens; of conversations they are of several lengths.
        tokens: Tokens of each part.
        trained: Tokens of each part that the loss is on.
        too_long: Conversations of each part that are longer than a row, and so are left out.
        repetitions: Number of times that each part's texts are read to fill its share.
        read_before: Number of times that the model has read each part's texts before, a mean over tokens.
        times_read: Number of times that each text of a part is read.
        parts: Name of the part that each row is of.
        is_first: Whether all tokens of a row are read for the first time, by the model and not by this training alone.
    """

    rows: list[Row]
    tokens: dict[str, int]
    trained: dict[str, int]
    too_long: dict[str, int]
    repetitions: dict[str, float]
    read_before: dict[str, float]
    times_read: dict[str, list[float]]
    parts: list[str]
    is_first: list[bool]


def pack(
    parts: Sequence[MixturePart], tokenizer: PreTrainedTokenizerBase, budget: int, context: int, orders: Orders
) -> Packed:
    """Fill a token budget with documents of each part, end token between them, cut into full rows.

    A part's texts come in a new random order each time they are gone through; rows of all parts are
    shuffled together. The budget is met to within a row. Conversations are not cut: a row has as many whole ones as
    it has room for.

    Args:
        parts: Parts whose shares add up to 1; a part with share 0 is left out.
        budget: Tokens of all rows.
        context: Tokens per row.
        orders: Orders of each part's texts and of the rows.

    Raises:
        BadInput: The budget is too small for a row, a part has a share and no text, or no conversation fits a row.
    """
    packed = Packed([], {}, {}, {}, {}, {}, {}, [], [])
    for part, num_rows in _share_out(parts, budget, context):
        if part.turns:
            _fill_with_turns(packed, part, tokenizer, num_rows * context, context, orders(part.name))
        else:
            _fill(packed, part, encode(tokenizer, part.as_read), num_rows, context, orders(part.name))
    order = orders(ROWS).permutation(len(packed.rows))
    return replace(
        packed,
        rows=[packed.rows[index] for index in order],
        parts=[packed.parts[index] for index in order],
        is_first=[packed.is_first[index] for index in order],
    )


def _fill(
    packed: Packed,
    part: MixturePart,
    encoded: list[list[int]],
    num_rows: int,
    context: int,
    rng: np.random.Generator,
) -> None:
    """Add the rows of one part."""
    before = np.array(part.times_read or [0.0] * len(encoded))
    lengths = np.array([len(ids) for ids in encoded])
    stream = _Stream(encoded, before > 0)
    for _ in range(num_rows):
        row, is_first = stream.take(context, rng)
        packed.rows.append({"input_ids": row, "labels": row})
        packed.is_first.append(is_first)
    packed.parts.extend([part.name] * num_rows)
    packed.tokens[part.name] = packed.trained[part.name] = num_rows * context
    packed.repetitions[part.name] = num_rows * context / int(lengths.sum())
    packed.read_before[part.name] = float(before @ lengths / lengths.sum())
    packed.times_read[part.name] = (stream.taken / lengths).tolist()


def _fill_with_turns(
    packed: Packed,
    part: MixturePart,
    tokenizer: PreTrainedTokenizerBase,
    budget: int,
    context: int,
    rng: np.random.Generator,
) -> None:
    """Add rows of whole conversations, of no more tokens together than the budget."""
    pieces = [conversation_rows(tokenizer, turns) for turns in part.turns]
    fits = [max(len(piece["input_ids"]) for piece in of_one) <= context for of_one in pieces]
    packed.too_long[part.name] = fits.count(False)
    if not any(fits):
        raise BadInput(
            f"packing {len(pieces):,} conversations of {part.name} into rows of {context} tokens: each of them is "
            "longer; a conversation is not cut. Raise plan.context_tokens, or lower text.sampling.max_tokens."
        )
    before = np.array(part.times_read or [0.0] * len(pieces))
    lengths = np.array([sum(len(piece["input_ids"]) for piece in of_one) for of_one in pieces])
    whole = _Whole([of_one if fit else [] for of_one, fit in zip(pieces, fits, strict=True)], before > 0)
    while True:
        row, is_first = whole.take(context, rng)
        if packed.tokens.get(part.name, 0) + len(row["input_ids"]) > budget and part.name in packed.tokens:
            break
        packed.rows.append(row)
        packed.is_first.append(is_first)
        packed.parts.append(part.name)
        packed.tokens[part.name] = packed.tokens.get(part.name, 0) + len(row["input_ids"])
        trained = sum(label != IGNORED for label in row["labels"])
        packed.trained[part.name] = packed.trained.get(part.name, 0) + trained
        whole.settle()
    fitting = lengths[np.array(fits)]
    packed.repetitions[part.name] = packed.tokens[part.name] / int(fitting.sum())
    packed.read_before[part.name] = float(before[np.array(fits)] @ fitting / fitting.sum())
    packed.times_read[part.name] = (whole.taken / lengths).tolist()


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


class _Stream:
    """The tokens of texts, gone through in one random order after another.

    Attributes:
        taken: Tokens of each text that were taken so far.
    """

    def __init__(self, encoded: list[list[int]], is_known: NDArray[np.bool_]) -> None:
        self.taken = np.zeros(len(encoded))
        self._encoded, self._is_known = encoded, is_known
        self._order: list[int] = []
        self._at = self._pass = 0

    def take(self, num_tokens: int, rng: np.random.Generator) -> tuple[list[int], bool]:
        """Return the next tokens, and whether none of them was read before."""
        row: list[int] = []
        is_first = True
        while len(row) < num_tokens:
            if not self._order:
                self._order = rng.permutation(len(self._encoded)).tolist()[::-1]
                self._pass += 1
            text = self._order[-1]
            some = self._encoded[text][self._at : self._at + num_tokens - len(row)]
            row += some
            self._at += len(some)
            self.taken[text] += len(some)
            is_first &= self._pass == 1 and not self._is_known[text]
            if self._at == len(self._encoded[text]):
                self._order.pop()
                self._at = 0
        return row, bool(is_first)


class _Whole:
    """Whole conversations, gone through in one random order after another, as many in a row as it has room for.

    Attributes:
        taken: Tokens of each conversation in the rows that were settled.
    """

    def __init__(self, pieces: list[list[Row]], is_known: NDArray[np.bool_]) -> None:
        self.taken = np.zeros(len(pieces))
        self._pieces, self._is_known = pieces, is_known
        self._order: list[tuple[int, Row]] = []
        self._pass = 0
        self._used: list[tuple[int, int]] = []

    def take(self, most_tokens: int, rng: np.random.Generator) -> tuple[Row, bool]:
        """Return the next row, and whether none of its conversations was read before."""
        row: Row = {"input_ids": [], "labels": []}
        is_first, self._used = True, []
        while True:
            if not self._order:
                order = rng.permutation(len(self._pieces)).tolist()[::-1]
                self._order = [(number, piece) for number in order for piece in reversed(self._pieces[number])]
                self._pass += 1
            number, piece = self._order[-1]
            if len(row["input_ids"]) + len(piece["input_ids"]) > most_tokens:
                return row, bool(is_first)
            self._order.pop()
            row = {name: row[name] + piece[name] for name in row}
            is_first &= self._pass == 1 and not self._is_known[number]
            self._used.append((number, len(piece["input_ids"])))

    def settle(self) -> None:
        """Count the row that was taken last."""
        for number, tokens in self._used:
            self.taken[number] += tokens

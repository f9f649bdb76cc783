"""Attention over rows of different lengths: each row has keys and values of its own, and reads those alone.

A padded batch gives a row the length of its longest neighbour, and a matrix product's last bits depend on its shape.
Here attention has the shape of one row's own length, so that its result depends on nothing else.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from gainloop.models.loading import num_logits
from schemas.errors import BadInput

CHUNK_TOKENS = 64
"""Tokens of a prompt that are read at once, from its beginning: what prompts share is shared in whole chunks."""

GROWTH_TOKENS = 128
"""Room that a row is given when it is full: it never has room for more than it will soon use."""

SHAPES = (8, 16, 24, 32)
"""Rows of a forward pass that are tried; on a CPU eight take 1.7 times as long as one, 32 twice as long as eight."""

KINDS = {"full_attention", "sliding_attention"}
"""Kinds of layers whose past is keys and values, each key told apart by its distance alone."""

Pair = tuple[torch.Tensor, torch.Tensor]
"""Keys and values, [1, heads, tokens, head size]."""


class Row:
    """The keys and values of one text, layer by layer; ``length`` counts the tokens that have been read.

    ``room`` is for how many tokens a layer has room when it is first written.
    """

    def __init__(self) -> None:
        self.length = self.room = 0
        self.layers: dict[int, Pair] = {}

    def write(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> Pair:
        """Write what follows in one layer, and return all there is with it; ``length`` is the caller's to move."""
        until = self.length + keys.shape[2]
        pair = self.layers.get(layer)
        if pair is None or pair[0].shape[2] < until:
            pair = self.layers[layer] = (self._grown(pair, 0, keys, until), self._grown(pair, 1, values, until))
        for laid, new in zip(pair, (keys, values), strict=True):
            laid[:, :, self.length : until] = new
        return pair[0][:, :, :until], pair[1][:, :, :until]

    def _grown(self, pair: Pair | None, which: int, like: torch.Tensor, until: int) -> torch.Tensor:
        room = -(-max(until, self.room) // GROWTH_TOKENS) * GROWTH_TOKENS
        grown = like.new_empty(1, like.shape[1], room, like.shape[3])
        if pair:
            grown[:, :, : self.length] = pair[which][:, :, : self.length]
        return grown

    def lay(self, chunk: dict[int, Pair]) -> None:
        """Write tokens that another row has read already."""
        for layer, (keys, values) in chunk.items():
            self.write(layer, keys, values)
        self.length += keys.shape[2]

    def last(self, num_tokens: int) -> dict[int, Pair]:
        """Return a copy of the keys and values of the last tokens."""
        span = slice(self.length - num_tokens, self.length)
        return {n: (keys[:, :, span].clone(), values[:, :, span].clone()) for n, (keys, values) in self.layers.items()}


class Prefixes:
    """The chunks that prompts began with, by all tokens up to their end; the longest unused leave when it is full.

    A chunk's keys and values depend on those tokens alone: chunks begin at the same places in every prompt, and are
    read in the same shape. So a prompt reads the same with or without what is here.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.num_bytes = most_bytes, 0
        self._chunks: OrderedDict[tuple[int, ...], dict[int, Pair]] = OrderedDict()

    def lay(self, row: Row, ids: Sequence[int]) -> None:
        """Write into an empty row as much of a prompt's beginning as is here."""
        found = []
        for end in range(CHUNK_TOKENS, len(ids) + 1, CHUNK_TOKENS):
            if tuple(ids[:end]) not in self._chunks:
                break
            found.append(tuple(ids[:end]))
            row.lay(self._chunks[found[-1]])
        for key in reversed(found):  # the beginning is used last: without it, what follows cannot be found
            self._chunks.move_to_end(key)

    def keep(self, row: Row, ids: Sequence[int]) -> None:
        """Keep the chunk that a row has just read."""
        chunk = row.last(CHUNK_TOKENS)
        self._chunks[tuple(ids[: row.length])] = chunk
        self.num_bytes += size(chunk)
        while self.num_bytes > self.most_bytes:
            self.num_bytes -= size(self._chunks.popitem(last=False)[1])


def size(layers: dict[int, Pair]) -> int:
    """Return the bytes of keys and values, the room of a row among them."""
    return sum(tensor.nbytes for pair in layers.values() for tensor in pair)


def read(network: PreTrainedModel, row: Row, ids: Sequence[int], prefixes: Prefixes) -> None:
    """Read a prompt into an empty row, chunk by chunk and alone."""
    row.room = len(ids) + 1
    prefixes.lay(row, ids)
    while row.length < len(ids):
        part = torch.tensor([ids[row.length : row.length + CHUNK_TOKENS]], device=network.device)
        places = torch.arange(row.length, row.length + part.shape[1], device=network.device)[None]
        network(input_ids=part, position_ids=places, rows=[row], use_cache=False, logits_to_keep=1)
        row.length += part.shape[1]
        if part.shape[1] == CHUNK_TOKENS:
            prefixes.keep(row, ids)


def advance(network: PreTrainedModel, rows: Sequence[Row], tokens: Sequence[int], num_places: int) -> torch.Tensor:
    """Read one token more in each row, and return what may come after it: [rows, vocabulary].

    Args:
        num_places: Rows of the forward pass; places that nobody has are filled, and read by nobody.
    """
    ids, places = torch.zeros(2, num_places, 1, dtype=torch.long)
    ids[: len(rows), 0] = torch.tensor(tokens)
    places[: len(rows), 0] = torch.tensor([row.length for row in rows])
    device = network.device
    output = network(input_ids=ids.to(device), position_ids=places.to(device), rows=rows, use_cache=False)
    for row in rows:
        row.length += 1
    return output.logits[: len(rows), -1]  # type: ignore[no-any-return]


def attend_by_rows(network: PreTrainedModel) -> int:
    """Let a model take ``rows``: one for every row of its input, or for the first of them. Without it nothing changes.

    Returns:
        Bytes of the keys and values of one token.

    Raises:
        BadInput: What the model knows of the past is not the keys and values of every layer.
    """
    config = network.config.get_text_config()
    own = str(config._attn_implementation)
    name = f"rows_{own}"
    AttentionInterface.register(name, partial(_attend, own))
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[own])
    network.set_attn_implementation(name)
    odd = set(getattr(config, "layer_types", None) or KINDS) - KINDS
    row = Row()
    if not odd:
        with torch.inference_mode():
            read(network, row, [0], Prefixes(0))
    if odd or len(row.layers) < config.num_hidden_layers:
        raise BadInput(
            f"serving a {config.model_type} model in this process: what {len(row.layers)} of its "
            f"{config.num_hidden_layers} layers know of the past is keys and values; that of every layer must be. "
            "Serve it with vLLM: set profile to vllm or vllm-cpu."
        )
    return size(row.last(1))


@torch.inference_mode()
def independent_shapes(network: PreTrainedModel) -> list[int]:
    """Return numbers of rows of a forward pass, ascending, in which a row's result is bit for bit the same.

    The same wherever it stands, whatever stands beside it, and for each of these numbers. A matrix product's last bits
    depend on its shape, and which shapes agree on the library and the machine; so it is tried out: rows of one token,
    all vocabulary, all layers. Where not even eight rows agree among themselves (a mixture of experts gathers rows), a
    row is computed alone.
    """
    ids = torch.randint(num_logits(network), (SHAPES[-1], 1), generator=torch.Generator())
    eights = _logits(network, ids, SHAPES[0])
    if not torch.equal(eights.roll(3, 0), _logits(network, ids.roll(3, 0), SHAPES[0])):
        return [1]
    wider = [shape for shape in SHAPES[1:] if torch.equal(eights[:shape], _logits(network, ids[:shape], shape))]
    return [SHAPES[0], *wider]


def _logits(network: PreTrainedModel, ids: torch.Tensor, at_once: int) -> torch.Tensor:
    parts = [network(input_ids=part.to(network.device), use_cache=False).logits for part in torch.split(ids, at_once)]
    return torch.cat(parts)


def _attend(
    own: str,
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    rows: Sequence[Row] | None = None,
    **settings: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attend as the model does by itself, in every row over that row's own past."""
    attend = _own_attention(own, module)
    if rows is None:
        return attend(module, query, key, value, attention_mask, **settings)
    places, num_heads, num_tokens, _ = query.shape
    output = query.new_zeros(places, num_tokens, num_heads, value.shape[3])
    window = settings.get("sliding_window")
    for place, row in enumerate(rows):
        at = slice(place, place + 1)
        keys, values = row.write(int(module.layer_idx), key[at], value[at])  # type: ignore[arg-type]
        if num_tokens == 1 and window:
            keys, values = keys[:, :, -window:], values[:, :, -window:]
        mask = None if num_tokens == 1 else _mask(num_tokens, row.length, window, query.dtype, query.device)
        output[at] = attend(module, query[at], keys, values, mask, **settings)[0]
    return output, None


def _own_attention(own: str, module: torch.nn.Module) -> Callable[..., tuple[torch.Tensor, torch.Tensor | None]]:
    if own == "sdpa":
        return sdpa_attention_forward
    return sys.modules[type(module).__module__].eager_attention_forward  # type: ignore[no-any-return]


@lru_cache(maxsize=2)  # every layer of one forward pass asks for the same one or two
def _mask(num_tokens: int, before: int, window: int | None, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return what tokens after others may not see, as a large negative number, [1, 1, tokens, before + tokens]."""
    places = torch.arange(before + num_tokens, device=device)
    distance = places[before:, None] - places
    hidden = (distance < 0) | (distance >= window) if window else distance < 0
    return torch.zeros(1, 1, *hidden.shape, dtype=dtype, device=device).masked_fill(hidden, torch.finfo(dtype).min)

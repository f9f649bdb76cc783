"""Keys and values of many replies side by side, each at its own length."""

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache


class SlotCache(Cache):
    """A key-value cache whose rows are at different lengths: ``positions``, [slots], is where each writes next."""

    def __init__(self, like: DynamicCache, slots: int, context: int) -> None:
        self.slots = [_Layer(self, keys, slots, context) for keys, _ in _tensors(like)]
        self.positions = torch.zeros(slots, dtype=torch.long)
        super().__init__(layers=list(self.slots))

    def lay(self, row: int, read: DynamicCache) -> None:
        """Copy the keys and values of one prompt, read alone, to the start of a row."""
        for layer, (keys, values) in zip(self.slots, _tensors(read), strict=True):
            layer.laid_keys[row, :, : keys.shape[2]] = keys[0]
            layer.laid_values[row, :, : keys.shape[2]] = values[0]


class _Layer(CacheLayerMixin):
    """Keys and values of one layer, [slots, heads, context, head size]; each row is written at its own position."""

    def __init__(self, cache: "SlotCache", like: torch.Tensor, slots: int, context: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        shape = (slots, like.shape[1], context, like.shape[3])
        self.cache = cache
        self.rows = torch.arange(slots, device=like.device)
        self.laid_keys, self.laid_values = like.new_zeros(shape), like.new_zeros(shape)
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """The tensors are there from the start."""

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_a: Any, **_k: Any) -> Any:
        self.laid_keys[self.rows, :, self.cache.positions] = key_states[:, :, 0]
        self.laid_values[self.rows, :, self.cache.positions] = value_states[:, :, 0]
        return self.laid_keys, self.laid_values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_max_length(), 0

    def get_seq_length(self) -> int:
        return int(self.cache.positions.max())

    def get_max_length(self) -> int:
        return int(self.laid_keys.shape[2])


def _tensors(cache: DynamicCache) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the keys and values of every layer, [1, heads, tokens, head size]."""
    return [(layer.keys, layer.values) for layer in cache.layers]  # type: ignore[union-attr, misc]

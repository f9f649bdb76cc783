"""How fast a training is: tokens per second, and the part of the device's peak that the model's own sums are."""

import time
from collections.abc import Sequence
from typing import Any, Final

import torch
from transformers import PreTrainedModel, TrainerCallback

from gainloop.models.batches import multiplies_in_bfloat16
from gainloop.models.conversations import Row
from gainloop.models.shares import Shares
from schemas.profile import Training

PEAKS: Final = {
    "B200": 2250e12,
    "H200 NVL": 835.5e12,
    "H200": 989.5e12,
    "GH200": 989.5e12,
    "H100 NVL": 835.5e12,
    "H100 PCIe": 756e12,
    "H100": 989.5e12,
    "H800": 989.5e12,
    "H20": 148e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "A10": 125e12,
    "L4": 121e12,
    "RTX 4090": 165.2e12,
    "RTX 3090": 71e12,
}
"""Dense products in bfloat16 a second, in FLOP, by a part of the name that torch gives to a GPU: the first that fits.

Source: NVIDIA's data sheets, without their factor of 2 for sparse matrices; GeForce with sums in float32.
"""


def peak_flops(device_name: str) -> float | None:
    """Return the dense bfloat16 peak of a GPU in FLOP/s; None where it is not known.

    >>> peak_flops("NVIDIA A100-SXM4-80GB"), peak_flops("NVIDIA L40S"), peak_flops("cpu")
    (312000000000000.0, 362000000000000.0, None)
    """
    words = f" {device_name.replace('-', ' ')} "
    return next((peak for name, peak in PEAKS.items() if f" {name} " in words), None)


def flops_per_token(model: PreTrainedModel, context: float) -> float | None:
    """Return the floating-point operations that training a model takes for a token of a row; None where not known.

    A weight that takes part in a matrix product takes 2 forward, 2 where its layer passes a gradient on, and 2 where it
    is trained: 6 N for N trained weights. Attention adds 4 L H Q T forward and 8 backward, for L layers of H heads of
    width Q and rows of T tokens; that a token does not see later ones is not taken off. Of a mixture of experts it is
    not known how many of them a token passes.

    Args:
        context: Tokens of a row, a mean over tokens.

    Source: Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, appendix B. Differs: N is without an embedding that is only
    looked up; frozen weights count as what they take.
    """
    config = model.config.get_text_config(decoder=True)
    if any(getattr(config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
        return None
    heads, layers = (getattr(config, name, None) for name in ("num_attention_heads", "num_hidden_layers"))
    if not heads or not layers:
        return None
    embedding: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    is_tied = head is not None and head.weight is embedding.weight
    multiplied = [one for one in model.parameters() if one is not embedding.weight] + [embedding.weight] * is_tied
    total, passing, trained = 0, 0, 0
    for weights in multiplied:
        trained += weights.numel() * weights.requires_grad
        passing += weights.numel() * bool(trained)  # in the order of the forward pass: gradients end at the first
        total += weights.numel()
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    attention = 4 * layers * heads * width * context
    return float(2 * total + 2 * passing + 2 * trained + attention * (1 + 2 * passing / total))


class Stopwatch(TrainerCallback):
    """Times the steps of this process.

    Attributes:
        told: ``tokens_per_second`` over all processes, saving among the seconds; ``mfu``, the model's own operations by
            the devices' dense bfloat16 peak, None where the peak is not known or products are of another kind;
            ``seconds``, ``processes`` and ``device``.
    """

    def __init__(self, model: PreTrainedModel, rows: Sequence[Row], shares: Shares, training: Training) -> None:
        self.told: dict[str, Any] = {}
        self._lengths, self._training = [len(row["input_ids"]) for row in rows], training
        self._rows_per_step = shares.rows_per_step
        squares = sum(length * length for length in self._lengths)
        self._flops = flops_per_token(model, squares / sum(self._lengths))
        self._first_step, self._begun = 0, 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_rest: Any) -> None:
        self._first_step, self._begun = state.global_step, time.monotonic()

    def on_train_end(self, args: Any, state: Any, control: Any, **_rest: Any) -> None:
        seconds = time.monotonic() - self._begun
        first, last = (step * self._rows_per_step for step in (self._first_step, state.global_step))
        speed = sum(self._lengths[first:last]) / seconds
        device = "cpu" if self._training.device == "cpu" else torch.cuda.get_device_name()
        peak = peak_flops(device) if multiplies_in_bfloat16(self._training) else None
        self.told = {
            "tokens_per_second": speed,
            "mfu": self._flops * speed / (peak * self._training.processes) if peak and self._flops else None,
            "seconds": seconds,
            "processes": self._training.processes,
            "device": device,
        }

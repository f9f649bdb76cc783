"""Every output of a small model, each with its exact probability: entropies are then sums, not estimates."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from gainloop.serving.sampling import distribution
from schemas.recipe import Sampling

NEGLIGIBLE = 1e-9
"""What is less likely is not followed: with a few hundred beginnings that is less than 1e-3 nats."""

Outputs = dict[tuple[int, ...], float]


def all_outputs(checkpoint: Path, prompt: Sequence[int], end: int, sampling: Sampling) -> Outputs:
    """Return the probability of every output of at most ``max_tokens`` tokens, the end token among them."""
    model = _load(checkpoint)
    done: Outputs = {}
    begun: Outputs = {(): 1.0}
    for _ in range(sampling.max_tokens):
        grown: Outputs = {}
        for (text, mass), logits in zip(begun.items(), _logits(model, prompt, list(begun)), strict=True):
            likely = mass * distribution(logits, sampling)
            for token in np.flatnonzero(likely > NEGLIGIBLE):
                (done if token == end else grown)[(*text, int(token))] = float(likely[token])
        begun = grown
    return done | begun


def entropy(outputs: Outputs) -> float:
    probabilities = np.array(list(outputs.values()))
    return float(-(probabilities * np.log(probabilities)).sum())


def mixed(each: Sequence[Outputs]) -> Outputs:
    """Return the outputs of a prompt drawn at random."""
    mixture: Outputs = {}
    for outputs in each:
        for text, mass in outputs.items():
            mixture[text] = mixture.get(text, 0.0) + mass / len(each)
    return mixture


@cache
def _load(checkpoint: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()


@torch.inference_mode()
def _logits(model: torch.nn.Module, prompt: Sequence[int], texts: list[tuple[int, ...]]) -> np.ndarray:
    rows = torch.tensor([[*prompt, *text] for text in texts])
    return torch.cat([model(input_ids=part).logits[:, -1] for part in rows.split(256)]).double().numpy()

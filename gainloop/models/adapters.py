"""Low-rank adapters: a few weights beside frozen ones that are trained in their place, and the plain weights of both.

Source: Hu et al. 2021, arXiv:2106.09685, by the package peft, which the extra ``lora`` has. Differs: every checkpoint
is plain; the adapters are merged into the weights out of place, so that a run goes on from unrounded ones.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from schemas.errors import BadInput
from schemas.plan import LowRank

_LOW, _FROZEN = ".lora_", ".base_layer."
_WRAPPED = "_checkpoint_wrapped_module."
"""What torch puts into the names of layers whose values are computed again."""
_NAME = "default"
"""Name that peft gives to the adapters of a model."""


def add_adapters(model: PreTrainedModel, lora: LowRank, seed: int) -> None:
    """Freeze a model, and put adapters beside its linear layers; at first they change nothing.

    Raises:
        BadInput: peft is not installed, or the model has no linear layers of the names that are given.
    """
    peft = _import_peft()
    torch.manual_seed(seed)
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=list(lora.target_modules) or "all-linear",
        lora_dropout=0.0,
        bias="none",
    )
    try:
        peft.inject_adapter_in_model(config, model)
    except ValueError as error:
        raise _no_such_layers(model, lora) from error
    if any("lora_embedding" in name for name, _ in model.named_parameters()):
        raise _no_such_layers(model, lora)


def remove_adapters(model: PreTrainedModel) -> None:
    """Take adapters out of a model, without merging them."""
    for name, layer in list(model.named_modules()):
        if hasattr(layer, "lora_A"):
            model.set_submodule(name, layer.base_layer)
    del model.peft_config
    model.requires_grad_(True)


def merged(model: PreTrainedModel, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a model's weights with its adapters merged into them; those of a model without any as they are.

    Args:
        model: Model that says how far its adapters count.
        weights: All its weights, by name.
    """
    adapted = {name: layer for name, layer in model.named_modules() if hasattr(layer, "lora_A")}
    scales = {name.replace(_WRAPPED, ""): _scale_of(layer) for name, layer in adapted.items()}
    if not scales:
        return weights
    plain = {}
    for name, weight in weights.items():
        layer, is_frozen, leaf = name.rpartition(_FROZEN)
        if _LOW in name:
            continue
        if is_frozen and leaf == "weight":
            down, up = (weights[f"{layer}{_LOW}{side}.{_NAME}.weight"] for side in "AB")
            added = scales[layer][0] * (up @ down)
            weight = weight + (added.T if scales[layer][1] else added)
        plain[f"{layer}.{leaf}" if is_frozen else name] = weight
    return plain


def _scale_of(layer: Any) -> tuple[float, bool]:
    """Return what a layer's adapter is multiplied by, and whether the layer's weight is transposed, as GPT-2's is."""
    return layer.scaling[_NAME], bool(getattr(layer, "fan_in_fan_out", False))


def _no_such_layers(model: PreTrainedModel, lora: LowRank) -> BadInput:
    linear = {name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)}
    return BadInput(
        f"putting adapters beside layers of a {type(model).__name__}: not all of {', '.join(lora.target_modules)} are "
        f"linear layers of it; it has {', '.join(sorted(linear))}. Set plan.lora.target_modules to some of these, or "
        "leave it out for all."
    )


def _import_peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise BadInput(
            "training adapters: the package peft is not installed; the extra `lora` has it. "
            "Install it: pip install 'gainloop[lora]'."
        ) from error
    return peft

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from gainloop.models.adapters import add_adapters
from gainloop.models.speed import flops_per_token, peak_flops
from gainloop.models.start import make_model
from gainloop.models.trainer import freeze_but_last
from schemas.plan import LowRank, NewModel
from tests.tiny_model import PLAN, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
LARGER = NewModel(vocabulary=320, hidden_size=96, layers=4, head_size=32, context_tokens=128)


def counted(model: PreTrainedModel, tokens: int) -> float:
    """Return the operations of a step for a token, as torch counts those of the products that it makes."""
    model.set_attn_implementation("eager")  # torch knows no number for attention in one piece on a CPU
    ids = torch.arange(tokens)[None] % 300
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids).loss.backward()
    return counter.get_total_flops() / tokens


@pytest.mark.parametrize("plan", [PLAN, LARGER], ids=["narrow", "wide"])
@pytest.mark.parametrize("tokens", [16, 128])
def test_operations_of_a_step_are_those_that_torch_counts(plan: NewModel, tokens: int) -> None:
    model = make_model(plan, TOKENIZER)

    assert flops_per_token(model, tokens) == pytest.approx(counted(model, tokens), rel=0.03)


def test_frozen_weights_take_less_and_adapters_take_what_passes_through_them() -> None:
    whole, last, adapted = (make_model(LARGER, TOKENIZER) for _ in range(3))
    freeze_but_last(last, 1)
    add_adapters(adapted, LowRank(rank=2, target_modules=("v_proj",)), seed=0)
    found = [flops_per_token(model, 64) for model in (last, adapted, whole)]

    assert found == sorted(found)
    for model, flops in zip((last, adapted), found, strict=False):
        assert flops == pytest.approx(counted(model, 64), rel=0.1)


def test_of_experts_and_of_models_without_attention_it_is_not_known() -> None:
    model = make_model(PLAN, TOKENIZER)
    model.config.num_experts = 8
    assert flops_per_token(model, 64) is None
    del model.config.num_experts
    model.config.num_attention_heads = 0
    assert flops_per_token(model, 64) is None


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.5e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989.5e12),
        ("NVIDIA H20", 148e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA A10G", None),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("Tesla V100-SXM2-16GB", None),
    ],
)
def test_a_peak_is_that_of_the_gpu_that_is_named_and_of_no_other(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak

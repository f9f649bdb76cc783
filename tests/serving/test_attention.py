"""Rows of different lengths beside what a model does by itself."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM, MistralConfig, MistralForCausalLM

from gainloop.models.loading import load_model
from gainloop.serving.attention import CHUNK_TOKENS, Prefixes, Row, advance, attend_by_rows, independent_shapes, read
from schemas.errors import BadInput
from tests.tiny_model import TEXTS, save_tiny_model, tiny_tokenizer


@pytest.mark.parametrize("window", [None, 16])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_models_with_a_window_or_attention_of_their_own_read_as_they_do_by_themselves(
    tmp_path: Path, window: int | None, attention: str
) -> None:
    tokenizer = tiny_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 16}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}
    config = MistralConfig(vocab_size=len(tokenizer), sliding_window=window, **sizes, **heads)
    config.eos_token_id = config.pad_token_id = tokenizer.eos_token_id
    MistralForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    plain = load_model(str(tmp_path))
    network = load_model(str(tmp_path)).eval()
    network.set_attn_implementation(attention)
    attend_by_rows(network)
    ids = tokenizer.encode(" ".join(TEXTS))[:150]
    row = Row()
    with torch.inference_mode():
        read(network, row, ids[:140], Prefixes(0))
        rows = torch.cat([advance(network, [row], [token], 8) for token in ids[140:]])
        assert torch.allclose(rows, plain(torch.tensor([ids])).logits[0, 140:], atol=1e-5)
        assert torch.allclose(network(torch.tensor([ids])).logits, plain(torch.tensor([ids])).logits, atol=1e-5)


def test_a_model_whose_past_is_not_keys_and_values_is_refused_with_what_serves_it(tmp_path: Path) -> None:
    config = MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=2, state_size=4)
    with pytest.raises(BadInput, match=r"serving a mamba model .* Serve it with vLLM"):
        attend_by_rows(MambaForCausalLM(config).eval())


class Pretended:
    """Stands for a model whose scores of a row come from a formula over all rows."""

    device = "cpu"
    config = SimpleNamespace(get_text_config=lambda **_asked: SimpleNamespace(vocab_size=320))

    def __init__(self, formula: Any) -> None:
        self._formula = formula

    def __call__(self, input_ids: torch.Tensor, use_cache: bool) -> Any:
        return SimpleNamespace(logits=self._formula(input_ids))


@pytest.mark.parametrize(
    ("formula", "shapes"),
    [
        (lambda ids: ids, [8, 16, 24, 32]),
        (lambda ids: ids * (1 + (len(ids) == 24)), [8, 16, 32]),
        (lambda ids: ids * len(ids), [8]),
        (lambda ids: ids - ids.max(), [1]),
        (lambda ids: ids + torch.arange(len(ids))[:, None], [1]),
    ],
    ids=["independent", "another kernel", "every number its own", "neighbours", "places"],
)
def test_rows_are_computed_side_by_side_only_where_it_changes_none(formula: Any, shapes: list[int]) -> None:
    assert independent_shapes(Pretended(formula)) == shapes  # type: ignore[arg-type]


def test_what_prompts_began_with_is_kept_within_bounds_and_the_longest_unused_goes(tmp_path: Path) -> None:
    network = load_model(save_tiny_model(tmp_path)).eval()
    token_bytes = attend_by_rows(network)
    prefixes, rows = Prefixes(3 * CHUNK_TOKENS * token_bytes), list[Row]()
    for first in (5, 6, 7, 5, 8):
        rows.append(Row())
        with torch.inference_mode():
            read(network, rows[-1], [first] * (CHUNK_TOKENS + 9), prefixes)
    assert prefixes.num_bytes == prefixes.most_bytes
    assert [key[0] for key in prefixes._chunks] == [7, 5, 8]
    assert all(torch.equal(*pair) for pair in zip(rows[0].last(70)[1], rows[3].last(70)[1], strict=True))

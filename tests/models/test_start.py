from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gainloop.models.start import END, make_model, make_tokenizer
from schemas.plan import NewModel
from tests.tiny_model import PLAN, TEXTS, save_tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer()


@settings(max_examples=100)
@given(st.text())
@example("it 's a  test ; with \t tabs\r\n and \x00 bytes")
@example("naïve Ελλάδα 日本語 🦀 \u200b\ufeff")
@example(" leading and trailing ")
@example("<|end|> <|user|><|related|>")
def test_any_text_is_read_back_from_its_tokens(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_the_tokenizer_is_made_of_the_texts_and_is_no_larger_than_asked() -> None:
    larger = make_tokenizer(TEXTS, 512)

    assert (len(TOKENIZER), len(larger)) == (320, 512)
    assert len(larger.encode(TEXTS[0])) < len(TOKENIZER.encode(TEXTS[0])) < len(TEXTS[0])


def test_the_same_texts_make_the_same_tokenizer_and_the_same_weights(tmp_path: Path) -> None:
    one, other = (Path(save_tiny_model(tmp_path / name)) for name in ("one", "other"))

    for name in ("tokenizer.json", "model.safetensors", "config.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_the_seed_decides_the_weights() -> None:
    one, same, other = (
        make_model(PLAN.model_copy(update={"seed": seed}), TOKENIZER).lm_head.weight for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_chat_ends_where_the_assistant_begins_and_every_turn_has_an_end() -> None:
    turns = [{"role": "user", "content": "Once"}, {"role": "assistant", "content": "upon"}]

    assert TOKENIZER.apply_chat_template(turns, tokenize=False) == "<|user|>Once<|end|><|assistant|>upon<|end|>"
    begun = TOKENIZER.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    assert begun == "<|user|>Once<|end|><|assistant|>"


def test_the_end_token_is_where_a_model_stops() -> None:
    model = make_model(PLAN, TOKENIZER)

    assert TOKENIZER.eos_token == END
    assert model.generation_config.eos_token_id == TOKENIZER.eos_token_id


@pytest.mark.parametrize(
    ("hidden_size", "head_size"), [(32, 32), (32, 64), (192, 64), (256, 64), (448, 64), (640, 64), (768, 64), (320, 32)]
)
def test_any_plan_makes_a_model_that_runs(hidden_size: int, head_size: int) -> None:
    plan = NewModel(vocabulary=320, hidden_size=hidden_size, head_size=head_size, layers=1, context_tokens=64)
    model = make_model(plan, TOKENIZER)

    logits = model(torch.tensor([[5, 6, 7]])).logits.detach()
    assert logits.shape == (1, 3, 320)
    assert float(logits.std()) == pytest.approx(1, rel=0.5)

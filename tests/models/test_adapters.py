from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

from gainloop.models.adapters import add_adapters, merged, remove_adapters
from gainloop.models.loading import load_model
from gainloop.models.online import losses_of
from gainloop.models.packing import MixturePart, orders_of, pack
from gainloop.models.start import make_model
from gainloop.models.trainer import train
from gainloop.store.checkpoints import point_folder
from schemas.errors import BadInput
from schemas.plan import LowRank, Optimiser, TrainingPlan
from schemas.profile import Training
from tests.tiny_model import PLAN, TEXTS, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
ROWS = pack([MixturePart("anchors", TEXTS, 1.0)], TOKENIZER, 48 * 64, 64, orders_of(0)).rows
OFTEN = Training(precision="float32", save_seconds=1e-6)
LORA = LowRank(rank=4, alpha=16.0, target_modules=("q_proj", "down_proj"))


def run(folder: Path, place: Training = OFTEN, lora: LowRank = LORA, **settings: Any) -> dict[str, Any]:
    model, optimiser = make_model(PLAN, TOKENIZER), Optimiser(learning_rate=2e-2, batch_tokens=4 * 64)
    told = train(model, TOKENIZER, ROWS, optimiser, place, str(folder), 0, lora=lora, **settings)
    assert_same(model.state_dict(), weights(folder))
    return told


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(str(folder)).state_dict()


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapted")
    run(folder, points=2)
    return folder


def test_merged_weights_differ_from_the_start_in_the_target_modules_alone_and_the_loss_falls(undisturbed: Path) -> None:
    start = make_model(PLAN, TOKENIZER)
    before, after = start.state_dict(), weights(undisturbed)

    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.endswith(("q_proj.weight", "down_proj.weight"))}
    ranks = {int(torch.linalg.matrix_rank(after[name] - before[name], atol=1e-4)) for name in changed}
    assert ranks == {LORA.rank}
    losses = [sum(losses_of(model, ROWS, OFTEN)) for model in (start, load_model(str(undisturbed)))]
    assert losses[1] < 0.95 * losses[0]


def test_an_interrupted_training_of_adapters_resumes_and_ends_with_the_same_weights_along_its_way_too(
    undisturbed: Path, tmp_path: Path
) -> None:
    def stop(step: int, _steps: int) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, points=2, on_step=stop)
    run(tmp_path, points=2)

    for one, other in ((tmp_path, undisturbed), (point(tmp_path), point(undisturbed))):
        assert_same(weights(one), weights(other))
    assert any(not torch.equal(weight, weights(point(tmp_path))[name]) for name, weight in weights(tmp_path).items())


def point(folder: Path) -> Path:
    return Path(point_folder(str(folder), 1))


def test_layers_whose_weights_are_transposed_are_merged_as_peft_merges_them() -> None:
    made = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=16, n_embd=16, n_layer=1, n_head=2))
    lora, ids = LowRank(rank=2, target_modules=("c_proj",)), torch.arange(8)[None]
    add_adapters(made, lora, seed=0)
    torch.manual_seed(1)
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    made.eval()
    expected = made(ids).logits
    plain = merged(made, made.state_dict())
    remove_adapters(made)
    assert not torch.allclose(made(ids).logits, expected, atol=1e-3)
    made.load_state_dict(plain)

    assert torch.allclose(made(ids).logits, expected, atol=1e-4)


def test_adapters_add_what_pefts_own_add() -> None:
    def widths(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
        return {name: tuple(weight.shape) for name, weight in model.named_parameters() if weight.requires_grad}

    model = make_model(PLAN, TOKENIZER)
    theirs = get_peft_model(make_model(PLAN, TOKENIZER), LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    add_adapters(model, LowRank(), seed=0)

    assert {f"base_model.model.{name}": shape for name, shape in widths(model).items()} == widths(theirs)


@pytest.mark.parametrize("name", ["q_prjo", "embed_tokens"])
def test_names_of_no_linear_layers_are_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(BadInput, match=rf"not all of {name} are linear layers of it; it has down_proj, .*, v_proj\."):
        add_adapters(make_model(PLAN, TOKENIZER), LowRank(target_modules=(name,)), seed=0)


def test_adapters_name_a_training_and_a_plan_without_them_keeps_its_id() -> None:
    plan = TrainingPlan()

    assert "lora" not in plan.identity()
    assert plan.model_copy(update={"lora": LORA}).identity()["lora"] == LORA.model_dump(mode="json")
    with pytest.raises(ValueError, match="trained_layers and lora are both set"):
        TrainingPlan(lora=LORA, trained_layers=1)

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gainloop.models.batches import rows_in_memory
from gainloop.models.loading import load_model, load_tokenizer
from gainloop.models.online import losses_of
from gainloop.models.packing import IGNORED, MixturePart, PairRows, Row, orders_of, pack
from gainloop.models.start import make_model
from gainloop.models.trainer import train
from gainloop.store.checkpoints import point_folder
from schemas.plan import Optimiser
from schemas.profile import Training
from tests.tiny_model import PLAN, TEXTS, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
ROWS = pack([MixturePart("anchors", TEXTS, 1.0)], TOKENIZER, 48 * 64, 64, orders_of(0)).rows
OPTIMISER = Optimiser(learning_rate=1e-2, batch_tokens=4 * 64)
EXACT = Training(precision="float32")
OFTEN = Training(precision="float32", save_seconds=1e-6)


def run(folder: Path, place: Training = OFTEN, rows: list[Row] = ROWS, **settings: Any) -> dict[str, Any]:
    optimiser = OPTIMISER.model_copy(update=settings.pop("optimiser", {}))
    return train(make_model(PLAN, TOKENIZER), TOKENIZER, rows, optimiser, place, str(folder), seed=0, **settings)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(str(folder)).state_dict()


def are_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def stop_at(step: int) -> Callable[[int, int], None]:
    def on_step(now: int, _steps: int) -> None:
        if now == step:
            raise KeyboardInterrupt

    return on_step


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder)
    return folder


def test_training_twice_gives_the_same_weights(undisturbed: Path, tmp_path: Path) -> None:
    run(tmp_path, EXACT)

    assert are_same(weights(tmp_path), weights(undisturbed))


def test_an_interrupted_training_resumes_and_ends_with_the_same_weights(undisturbed: Path, tmp_path: Path) -> None:
    steps: list[int] = []
    for stop in (5, 9):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, on_step=stop_at(stop))
    metrics = run(tmp_path, on_step=lambda step, _steps: steps.append(step))

    assert steps == [9, 10, 11, 12]
    assert metrics["num_steps"] == 12
    assert are_same(weights(tmp_path), weights(undisturbed))


def test_an_interrupted_training_keeps_the_same_weights_along_its_way(undisturbed: Path, tmp_path: Path) -> None:
    run(tmp_path / "once", points=4)
    for stop in (2, 7):  # before the first point, and just after one
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped", points=4, on_step=stop_at(stop))
    run(tmp_path / "stopped", points=4)

    assert are_same(weights(tmp_path / "once"), weights(undisturbed))
    for number in (1, 2, 3):
        one, other = (weights(Path(point_folder(str(tmp_path / name), number))) for name in ("once", "stopped"))
        assert are_same(one, other)
        assert not are_same(one, weights(undisturbed))


def test_logits_in_memory_have_a_ceiling_whatever_the_vocabulary() -> None:
    model = make_model(PLAN, TOKENIZER)
    assert rows_in_memory(model, ROWS) > 64
    model.config.vocab_size = 4_000_000
    assert rows_in_memory(model, ROWS) == 1


def test_an_interrupted_training_tells_the_same_metrics(tmp_path: Path) -> None:
    expected = run(tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", on_step=stop_at(6))

    told = run(tmp_path / "stopped")
    for one in (expected, told):
        speed = one.pop("speed")
        assert speed["tokens_per_second"] > 0
        assert (speed["mfu"], speed["processes"], speed["device"]) == (None, 1, "cpu")
    assert told == pytest.approx(expected, rel=1e-5)


def test_a_state_that_was_being_saved_is_passed_over(undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_step=stop_at(5))
    (state,) = tmp_path.glob("checkpoint-*")
    broken = shutil.copytree(state, tmp_path / "checkpoint-5")
    (broken / "trainer_state.json").unlink()
    (broken / "optimizer.pt").write_bytes(b"half")

    run(tmp_path)
    assert are_same(weights(tmp_path), weights(undisturbed))


def test_the_folder_holds_a_model_that_opens_and_no_resumable_state(undisturbed: Path) -> None:
    assert load_tokenizer(str(undisturbed)).encode(TEXTS[0]) == TOKENIZER.encode(TEXTS[0])
    assert not list(undisturbed.glob("checkpoint-*"))


def test_every_row_is_read_once_in_steps_of_the_batch(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    metrics = run(tmp_path, EXACT, on_step=lambda *at: told.append(at))

    assert told == [(step, 12) for step in range(1, 13)]
    assert (metrics["num_steps"], metrics["num_tokens"]) == (12, 48 * 64)


def test_the_loss_falls(tmp_path: Path) -> None:
    again = [row for _ in range(4) for row in ROWS]
    first = run(tmp_path / "first", EXACT)["train_loss_nats"]

    assert run(tmp_path / "more", EXACT, again)["train_loss_nats"] < first - 0.5


@pytest.mark.parametrize("rows_per_device", [1, 2, 3, 64])
def test_the_rows_in_memory_at_once_change_no_result(undisturbed: Path, tmp_path: Path, rows_per_device: int) -> None:
    metrics = run(tmp_path, Training(precision="float32", rows_per_device=rows_per_device))

    assert metrics["num_steps"] == 12
    expected = weights(undisturbed)
    assert all(torch.allclose(value, expected[name], atol=1e-3) for name, value in weights(tmp_path).items())


def test_training_that_multiplies_in_bfloat16_keeps_its_weights_at_float32(undisturbed: Path, tmp_path: Path) -> None:
    run(tmp_path, Training(precision="bfloat16"))

    kept, exact = weights(tmp_path), weights(undisturbed)
    assert {value.dtype for value in kept.values()} == {torch.float32}
    assert not are_same(kept, exact), "its products are rounded"
    assert any(not torch.equal(value, value.bfloat16().float()) for value in kept.values()), "its weights are not"
    rows = ROWS[:8]
    losses = [losses_of(load_model(str(folder)), rows, EXACT) for folder in (tmp_path, undisturbed)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_values_that_are_computed_again_change_no_result(undisturbed: Path, tmp_path: Path) -> None:
    run(tmp_path, EXACT.model_copy(update={"gradient_checkpointing": True}))

    expected = weights(undisturbed)
    assert all(torch.allclose(value, expected[name], atol=1e-5) for name, value in weights(tmp_path).items())


def test_tokens_without_a_label_carry_no_loss(tmp_path: Path) -> None:
    (row,) = PairRows(np.array([[0, 0]]), [TEXTS[0][:60]], [TEXTS[0][60:90]], TOKENIZER, 128, 128)
    with torch.inference_mode():
        logits = make_model(PLAN, TOKENIZER)(torch.tensor([row["input_ids"]])).logits[0, :-1]
    losses = torch.nn.functional.cross_entropy(logits, torch.tensor(row["labels"])[1:], reduction="none")

    nats = run(tmp_path, EXACT, [row])["train_loss_nats"]
    assert nats == pytest.approx(float(losses[losses > 0].mean()), rel=1e-5)
    assert (losses > 0).sum() == len(TOKENIZER.encode(TEXTS[0][60:90])) + 1


def test_padding_beside_a_longer_row_changes_nothing(tmp_path: Path) -> None:
    short = [{name: values[:9] for name, values in row.items()} for row in ROWS[:4]]
    padded = [{"input_ids": row["input_ids"] + [5] * 20, "labels": row["labels"] + [IGNORED] * 20} for row in short]
    run(tmp_path / "short", EXACT, short, optimiser={"batch_tokens": 4 * 9})
    run(tmp_path / "padded", EXACT, padded, optimiser={"batch_tokens": 4 * 29})

    expected = weights(tmp_path / "short")
    assert all(torch.allclose(value, expected[name], atol=1e-5) for name, value in weights(tmp_path / "padded").items())

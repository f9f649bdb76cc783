"""Trainings on two processes beside the same on one: what they read, what they lose, what is left of them."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from gainloop.measures.estimate import Floats
from gainloop.models.conversations import IGNORED, Row
from gainloop.models.loading import load_model
from gainloop.models.online import Online
from gainloop.models.packing import MixturePart, orders_of, pack
from gainloop.models.ranks import LOG, RANKS, _failure, tell_failure
from gainloop.models.start import make_model
from gainloop.models.trainer import train
from gainloop.store.checkpoints import point_folder
from schemas.conversation import Turn
from schemas.errors import BadInput, OutOfMemory, ProcessLost, StoreError
from schemas.plan import LowRank, NewModel, Optimiser
from schemas.profile import Training
from tests.conftest import ROOT
from tests.tiny_model import TEXTS, tiny_tokenizer

MODEL = NewModel(vocabulary=320, hidden_size=32, layers=2, head_size=32, context_tokens=128)
TOKENIZER = tiny_tokenizer()
TEXT = pack([MixturePart("anchors", TEXTS, 1.0)], TOKENIZER, 98 * 64, 64, orders_of(0)).rows
OPTIMISER = Optimiser(learning_rate=3e-3, batch_tokens=5 * 64)
ALONE = Training(precision="float32", rows_per_device=2, save_seconds=1e-6)
TOGETHER = ALONE.model_copy(update={"processes": 2})
CLOSE = 1e-4


def talk(number: int) -> tuple[Turn, ...]:
    words = TEXTS[number % len(TEXTS)].split()
    rng = Random(number)
    said = [" ".join(rng.choices(words, k=rng.randint(1, 8))) for _ in range(2)]
    return Turn("user", said[0]), Turn("assistant", said[1])


TALKS = [talk(number) for number in range(60)]
TALKED = pack(
    [MixturePart("synthetic", [str(turns) for turns in TALKS], 1.0, turns=TALKS)], TOKENIZER, 98 * 64, 64, orders_of(0)
).rows


def run(folder: Path, place: Training, rows: list[Row], **settings: Any) -> tuple[dict[str, Any], Floats]:
    """Train a small model; return what is told of it, and each row's loss before it is learnt, in nats a token."""
    online = Online([True] * len(rows))
    told = train(
        make_model(MODEL, TOKENIZER), TOKENIZER, rows, OPTIMISER, place, str(folder), 0, online=online, **settings
    )
    return told, online.nats / [sum(label != IGNORED for label in row["labels"][1:]) for row in rows]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(str(folder)).state_dict()


def are_close(one: Path, other: Path) -> bool:
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.allclose(ours[name], theirs[name], atol=1e-3) for name in ours)


def plain_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def ranks_of(folder: Path) -> list[psutil.Process]:
    """Return the processes that train in a folder, torchrun apart."""
    wanted = {"gainloop.models.rank", str(folder / RANKS)}
    found = [(one, set(_words(one))) for one in psutil.process_iter()]
    return [one for one, words in found if wanted < words and "torch.distributed.run" not in words]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
    except psutil.Error:
        return []


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Floats]:
    folder = tmp_path_factory.mktemp("alone")
    return folder, *run(folder, ALONE, TEXT, points=2)


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Floats]:
    folder = tmp_path_factory.mktemp("talked")
    return folder, *run(folder, ALONE, TALKED)


def test_updates_of_these_trainings_cannot_be_dealt_out_evenly() -> None:
    assert len(TEXT) == 98
    assert {len(row["input_ids"]) for row in TALKED} > {63}
    trained = [sum(label != IGNORED for label in row["labels"]) for row in TALKED]
    assert max(trained) > 2 * min(trained)


@pytest.mark.crash
def test_two_processes_lose_what_one_loses_at_every_row_of_twenty_updates(
    alone: tuple[Path, dict[str, Any], Floats], tmp_path: Path
) -> None:
    folder, expected, nats = alone
    steps: list[tuple[int, int]] = []
    told, ours = run(tmp_path / "made", TOGETHER, TEXT, points=2, on_step=lambda *at: steps.append(at))

    assert steps == [(step, 20) for step in range(1, 21)]
    assert np.abs(ours - nats).max() < CLOSE
    assert told["train_loss_nats"] == pytest.approx(expected["train_loss_nats"], abs=CLOSE)
    assert (told["num_steps"], told["num_tokens"]) == (expected["num_steps"], expected["num_tokens"])
    assert told["speed"]["processes"] == 2
    assert plain_files(tmp_path / "made") == plain_files(folder)
    assert are_close(tmp_path / "made", folder)
    point, other = (Path(point_folder(str(one), 1)) for one in (tmp_path / "made", folder))
    assert are_close(point, other)
    assert not are_close(point, folder)


PARENT = """
import sys
from pathlib import Path
from tests.models.test_ranks import TALKED, TOGETHER, run
run(Path(sys.argv[1]), TOGETHER, TALKED, on_step=lambda step, _steps: print(step, flush=True))
"""


def killing_a_rank_at(step: int, folder: Path) -> Callable[[int, int], None]:
    def on_step(now: int, _steps: int) -> None:
        if now == step:
            ranks_of(folder)[-1].send_signal(signal.SIGKILL)

    return on_step


@pytest.mark.crash
def test_conversations_on_two_processes_that_were_killed_twice_come_to_what_one_comes_to(
    talked: tuple[Path, dict[str, Any], Floats], tmp_path: Path
) -> None:
    folder, expected, nats = talked
    with pytest.raises(ProcessLost, match=r"on 2 processes: process \d was ended by SIGKILL; each must run to the end"):
        run(tmp_path, TOGETHER, TALKED, on_step=killing_a_rank_at(5, tmp_path))
    assert list(tmp_path.glob("checkpoint-*"))
    assert not ranks_of(tmp_path)

    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        steps = [int(next(parent.stdout)) for _ in range(3)]
        assert len(ranks_of(tmp_path)) == 2
        parent.kill()
    assert steps[0] > 3, "it went on from a state"
    deadline = time.monotonic() + 20
    while ranks_of(tmp_path):
        assert time.monotonic() < deadline, "the processes of a killed parent end"
        time.sleep(0.2)

    went_on: list[int] = []
    told, ours = run(tmp_path, TOGETHER, TALKED, on_step=lambda step, _steps: went_on.append(step))
    assert went_on[0] > steps[0]
    assert np.abs(ours - nats).max() < CLOSE
    assert told["train_loss_nats"] == pytest.approx(expected["train_loss_nats"], abs=CLOSE)
    assert are_close(tmp_path, folder)
    assert not list(tmp_path.glob("checkpoint-*"))
    assert not (tmp_path / RANKS).exists()


def stopping_at(step: int) -> Callable[[int, int], None]:
    def on_step(now: int, _steps: int) -> None:
        if now == step:
            raise KeyboardInterrupt

    return on_step


@pytest.mark.crash
def test_adapters_of_one_process_are_gone_on_with_by_two_and_theirs_by_one(tmp_path: Path) -> None:
    """All but the first of them compute values again, which changes nothing."""
    again, lora = {"gradient_checkpointing": True}, LowRank(rank=4)
    folder, made = tmp_path / "expected", tmp_path / "made"
    _, nats = run(folder, ALONE, TEXT, lora=lora)
    for place, step in ((ALONE, 6), (TOGETHER, 12)):
        with pytest.raises(KeyboardInterrupt):
            run(made, place.model_copy(update=again), TEXT, lora=lora, on_step=stopping_at(step))
        assert not ranks_of(made)
    (state,) = sorted(made.glob("checkpoint-*"))[-1:]
    assert 10 <= int(state.name.split("-")[1]) < 20

    went_on: list[int] = []
    _, ours = run(made, ALONE, TEXT, lora=lora, on_step=lambda step, _steps: went_on.append(step))
    assert went_on[0] > 10
    assert np.abs(ours - nats).max() < CLOSE
    assert are_close(made, folder)


@pytest.mark.crash
def test_what_one_of_two_processes_cannot_do_is_the_trainings_own_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"not all of q_prjo are linear layers of it; .* Set plan.lora.target_modules"):
        run(tmp_path, TOGETHER, TEXT[:5], lora=LowRank(target_modules=("q_prjo",)))
    assert not ranks_of(tmp_path)


def place_of(folder: Path, log: str, **told: Exception) -> Path:
    for process, error in told.items():
        tell_failure(folder, int(process[1:]), error)
    (folder / LOG).write_text(log)
    return folder


@pytest.mark.parametrize(
    "error", [OutOfMemory("a: memory ran out; b. c."), StoreError("a: full; b. c."), BadInput("a: b; c. d.")]
)
def test_what_a_person_can_mend_is_told_as_one_process_tells_it(tmp_path: Path, error: Exception) -> None:
    place = place_of(tmp_path, "", p1=RuntimeError("Connection closed by peer"), p0=error)

    found = _failure(place, 2)
    assert (type(found), str(found)) == (type(error), str(error))


def test_a_process_that_a_signal_ended_is_named_and_not_the_one_that_it_left(tmp_path: Path) -> None:
    log = "Failures:\n[0]:\n  rank      : 0 (local_rank: 0)\n  exitcode  : -15 (pid: 7)\n"
    log += "Root Cause (first observed failure):\n[1]:\n  rank      : 1 (local_rank: 1)\n  exitcode  : -9 (pid: 8)\n"
    place = place_of(tmp_path, log, p0=RuntimeError("Connection closed by peer"))

    assert "process 1 was ended by SIGKILL; each must" in str(_failure(place, 2))


def test_the_first_of_other_errors_is_told_in_one_sentence_with_the_log(tmp_path: Path) -> None:
    place = place_of(tmp_path, "", p1=KeyError("odd"), p0=RuntimeError("Connection closed by peer"))

    found = _failure(place, 2)
    assert isinstance(found, ProcessLost)
    assert str(found).startswith(
        "training on 2 processes: process 1 ended with KeyError: 'odd'; each must run to the end."
    )
    assert str(place / LOG) in str(found)
    assert json.loads((place / "failed-1.json").read_text())["kind"] == "KeyError"

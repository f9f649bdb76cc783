"""A training on several processes of this machine, which torchrun starts; ``gainloop.models.rank`` is one of them."""

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gainloop.models.conversations import Row
from gainloop.models.online import Online
from gainloop.store.children import Child, start_child, stop_child
from schemas import errors
from schemas.errors import GainloopError, ProcessLost
from schemas.plan import LowRank, Optimiser
from schemas.profile import Training

RANKS: Final = "ranks"
"""Folder, beside a training's states, of what its processes read and tell."""

START, ROWS, JOB, STEPS, METRICS, ONLINE, LOG = (
    *("start", "rows.parquet", "job.json", "steps"),
    *("metrics.json", "online.npy", "log"),
)
"""Names in it: the model and its tokenizer, the rows, all else; steps that are done, what came of it, what was said."""

_POLL_SECONDS: Final = 0.1
_TAIL_CHARACTERS: Final = 400
_SIGNAL: Final = re.compile(r"rank\s*: (\d+).*?\n\s*exitcode\s*: -(\d+)")
"""Words of torchrun for a process that a signal ended."""


@dataclass(frozen=True, slots=True)
class Job:
    """What decides a training, besides the model that it begins with.

    Attributes:
        rows: Rows in the order of training.
        folder: Folder of the model that is made, and of the states on the way.
        points: Number of even parts of the run; after each but the last the model is saved too.
        lora: Adapters that are trained in place of the weights, or None.
        state: Folder of the state to resume from, or None.
    """

    rows: Sequence[Row] = field(repr=False)
    optimiser: Optimiser
    training: Training
    folder: str
    seed: int
    points: int
    lora: LowRank | None
    state: str | None


def train_on_ranks(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    job: Job,
    on_step: Callable[[int, int], None],
    online: Online | None,
) -> dict[str, Any]:
    """Train on as many processes as the profile says, and return what the first of them tells. See ``trainer.train``.

    The processes end with this function and with this process, however they end.

    Raises:
        ProcessLost: One of them ended before the training was done.
        GainloopError: One of them could not go on; it is the error that a training in this process would raise.
    """
    place = Path(job.folder, RANKS).absolute()
    shutil.rmtree(place, ignore_errors=True)
    write_job(place, model, tokenizer, job, online)
    process = start_child(_command(place, job.training.processes), _environment(job.training), place / LOG)
    try:
        _follow(process, place / STEPS, on_step)
    finally:
        stop_child(process)
    if process.returncode:
        raise _failure(place, job.training.processes)
    if online:
        online.nats = np.load(place / ONLINE)
    told: dict[str, Any] = json.loads((place / METRICS).read_text())
    shutil.rmtree(place)
    return told


def write_job(
    place: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, job: Job, online: Online | None
) -> None:
    """Write what the processes of a training read."""
    place.mkdir(parents=True)
    model.save_pretrained(place / START)
    tokenizer.save_pretrained(place / START)
    columns = {name: [row[name] for row in job.rows] for name in ("input_ids", "labels")}
    pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.List(pl.Int32))).write_parquet(place / ROWS)
    settings = {
        "optimiser": job.optimiser.model_dump(mode="json"),
        "training": job.training.model_dump(mode="json"),
        "folder": os.path.abspath(job.folder),
        "seed": job.seed,
        "points": job.points,
        "lora": job.lora and job.lora.model_dump(mode="json"),
        "state": job.state and os.path.abspath(job.state),
        "trained": [name for name, weights in model.named_parameters() if weights.requires_grad],
        "wanted": online and list(online.is_wanted),
    }
    (place / JOB).write_text(json.dumps(settings))
    (place / STEPS).touch()


def read_job(place: Path) -> tuple[Job, dict[str, Any]]:
    """Return the job that was written to a folder, and all its settings."""
    found: dict[str, Any] = json.loads((place / JOB).read_text())
    job = Job(
        pl.read_parquet(place / ROWS).to_dicts(),
        Optimiser.model_validate(found["optimiser"]),
        Training.model_validate(found["training"]),
        *(found["folder"], found["seed"], found["points"]),
        found["lora"] and LowRank.model_validate(found["lora"]),
        found["state"],
    )
    return job, found


def tell_failure(place: Path, process: int, error: BaseException) -> None:
    """Write down why a process of a training cannot go on."""
    told = {"kind": type(error).__name__, "message": str(error), "at": time.time(), "process": process}
    (place / f"failed-{process}.json").write_text(json.dumps(told))


def _command(place: Path, processes: int) -> list[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", "0"]
    return [*start, "--nproc-per-node", str(processes), "-m", "gainloop.models.rank", str(place)]


def _environment(training: Training) -> dict[str, str]:
    """Return the environment of the processes: our modules, and on a CPU the threads shared out."""
    given = {"PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}
    if training.device == "cpu":
        each = max(1, len(os.sched_getaffinity(0)) // training.processes)
        given |= {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(each))}
    return {**os.environ, **given}


def _follow(process: "Child[bytes]", steps: Path, on_step: Callable[[int, int], None]) -> None:
    """Tell of every step that the processes write down, until they have ended."""
    with steps.open() as lines:
        is_over = False
        while not is_over:
            is_over = process.poll() is not None
            for line in iter(lines.readline, ""):
                on_step(*map(int, line.split()))
            if not is_over:
                time.sleep(_POLL_SECONDS)


def _failure(place: Path, processes: int) -> GainloopError:
    """Return the error of a training whose processes have ended too early: first what a person can mend."""
    told = sorted((json.loads(path.read_text()) for path in place.glob("failed-*.json")), key=lambda one: one["at"])
    for one in told:
        kind = getattr(errors, one["kind"], None)
        if isinstance(kind, type) and issubclass(kind, GainloopError):
            return kind(one["message"])
    log = (place / LOG).read_text(errors="replace")
    # What ended first: others are ended by SIGTERM then, or find their connections closed.
    ended = [(rank, signal.Signals(int(number)).name) for rank, number in _SIGNAL.findall(log) if number != "15"]
    if ended:
        found = "process {} was ended by {}".format(*ended[0])
    elif told:
        found = (
            f"process {told[0]['process']} ended with {told[0]['kind']}: {' '.join(told[0]['message'].split())[:200]}"
        )
    else:
        found = f"they ended early ({' '.join(log.split())[-_TAIL_CHARACTERS:]})"
    return ProcessLost(
        f"training on {processes} processes: {found.rstrip('.')}; each must run to the end. See {place / LOG}, and run "
        "the same again: it goes on from the state that was saved last."
    )

"""Trainings in the invented world: the list of them, one run, and its file."""

import copy
import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from typing import Any, Final

import numpy as np
import torch
from transformers import PreTrainedModel

from gainloop.measures.estimate import Floats, as_figure, mean_of
from gainloop.models.start import make_model
from gainloop.solutions.namespaces import die_with_parent
from gainloop.store.files import exists, read_file, write_file
from gainloop.studies.collapse import simulate_collapse
from gainloop.studies.findings import describe
from gainloop.studies.generator import Plan, draw_plans, make_batch
from gainloop.studies.trainee import Schedule, Vocabulary, ask, continue_on, losses_of, pretrain
from gainloop.studies.world import QUESTION, REWORDED, Words, World, make_world, write_document
from gainloop.studies.world_figures import (
    PREDICTORS,
    PRIMARY,
    VERDICT,
    compare_with_reference,
    describe_batch,
    describe_trainee,
)
from schemas.plan import NewModel
from schemas.studies import BatchOutcome, InventedWorld, Trained, Verification

REFERENCE: Final = "reference"
PROBE_SEED: Final = 1000
"""Seed of the probe runs: no training of the verdict has it."""

NUM_GENERIC, NUM_OTHERS, NUM_SENTENCES = 96, 12, 4
MODEL: Final = NewModel(hidden_size=64, layers=2, head_size=32, context_tokens=256)
BASE_TOKENS, BASE_RATE, STEP_TOKENS, RATE = 1024, 3e-3, 512, 1e-3


@dataclass(frozen=True, slots=True)
class Job:
    """One training: of a batch's plan, or of the reference if the plan is None."""

    plan: Plan | None
    seed: int
    updates: int

    @property
    def name(self) -> str:
        return f"{self.plan.name if self.plan else REFERENCE}-seed{self.seed}"


def list_jobs(subject: InventedWorld) -> list[Job]:
    """Return every training of a verification: the probe runs first, then the full ones seed by seed."""
    plans = [None, *draw_plans(subject.batches, subject.seed)]
    probes = [Job(plan, PROBE_SEED, max(1, subject.updates // 4)) for plan in plans]
    return probes + [Job(plan, seed, subject.updates) for seed in range(subject.seeds) for plan in plans]


def run_missing(
    folder: str, subject: InventedWorld, processes: int, on_progress: Callable[[int, int], None]
) -> dict[str, Trained]:
    """Return all trainings by name; those whose file is there are not run again.

    Each is a file of its own, written when it ends: a crash loses those that run.

    Args:
        processes: Trainings side by side, one thread each; it changes no result.
        on_progress: Called with the trainings done, and all of them.
    """
    jobs = list_jobs(subject)
    missing = [job for job in jobs if not exists(_file_of(folder, job))]
    on_progress(len(jobs) - len(missing), len(jobs))
    if missing:
        make_base(folder, subject)
    for done, _ in enumerate(run_jobs(folder, subject, missing, processes), start=len(jobs) - len(missing) + 1):
        on_progress(done, len(jobs))
    return {job.name: Trained.model_validate_json(read_file(_file_of(folder, job))) for job in jobs}


def make_base(folder: str, subject: InventedWorld) -> None:
    """Pretrain the base model, unless it is there already."""
    if exists(_base_file(folder)):
        return
    world, vocabulary = open_world(subject)
    with one_thread():
        plan = MODEL.model_copy(update={"seed": subject.seed})
        model = pretrain(world, vocabulary, plan, Schedule(subject.base_updates, BASE_TOKENS, BASE_RATE))
    weights = io.BytesIO()
    torch.save(model.state_dict(), weights)
    write_file(_base_file(folder), weights.getvalue())


def run_job(folder: str, subject: InventedWorld, job: Job) -> None:
    """Run one training and write its file."""
    with one_thread():
        trained = train(open_base(folder, subject), subject, job)
    write_file(_file_of(folder, job), trained.model_dump_json(indent=1).encode())


def train(base: PreTrainedModel, subject: InventedWorld, job: Job) -> Trained:
    """Return the training of a copy of the base model."""
    world, vocabulary = open_world(subject)
    anchors = [write_document(entity) for entity in world.anchors]
    batch = make_batch(world, job.plan, subject.batch_tokens, NUM_SENTENCES, subject.seed) if job.plan else None
    texts = [anchors, *([batch.texts] if batch else [])]
    model, online = learn(base, vocabulary, texts, job.updates, job.seed)
    figures = {}
    if job.seed == PROBE_SEED:
        figures = describe_trainee(world, vocabulary, model, texts[-1], online[-1], batch)
        figures |= describe_batch(world, batch) if batch else {}
    heldout = [write_document(entity) for entity in world.heldout]
    gate, verdict = ([fact for fact in world.facts if fact.part == part] for part in ("gate", "verdict"))
    (of_gate, gate_right), (of_verdict, verdict_right) = (
        ask(model, vocabulary, QUESTION, part) for part in (gate, verdict)
    )
    return Trained(
        batch=job.plan.name if job.plan else REFERENCE,
        seed=job.seed,
        updates=job.updates,
        gate=of_gate,
        verdict=of_verdict,
        gate_right=gate_right,
        verdict_right=verdict_right,
        reworded=ask(model, vocabulary, REWORDED, gate)[0],
        heldout=losses_of(model, [vocabulary.row(text) for text in heldout]).tolist(),
        heldout_bytes=[len(" ".join(text).encode()) for text in heldout],
        figures=figures,
    )


def learn(
    start: PreTrainedModel, vocabulary: Vocabulary, texts: Sequence[Sequence[Words]], updates: int, seed: int
) -> tuple[PreTrainedModel, list[Floats]]:
    """Return a copy of a model that was continued on parts of equal shares, and each text's loss before it was learnt.

    Args:
        texts: Texts of each part.
    """
    model = copy.deepcopy(start)
    rows = [[vocabulary.row(text) for text in part] for part in texts]
    return model, continue_on(model, rows, Schedule(updates, STEP_TOKENS, RATE), seed)


def run_jobs(folder: str, subject: InventedWorld, jobs: list[Job], processes: int) -> Iterator[None]:
    """Run trainings, and yield each time one is done; the base model must be there."""
    return side_by_side(run_job, [(folder, subject, job) for job in jobs], processes)


def side_by_side(run: Callable[..., None], calls: Sequence[tuple[Any, ...]], processes: int) -> Iterator[None]:
    """Call a function of a module with each of the arguments, in several processes, and yield when one has ended."""
    if min(processes, len(calls)) <= 1:
        for call in calls:
            run(*call)
            yield
        return
    # Spawned, not forked: a fork of a process whose libraries hold threads may wait for ever for a lock of theirs.
    spawned = get_context("spawn")
    with ProcessPoolExecutor(
        min(processes, len(calls)), spawned, initializer=_end_with, initargs=(os.getpid(),)
    ) as pool:
        running = [pool.submit(run, *call) for call in calls]
        try:
            for future in as_completed(running):
                future.result()
                yield
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with(parent: int) -> None:
    """Have this process end with the one that made it, which may be gone already."""
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)


@lru_cache(maxsize=2)
def open_world(subject: InventedWorld) -> tuple[World, Vocabulary]:
    world = make_world(subject.seed, subject.anchors, NUM_GENERIC, NUM_OTHERS)
    return world, Vocabulary.of(world)


@lru_cache(maxsize=2)
def open_base(folder: str, subject: InventedWorld) -> PreTrainedModel:
    model = make_model(MODEL, open_world(subject)[1].tokenizer)
    model.load_state_dict(torch.load(io.BytesIO(read_file(_base_file(folder))), weights_only=True))
    return model


def _file_of(folder: str, job: Job) -> str:
    return f"{folder}/runs/{job.name}.json"


def _base_file(folder: str) -> str:
    return f"{folder}/base.pt"


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread for the block: the last bits of a sum depend on how many share it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def verify_world(
    folder: str,
    verification_id: str,
    subject: InventedWorld,
    processes: int,
    on_progress: Callable[[int, int], None],
) -> Verification:
    """Return the verification in the invented world; trainings that ``folder`` has are not run again."""
    trained = run_missing(folder, subject, processes, on_progress)
    batches = [outcome_of(plan, subject, trained) for plan in draw_plans(subject.batches, subject.seed)]
    found = describe(verification_id, subject.model_dump(mode="json"), VERDICT, PREDICTORS, PRIMARY, batches)
    return found.model_copy(update={"collapse": simulate_collapse(subject.seed)})


def outcome_of(plan: Plan, subject: InventedWorld, trained: dict[str, Trained]) -> BatchOutcome:
    """Return a batch's predictors and its verdict."""

    def pair(seed: int) -> tuple[Trained, Trained]:
        return trained[f"{plan.name}-seed{seed}"], trained[f"{REFERENCE}-seed{seed}"]

    known = compare_with_reference(*pair(PROBE_SEED))
    runs = [pair(seed) for seed in range(subject.seeds)]
    gains = np.array([np.subtract(run.verdict_right, reference.verdict_right, dtype=float) for run, reference in runs])
    facts = np.tile(np.arange(gains.shape[1]), len(gains))
    verdict = mean_of(gains.ravel(), facts, "share of facts")
    return BatchOutcome(
        name=plan.name,
        method=plan.method,
        predictors={each.key: known[each.key] for each in PREDICTORS},
        verdict=as_figure(verdict, f"{VERDICT}; interval over facts"),
        by_seed=[float(gain) for gain in gains.mean(axis=1)],
    )

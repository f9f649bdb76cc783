"""Whether steering pays: the same words spent evenly and steered, in worlds of their own, and asked what nobody saw."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from gainloop.models.start import make_model
from gainloop.store.files import exists, read_file, write_file
from gainloop.studies.steered_budget import spend
from gainloop.studies.steered_figures import describe_steering
from gainloop.studies.steered_gaps import direct, know_half, with_replay
from gainloop.studies.steered_ground import Ground
from gainloop.studies.world_runs import MODEL, make_base, one_thread, open_base, open_world, side_by_side
from schemas.steered import Steered, SteeredRun, SteeredWay, Steering
from schemas.studies import BatchOutcome, InventedWorld

WAYS: Final[tuple[tuple[Steering, SteeredWay], ...]] = (
    ("budget", "uniform"),
    ("budget", "by gain"),
    ("budget", "by Delta I"),
    ("gaps", "uniform"),
    ("gaps", "gap-directed"),
)


@dataclass(frozen=True, slots=True)
class Play:
    """One way on one seed: its text, its probe runs and its training."""

    steering: Steering
    way: SteeredWay
    seed: int

    @property
    def name(self) -> str:
        return f"{self.steering}-{self.way.replace(' ', '-')}-seed{self.seed}"


def list_plays(subject: InventedWorld) -> list[Play]:
    """Return every way on every seed, seed by seed; each seed is a world of its own, the first the verification's."""
    seeds = range(subject.seed, subject.seed + subject.steering_seeds)
    return [Play(steering, way, seed) for seed in seeds for steering, way in WAYS]


def count_steps(subject: InventedWorld) -> int:
    """Return how many files a verification's second part has: starts of worlds, and ways."""
    return subject.steering_seeds * (1 + len(WAYS))


def steer(
    folder: str,
    subject: InventedWorld,
    batches: Sequence[BatchOutcome],
    processes: int,
    on_progress: Callable[[int, int], None],
) -> Steered:
    """Return what steering was worth; what ``folder`` has is not run again.

    Every way on a seed is a file of its own, written when it ends: a crash loses those that run.

    Args:
        batches: Batches of the first part, with their probe runs and full trainings.
        processes: Ways side by side, one thread each; it changes no result.
        on_progress: Called with the steps done, and all of them.
    """
    plays, total = list_plays(subject), count_steps(subject)
    missing = [play for play in plays if not exists(_run_file(folder, play))]
    seeds = sorted({play.seed for play in plays})
    unready = [seed for seed in seeds if not exists(_start_file(folder, subject, seed))]
    done = total - len(missing) - len(unready)
    on_progress(done, total)
    stages: list[tuple[Callable[..., None], Sequence[Any]]] = [(prepare, unready), (run_play, missing)]
    for run, steps in stages:
        for _ in side_by_side(run, [(folder, subject, step) for step in steps], processes):
            done += 1
            on_progress(done, total)
    runs = [SteeredRun.model_validate_json(read_file(_run_file(folder, play))) for play in plays]
    return describe_steering(runs, subject, batches)


def prepare(folder: str, subject: InventedWorld, seed: int) -> None:
    """Pretrain the base model of a seed's world, and continue it on half of the entities."""
    home, own = _home(folder, subject, seed), _subject_of(subject, seed)
    make_base(home, own)
    with one_thread():
        start = know_half(with_replay(_open_ground(folder, subject, seed)))
    weights = io.BytesIO()
    torch.save(start.state_dict(), weights)
    write_file(_start_file(folder, subject, seed), weights.getvalue())


def run_play(folder: str, subject: InventedWorld, play: Play) -> None:
    """Play one way and write its file; the seed's world must be prepared."""
    with one_thread():
        if play.steering == "budget":
            run = spend(_open_ground(folder, subject, play.seed), play.way)
        else:
            run = direct(_open_half_known(folder, subject, play.seed), play.way)
    write_file(_run_file(folder, play), run.model_dump_json(indent=1).encode())


def _open_ground(folder: str, subject: InventedWorld, seed: int) -> Ground:
    """Return the ground of the budget: the base model, which knows of no entity."""
    own = _subject_of(subject, seed)
    world, vocabulary = open_world(own)
    return Ground(world, vocabulary, open_base(_home(folder, subject, seed), own), own.updates, own.batch_tokens, seed)


def _open_half_known(folder: str, subject: InventedWorld, seed: int) -> Ground:
    """Return the ground of the gaps, whose start knows half of the entities."""
    ground = with_replay(_open_ground(folder, subject, seed))
    start = make_model(MODEL, ground.vocabulary.tokenizer)
    weights = read_file(_start_file(folder, subject, seed))
    start.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    return replace(ground, start=start)


def _subject_of(subject: InventedWorld, seed: int) -> InventedWorld:
    return subject.model_copy(update={"seed": seed})


def _home(folder: str, subject: InventedWorld, seed: int) -> str:
    """Return the folder of a seed's models; the first seed's base is that of the batches."""
    return folder if seed == subject.seed else f"{folder}/worlds/{seed}"


def _start_file(folder: str, subject: InventedWorld, seed: int) -> str:
    return f"{_home(folder, subject, seed)}/half_known.pt"


def _run_file(folder: str, play: Play) -> str:
    return f"{folder}/steered/{play.name}.json"

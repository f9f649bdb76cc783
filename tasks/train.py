"""Training: the start checkpoint, the synthesizer, and the arms of a comparison with all their seeds."""

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.evaluation.arms import Comparison, arm_lineage, arm_orders, arm_parts, trained_records
from gainloop.evaluation.likelihoods import Run, score_training
from gainloop.methods.method import Method
from gainloop.methods.sbp import SBP
from gainloop.store import Store, open_store
from gainloop.store.batches import complete_stage, read_recipe, stage_summary
from gainloop.store.checkpoints import (
    Lineage,
    checkpoint_folder,
    checkpoint_metrics,
    find_weights,
    make_once,
    point_folder,
    remove_points,
)
from gainloop.store.measurements import latest_accepted
from gainloop.store.snapshots import read_anchors, read_snapshot
from schemas.plan import Accepted, AnyStart, Arm, Checkpoint, NewModel, TrainingPlan
from schemas.profile import Profile, Training
from tasks.progress import Bar

logger = logging.getLogger("gainloop.train")


def make_start(store: Store, training: Training, snapshot_id: str, start: NewModel | Checkpoint, bar: Bar) -> str:
    """Return the checkpoint a run starts from: the one named, or a small model made from the training anchors."""
    if isinstance(start, Checkpoint):
        return _adopt(store, start)

    def make(folder: str) -> dict[str, Any]:
        from gainloop.models.pretraining import pretrain

        return pretrain(_training_texts(store, snapshot_id), start, training, folder, bar)

    return make_once(store, Lineage("start", snapshot_id, start.model_dump(mode="json")), make)


def tune_synthesizer(
    store: Store,
    profile: Profile,
    snapshot_id: str,
    start_id: str,
    method: SBP,
    max_tokens: int,
    seed: int,
    pairing: AbstractContextManager[Bar],
    bar: Bar,
) -> str:
    """Return the checkpoint that continues the start on pairs of related anchors.

    Args:
        pairing: Its bar shows how far pairing is, ``bar`` how far tuning.
    """

    def make(folder: str) -> dict[str, Any]:
        from gainloop.models import pretraining
        from gainloop.serving.embeddings import embed

        texts, start = _training_texts(store, snapshot_id), checkpoint_folder(store, start_id)
        with pairing as on_text:  # a text has a vector first, and partners then
            vectors = embed(
                *(texts, method.embedder, method.embedder_revision, profile.embedding),
                lambda done, total: on_text(done, 2 * total),
            )
            pairs = pretraining.pair_texts(texts, vectors, method, lambda done, total: on_text(total + done, 2 * total))
        return pretraining.tune_synthesizer(
            texts, pairs, start, method, max_tokens, profile.training, folder, seed, bar
        )

    tuning = method.model_dump(mode="json", exclude={"draws"})
    plan = {"snapshot_id": snapshot_id, "method": tuning, "max_tokens": max_tokens, "seed": seed}
    return make_once(store, Lineage("synthesizer", start_id, plan), make)


def train_arm(store: Store, training: Training, of: Comparison, seed: int, arm: Arm, bar: Bar) -> list[str]:
    """Return the checkpoints along one run of an arm, the last at its end; one that is there is not made again."""

    def make(folder: str) -> dict[str, Any]:
        from gainloop.models.packing import orders_by
        from gainloop.models.pretraining import continue_pretraining

        parts, orders = arm_parts(store, training.device, of, arm), orders_by(*arm_orders(of, seed, arm))
        start = checkpoint_folder(store, of.start_id)
        return continue_pretraining(parts, start, of.plan, training, folder, orders, bar, notes_losses=seed == 0)

    return train_along(store, of.fractions, lambda fraction: arm_lineage(store, of, seed, arm, fraction), make)


def train_along(
    store: Store,
    fractions: Sequence[float],
    lineage_at: Callable[[float], Lineage],
    make: Callable[[str], dict[str, Any]],
) -> list[str]:
    """Return the checkpoints of one run, each with a row of its own; what is there is not made again.

    Args:
        fractions: Parts of the run after which there is a checkpoint; the last is 1.
        lineage_at: Origin of the checkpoint after a part of the run.
        make: Function that trains in a folder, with the weights along the way beside its own.
    """
    last = make_once(store, lineage_at(1.0), make)
    along = [
        make_once(store, lineage_at(fraction), _copy_of_point(store, last, number, fraction))
        for number, fraction in enumerate(fractions[:-1], start=1)
    ]
    remove_points(checkpoint_folder(store, last))
    return [*along, last]


def _copy_of_point(store: Store, last: str, number: int, fraction: float) -> Callable[[str], dict[str, Any]]:
    """Return what fills a checkpoint's folder with the weights that a run had on its way."""

    def make(folder: str) -> dict[str, Any]:
        metrics = checkpoint_metrics(store, last)
        shutil.copytree(point_folder(checkpoint_folder(store, last), number), folder, dirs_exist_ok=True)
        return {"num_tokens": round(metrics["num_tokens"] * fraction)}

    return make


def finish_training(store: Store, of: Comparison, runs: list[Run], scores: dict[str, str], seconds: float) -> None:
    """Record that all arms are trained and scored.

    Args:
        runs: Every run, with its checkpoints; those of seed 0 stand for their arms where one is asked for.
        scores: Urls of the scores, by the keys of ``score_training``.
    """
    first: dict[str, str] = {run.arm: run.checkpoints[-1] for run in runs if run.seed == 0}
    checkpoints = {"start": of.start_id, **first}
    metrics = {role: checkpoint_metrics(store, checkpoint) for role, checkpoint in checkpoints.items()}
    generator = read_recipe(store, of.batch_id)
    if generator.model == "synthesizer":
        metrics["synthesizer"] = checkpoint_metrics(store, generator.revision)
    times = dict.fromkeys(first, of.plan.seeds)
    summary = {
        "checkpoints": checkpoints,
        "arms": [describe_run(store, of, run) for run in runs],
        "scores": {name: store.keep(url) for name, url in scores.items()},
        "tokens": {role: made.get("num_tokens", 0) * times.get(role, 1) for role, made in metrics.items()},
        "speed": {
            role: {name: made["speed"][name] for name in ("tokens_per_second", "mfu", "processes", "device")}
            for role, made in metrics.items()
            if "speed" in made
        },
        "seconds": seconds,
        "heldout_records": of.plan.heldout_records,
        "seeds": of.plan.seeds,
        "general": of.general_id,
        "scored_texts": of.plan.scored_texts,
        # Of each arm and part: tokens trained on, how often its text was gone through, and how often before that.
        "epochs": {
            role: {
                part: [made["tokens"][part], made["repetitions"][part], made["read_before"][part]]
                for part in made["repetitions"]
            }
            for role, made in metrics.items()
            if role in first
        },
    }
    if too_long := metrics["synthetic"].get("too_long", {}).get("synthetic"):
        summary["too_long"] = too_long
    if of.selection and (selected := trained_records(store, of)[1]):
        about = {"steps": selected.steps, "dropped": selected.dropped}
        summary["selection"] = of.selection.model_dump(mode="json") | about
    complete_stage(store, of.batch_id, "train", summary, of.training_id)


def describe_run(store: Store, of: Comparison, run: Run) -> dict[str, Any]:
    """Return arm, seed and learning rate of a run, and what it had after which part of its tokens."""
    points = [
        {"fraction": fraction, "tokens": checkpoint_metrics(store, one)["num_tokens"], "checkpoint": one}
        for fraction, one in zip(of.fractions, run.checkpoints, strict=True)
    ]
    rate = of.plan.optimiser.learning_rate
    return {"arm": run.arm, "seed": run.seed, "learning_rate": rate, "points": points}


def require_trainable(profile: Profile) -> None:
    """Refuse, before anything costs time, a profile whose training device this machine does not have."""
    if profile.training.device != "cpu":
        from gainloop.models.loading import require_devices

        require_devices(profile.training.device, profile.training.processes)


def warn_of_little_text(store: Store, snapshot_id: str, start: AnyStart) -> None:
    """Say that a new model learns nothing from a few documents: it reads them over and over, and repeats them."""
    snapshot = read_snapshot(store, snapshot_id)
    if isinstance(start, NewModel) and snapshot["num_bytes"] < start.budget_tokens:
        logger.warning(
            "Making a new model: its %s tokens are to come of %s bytes of text, which it can only repeat; as many "
            "bytes as start.budget_tokens at least are needed. Give --recipe examples/small-model.yaml, which starts "
            "from the real model that `make model` makes, or set --start.model.",
            *(f"{start.budget_tokens:,}", f"{snapshot['num_bytes']:,}"),
        )


def find_start(profile: Profile, snapshot_id: str, start: AnyStart) -> str:
    """Return the checkpoint that everything starts from; a task makes or copies it if the store does not have it.

    Raises:
        BadInput: It is no model that can be continued.
    """
    start = resolve_start(open_store(profile), snapshot_id, start)
    if isinstance(start, Checkpoint) and find_weights(open_store(profile), start.model):
        return _adopt(open_store(profile), start)
    return prepare_start(profile, snapshot_id, start)


def resolve_start(store: Store, snapshot_id: str, start: AnyStart) -> NewModel | Checkpoint:
    """Return a start as it is; of kind accepted, the checkpoint that stands for it now.

    That is the first seed's model of the latest batch of the snapshot's source that the gate accepts.
    """
    if not isinstance(start, Accepted):
        return start
    found = latest_accepted(store, read_snapshot(store, snapshot_id)["source_id"])
    trained = stage_summary(store, found["batch_id"], "train", found["training_id"]) if found else None
    return Checkpoint(model=trained["checkpoints"]["synthetic"]) if trained else start.first_checkpoint


def adopt_start(profile: Profile, start: Checkpoint, chats: bool) -> Checkpoint:
    """Return a model that exists already as a checkpoint of the store: what is wrong with it is said now.

    Args:
        chats: True where it will be asked in messages.

    Raises:
        BadInput: It is no model that can be continued, or asked so.
    """
    checkpoint_id = find_start(profile, "", start)
    if chats:
        require_chat(open_store(profile), checkpoint_id)
    return Checkpoint(model=checkpoint_id)


def reads_turns(method: Method, plan: TrainingPlan) -> bool:
    """Tell whether a training of what a method makes needs a chat template of the start's own."""
    objective = plan.objective or ("conversation" if method.makes_turns else "text")
    return objective == "conversation" and plan.chat_template == "own"


def require_chat(store: Store, checkpoint_id: str) -> None:
    """Refuse, before it is asked anything, a checkpoint that messages cannot be written for.

    Raises:
        BadInput: It has no chat template.
    """
    from gainloop.models.checking import check_checkpoint

    check_checkpoint(checkpoint_folder(store, checkpoint_id), chats=True)


@task(cache_policy=NO_CACHE, task_run_name="make start checkpoint")
def prepare_start(profile: Profile, snapshot_id: str, start: NewModel | Checkpoint) -> str:
    made = f"take over the model {start.model}" if isinstance(start, Checkpoint) else "pretrain the start checkpoint"
    with Bar(made, "steps") as bar:
        return make_start(open_store(profile), profile.training, snapshot_id, start, bar)


@task(cache_policy=NO_CACHE, task_run_name="tune synthesizer")
def prepare_synthesizer(
    profile: Profile, snapshot_id: str, start_id: str, method: SBP, max_tokens: int, seed: int
) -> str:
    with Bar("tune the synthesizer", "steps") as bar:
        store, pairing = open_store(profile), Bar("pair the anchors", "anchors embedded and paired")
        return tune_synthesizer(store, profile, snapshot_id, start_id, method, max_tokens, seed, pairing, bar)


@task(cache_policy=NO_CACHE, task_run_name="train {arm} with seed {seed}")
def train_checkpoint(profile: Profile, of: Comparison, seed: int, arm: Arm) -> list[str]:
    with Bar(f"train the {arm} arm, seed {seed + 1} of {of.plan.seeds}", "steps") as bar:
        return train_arm(open_store(profile), profile.training, of, seed, arm, bar)


@task(cache_policy=NO_CACHE, task_run_name="score checkpoints")
def score_checkpoints(profile: Profile, of: Comparison, runs: list[Run], begun: float) -> None:
    store = open_store(profile)
    with Bar("score checkpoints", "sets of texts") as bar:
        scores = score_training(store, profile.training.device, of, runs, bar)
    finish_training(store, of, runs, scores, time.time() - begun)


def is_trained(profile: Profile, batch_id: str, training_id: str) -> bool:
    """Tell whether this training of the batch is complete."""
    return stage_summary(open_store(profile), batch_id, "train", training_id) is not None


def _adopt(store: Store, wanted: Checkpoint) -> str:
    """Give a checkpoint made elsewhere, or earlier in this store, its row; say at once what is wrong with it."""
    if folder := find_weights(store, wanted.model):
        from gainloop.models.checking import check_checkpoint

        check_checkpoint(folder)
        return wanted.model
    from gainloop.models.adopting import find_checkpoint

    found = find_checkpoint(wanted)

    def make(partial: str) -> dict[str, Any]:
        found.write(partial)
        return {"num_tokens": 0}

    return make_once(store, Lineage("start", "", {"revision": found.revision}), make)


def _training_texts(store: Store, snapshot_id: str) -> list[str]:
    texts: list[str] = read_anchors(store, snapshot_id, heldout=False)["text"].to_list()
    return texts

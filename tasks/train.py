"""Training: the start checkpoint, the synthesizer, the trainee and its matched baseline."""

import time
from contextlib import AbstractContextManager
from typing import Any

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.evaluation.likelihoods import score_training
from gainloop.methods.sbp import SBP
from gainloop.store import Store, open_store
from gainloop.store.batches import complete_stage, kept_records, read_recipe, stage_summary
from gainloop.store.checkpoints import (
    Lineage,
    checkpoint_folder,
    checkpoint_metrics,
    checkpoint_plan,
    find_weights,
    make_once,
)
from gainloop.store.snapshots import read_anchors
from schemas.profile import Profile, Training
from schemas.recipe import AnyStart, Checkpoint, Mixture, TrainingPlan
from schemas.rows import content_hash, heldout_draw
from tasks.progress import Bar


def make_start(store: Store, training: Training, snapshot_id: str, start: AnyStart, bar: Bar) -> str:
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


def train_arm(
    store: Store, training: Training, batch_id: str, start_id: str, plan: TrainingPlan, role: str, bar: Bar
) -> str:
    """Return the checkpoint that continues the start on one arm of the comparison.

    Args:
        role: "synthetic" for the plan's mixture; "baseline" for as many tokens of anchors alone.
    """
    shares = plan.mixture if role == "synthetic" else Mixture(synthetic=0, anchors=1)

    def make(folder: str) -> dict[str, Any]:
        from gainloop.models.packing import MixturePart
        from gainloop.models.pretraining import continue_pretraining

        snapshot_id = read_recipe(store, batch_id).snapshot_id
        records, _ = split_records(kept_records(store, batch_id), plan.heldout_records)
        texts = {"synthetic": records["text"].to_list(), "anchors": _training_texts(store, snapshot_id)}
        parts = [MixturePart(name, texts[name], share) for name, share in shares.model_dump().items()]
        start = checkpoint_folder(store, start_id)
        return continue_pretraining(parts, start, plan, training, folder, bar)

    about = plan.model_dump(mode="json") | {"mixture": shares.model_dump(mode="json")}
    source = {"snapshot_id": read_recipe(store, batch_id).snapshot_id} if role == "baseline" else {}
    batch_ids = [batch_id] if role == "synthetic" else []
    return make_once(store, Lineage(role, start_id, about | source, batch_ids), make)


def split_records(records: pl.DataFrame, heldout: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the records that are trained on, and those that are held out of it by their ids."""
    is_left = pl.Series([heldout_draw(one) < heldout for one in records["record_id"]], dtype=pl.Boolean)
    return records.filter(~is_left), records.filter(is_left)


def finish_training(
    store: Store, batch_id: str, training_id: str, checkpoints: dict[str, str], scores: dict[str, str], seconds: float
) -> None:
    """Record that both arms are trained and scored."""
    metrics = {role: checkpoint_metrics(store, checkpoint) for role, checkpoint in checkpoints.items()}
    generator = read_recipe(store, batch_id)
    if generator.model == "synthesizer":
        metrics["synthesizer"] = checkpoint_metrics(store, generator.revision)
    tokens = {role: made.get("num_tokens", 0) for role, made in metrics.items()}
    heldout = checkpoint_plan(store, checkpoints["synthetic"])["heldout_records"]
    kept = {name: store.keep(url) for name, url in scores.items()}
    summary = {"checkpoints": checkpoints, "scores": kept, "tokens": tokens, "seconds": seconds}
    # Of each arm and part: tokens trained on, and how often its text was gone through.
    epochs = {
        role: {part: [made["tokens"][part], made["repetitions"][part]] for part in made["repetitions"]}
        for role, made in metrics.items()
        if role in ("synthetic", "baseline")
    }
    summary |= {"heldout_records": heldout, "epochs": epochs}
    complete_stage(store, batch_id, "train", summary, training_id)


def name_training(batch_id: str, start_id: str, plan: TrainingPlan) -> str:
    """Return the id of one training of one batch: what the report's figures are about."""
    return content_hash("training", batch_id, start_id, plan.model_dump(mode="json"))


def require_trainable(profile: Profile) -> None:
    """Refuse, before anything costs time, a profile whose training device this machine does not have."""
    if profile.training.device != "cpu":
        from gainloop.models.loading import require_device

        require_device(profile.training.device)


def find_start(profile: Profile, snapshot_id: str, start: AnyStart) -> str:
    """Return the checkpoint that everything starts from; a task makes or copies it if the store does not have it.

    Raises:
        BadInput: It is no model that can be continued.
    """
    if isinstance(start, Checkpoint) and find_weights(open_store(profile), start.model):
        return _adopt(open_store(profile), start)
    return prepare_start(profile, snapshot_id, start)


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


def require_chat(store: Store, checkpoint_id: str) -> None:
    """Refuse, before it is asked anything, a checkpoint that messages cannot be written for.

    Raises:
        BadInput: It has no chat template.
    """
    from gainloop.models.checking import check_checkpoint

    check_checkpoint(checkpoint_folder(store, checkpoint_id), chats=True)


@task(cache_policy=NO_CACHE, task_run_name="make start checkpoint")
def prepare_start(profile: Profile, snapshot_id: str, start: AnyStart) -> str:
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


@task(cache_policy=NO_CACHE, task_run_name="train {role}")
def train_checkpoint(profile: Profile, batch_id: str, start_id: str, plan: TrainingPlan, role: str) -> str:
    with Bar(f"train the {role} arm", "steps") as bar:
        return train_arm(open_store(profile), profile.training, batch_id, start_id, plan, role, bar)


@task(cache_policy=NO_CACHE, task_run_name="score checkpoints")
def score_checkpoints(
    profile: Profile, batch_id: str, training_id: str, checkpoints: dict[str, str], begun: float
) -> None:
    store = open_store(profile)
    with Bar("score checkpoints", "sets of texts") as bar:
        scores = score_training(store, profile.training.device, batch_id, checkpoints, bar)
    finish_training(store, batch_id, training_id, checkpoints, scores, time.time() - begun)


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

"""Training: the start checkpoint, the synthesizer, the trainee and its matched baseline, and their scores."""

import shutil
import time
from dataclasses import dataclass
from typing import Any

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.identity import content_hash
from schemas.profile import Profile
from schemas.recipe import AnyStart, Checkpoint, Mixture, TrainingPlan
from schemas.rows import heldout_draw
from tasks.methods import SBP
from tasks.progress import Bar
from tasks.store import Store, open_store
from tasks.store.batches import YARDSTICK, complete_stage, stage_summary, training_stage, used_anchors
from tasks.store.checkpoints import (
    Lineage,
    checkpoint_folder,
    checkpoint_metrics,
    checkpoint_plan,
    find_weights,
    make_once,
)
from tasks.store.files import exists, write_frame
from tasks.store.records import kept_records, read_recipe
from tasks.store.snapshots import read_anchors

MAX_SCORED = 2_000
"""Texts scored per set; more would narrow the intervals little and cost as much again."""

MAX_READ = 256
"""Anchors that both arms are asked about, with the book closed and open."""


def make_start(store: Store, place: Profile, snapshot_id: str, start: AnyStart, bar: Bar) -> str:
    """Return the checkpoint a run starts from: the one named, or a small model made from the training anchors."""
    if isinstance(start, Checkpoint):
        return _adopt(store, place, start)

    def make(folder: str) -> dict[str, Any]:
        from tasks.models.pretraining import pretrain

        return pretrain(_training_texts(store, snapshot_id), start, place.training, folder, bar)

    return make_once(store, place.folder, Lineage("start", snapshot_id, start.model_dump(mode="json")), make)


def tune_synthesizer(
    store: Store, place: Profile, snapshot_id: str, start_id: str, method: SBP, max_tokens: int, seed: int, bar: Bar
) -> str:
    """Return the checkpoint that continues the start on pairs of related anchors."""

    def make(folder: str) -> dict[str, Any]:
        from tasks.models import pretraining

        texts, start = _training_texts(store, snapshot_id), checkpoint_folder(store, start_id)
        return pretraining.tune_synthesizer(texts, start, method, max_tokens, place.training, folder, seed, bar)

    tuning = method.model_dump(mode="json", exclude={"draws"})
    plan = {"snapshot_id": snapshot_id, "method": tuning, "max_tokens": max_tokens, "seed": seed}
    return make_once(store, place.folder, Lineage("synthesizer", start_id, plan), make)


def train_arm(
    store: Store, place: Profile, batch_id: str, start_id: str, plan: TrainingPlan, role: str, bar: Bar
) -> str:
    """Return the checkpoint that continues the start on one arm of the comparison.

    Args:
        role: "synthetic" for the plan's mixture; "baseline" for as many tokens of anchors alone.
    """
    shares = plan.mixture if role == "synthetic" else Mixture(synthetic=0, anchors=1)

    def make(folder: str) -> dict[str, Any]:
        from tasks.models.packing import Part
        from tasks.models.pretraining import continue_pretraining

        snapshot_id = read_recipe(store, batch_id).snapshot_id
        records, _ = split_records(kept_records(store, batch_id), plan.heldout_records)
        texts = {"synthetic": records["text"].to_list(), "anchors": _training_texts(store, snapshot_id)}
        parts = [Part(name, texts[name], share) for name, share in shares.model_dump().items()]
        start = checkpoint_folder(store, start_id)
        return continue_pretraining(parts, start, plan, place.training, folder, bar)

    about = plan.model_dump(mode="json") | {"mixture": shares.model_dump(mode="json")}
    source = {"snapshot_id": read_recipe(store, batch_id).snapshot_id} if role == "baseline" else {}
    batch_ids = [batch_id] if role == "synthetic" else []
    return make_once(store, place.folder, Lineage(role, start_id, about | source, batch_ids), make)


def split_records(records: pl.DataFrame, heldout: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the records that are trained on, and those that are held out of it by their ids."""
    is_left = pl.Series([heldout_draw(one) < heldout for one in records["record_id"]], dtype=pl.Boolean)
    return records.filter(~is_left), records.filter(is_left)


@dataclass(frozen=True)
class TextSet:
    """Texts to score: columns text_id, text and, if something is read before each, before.

    Attributes:
        half: Whether a text is read in pieces of half the model's context, so that the rest has room before it.
    """

    texts: pl.DataFrame
    half: bool = False


def score_set(store: Store, place: Profile, checkpoint_id: str, wanted: TextSet) -> str:
    """Return the url of the texts' likelihoods under a checkpoint; score them first if they are not there."""
    from tasks.models.loading import read_context
    from tasks.models.scoring import score_texts

    chosen = wanted.texts.sort("text_id").head(MAX_SCORED)
    ids = chosen["text_id"].to_list()
    before = chosen["before"].to_list() if "before" in chosen.columns else None
    url = f"{place.folder}/scores/{checkpoint_id}-{content_hash(ids, before, wanted.half)}.parquet"
    if not exists(url):
        folder = checkpoint_folder(store, checkpoint_id)
        window = read_context(folder) // 2 if wanted.half else None
        texts = chosen["text"].to_list()
        write_frame(url, score_texts(folder, ids, texts, place.training.device, before, window))
    return url


def score_training(store: Store, place: Profile, batch_id: str, checkpoints: dict[str, str]) -> dict[str, str]:
    """Return the urls of all that the report needs of a training, by ``<role>/<what>``; see ``Evidence``."""
    from tasks.models.pretraining import LEARNED

    recipe, kept = read_recipe(store, batch_id), kept_records(store, batch_id)
    used = used_anchors(store, batch_id)
    heldout = TextSet(_as_texts(read_anchors(store, recipe.snapshot_id, heldout=True), "anchor_id"))
    anchors, records = TextSet(_as_texts(used, "anchor_id")), TextSet(_as_texts(kept, "record_id"))
    wanted = {f"{role}/heldout": (role, heldout) for role in ("start", "synthetic", "baseline")}
    wanted |= {"start/anchors": ("start", anchors), "start/records": ("start", records)}
    # One record an anchor, the first by its id: what the generator said of it.
    before = kept.unique("anchor_id", keep="first", maintain_order=True).select("anchor_id", before="text")
    read = used.join(before, on="anchor_id").sort("anchor_id").head(MAX_READ)
    opened = read.select("text", "before", text_id="anchor_id")
    closed = opened.drop("before")
    wanted |= {f"{role}/anchors": (role, TextSet(closed)) for role in ("synthetic", "baseline")}
    wanted |= {"synthetic/records": ("synthetic", records)}
    wanted |= {"synthetic/closed": ("synthetic", TextSet(closed, half=True))}
    wanted |= {"synthetic/open": ("synthetic", TextSet(opened, half=True))}
    learned = {f"{role}/learned": checkpoint_folder(store, checkpoints[role]) for role in ("synthetic", "baseline")}
    return {name: score_set(store, place, checkpoints[role], texts) for name, (role, texts) in wanted.items()} | {
        name: f"{folder}/{LEARNED}" for name, folder in learned.items()
    }


def score_yardstick(store: Store, place: Profile, batch_id: str, start_id: str) -> None:
    """Score a batch's anchors under the start before anything is trained: what the gate holds Delta I against."""
    stage = f"{YARDSTICK}{start_id}"
    url = score_set(store, place, start_id, TextSet(_as_texts(used_anchors(store, batch_id), "anchor_id")))
    if stage_summary(store, batch_id, stage) is None:
        complete_stage(store, batch_id, stage, {"start": start_id, "url": url})


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
    summary = {"checkpoints": checkpoints, "scores": scores, "tokens": tokens, "seconds": seconds}
    # Of each arm and part: tokens trained on, and how often its text was gone through.
    epochs = {
        role: {part: [made["tokens"][part], made["repetitions"][part]] for part in made["repetitions"]}
        for role, made in metrics.items()
        if role in ("synthetic", "baseline")
    }
    summary |= {"heldout_records": heldout, "epochs": epochs}
    complete_stage(store, batch_id, training_stage(training_id), summary)


def name_training(batch_id: str, start_id: str, plan: TrainingPlan) -> str:
    """Return the id of one training of one batch: what the report's figures are about."""
    return content_hash("training", batch_id, start_id, plan.model_dump(mode="json"))


def require_trainable(place: Profile) -> None:
    """Refuse, before anything costs time, a profile whose training device this machine does not have."""
    if place.training.device != "cpu":
        from tasks.models.loading import require_device

        require_device(place.training.device)


@task(cache_policy=NO_CACHE, task_run_name="make start checkpoint")
def prepare_start(place: Profile, snapshot_id: str, start: AnyStart) -> str:
    with Bar("pretrain the start checkpoint", "steps") as bar:
        return make_start(open_store(place), place, snapshot_id, start, bar)


@task(cache_policy=NO_CACHE, task_run_name="tune synthesizer")
def prepare_synthesizer(
    place: Profile, snapshot_id: str, start_id: str, method: SBP, max_tokens: int, seed: int
) -> str:
    with Bar("tune the synthesizer", "steps") as bar:
        return tune_synthesizer(open_store(place), place, snapshot_id, start_id, method, max_tokens, seed, bar)


@task(cache_policy=NO_CACHE, task_run_name="train {role}")
def train_checkpoint(place: Profile, batch_id: str, start_id: str, plan: TrainingPlan, role: str) -> str:
    with Bar(f"train the {role} arm", "steps") as bar:
        return train_arm(open_store(place), place, batch_id, start_id, plan, role, bar)


@task(cache_policy=NO_CACHE, task_run_name="score checkpoints")
def score_checkpoints(
    place: Profile, batch_id: str, training_id: str, checkpoints: dict[str, str], begun: float
) -> None:
    store = open_store(place)
    scores = score_training(store, place, batch_id, checkpoints)
    finish_training(store, batch_id, training_id, checkpoints, scores, time.time() - begun)


def is_trained(place: Profile, batch_id: str, training_id: str) -> bool:
    """Tell whether this training of the batch is complete."""
    return stage_summary(open_store(place), batch_id, training_stage(training_id)) is not None


def _adopt(store: Store, place: Profile, wanted: Checkpoint) -> str:
    """Give a checkpoint made elsewhere, or earlier in this store, its row."""
    if find_weights(store, wanted.model):
        return wanted.model
    from tasks.models.existing import find_checkpoint

    folder, revision = find_checkpoint(wanted)
    lineage = Lineage("start", "", {"revision": revision})
    return make_once(store, place.folder, lineage, lambda partial: _copy(folder, partial))


def _copy(folder: str, partial: str) -> dict[str, Any]:
    shutil.copytree(folder, partial, dirs_exist_ok=True)
    return {"num_tokens": 0}


def _training_texts(store: Store, snapshot_id: str) -> list[str]:
    texts: list[str] = read_anchors(store, snapshot_id, heldout=False)["text"].to_list()
    return texts


def _as_texts(frame: pl.DataFrame, key: str) -> pl.DataFrame:
    return frame.select(pl.col(key).alias("text_id"), "text")

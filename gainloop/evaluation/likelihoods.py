"""Likelihoods of texts under the checkpoints of a training: held-out texts, anchors and records."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from gainloop.store import Store
from gainloop.store.batches import complete_stage, kept_records, read_recipe, stage_summary, used_anchors
from gainloop.store.checkpoints import checkpoint_folder
from gainloop.store.files import exists, write_frame
from gainloop.store.snapshots import read_anchors
from schemas.rows import content_hash

MAX_SCORED = 2_000
"""Texts scored per set; more would narrow the intervals little and cost as much again."""

MAX_READ = 256
"""Anchors that both arms are scored on, with the book closed and open."""

OnSet = Callable[[int, int], None]
"""Called with the sets of texts scored, and all of them."""


@dataclass(frozen=True)
class TextSet:
    """Texts to score.

    Attributes:
        texts: Columns text_id, text and, where something is read before each text, before.
        half: True to read a text in pieces of half the model's context, so that ``before`` has the other half.
    """

    texts: pl.DataFrame
    half: bool = False


def score_set(store: Store, device: str, checkpoint_id: str, wanted: TextSet) -> str:
    """Return the url of the texts' likelihoods under a checkpoint; score them first if they are not there."""
    from gainloop.models.loading import read_context
    from gainloop.models.scoring import score_texts

    chosen = wanted.texts.sort("text_id").head(MAX_SCORED)
    ids = chosen["text_id"].to_list()
    before = chosen["before"].to_list() if "before" in chosen.columns else None
    url = f"{store.folder}/scores/{checkpoint_id}-{content_hash(ids, before, wanted.half)}.parquet"
    if not exists(url):
        folder = checkpoint_folder(store, checkpoint_id)
        window = read_context(folder) // 2 if wanted.half else None
        texts = chosen["text"].to_list()
        write_frame(url, score_texts(folder, ids, texts, device, before, window))
    return url


def score_training(
    store: Store, device: str, batch_id: str, checkpoints: dict[str, str], on_set: OnSet
) -> dict[str, str]:
    """Return the urls of all scores of a training, by ``<role>/<texts>`` as in ``Evidence``; score what is missing."""
    from gainloop.models.pretraining import LEARNED

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
    scored = {}
    for done, (name, (role, texts)) in enumerate(wanted.items()):
        on_set(done, len(wanted))
        scored[name] = score_set(store, device, checkpoints[role], texts)
    on_set(len(wanted), len(wanted))
    return scored | {name: f"{folder}/{LEARNED}" for name, folder in learned.items()}


def score_yardstick(store: Store, device: str, batch_id: str, start_id: str) -> None:
    """Score a batch's anchors under the start before anything is trained: the gate compares Delta I with them."""
    url = score_set(store, device, start_id, TextSet(_as_texts(used_anchors(store, batch_id), "anchor_id")))
    if stage_summary(store, batch_id, "yardstick", start_id) is None:
        complete_stage(store, batch_id, "yardstick", {"start": start_id, "url": store.keep(url)}, start_id)


def _as_texts(frame: pl.DataFrame, key: str) -> pl.DataFrame:
    return frame.select(pl.col(key).alias("text_id"), "text")

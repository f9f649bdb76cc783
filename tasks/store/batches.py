"""A batch's rows from its first moment to its last: begun, filled shard by shard, complete stage by stage."""

import json
from typing import Any

import polars as pl

from schemas.recipe import Recipe
from tasks.store.duck import Store, now

TRAIN = "train "
"""What a training is called among a batch's stages, before its id: a batch may be trained on more than once."""


def begin_batch(store: Store, recipe: Recipe, logprob_semantics: str) -> str:
    """Write down what a batch is made by, and return its id."""
    row = {
        "batch_id": recipe.batch_id,
        "snapshot_id": recipe.snapshot_id,
        "recipe": recipe.model_dump_json(),
        "logprob_semantics": logprob_semantics,
        "created_at": now(),
    }
    store.insert(batches=[row])
    return recipe.batch_id


def complete_stage(store: Store, batch_id: str, stage: str, summary: dict[str, Any]) -> None:
    """Mark a stage of a batch as complete: the last write of the stage."""
    row = {"batch_id": batch_id, "stage": stage, "summary": summary, "completed_at": now()}
    store.insert(completions=[row])


def stage_summary(store: Store, batch_id: str, stage: str) -> dict[str, Any] | None:
    """Return what a complete stage wrote down, or None if it is not complete."""
    found = store.query("select summary from completions where batch_id = ? and stage = ?", batch_id, stage)
    if found.is_empty():
        return None
    summary: dict[str, Any] = json.loads(found.item())
    return summary


def training_stage(training_id: str) -> str:
    """Return the name of the stage that one training of a batch is."""
    return f"{TRAIN}{training_id}"


def used_anchors(store: Store, batch_id: str) -> pl.DataFrame:
    """Return the anchors that a batch has a record or a drop of: anchor_id, title, text, num_bytes."""
    return store.query(
        "select anchor_id, title, text, num_bytes from anchors where anchor_id in "
        "(select anchor_id from records where batch_id = $1 union select anchor_id from drops where batch_id = $1) "
        "order by anchor_id",
        batch_id,
    )

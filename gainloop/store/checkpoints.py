"""Checkpoints: folders of weights, each named by the hash of what made it."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gainloop.store.duck import Store, now
from gainloop.store.files import disk_errors, only_one, read_file, whole_folder
from gainloop.store.pruned import require_weights
from schemas.errors import BadInput, StoreError
from schemas.rows import content_hash

Metrics = dict[str, Any]

POINTS = "points"
"""Folder, beside a training's weights, of those that it had along its way: one folder a point, numbered from 1."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """The origin of a checkpoint; its hash is the id.

    Attributes:
        role: start, synthesizer, synthetic, baseline or replay_control.
        parent: Id of the checkpoint that it continues; empty if there is none.
        plan: Parameters of its training.
        batch_ids: Batches that it was trained on.
    """

    role: str
    parent: str
    plan: dict[str, Any]
    batch_ids: list[str] = field(default_factory=list)

    @property
    def checkpoint_id(self) -> str:
        return content_hash("checkpoint", self.role, self.parent, self.batch_ids, self.plan)


def make_once(store: Store, lineage: Lineage, make: Callable[[str], Metrics]) -> str:
    """Return the checkpoint's id; make it first if it is not there. Of several runs that want it one makes it.

    Args:
        make: Function that writes the model into a folder, resuming from what is there, and returns
            metrics. They are written beside the weights too, so that a crash between the two writes
            does not lose them.

    Raises:
        BadInput: The store's folder is not local; weights need one that is.
    """
    if "://" in store.folder:
        raise BadInput(
            f"training in {store.folder}: it is not a local folder; checkpoints need one. "
            "Set folder in the profile to one."
        )
    checkpoint_id = lineage.checkpoint_id
    path = f"{store.folder}/checkpoints/{checkpoint_id}"
    if _folder_of(store, checkpoint_id) and os.path.isdir(path):
        return checkpoint_id
    with disk_errors(f"making {path}"), only_one(f"{path}.lock", f"makes the {lineage.role} checkpoint {path}"):
        if not os.path.isdir(path):
            _make(path, lineage, make)
    made = _read_lineage(f"{path}/lineage.json")
    store.insert(checkpoints=[made | {"checkpoint_id": checkpoint_id, "url": store.keep(path), "created_at": now()}])
    return checkpoint_id


def _read_lineage(path: str) -> dict[str, Any]:
    try:
        made: dict[str, Any] = json.loads(read_file(path))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"reading {path}: {' '.join(str(error).split())[:200]}; it must be there as the run that made the weights "
            "wrote it. Put it back, or remove its folder and run the same again: then it is made anew."
        ) from error
    return made


def _make(path: str, lineage: Lineage, make: Callable[[str], Metrics]) -> None:
    with whole_folder(path) as partial:
        row = {"parent": lineage.parent, "role": lineage.role, "batch_ids": lineage.batch_ids, "plan": lineage.plan}
        metrics = make(partial)
        with open(f"{partial}/lineage.json", "w") as file:
            json.dump(row | {"metrics": metrics}, file, indent=2)


def checkpoint_folder(store: Store, checkpoint_id: str) -> str:
    """Return where a checkpoint's weights lie.

    Raises:
        BadInput: The store has no such checkpoint, or its weights were pruned.
    """
    url = find_weights(store, checkpoint_id)
    if url is None:
        known = store.query("select checkpoint_id from checkpoints order by rowid desc limit 5")["checkpoint_id"]
        raise BadInput(
            f"looking up checkpoint {checkpoint_id!r}: not found in the store; the latest are "
            f"{', '.join(known) or 'none'}. Use one of them, a folder or a hub id."
        )
    return url


def find_weights(store: Store, checkpoint_id: str) -> str | None:
    """Return the folder of a checkpoint's weights, or None if this store has no such checkpoint.

    Raises:
        BadInput: Its weights were pruned, and not made again.
    """
    folder = _folder_of(store, checkpoint_id)
    if folder is not None:
        require_weights(store, checkpoint_id, os.path.isdir(folder))
    return folder


def _folder_of(store: Store, checkpoint_id: str) -> str | None:
    found = store.query("select url from checkpoints where checkpoint_id = ?", checkpoint_id)
    return None if found.is_empty() else store.locate(found.item())


def discard_weights(store: Store, checkpoint_id: str) -> None:
    """Remove a checkpoint: weights that have answered all that they were made for."""
    folder = _folder_of(store, checkpoint_id)
    if folder and os.path.isdir(folder):  # out of the way first: a half-empty folder would pass for weights
        gone = f"{folder}.gone"
        shutil.rmtree(gone, ignore_errors=True)
        os.rename(folder, gone)
    store.take_back(("delete from checkpoints where checkpoint_id = ?", [checkpoint_id]))
    if folder:
        shutil.rmtree(f"{folder}.gone", ignore_errors=True)


def point_folder(folder: str, number: int) -> str:
    """Return where a training keeps the weights that it had at a point along its run, until they have rows."""
    return f"{folder}/{POINTS}/{number}"


def remove_points(folder: str) -> None:
    """Remove the weights along a run: they are checkpoints of their own by now."""
    shutil.rmtree(f"{folder}/{POINTS}", ignore_errors=True)


def checkpoint_metrics(store: Store, checkpoint_id: str) -> Metrics:
    """Return the metrics of a checkpoint's training."""
    found = store.query("select metrics from checkpoints where checkpoint_id = ?", checkpoint_id)
    metrics: Metrics = json.loads(found.item())
    return metrics

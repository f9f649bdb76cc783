"""Retention: what of a store's folder may be removed, what is needed yet, and removing it so that it is known."""

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from gainloop.store.batches import batch_folder, replies_folder
from gainloop.store.duck import Store, now
from gainloop.store.files import disk_errors, file_sizes
from gainloop.store.needed import Needs, newest_accepted, training_states
from gainloop.store.pruned import Kind
from schemas.errors import BadInput
from schemas.rows import content_hash

GONE: Final = ".gone-"
"""What stands between the name of a folder that is being removed and the id of its row in the table pruned."""

OF_BATCH: Final = (
    *("records", "drops", "quarantine", "batch_anchors", "completions", "measurements", "digests", "figures"),
    *("decisions", "batches"),
)
"""Tables whose rows of a batch go with the whole batch; that of the batch itself last."""


@dataclass(frozen=True, slots=True)
class Prunable:
    """One folder that was asked for.

    Attributes:
        name: Id of the batch, or of the checkpoint.
        path: Path of the folder.
        num_bytes: Bytes of its files.
        last: Time at which it was last worked on, by the clock of that machine.
        states: What the gate says last of the trainings, or of the batch, that it is of; empty if nothing.
        needed: Why it stays; empty if it may go.
    """

    kind: Kind
    name: str
    path: str
    num_bytes: int
    last: datetime
    states: frozenset[str] = frozenset()
    needed: str = ""


def plan_prune(
    store: Store,
    kinds: Collection[Kind],
    older_than: timedelta | None,
    decisions: Collection[str],
    at: datetime | None = None,
) -> list[Prunable]:
    """Return what was asked for, and of each part why it stays, where something needs it.

    Args:
        kinds: What is asked for: replies of batches, weights of checkpoints, whole batches.
        older_than: Age from which on it is asked for, or None for any.
        decisions: States of the gate of which it must have the last, or none for any.
        at: Time that ages are counted to. Default: now.

    Raises:
        BadInput: Neither an age nor a decision is given, or the folder is not local.
    """
    if "://" in store.folder:
        raise BadInput(
            f"pruning {store.folder}: it is not a local folder; one is needed. Let the rules of the object storage "
            "remove old files there."
        )
    if older_than is None and not decisions:
        raise BadInput(
            f"pruning the store {store.path}: neither an age nor a decision says what; one at least must. "
            "Set --older-than, for example to 30d, or --decision, for example to rejected held."
        )
    latest = (at or now()) - older_than if older_than else None
    found = [one for kind in kinds for one in FINDERS[kind](store)]
    asked = [
        one
        for one in found
        if (latest is None or one.last <= latest) and (not decisions or (one.states and one.states <= set(decisions)))
    ]
    return sorted(_with_needs(store, _each_once(asked)), key=lambda one: (one.kind, one.last, one.name))


def find_leftovers(store: Store) -> list[Prunable]:
    """Return the folders that a prune was removing when it was stopped."""
    root, found = Path(store.folder), list[Prunable]()
    patterns: dict[str, Kind] = {
        f"batches/*{GONE}*": "batches",
        f"batches/*/replies{GONE}*": "replies",
        f"checkpoints/*{GONE}*": "weights",
    }
    for pattern, kind in patterns.items():
        for path in sorted(root.glob(pattern)):
            name = path.parent.name if kind == "replies" else path.name.partition(GONE)[0]
            found.append(Prunable(kind, name, str(path), size_of(str(path)), now()))
    return found


def prune(store: Store, one: Prunable, why: str) -> bool:
    """Remove a folder, and for a whole batch its rows; False if it is gone, or a run works there now.

    Killed at any moment and run again, the same is gone and the same is told of it: the folder first takes a name that
    has the id of its row, then rows go and that row comes, and then its files.

    Args:
        why: What it was removed by: ages and decisions, as the row tells it.
    """
    if GONE in Path(one.path).name:
        _finish(store, one, one.path, why)
        return True
    lock = FileLock(f"{batch_folder(store, one.name)}/.lock" if one.kind != "weights" else f"{one.path}.lock")
    if not os.path.isdir(one.path):
        return False
    with disk_errors(f"pruning {one.path}"), suppress(Timeout), lock.acquire(timeout=0):
        gone = f"{one.path}{GONE}{content_hash('pruned', one.kind, one.name, now().isoformat())}"
        os.rename(one.path, gone)
        _finish(store, one, gone, why)
        return True
    return False


def _finish(store: Store, one: Prunable, gone: str, why: str) -> None:
    if one.kind == "batches" and not os.path.isdir(batch_folder(store, one.name)):  # or it was made again since
        store.take_back(*((f"delete from {table} where batch_id = ?", [one.name]) for table in OF_BATCH))
    row = {"prune_id": gone.rpartition(GONE)[2], "kind": one.kind, "name": one.name, "why": why}
    store.insert(pruned=[row | {"num_bytes": one.num_bytes, "pruned_at": now()}])
    with disk_errors(f"removing {gone}"):
        shutil.rmtree(gone)


def size_of(path: str) -> int:
    """Return the bytes of all files below a folder; 0 if it is not there."""
    return sum(size for _, size in file_sizes(path))


def _batches(store: Store) -> list[dict[str, Any]]:
    rows = store.query(
        "with done as (select batch_id, max(completed_at) as done from completions group by batch_id), "
        "decided as (select batch_id, arg_max(state, rowid) as state from decisions group by batch_id) "
        "select batch_id, greatest(created_at, coalesce(done, created_at)) as last, state from batches "
        "left join done using (batch_id) left join decided using (batch_id) order by batches.rowid"
    )
    return list(rows.iter_rows(named=True))


def _of_batches(kind: Kind, folder: Callable[[Store, str], str]) -> Callable[[Store], Iterator[Prunable]]:
    def find(store: Store) -> Iterator[Prunable]:
        for row in _batches(store):
            path, states = folder(store, row["batch_id"]), frozenset([row["state"]] if row["state"] else [])
            if os.path.isdir(path):
                yield Prunable(kind, row["batch_id"], path, size_of(path), row["last"], states)

    return find


def _weights(store: Store) -> Iterator[Prunable]:
    states = training_states(store)
    rows = store.query("select checkpoint_id, url, created_at from checkpoints order by rowid")
    for checkpoint_id, url, created in rows.iter_rows():
        path = store.locate(url)
        if os.path.isdir(path) and Path(path).parent == Path(store.folder, "checkpoints"):
            of = frozenset(states.get(checkpoint_id, ()))
            yield Prunable("weights", checkpoint_id, path, size_of(path), created, of)


FINDERS: Final[dict[Kind, Callable[[Store], Iterator[Prunable]]]] = {
    "replies": _of_batches("replies", replies_folder),
    "weights": _weights,
    "batches": _of_batches("batches", batch_folder),
}


def _each_once(asked: Sequence[Prunable]) -> list[Prunable]:
    """Leave out the replies of batches that are asked for as a whole."""
    whole = {one.name for one in asked if one.kind == "batches"}
    return [one for one in asked if one.kind != "replies" or one.name not in whole]


def _with_needs(store: Store, asked: list[Prunable]) -> list[Prunable]:
    """Say of each what needs it, until nothing more is needed by what stays."""
    needs = Needs(store, newest_accepted(store))
    told = [replace(one, needed=needs.of_its_own(one.kind, one.name)) for one in asked]
    while True:
        going = {one.name for one in told if one.kind == "weights" and not one.needed}
        again = [one if one.needed else replace(one, needed=needs.by_models(one.kind, one.name, going)) for one in told]
        if again == told:
            return told
        told = again

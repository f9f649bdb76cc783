"""A batch's rows from its first moment to its last: begun, filled shard by shard, complete stage by stage."""

import json
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import polars as pl

from gainloop.store.duck import Store, now
from gainloop.store.files import list_files, only_one
from gainloop.store.planned import read_planned
from gainloop.store.pruned import pruned_on, require_replies
from gainloop.store.replies import Span
from schemas.errors import BadInput
from schemas.recipe import Recipe
from schemas.rows import Anchor, document_of
from schemas.steering import Aim

ALL = Span()

_CONCLUSIONS = ("completions", "quarantine", "measurements", "digests", "figures", "decisions")
"""Tables of what is concluded from a batch once it is complete."""


def begin_batch(store: Store, recipe: Recipe, logprob_semantics: str) -> str:
    """Insert the row of a batch, and return its id."""
    row = {
        "batch_id": recipe.batch_id,
        "snapshot_id": recipe.snapshot_id,
        "recipe": recipe.model_dump_json(),
        "logprob_semantics": logprob_semantics,
        "created_at": now(),
    }
    store.insert(batches=[row])
    return recipe.batch_id


def save_aim(store: Store, aim: Aim) -> str:
    """Keep an aim, and return its id; recipes name it."""
    complete_stage(store, aim.aim_id, "aim", aim.model_dump(mode="json"))
    return aim.aim_id


def read_aim(store: Store, aim_id: str) -> Aim:
    """Return an aim that the store has.

    Raises:
        BadInput: It has no such aim.
    """
    found = stage_summary(store, aim_id, "aim")
    if found is None:
        raise BadInput(
            f"reading aim {aim_id}: it is not in the store {store.path}; the aim of a recipe must be. Use the store in "
            "which the recipe was made, or leave aim_id empty."
        )
    return Aim.model_validate(found)


def open_anchors(store: Store, batch_id: str, span: Span, settled: Collection[int] | None = None) -> list[Anchor]:
    """Return the anchors in a span of a batch that have neither record nor drop yet, in the batch's order.

    An outcome is written once: made again after a crash, a passing drop could stand beside a record.

    Args:
        settled: Places in the order of anchors that have one, as ``settled_positions`` finds them for all shards at
            once. Default: they are looked for, which reads through the whole batch.
    """
    placed = _placed_anchors(store, batch_id, span)
    known = settled_positions(store, batch_id, span) if settled is None else settled
    return _with_aim(store, batch_id, [anchor for position, anchor in placed if position not in known])


def settled_anchors(store: Store, batch_id: str, span: Span, settled: Collection[int]) -> list[Anchor]:
    """Return the anchors in a span of a batch that have a record or a drop, in the batch's order."""
    placed = _placed_anchors(store, batch_id, span)
    return _with_aim(store, batch_id, [anchor for position, anchor in placed if position in settled])


def settled_positions(store: Store, batch_id: str, span: Span = ALL) -> set[int]:
    """Return the places in a batch's order of the anchors that have a record or a drop."""
    rows = store.query(
        "select position from batch_anchors where batch_id = $1 and position >= $2 and position < $3 and anchor_id in "
        "(select anchor_id from records where batch_id = $1 union all select anchor_id from drops where batch_id = $1)",
        *(batch_id, span.begin, span.end),
    )
    return set(rows["position"])


def _placed_anchors(store: Store, batch_id: str, span: Span) -> list[tuple[int, Anchor]]:
    """Return the anchors in a span, each after its place in the batch's order."""
    rows = read_planned(store, batch_id, span)
    if rows is None:  # a batch that an earlier version began
        rows = store.query(
            "select position, text, title, uri, licence, revision, anchor_id from batch_anchors "
            "join anchors using (anchor_id) where batch_id = ? and position >= ? and position < ? order by position",
            *(batch_id, span.begin, span.end),
        )
    return [(position, Anchor(*row)) for position, *row in rows.iter_rows()]


def _with_aim(store: Store, batch_id: str, anchors: list[Anchor]) -> list[Anchor]:
    # A batch is planned before its row is there.
    aims = store.query("select recipe ->> '$.aim_id' as aim_id from batches where batch_id = ?", batch_id)["aim_id"]
    return with_missing(store, next(filter(None, aims), ""), anchors)


def with_missing(store: Store, aim_id: str, anchors: list[Anchor]) -> list[Anchor]:
    """Return anchors with what the model does not know of their documents, by a recipe's aim; unchanged without one."""
    missing = read_aim(store, aim_id).missing if aim_id else {}
    return [replace(one, missing=missing.get(document_of(one.uri), ())) for one in anchors] if missing else anchors


def reopen_batch(store: Store, batch_id: str, anchor_ids: list[str]) -> None:
    """Take back what came of some anchors of a batch, and all that was concluded from the batch.

    Generation then works on these anchors as if for the first time, with the replies that are there.

    Raises:
        BadInput: A model was trained on the batch.
    """
    trained = "select checkpoint_id from checkpoints where list_contains(batch_ids, ?) order by all"
    if models := store.query(trained, batch_id)["checkpoint_id"].to_list():
        raise BadInput(
            f"reopening batch {batch_id}: checkpoint {models[0]} was trained on it; only a batch that nothing was "
            "trained on may change. Put a sound copy of its replies back, or generate with another seed."
        )
    concluded = [(f"delete from {table} where batch_id = ?", [batch_id]) for table in _CONCLUSIONS]
    made = [
        (f"delete from {table} where batch_id = ? and list_contains(?, anchor_id)", [batch_id, anchor_ids])
        for table in ("records", "drops")
    ]
    store.take_back(*concluded, *made)


def count_settled(store: Store, batch_id: str) -> tuple[int, int]:
    """Return the number of anchors that a batch is made from, and of those that have a record or a drop."""
    counted = store.query(
        "select count(*) as planned, count(*) filter (anchor_id in (select anchor_id from records where batch_id = $1 "
        "union all select anchor_id from drops where batch_id = $1)) as settled from batch_anchors where batch_id = $1",
        batch_id,
    )
    planned, settled = counted.row(0)
    return int(planned), int(settled)


def complete_stage(
    store: Store, batch_id: str, stage: str, summary: dict[str, Any], key: str = "", **rows: pl.DataFrame
) -> None:
    """Mark a stage of a batch as complete: the last write of the stage.

    Args:
        stage: Name of the stage: generate, validate, score, judge, yardstick, probe, train, evaluate or assess.
        summary: Counts, seconds and urls of the stage, as JSON.
        key: Id of the plan, judging, start or training, where a stage can be done in several ways.
        rows: Rows of other tables, by table name, that are there if and only if the stage is complete.
    """
    row = {"batch_id": batch_id, "stage": stage, "key": key, "summary": summary, "completed_at": now()}
    store.insert(**rows, completions=[row])


def stage_summary(store: Store, batch_id: str, stage: str, key: str = "") -> dict[str, Any] | None:
    """Return the summary of a stage, or None if it is not complete."""
    return next((found for name, found in list_summaries(store, batch_id, stage) if name == key), None)


def list_summaries(store: Store, batch_id: str, stage: str) -> list[tuple[str, dict[str, Any]]]:
    """Return key and summary of every time that a stage of a batch was completed, the latest first."""
    rows = store.query(
        "select key, summary from completions where batch_id = ? and stage = ? order by rowid desc",
        *(batch_id, stage),
    )
    return [(key, json.loads(summary)) for key, summary in rows.iter_rows()]


def latest_summary(store: Store, batch_id: str, stage: str) -> dict[str, Any] | None:
    """Return the summary of a stage that was completed last, or None."""
    return next((summary for _, summary in list_summaries(store, batch_id, stage)), None)


def latest_judging(store: Store, batch_id: str) -> dict[str, Any] | None:
    """Return the summary of the last judge's judging of most records, or None if no judge has finished."""
    judgings = [summary for _, summary in list_summaries(store, batch_id, "judge")]
    own = [
        one for one in judgings if (one["model"], one["revision"]) == (judgings[0]["model"], judgings[0]["revision"])
    ]
    return max(reversed(own), key=lambda one: (one["records"], one["anchors"]), default=None)


def read_summaries(store: Store, batch_id: str, training_id: str = "") -> dict[str, dict[str, Any]]:
    """Return the summaries by stage: generate and validate; score, judge, probe if complete; train by its id.

    Raises:
        BadInput: One of them is not complete.
    """
    keys = {"generate": "", "validate": ""} | ({"train": training_id} if training_id else {})
    found = {stage: stage_summary(store, batch_id, stage, key) for stage, key in keys.items()}
    missing = [name for name, summary in found.items() if summary is None]
    if missing:
        raise BadInput(
            f"reporting on batch {batch_id}: {' and '.join(missing)} is not complete; a report needs "
            f"{', '.join(found)}. Run the flow {missing[0]} on this batch first."
        )
    whole = {name: summary for name, summary in found.items() if summary is not None}
    optional = {stage: latest_summary(store, batch_id, stage) for stage in ("score", "probe")}
    optional |= {"judge": latest_judging(store, batch_id)}
    return whole | {name: summary for name, summary in optional.items() if summary}


def used_anchors(store: Store, batch_id: str) -> pl.DataFrame:
    """Return the anchors that a batch has a record or a drop of: anchor_id, title, text, num_bytes."""
    return store.query(
        "select anchor_id, title, text, num_bytes from anchors where anchor_id in "
        "(select anchor_id from records where batch_id = $1 union select anchor_id from drops where batch_id = $1) "
        "order by anchor_id",
        batch_id,
    )


def batch_folder(store: Store, batch_id: str) -> str:
    """Return the folder of a batch's files."""
    return f"{store.folder}/batches/{batch_id}"


def page_of(store: Store, batch_id: str) -> str:
    """Return the path of a batch's page."""
    return f"{batch_folder(store, batch_id)}/report.html"


def replies_folder(store: Store, batch_id: str) -> str:
    """Return the folder of a batch's replies."""
    return f"{batch_folder(store, batch_id)}/replies"


def landed_folder(store: Store, batch_id: str, needed_by: str) -> str:
    """Return the folder of a batch's replies for what needs them.

    Args:
        needed_by: What needs them, as the message says it.

    Raises:
        BadInput: They were pruned, and not generated again.
    """
    folder = replies_folder(store, batch_id)
    require_replies(store, batch_id, bool(list_files(folder, ".parquet")), needed_by)
    return folder


def only_writer(store: Store, batch_id: str) -> AbstractContextManager[None]:
    """Keep other runs from working on a batch for the block; one that holds it is waited for."""
    return only_one(f"{batch_folder(store, batch_id)}/.lock", f"works on batch {batch_id}")


def resolve_batch(store: Store, batch_id: str = "latest") -> str:
    """Return the id of a batch that is in the store, given whole or by its beginning; ``latest`` is the newest.

    Raises:
        BadInput: No such batch, or none at all.
    """
    known = store.query("select batch_id from batches order by rowid desc")["batch_id"].to_list()
    if batch_id == "latest" and known:
        return str(known[0])
    if batch_id not in known:
        if len(near := [one for one in known if batch_id and one.startswith(batch_id)]) == 1:
            return str(near[0])
        listed = ", ".join(known[:5]) + (f" and {len(known) - 5} older" if known[5:] else "") or "none"
        day = pruned_on(store, "batches", batch_id)
        found = f"it was pruned on {day}" if day else f"it is not in the store {store.path}"
        raise BadInput(
            f"finding batch {batch_id!r}: {found}; known are {listed}. Name one of them, or latest, or "
            f"{'generate it again with its recipe' if day else 'run the flow generate first'}."
        )
    return batch_id


def read_recipe(store: Store, batch_id: str) -> Recipe:
    """Return the recipe of a batch that is in the store."""
    (recipe,) = store.query("select recipe from batches where batch_id = ?", batch_id)["recipe"]
    return Recipe.model_validate_json(recipe)


def would_be_records(store: Store, batch_id: str) -> pl.DataFrame:
    """Return the requests whose replies became a record or a drop: column request_id; others only led to requests."""
    return store.query(
        "select unnest(request_ids) as request_id from records where batch_id = $1 "
        "union select request_id from drops where batch_id = $1 and request_id != '' order by request_id",
        batch_id,
    )


def read_records(store: Store, batch_id: str) -> pl.DataFrame:
    """Return every record of a batch, kept or not, in the order of record_id.

    Returns:
        Columns record_id, anchor_id, facet, text, request_ids, num_bytes, turns: see ``conversation.read_turns``.
    """
    return store.query(
        "select record_id, anchor_id, facet, text, request_ids, num_bytes, turns from records where batch_id = ? "
        "order by record_id",
        batch_id,
    )


def kept_records(store: Store, batch_id: str) -> pl.DataFrame:
    """Return the records that may be trained on, in the order of record_id.

    Returns:
        Columns record_id, anchor_id, facet, text, request_ids, num_bytes, turns.

    Raises:
        BadInput: The batch has not been validated, or its suite failed.
    """
    require_validated(store, batch_id)
    refused = store.query("select distinct record_id from quarantine where batch_id = ?", batch_id)
    return read_records(store, batch_id).join(refused, on="record_id", how="anti", maintain_order="left")


def require_validated(store: Store, batch_id: str) -> None:
    """Refuse a batch that has not been validated, or whose suite failed.

    Raises:
        BadInput: It has no completed validation.
    """
    if stage_summary(store, batch_id, "validate") is None:
        raise BadInput(
            f"reading the kept records of batch {batch_id}: it has no completed validation; only records that "
            f"Great Expectations has validated are used. Run the flow validate with batch_id {batch_id}."
        )

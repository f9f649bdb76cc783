"""The records of a batch, and what became of them when they were judged."""

import polars as pl

from schemas.errors import BadInput
from schemas.recipe import Recipe
from tasks.store.duck import Store


def resolve_batch(store: Store, batch_id: str = "latest") -> str:
    """Return the id of a batch that is there; ``latest`` is the one begun most recently.

    Raises:
        BadInput: No such batch, or none at all.
    """
    known = store.query("select batch_id from batches order by created_at desc, batch_id")["batch_id"].to_list()
    if batch_id == "latest" and known:
        return str(known[0])
    if batch_id not in known:
        listed = ", ".join(known[:5]) + (f" and {len(known) - 5} older" if known[5:] else "") or "none"
        raise BadInput(
            f"finding batch {batch_id!r}: it is not in the store {store.path}; known are {listed}. "
            "Set batch_id to one of them or to latest, or run the flow generate first."
        )
    return batch_id


def read_recipe(store: Store, batch_id: str) -> Recipe:
    """Return what a batch that is there was made by."""
    (recipe,) = store.query("select recipe from batches where batch_id = ?", batch_id)["recipe"]
    return Recipe.model_validate_json(recipe)


def would_be_records(store: Store, batch_id: str) -> pl.DataFrame:
    """Return the requests that a record or a drop came of, column request_id; others only led to further requests."""
    return store.query(
        "select unnest(request_ids) as request_id from records where batch_id = $1 "
        "union select request_id from drops where batch_id = $1 and request_id != '' order by request_id",
        batch_id,
    )


def read_records(store: Store, batch_id: str) -> pl.DataFrame:
    """Return every record of a batch, kept or not, in the order of record_id."""
    return store.query(
        "select record_id, anchor_id, facet, text, request_ids, num_bytes from records where batch_id = ? "
        "order by record_id",
        batch_id,
    )


def kept_records(store: Store, batch_id: str) -> pl.DataFrame:
    """Return the records that may be trained on, in the order of record_id.

    Returns:
        Columns record_id, anchor_id, facet, text, request_ids, num_bytes.

    Raises:
        BadInput: The batch has not been validated, or its suite failed.
    """
    if not store.query("select 1 from completions where batch_id = ? and stage = 'validate'", batch_id).height:
        raise BadInput(
            f"reading the kept records of batch {batch_id}: it has no completed validation; only records that "
            f"Great Expectations has judged are used. Run the flow validate with batch_id {batch_id}."
        )
    refused = store.query("select distinct record_id from quarantine where batch_id = ?", batch_id)
    return read_records(store, batch_id).join(refused, on="record_id", how="anti", maintain_order="left")


def count_quarantine(store: Store, batch_id: str) -> dict[str, int]:
    """Return how many records each reason refused; a record with two reasons counts under both."""
    counts = store.query(
        "select reason, count(*) as num_records from quarantine where batch_id = ? group by reason order by reason",
        batch_id,
    )
    return dict(counts.rows())

"""Draws: which anchors of a snapshot a batch is made of, all alike or by what of their documents is missing."""

import math
from collections import Counter
from collections.abc import Mapping

import polars as pl

from gainloop.store.batches import read_aim
from gainloop.store.duck import Store
from gainloop.store.planned import write_planned
from gainloop.store.snapshots import IN_SNAPSHOT, LEFT_OUT, read_snapshot
from schemas.recipe import Recipe
from schemas.rows import document_of, unit_draw


def plan_batch(store: Store, recipe: Recipe) -> int:
    """Insert the anchors of a batch in their order, write them to its folder, and return their number."""
    drawn = draw_for(store, recipe)
    rows = drawn.select(pl.lit(recipe.batch_id).alias("batch_id"), "position", "anchor_id")
    store.insert(batch_anchors=rows)
    write_planned(store, recipe.batch_id)
    return drawn.height


def draw_for(store: Store, recipe: Recipe) -> pl.DataFrame:
    """Return the anchors that a recipe draws: position, anchor_id, num_bytes; see ``draw_anchors``."""
    drawn = recipe.snapshot_id, recipe.seed, recipe.max_anchors, recipe.since
    return draw_anchors(store, *drawn, read_aim(store, recipe.aim_id).weights if recipe.aim_id else None)


def draw_anchors(
    store: Store,
    snapshot_id: str,
    seed: int,
    max_anchors: int | None,
    since: str = "",
    weights: Mapping[str, float] | None = None,
) -> pl.DataFrame:
    """Return the training anchors that a seed chooses, in an order that the seed alone decides.

    A larger ``max_anchors`` only adds anchors at the end.

    Args:
        since: Snapshot whose anchors are left out, or empty.
        weights: Weight of each document, shared by its anchors: a heavier one tends to come earlier, one that is
            missing comes last. Default: all anchors alike.

    Returns:
        Columns position, from 0, anchor_id and num_bytes.

    Raises:
        BadInput: There is no such snapshot.
    """
    name = read_snapshot(store, snapshot_id)["snapshot_id"]
    if weights is not None:
        everything = draw_anchors(store, snapshot_id, seed, None, since)
        return _by_weight(store, everything, weights, seed).head(max_anchors or everything.height)
    return store.query(
        # The hash is content_hash(seed, anchor_id) of schemas/rows.py before it is cut short.
        "select row_number() over (order by sha256('[' || ? || ',\"' || anchor_id || '\"]')) - 1 as position, "
        f"anchor_id, num_bytes from anchors where {IN_SNAPSHOT} and not {LEFT_OUT} and not ({IN_SNAPSHOT}) "
        "order by position limit ?",
        *(str(seed), name, name, since, max_anchors),
    )


def _by_weight(store: Store, drawn: pl.DataFrame, weights: Mapping[str, float], seed: int) -> pl.DataFrame:
    """Return anchors in an order drawn by the weights of their documents.

    Source: Efraimidis & Spirakis 2006: sorted by -log(u) / weight, whose first few are a draw without replacement.
    """
    ids = drawn["anchor_id"].to_list()
    uris = store.query("select anchor_id, uri from anchors where anchor_id in (select unnest(?::varchar[]))", ids)
    document = {anchor_id: document_of(uri) for anchor_id, uri in uris.iter_rows()}
    sizes = Counter(document.values())
    keys = []
    for anchor_id in ids:
        weight = weights.get(document[anchor_id], 0.0) / sizes[document[anchor_id]]
        drawn_at = max(unit_draw(f"{seed}/aimed", anchor_id), 1e-300)
        keys.append(-math.log(drawn_at) / weight if weight > 0 else math.inf)
    ordered = drawn.with_columns(key=pl.Series(keys)).sort("key", "anchor_id").drop("key")
    return ordered.with_columns(position=pl.int_range(pl.len(), dtype=pl.Int64))

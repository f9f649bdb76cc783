"""A batch's anchors in its order, in a file of its folder: a shard reads its piece, and looks for none in the store."""

import logging
import os
from pathlib import Path
from typing import Final
from uuid import uuid4

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from gainloop.store.duck import Store
from gainloop.store.files import disk_errors, exists, write_frame
from gainloop.store.replies import Span

logger = logging.getLogger("gainloop.planned")

ROW_GROUP_ROWS: Final = 8192
"""Anchors that are read at once at least: a shard of 256 reads some megabytes of a corpus of any size."""

_IN_ORDER: Final = """
select position, text, title, uri, licence, revision, anchor_id from batch_anchors join anchors using (anchor_id)
where batch_id = '{batch_id}' order by position
"""


def planned_url(store: Store, batch_id: str) -> str:
    """Return where the anchors of a batch lie."""
    return f"{store.folder}/batches/{batch_id}/anchors.parquet"


def write_planned(store: Store, batch_id: str) -> None:
    """Write the anchors that a batch is made from, unless they are there.

    Where the store is a file of this machine, DuckDB writes them itself: memory does not grow with the batch.
    """
    url, rows = planned_url(store, batch_id), _IN_ORDER.format(batch_id=batch_id.replace("'", "''"))
    if exists(url):
        return
    if "://" in url or not Path(store.path).is_file():
        write_frame(url, store.query(rows))
        return
    new = f"{url}.{uuid4().hex}.partial"
    with disk_errors(f"writing {url}"):
        os.makedirs(os.path.dirname(url), exist_ok=True)
        quoted = new.replace("'", "''")
        try:
            store.query(
                f"copy ({rows}) to '{quoted}' (format parquet, compression zstd, row_group_size {ROW_GROUP_ROWS})"
            )
            os.replace(new, url)
        finally:
            Path(new).unlink(missing_ok=True)


def read_planned(store: Store, batch_id: str, span: Span) -> pl.DataFrame | None:
    """Return the anchors of a span in the batch's order, or None if the file is not there or is damaged.

    Returns:
        Columns position, text, title, uri, licence, revision, anchor_id.
    """
    url = planned_url(store, batch_id)
    if not exists(url):
        return None
    try:
        with fsspec.open(url, "rb") as file:
            part = pq.ParquetFile(file)
            groups = [number for number in range(part.num_row_groups) if _overlaps(part.metadata, number, span)]
            found = pl.DataFrame(part.read_row_groups(groups, use_threads=False))
    except (pa.ArrowException, OSError) as error:
        logger.warning("Cannot read %s (%s): the anchors are looked for in the store.", url, error)
        return None
    return found.filter(pl.col("position").is_between(span.begin, span.end, closed="left"))


def _overlaps(metadata: pq.FileMetaData, number: int, span: Span) -> bool:
    position = metadata.row_group(number).column(0).statistics
    return position is None or bool(position.min < span.end and position.max >= span.begin)

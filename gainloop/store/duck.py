"""The store: rows that are small or queried, in one of several places, and a folder for what is large."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from gainloop.store.duck_file import DuckFile
from gainloop.store.place import Delete, Place, as_frame

if TYPE_CHECKING:
    from schemas.report import Report

_BELOW = "(?:batches|checkpoints|exams|general|scores|snapshots|verify)/"
_BEFORE_FOLDER = re.compile(rf"^(?!{_BELOW}).*/(?={_BELOW})")
"""What a url has before the part below a store's folder: rows of early versions begin with the folder itself."""

_BATCHES = """
select batch_id, (recipe ->> '$.method.kind') as method, snapshot_id, created_at as begun,
    (select count(*) from records where records.batch_id = batches.batch_id) as records,
    (select (summary ->> '$.kept')::bigint from completions
        where completions.batch_id = batches.batch_id and stage = 'validate') as kept,
    (select coalesce(list(distinct stage order by stage), []) from completions
        where completions.batch_id = batches.batch_id) as stages
from batches order by batches.rowid desc
"""


@dataclass(frozen=True)
class Store:
    """Rows in one place, and a folder; the same SQL whatever place it is.

    Attributes:
        path: Path of a DuckDB file, or the url of another place.
        folder: Folder of replies, checkpoints, scores and pages; a local one or an fsspec url.
        lock_seconds: Seconds to wait while another process has the place, or nobody answers there.
        elsewhere: Place of the rows. Default: the file at ``path``.
        profile: Profile that the store was opened by, where a path alone does not open it.
    """

    path: str
    folder: str
    lock_seconds: float = 120
    elsewhere: Place | None = None
    profile: str = ""

    @cached_property
    def place(self) -> Place:
        """The place of the rows."""
        return self.elsewhere or DuckFile(self.path, self.lock_seconds)

    @property
    def opened_by(self) -> str:
        """What ``open_store`` takes to open it."""
        return self.profile or self.path

    def exists(self) -> bool:
        """Tell whether the store is there; asking makes none."""
        return self.place.exists()

    def query(self, sql: str, *parameters: Any) -> pl.DataFrame:
        """Return the rows of a select.

        Raises:
            StoreError: Another process keeps the place past the deadline, or it cannot be reached or read.
        """
        return self.place.query(sql, parameters)

    def insert(self, **tables: pl.DataFrame | list[dict[str, Any]]) -> dict[str, int]:
        """Insert rows into one or more tables in one transaction, leaving out those already there.

        Rows are the same when the table's key columns are (``schemas.tables.KEYS``); of several in
        one call the first stays. So inserting anything twice changes nothing, also when two processes do it at once,
        but for tables that are logs.

        Returns:
            The number of new rows per table.

        Raises:
            StoreError: As for ``query``, or the disk is full; no row of the call is kept then.
            OutOfMemory: Memory ran out; nor is any then.
        """
        return self.place.insert(
            {table: rows if isinstance(rows, pl.DataFrame) else as_frame(table, rows) for table, rows in tables.items()}
        )

    def take_back(self, *deletes: Delete) -> None:
        """Delete rows in one transaction, by statements and their parameters: those of a batch that is reopened."""
        self.place.take_back(deletes)

    def keep(self, url: str) -> str:
        """Return a file's url as rows hold it: from the store's folder on, so that folder and store can be moved."""
        return url.removeprefix(f"{self.folder}/")

    def locate(self, kept: str) -> str:
        """Return the url of a file that a row names, in the folder that the store has now, wherever it was before."""
        below = _BEFORE_FOLDER.sub("", kept)
        return below if below.startswith("/") or "://" in below else f"{self.folder}/{below}"

    def batches(self) -> pl.DataFrame:
        """Return the batches, the one begun last first: batch_id, method, snapshot_id, begun, records, kept, stages."""
        return self.query(_BATCHES)

    def kept(self, batch_id: str = "latest") -> pl.DataFrame:
        """Return the records of a batch that may be trained on.

        Returns:
            Columns record_id, anchor_id, facet, text, request_ids, num_bytes, turns.

        Raises:
            BadInput: There is no such batch, or it is not validated.
        """
        from gainloop.store.batches import kept_records, resolve_batch

        return kept_records(self, resolve_batch(self, batch_id))

    def report(self, batch_id: str = "latest", training_id: str = "latest") -> "Report":
        """Return the report of a batch: of a training of it, or of none where it has none.

        Raises:
            BadInput: There is no such batch or training, or the flow ``report`` has not measured it.
        """
        from gainloop.store.batches import resolve_batch
        from gainloop.store.measurements import load_report, resolve_training

        batch_id = resolve_batch(self, batch_id)
        return load_report(self, batch_id, resolve_training(self, batch_id, training_id))


def now() -> datetime:
    """Return the time in UTC, for the columns that say when."""
    return datetime.now(UTC)

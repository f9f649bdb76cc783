"""The store: one DuckDB file, opened for moments."""

import json
import os
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import duckdb
import polars as pl
import pyarrow as pa

from gainloop.store.lacks import explain
from schemas.errors import GainloopError, StoreError
from schemas.tables import DDL, KEYS, MIGRATIONS, VERSION

if TYPE_CHECKING:
    from schemas.report import Report

_LOCKED = "Could not set lock"

_REMEMBER_LIMIT = "set variable its_limit = current_setting('memory_limit')"
_GIVE_BACK = "set memory_limit = getvariable('its_limit')"
"""When the limit is set, and be it anew, DuckDB's allocator gives back what it keeps: 50 MB after a shard's rows."""

_OF_THE_FILE = (
    *(duckdb.IOException, duckdb.FatalException, duckdb.OutOfMemoryException, duckdb.TransactionException),
    *(duckdb.InternalException, duckdb.SerializationException),
)
"""A commit on a full disk is a TransactionException; conflicts, its other cause, cannot be where all take turns. A
damaged file gives the last two."""

_TURN = threading.Lock()
"""Threads of one process would share its hold of the file, and two of them insert the same row: they take turns."""

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

_ROW_GROUP_ROWS = 2048
"""DuckDB's least. Each insert writes the last row group anew, and its own 122,880 rows would be 150 MB of records;
8,192 take a third more CPU for a shard's rows, and a tenth less room."""


@dataclass(frozen=True)
class Store:
    """A DuckDB file that many processes share by holding it only while they read or write.

    DuckDB lets one process hold a file for writing, and then no other may even read it. So every
    call attaches the file, does its work in one transaction and detaches it; while another process
    has it, a call waits for up to ``lock_seconds``.

    Attributes:
        path: Path of the file.
        folder: Folder of replies, checkpoints, scores and pages; a local one or an fsspec url.
        lock_seconds: Seconds to wait while another process has the file.
    """

    path: str
    folder: str
    lock_seconds: float = 120

    def query(self, sql: str, *parameters: Any) -> pl.DataFrame:
        """Return the rows of a select.

        Raises:
            StoreError: Another process keeps the file past the deadline, or it cannot be opened or read.
        """
        with self._transaction() as connection:
            # sql(..., params=...) builds its result row by row: 5 s for a million rows, and this 0.6 s.
            return pl.DataFrame(connection.execute(sql, parameters).to_arrow_table())

    def insert(self, **tables: pl.DataFrame | list[dict[str, Any]]) -> dict[str, int]:
        """Insert rows into one or more tables in one transaction, leaving out those already there.

        Rows are the same when the table's key columns are (``schemas.tables.KEYS``); of several in
        one call the first stays. So inserting anything twice changes nothing, but for tables that are logs.

        Returns:
            The number of new rows per table.

        Raises:
            StoreError: As for ``query``, or the disk is full; no row of the call is kept then.
            OutOfMemory: Memory ran out; nor is any then.
        """
        added = {}
        with self._transaction(writes=True) as connection:
            for table, rows in tables.items():
                frame = rows if isinstance(rows, pl.DataFrame) else _as_frame(connection, table, rows)
                added[table] = _insert_new(connection, table, frame)
        return added

    def take_back(self, *deletes: tuple[str, list[Any]]) -> None:
        """Delete rows in one transaction, by statements and their parameters: those of a batch that is reopened."""
        with self._transaction(writes=True) as connection:
            for sql, parameters in deletes:
                connection.execute(sql, parameters)

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

    @contextmanager
    def _transaction(self, writes: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        with _TURN, _storage_errors(f"using the store {self.path}"):
            try:
                connection = self._attach()
                connection.begin()
                yield connection
                connection.commit()
                connection.execute("use memory; detach store")
                if writes:
                    connection.execute(_GIVE_BACK)
            except BaseException as error:  # whatever state it is in: the next call makes another
                _leave(_duck(self.path, os.getpid()))
                if "interrupted" in str(error) and isinstance(error, RuntimeError):  # Ctrl-C as DuckDB says it
                    raise KeyboardInterrupt from error
                raise

    def _attach(self) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + self.lock_seconds
        wait = 0.005
        while True:
            try:
                with _storage_errors(f"opening the store {self.path}", passing=_LOCKED):
                    return self._try_attach()
            except duckdb.IOException as error:
                if time.monotonic() > deadline:
                    raise StoreError(
                        f"opening the store {self.path}: another process held it for {self.lock_seconds:g} s "
                        f"({_holder(error)}); one process may hold a DuckDB file at a time. "
                        "Close that process, or raise store.lock_seconds in the profile."
                    ) from error
            # Jitter keeps waiters apart; 0.1 s bounds how long a freed file lies idle.
            time.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311
            wait = min(wait * 2, 0.1)

    def _try_attach(self) -> duckdb.DuckDBPyConnection:
        if not os.path.exists(self.path):
            self._make()
        duck = _duck(self.path, os.getpid())
        try:
            duck.execute(_attaching(self.path))
        except duckdb.BinderException as error:
            raise StoreError(
                f"opening the store {self.path}: this process has it open by a connection of its own; the store is "
                "attached for moments, by itself. Close that connection, or read a copy of the file."
            ) from error
        if (version := _version_of(duck)) != VERSION:
            self._bring_up_to_date(duck, version)
        return duck

    def _make(self) -> None:
        """Make the file of a new store beside its place, and put it there whole: a run may end in the middle of it."""
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        # Of its own each time: DuckDB may keep a file attached in which it was interrupted.
        new = f"{self.path}.{uuid4().hex}.new"
        try:
            with duckdb.connect() as duck:
                duck.execute(f"{_attaching(new)}; begin; {DDL} insert into schema_version values ({VERSION}); commit")
                duck.execute("use memory; detach store")
            try:
                os.link(new, self.path)
            except FileExistsError:  # of several that make it at once, one does
                pass
            except OSError:  # a file system without links
                os.rename(new, self.path)
        finally:
            for left in (new, f"{new}.wal"):
                Path(left).unlink(missing_ok=True)

    def _bring_up_to_date(self, duck: duckdb.DuckDBPyConnection, version: int) -> None:
        """Make the tables of a new file, or what those of an earlier version lack, as one transaction."""
        if version > VERSION:
            raise StoreError(
                f"opening the store {self.path}: its tables are of version {version}; this gainloop knows versions up "
                f"to {VERSION}. Use the gainloop that wrote it last, or a later one."
            )
        steps = [MIGRATIONS[older] for older in range(version, VERSION) if version]
        duck.execute(f"begin; {DDL} {' '.join(steps)} insert into schema_version values ({VERSION}); commit;")


def _attaching(path: str) -> str:
    quoted = path.replace("'", "''")
    return f"attach '{quoted}' as store (type duckdb, row_group_size {_ROW_GROUP_ROWS}); use store"


def _version_of(duck: duckdb.DuckDBPyConnection) -> int:
    """Return the version of the tables of the store that is attached: 0 of a new file."""
    try:
        return int(duck.execute("select max(version) from schema_version").fetchall()[0][0])
    except duckdb.CatalogException:  # version 1 did not say so
        has_any = "select 1 from duckdb_tables() where database_name = 'store' and table_name = 'completions'"
        return 1 if duck.execute(has_any).fetchone() else 0


@lru_cache(maxsize=1)
def _duck(path: str, _process_id: int) -> duckdb.DuckDBPyConnection:
    """Return the process's DuckDB, to which its store is attached: making one takes 15 ms of CPU, attaching 2."""
    duck = duckdb.connect(config={"temp_directory": f"{path}.tmp"})
    duck.execute(_REMEMBER_LIMIT)
    return duck


def _leave(duck: duckdb.DuckDBPyConnection) -> None:
    """Let go of the file and of this DuckDB: closed alone, one that was interrupted would hold the file for ever."""
    _duck.cache_clear()
    for left in ("rollback", "use memory", "detach store"):
        with suppress(duckdb.Error, RuntimeError):
            duck.execute(left)
    duck.close()


def now() -> datetime:
    """Return the time in UTC, for the columns that say when."""
    return datetime.now(UTC)


def _as_frame(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame with the table's columns, so that no rows still has the right shape; a dict is JSON."""
    shape = connection.sql(f"select * from {table} limit 0").to_arrow_table().schema
    columns = (
        [json.dumps(row[name]) if isinstance(row[name], dict) else row[name] for row in rows] for name in shape.names
    )
    # By Arrow, column by column: from rows, or from lists within rows, polars takes twenty times as long.
    arrays = [pa.array(column, kind) for column, kind in zip(columns, shape.types, strict=True)]
    return pl.DataFrame(pa.table(arrays, schema=shape))


def _insert_new(connection: duckdb.DuckDBPyConnection, table: str, frame: pl.DataFrame) -> int:
    keys = KEYS[table]
    new_rows = frame.unique(subset=list(keys), keep="first", maintain_order=True) if keys else frame
    connection.register("new_rows", new_rows)
    unknown = f"anti join {table} using ({', '.join(keys)})" if keys else ""
    inserted = connection.execute(f"insert into {table} by name select * from new_rows {unknown}")
    (count,) = inserted.fetchone() or (0,)
    connection.unregister("new_rows")
    return int(count)


@contextmanager
def _storage_errors(attempt: str, passing: str | None = None) -> Iterator[None]:
    """Turn DuckDB's errors of disk and memory into the project's; let the one that is waited for pass."""
    try:
        yield
    except Exception as error:
        if isinstance(error, GainloopError) or (passing and passing in str(error)):
            raise
        if lack := explain(attempt, error):
            raise lack from error
        if not isinstance(error, (*_OF_THE_FILE, OSError)):
            raise
        reason = str(error).strip().splitlines()[0].rstrip("!.")
        raise StoreError(
            f"{attempt}: {reason}; it must be a whole DuckDB file, and the folder must be writable. Put a sound "
            "copy of it back or set store.url to another place, then run the same again: what was complete is kept."
        ) from error


def _holder(error: Exception) -> str:
    """Return the process that holds the file, as far as DuckDB names it.

    >>> _holder(Exception('Could not set lock on file "x": Conflicting lock is held in /bin/python (PID 7). See'))
    'held in /bin/python (PID 7)'
    """
    _, found, tail = str(error).partition("Conflicting lock is ")
    return tail.split(". See")[0] if found else "holder unknown"

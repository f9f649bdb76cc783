"""Places that the rows of a store can lie in: what each does, and what those that DuckDB attaches have in common."""

import json
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import duckdb
import polars as pl
import pyarrow as pa

from gainloop.store.lacks import explain
from schemas.errors import BadInput, GainloopError, StoreError
from schemas.tables import DDL, KEYS, MIGRATIONS, VERSION

Duck = duckdb.DuckDBPyConnection
Delete = tuple[str, list[Any]]
"""A statement that deletes, and its parameters."""

Result = TypeVar("Result")

TURN: Final = threading.Lock()
"""Threads of one process share its connection, and two of them would insert the same row: they take turns."""

_LONGEST_WAIT_SECONDS: Final = 0.1
"""How long what became free lies idle, at most."""

_RAISED_BY_SIGNALS: Final = ("KeyboardInterrupt", "SystemExit", "TerminationSignal")
"""What handlers of signals raise: Python's own, this project's and Prefect's."""

_OF_THE_PLACE: Final = (
    *(duckdb.IOException, duckdb.FatalException, duckdb.OutOfMemoryException, duckdb.TransactionException),
    *(duckdb.InternalException, duckdb.SerializationException),
)
"""A commit on a full disk is a TransactionException. A damaged file gives the last two."""


class Place(Protocol):
    """Rows somewhere that SQL reaches: tables by their names, rows of each in the order in which they came."""

    def query(self, sql: str, parameters: Sequence[Any]) -> pl.DataFrame:
        """Return the rows of a select."""

    def insert(self, frames: dict[str, pl.DataFrame]) -> dict[str, int]:
        """Insert the rows that are not there, in one transaction; return how many were new, by table."""

    def take_back(self, deletes: Sequence[Delete]) -> None:
        """Run some deletes in one transaction."""

    def exists(self) -> bool:
        """Tell whether a store is there; asking makes none."""


class Attached(ABC):
    """A place that DuckDB attaches in this process, as the database ``store``."""

    @abstractmethod
    def run(self, work: Callable[[Duck], Result], tables: Sequence[str] = ()) -> Result:
        """Return what some work gives, done as one transaction.

        Args:
            tables: Tables that it writes; none if it only reads.
        """

    def query(self, sql: str, parameters: Sequence[Any]) -> pl.DataFrame:
        # sql(..., params=...) builds its result row by row: 5 s for a million rows, and this 0.6 s.
        return self.run(lambda duck: pl.DataFrame(duck.execute(sql, parameters).to_arrow_table()))

    def insert(self, frames: dict[str, pl.DataFrame]) -> dict[str, int]:
        def insert_all(duck: Duck) -> dict[str, int]:
            return {table: _insert_new(duck, table, frame) for table, frame in frames.items()}

        return self.run(insert_all, list(frames))

    def take_back(self, deletes: Sequence[Delete]) -> None:
        def delete_all(duck: Duck) -> None:
            for sql, parameters in deletes:
                duck.execute(sql, parameters)

        self.run(delete_all, [_table_of(sql) for sql, _ in deletes])


def as_frame(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame with the table's columns, so that no rows still has the right shape; a dict is JSON."""
    shape = _shapes()[table]
    columns = (
        [json.dumps(row[name]) if isinstance(row[name], dict) else row[name] for row in rows] for name in shape.names
    )
    # By Arrow, column by column: from rows, or from lists within rows, polars takes twenty times as long.
    arrays = [pa.array(column, kind) for column, kind in zip(columns, shape.types, strict=True)]
    return pl.DataFrame(pa.table(arrays, schema=shape))


def distinct(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the first row of each key, in their order and with their number ``new_row``; all rows of a log."""
    keys = KEYS[table]
    first = frame.unique(subset=list(keys), keep="first", maintain_order=True) if keys else frame
    return first.with_row_index("new_row")


def not_there(table: str) -> str:
    """Return the SQL that leaves out rows whose keys a table has, if it has keys, and has the others in their order."""
    unknown = f"anti join {table} using ({', '.join(KEYS[table])})" if KEYS[table] else ""
    return f"{unknown} order by new_row"  # a join may turn round, and give what it has built from in any order


@lru_cache
def _shapes() -> dict[str, pa.Schema]:
    with signals_heard(), duckdb.connect() as duck:
        duck.execute(DDL)
        return {table: duck.sql(f"from {table} limit 0").to_arrow_table().schema for table in KEYS}


@lru_cache
def column_types() -> dict[str, dict[str, str]]:
    """Return the SQL types of the columns, by table and name."""
    with signals_heard(), duckdb.connect() as duck:
        duck.execute(DDL)
        rows = duck.execute("select table_name, column_name, data_type from duckdb_columns() where not internal")
        found: dict[str, dict[str, str]] = {table: {} for table in KEYS}
        for table, column, kind in rows.fetchall():
            found[table][column] = kind
        return found


def _insert_new(duck: Duck, table: str, frame: pl.DataFrame) -> int:
    duck.register("new_rows", distinct(table, frame))
    inserted = duck.execute(f"insert into {table} by name select * exclude (new_row) from new_rows {not_there(table)}")
    (count,) = inserted.fetchone() or (0,)
    duck.unregister("new_rows")
    return int(count)


def _table_of(sql: str) -> str:
    """Return the table that a statement writes.

    >>> _table_of("delete from drops where batch_id = ?"), _table_of("update records set text = ''")
    ('drops', 'records')
    """
    words = sql.split()
    return words[2] if words[0] == "delete" else words[1]


def version_of(duck: Duck) -> int:
    """Return the version of the tables of the store that is attached: 0 of a new one."""
    try:
        return int(duck.execute("select max(version) from schema_version").fetchall()[0][0])
    except duckdb.CatalogException:  # version 1 did not say so
        has_any = "select 1 from duckdb_tables() where database_name = 'store' and table_name = 'completions'"
        return 1 if duck.execute(has_any).fetchone() else 0


def bring_up_to_date(duck: Duck, path: str) -> None:
    """Make the tables of a new store, or what those of an earlier version lack, as one transaction.

    Raises:
        StoreError: They are of a later version.
    """
    version = version_of(duck)
    if version != VERSION:
        require_known_version(version, path)
        steps = [MIGRATIONS[older] for older in range(version, VERSION) if version]
        duck.execute(f"begin; {DDL} {' '.join(steps)} insert into schema_version values ({VERSION}); commit;")


def require_known_version(version: int, path: str) -> None:
    """Refuse tables of a later version.

    Raises:
        StoreError: They are.
    """
    if version > VERSION:
        raise StoreError(
            f"opening the store {path}: its tables are of version {version}; this gainloop knows versions up "
            f"to {VERSION}. Use the gainloop that wrote it last, or a later one."
        )


def patiently(
    work: Callable[[], Result],
    seconds: float,
    may_pass: Callable[[Exception], bool],
    given_up: Callable[[Exception], Exception],
) -> Result:
    """Return what some work gives, done again while what hinders it may pass.

    Args:
        may_pass: Tells whether an error may pass.
        given_up: Error that is raised once the seconds are over, of the last that was met.
    """
    deadline = time.monotonic() + seconds
    wait = 0.005
    while True:
        try:
            return work()
        except Exception as error:
            if not may_pass(error):
                raise
            if time.monotonic() > deadline:
                raise given_up(error) from error
        time.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - keeps waiters apart
        wait = min(wait * 2, _LONGEST_WAIT_SECONDS)


@contextmanager
def storage_errors(attempt: str, allowed: str, may_pass: Callable[[Exception], bool] | None = None) -> Iterator[None]:
    """Turn DuckDB's errors of disk and memory into the project's; let those that are waited for pass.

    Args:
        allowed: What must hold and what to do next, as the message ends.

    Raises:
        KeyboardInterrupt: As ``signals_heard``.
    """
    try:
        with signals_heard():
            yield
    except Exception as error:
        if isinstance(error, GainloopError) or (may_pass and may_pass(error)):
            raise
        if lack := explain(attempt, error):
            raise lack from error
        if not isinstance(error, (*_OF_THE_PLACE, OSError)) and not type(error).__module__.startswith("psycopg"):
            raise
        raise StoreError(f"{attempt}: {first_line(error)}; {allowed}") from error


@contextmanager
def signals_heard() -> Iterator[None]:
    """Turn the errors by which DuckDB says that a signal came into what a Ctrl-C is in Python.

    A query of DuckDB's lets the handlers of signals run and then raises an error of its own, or one that quotes what
    they raised.

    Raises:
        KeyboardInterrupt: A Ctrl-C, SIGTERM or timer came.
    """
    try:
        yield
    except (RuntimeError, duckdb.Error) as error:
        is_own = isinstance(error, RuntimeError) and "interrupted" in str(error)
        if not is_own and not str(error).startswith(_RAISED_BY_SIGNALS):
            raise
        raise KeyboardInterrupt from error


def first_line(error: BaseException) -> str:
    """Return what an error says, without the statement that it quotes."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip("!. ")


def load_extensions(duck: Duck, names: Sequence[str], attempt: str) -> None:
    """Load DuckDB's extensions from their packages; none is looked for on the network.

    Raises:
        BadInput: A package is not installed, or is of another DuckDB.
    """
    for name in names:
        spec = find_spec(f"duckdb_extension_{name}")
        folders = list(spec.submodule_search_locations or ()) if spec else []
        files = [Path(one, "extensions", f"v{duckdb.__version__}", f"{name}.duckdb_extension") for one in folders]
        if not any(file.is_file() for file in files):
            raise BadInput(
                f"{attempt}: DuckDB's extension {name} for version {duckdb.__version__} is not installed; the package "
                f"duckdb-extension-{name.replace('_', '-')} of that version is needed. Install it with "
                "`pip install -e '.[cluster]'`, or set store.url to a path."
            )
        duck.execute(f"load {quoted(str(files[0]))}")


def quoted(text: str) -> str:
    """Return a text as a literal of SQL.

    >>> quoted("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def close_quietly(duck: Duck) -> None:
    """Let go of what a DuckDB has attached, whatever state it is in, and of the DuckDB."""
    for left in ("rollback", "use memory", "detach store"):
        with suppress(duckdb.Error, RuntimeError):
            duck.execute(left)
    duck.close()

"""Copies of a store: the rows of one place in another, and if asked the files of its folder."""

import logging
import posixpath
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import fsspec
import polars as pl

from gainloop.store.duck import Store
from gainloop.store.files import whole_file
from schemas.errors import BadInput
from schemas.tables import KEYS

logger = logging.getLogger("gainloop.copying")

_MARKS: Final = ("snapshots", "refreshes", "completions")
"""Tables whose rows say that others are complete: they come last."""

COPIED: Final = (*(table for table in KEYS if table not in (*_MARKS, "schema_version")), *_MARKS)
"""Tables in the order in which they are copied. The version of its own tables a store knows itself."""

_FIRST_ROWS: Final = 100
_BYTES_AT_ONCE: Final = 8_000_000

_LEFT: Final = (".lock", ".partial", ".torn", ".duckdb", ".duckdb.wal", ".duckdb.journal", ".new")
"""Ends of the names of files that are of one moment or of one machine, and of stores."""


@dataclass(frozen=True, slots=True)
class Copied:
    """Rows of one table: those that there were to copy, and those that were not there yet."""

    table: str
    num_rows: int
    num_new: int


def copy_rows(origin: Store, target: Store, on_table: Callable[[Copied], None] = lambda _: None) -> list[Copied]:
    """Copy the rows of a store, table by table; those that are there stay.

    Copied is what there was when it began: so a mark of completeness never comes without its rows. Done again, after a
    crash too, it adds what is missing.

    Raises:
        BadInput: Both are the same, or the origin is not there.
    """
    if origin.path == target.path:
        raise BadInput(
            f"copying the store {origin.path} to {target.path}: they are one and the same; two are needed. "
            "Set origin or target to another."
        )
    if not origin.exists():
        raise BadInput(
            f"copying the store {origin.path}: there is none; one that a run has made is needed. "
            "Set origin to its profile or its file."
        )
    ends = origin.query("select " + ", ".join(f"(select max(rowid) from {table}) as {table}" for table in COPIED))
    copied = []
    for table in COPIED:
        end = ends[table].item()
        copied.append(_copy_table(origin, target, table, -1 if end is None else int(end)))
        on_table(copied[-1])
    return copied


def _copy_table(origin: Store, target: Store, table: str, end: int) -> Copied:
    num_rows = num_new = 0
    for rows in _chunks(origin, table, end):
        num_rows += rows.height
        new = rows if KEYS[table] else _not_logged(target, table, rows)
        num_new += target.insert(**{table: new})[table]
    return Copied(table, num_rows, num_new)


def _chunks(origin: Store, table: str, end: int) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table up to a row in their order, some megabytes at a time."""
    begin, num_rows = 0, _FIRST_ROWS
    while begin <= end:
        until = min(begin + num_rows - 1, end)
        rows = origin.query(f"select * from {table} where rowid between ? and ? order by rowid", begin, until)
        if rows.height:
            yield rows
        begin = until + 1
        size = rows.estimated_size()
        num_rows = (
            num_rows * 2 if size < _BYTES_AT_ONCE // 2 else max(1, num_rows // 2) if size > _BYTES_AT_ONCE else num_rows
        )


def _not_logged(target: Store, table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a log that another does not have, all columns compared."""
    there = target.query(f"select * from {table}").cast(rows.schema)
    return rows.join(there, on=rows.columns, how="anti", nulls_equal=True, maintain_order="left")


def copy_files(origin: str, target: str) -> tuple[int, int]:
    """Copy the files of one folder that another lacks, each whole; return how many there were, and were copied."""
    source, root = fsspec.url_to_fs(origin)
    goal, goal_root = fsspec.url_to_fs(target)
    names = [name for name in sorted(source.find(root)) if not name.endswith(_LEFT)]
    num_copied = 0
    for name in names:
        below = posixpath.relpath(name, root)
        there = posixpath.join(goal_root, below)
        if goal.exists(there) and goal.size(there) == source.size(name):
            continue
        with source.open(name, "rb") as file, whole_file(f"{target.rstrip('/')}/{below}") as copy:
            shutil.copyfileobj(file, copy)
        num_copied += 1
    return len(names), num_copied

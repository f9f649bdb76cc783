"""A store in one DuckDB file, which processes of a machine share by holding it for moments."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final
from uuid import uuid4

import duckdb

from gainloop.store.journal import checkpoint, journal_of, log_of, roll_back, warn_of_log
from gainloop.store.place import (
    TURN,
    Attached,
    Duck,
    Result,
    bring_up_to_date,
    close_quietly,
    patiently,
    quoted,
    storage_errors,
)
from schemas.errors import StoreError
from schemas.tables import DDL, VERSION

_REMEMBER_LIMIT: Final = "set variable its_limit = current_setting('memory_limit')"
_GIVE_BACK: Final = "set memory_limit = getvariable('its_limit')"
"""When the limit is set, and be it anew, DuckDB's allocator gives back what it keeps: 50 MB after a shard's rows."""

NEVER_BY_ITSELF: Final = "pragma disable_checkpoint_on_shutdown"
"""DuckDB checkpoints no file when it detaches it: that is done under a journal."""

_DETACH: Final = "use memory; detach store"

_ROW_GROUP_ROWS: Final = 2048
"""DuckDB's least. Each insert writes the last row group anew, and its own 122,880 rows would be 150 MB of records;
8,192 take a third more CPU for a shard's rows, and a tenth less room."""

_ALLOWED: Final = (
    "it must be a whole DuckDB file, and the folder must be writable. Put a sound copy of it back or set store.url to "
    "another place, then run the same again: what was complete is kept."
)


@dataclass(frozen=True)
class DuckFile(Attached):
    """A DuckDB file that many processes share by holding it only while they read or write.

    DuckDB lets one process hold a file for writing, and then no other may even read it. So every
    call attaches the file, does its work in one transaction and detaches it; while another process
    has it, a call waits for up to ``lock_seconds``.
    """

    path: str
    lock_seconds: float = 120

    def exists(self) -> bool:
        return Path(self.path).is_file()

    def run(self, work: Callable[[Duck], Result], tables: Sequence[str] = ()) -> Result:
        """Return what some work gives, done as one transaction.

        Raises:
            StoreError: Another process keeps the file past the deadline, or it cannot be opened or written.
        """
        with self.attached() as duck:
            duck.begin()
            result = work(duck)
            duck.commit()
        return result

    @contextmanager
    def attached(self) -> Iterator[Duck]:
        """Give a DuckDB that has the file, which no other process may open in the block."""
        with TURN, storage_errors(f"using the store {self.path}", _ALLOWED):
            try:
                duck = self.attach(lambda: _duck(self.path, os.getpid()))
                yield duck
                self._detach(duck)
            except BaseException:  # whatever state it is in: the next call makes another
                _leave(_duck(self.path, os.getpid()))
                raise

    def attach(self, open_duck: Callable[[], Duck]) -> Duck:
        """Return a DuckDB that has the file; waits while another process has it.

        Args:
            open_duck: Gives one, for each try, that does not checkpoint when it detaches: ``NEVER_BY_ITSELF``.

        Raises:
            StoreError: The other process keeps it past the deadline.
        """
        return patiently(lambda: self._try_attach(open_duck), self.lock_seconds, _may_pass, self._still_locked)

    def _still_locked(self, error: Exception) -> StoreError:
        return StoreError(
            f"opening the store {self.path}: another process held it for {self.lock_seconds:g} s "
            f"({_holder(error)}); one process may hold a DuckDB file at a time. "
            "Close that process, or raise store.lock_seconds in the profile."
        )

    def _try_attach(self, open_duck: Callable[[], Duck]) -> Duck:
        with storage_errors(f"opening the store {self.path}", _ALLOWED, _may_pass):
            if not self.exists():
                self._make()
            duck = open_duck()
            try:
                self._attach_whole(duck)
            except _CutOffError:
                roll_back(self.path)
                raise
            bring_up_to_date(duck, self.path)
            return duck

    def _attach_whole(self, duck: Duck) -> None:
        """Attach the file, unless the last process that had it ended in the middle of a checkpoint."""
        try:
            duck.execute(attaching(self.path))
        except duckdb.BinderException as error:
            raise StoreError(
                f"opening the store {self.path}: this process has it open by a connection of its own; the store is "
                "attached for moments, by itself. Close that connection, or read a copy of the file."
            ) from error
        except duckdb.Error as error:
            if _may_pass(error) or not journal_of(self.path).exists():
                raise
            raise _CutOffError(self.path) from error
        if journal_of(self.path).exists():
            duck.execute(_DETACH)
            raise _CutOffError(self.path)

    def _detach(self, duck: Duck) -> None:
        with open(self.path, "rb", buffering=0) as file:
            try:
                if not log_of(self.path).exists():
                    duck.execute(_DETACH)
                    return
                checkpoint(duck, self.path, file)
                duck.execute(f"{_DETACH}; {_GIVE_BACK}")
            except BaseException as error:
                _leave(duck)
                if not isinstance(error, (OSError, duckdb.Error)):
                    raise
                warn_of_log(self.path, error)

    def _make(self) -> None:
        """Make the file of a new store beside its place, and put it there whole: a run may end in the middle of it."""
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        # Of its own each time: DuckDB may keep a file attached in which it was interrupted.
        new = f"{self.path}.{uuid4().hex}.new"
        try:
            with duckdb.connect() as duck:
                duck.execute(f"{attaching(new)}; begin; {DDL} insert into schema_version values ({VERSION}); commit")
                duck.execute(_DETACH)
            try:
                os.link(new, self.path)
            except FileExistsError:  # of several that make it at once, one does
                pass
            except OSError:  # a file system without links
                os.rename(new, self.path)
        finally:
            for left in (new, f"{new}.wal"):
                Path(left).unlink(missing_ok=True)


def attaching(path: str) -> str:
    """Return the SQL that attaches a file as ``store``."""
    return f"attach {quoted(path)} as store (type duckdb, row_group_size {_ROW_GROUP_ROWS}); use store"


class _CutOffError(Exception):
    """The file is to be rolled back first."""


def _may_pass(error: Exception) -> bool:
    return isinstance(error, _CutOffError) or "Could not set lock" in str(error)


@lru_cache(maxsize=1)
def _duck(path: str, _process_id: int) -> Duck:
    """Return the process's DuckDB, to which its store is attached: making one takes 15 ms of CPU, attaching 2."""
    duck = duckdb.connect(config={"temp_directory": f"{path}.tmp"})
    duck.execute(f"{_REMEMBER_LIMIT}; set checkpoint_threshold = '1TB'; {NEVER_BY_ITSELF}")
    return duck


def _leave(duck: Duck) -> None:
    """Let go of the file and of this DuckDB: closed alone, one that was interrupted would hold the file for ever."""
    _duck.cache_clear()
    close_quietly(duck)


def _holder(error: Exception) -> str:
    """Return the process that holds the file, as far as DuckDB names it.

    >>> _holder(Exception('Could not set lock on file "x": Conflicting lock is held in /bin/python (PID 7). See'))
    'held in /bin/python (PID 7)'
    """
    _, found, tail = str(error).partition("Conflicting lock is ")
    return tail.split(". See")[0] if found else "holder unknown"

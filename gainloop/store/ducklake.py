"""A store in a DuckLake: Parquet files in a folder that many machines have, and their catalogue in Postgres.

A DuckLake has no keys, and inserts of two processes do not conflict: "insert what is not there" would leave rows twice.
So whoever writes a table holds a lock of Postgres on it, from before the snapshot it reads to after its commit.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import duckdb

from gainloop.store.place import (
    TURN,
    Attached,
    Duck,
    Result,
    bring_up_to_date,
    close_quietly,
    first_line,
    load_extensions,
    patiently,
    quoted,
    require_known_version,
    storage_errors,
    version_of,
)
from schemas.errors import BadInput, GainloopError, StoreError
from schemas.masking import keep_secret
from schemas.profile import DUCKLAKE
from schemas.tables import KEYS

if TYPE_CHECKING:
    import psycopg

_LOCKS: Final = 0x6A11
"""First half of the names of Postgres' advisory locks that are this project's; the second is the table's hash."""

_SCHEMA: Final = "schema_version"
"""Table whose lock is held while tables are made or changed."""

_SETTINGS: Final = (
    # Commits of others to other tables are no conflict, and DuckLake tries again; its ten times are too few for 16.
    "set ducklake_max_retry_count = 100",
    "set autoinstall_known_extensions = false",
)

_AWAY: Final = (
    *("server closed the connection", "connection to server", "no connection to the server", "could not connect"),
    *("unable to connect", "terminating connection", "is starting up", "is shutting down", "recovery mode"),
    *("connection has been closed", "connection is closed", "connection is lost", "consuming input failed"),
    *("too many clients", "reserved for", "sending query failed", "lost synchronization"),
    "current transaction is aborted",  # all that DuckDB says where its session of the catalogue is gone
)
"""Words of libpq, psycopg and DuckDB for a server that is away and may come back, in lower case."""

_FOR_GOOD: Final = ("authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry")
"""Words of a server that is there and does not let this one in."""

_CONFLICT: Final = ("maximum retry count", "transaction conflict", "conflict on", "could not serialize")

_ALLOWED: Final = (
    "Postgres must answer, and the folder of the Parquet files must be there and writable. Mend that, then run the "
    "same again: what was complete is kept."
)


@dataclass(frozen=True)
class Lake(Attached):
    """A DuckLake, whose connections are kept: attaching takes a third of a second and more.

    Attributes:
        url: ``ducklake:postgres:`` and libpq's words for the database, without a password.
        data_path: Folder of the Parquet files.
        password_variable: Environment variable that holds Postgres' password; unset where none is asked for.
        lock_seconds: Seconds to wait while others write the same table, or Postgres is away.
    """

    url: str
    data_path: str
    password_variable: str = "PGPASSWORD"  # noqa: S105 - a name
    lock_seconds: float = 120

    def exists(self) -> bool:
        def ask() -> bool:
            with closing(self._session()) as session:
                return session.execute("select to_regclass('ducklake_metadata') is not null").fetchone() == (True,)

        return patiently(ask, self.lock_seconds, _is_away, self._still_away)

    def run(self, work: Callable[[Duck], Result], tables: Sequence[str] = ()) -> Result:
        """Return what some work gives, done as one transaction.

        Raises:
            StoreError: Postgres or the folder cannot be reached or written, or others write past the deadline.
        """
        may_repeat = all(KEYS[table] for table in tables)  # a log whose commit was cut off may have the rows already

        def may_pass(error: Exception) -> bool:
            return _is_conflict(error) or (_is_away(error) and (may_repeat or isinstance(error, _NotBegun)))

        with TURN, storage_errors(f"using the store {self.url}", _ALLOWED):
            return patiently(lambda: self._run_once(work, tables), self.lock_seconds, may_pass, self._still_away)

    def tend(self, tables: Sequence[str], work: Callable[[Duck], object]) -> None:
        """Do some upkeep that is no transaction of ours while nobody else writes some tables.

        Raises:
            StoreError: As for ``run``.
        """
        with TURN, storage_errors(f"maintaining the store {self.url}", _ALLOWED):
            try:
                kept = patiently(self._kept, self.lock_seconds, _is_away, self._still_away)
                with kept.turn(tables, self):
                    work(kept.duck)
            except BaseException:
                self.leave()
                raise

    def _run_once(self, work: Callable[[Duck], Result], tables: Sequence[str]) -> Result:
        has_begun = False
        try:
            kept = self._kept()
            with kept.turn(tables, self):
                kept.duck.begin()
                if tables:
                    require_known_version(version_of(kept.duck), self.url)
                has_begun = True
                result = work(kept.duck)
                if tables:
                    kept.require_turn()
                kept.duck.commit()
            return result
        except BaseException as error:  # whatever state it is in: the next call makes another
            self.leave()
            if not has_begun and _is_away(error) and not isinstance(error, GainloopError):
                raise _NotBegun(first_line(error)) from error
            raise

    def _kept(self) -> "_Kept":
        """Return this process's connections; another's would be closed under its feet, so they are left alone."""
        place = (self, os.getpid())
        if place not in _KEPT:
            _KEPT[place] = self._connect()
        return _KEPT[place]

    def _connect(self) -> "_Kept":
        kept = _Kept(self._session(), duckdb.connect(config={"temp_directory": tempfile.gettempdir()}))
        try:
            load_extensions(kept.duck, ("postgres_scanner", "ducklake"), f"opening the store {self.url}")
            for setting in _SETTINGS:
                kept.duck.execute(setting)
            if password := self._password():
                kept.duck.execute(f"create secret (type postgres, password {quoted(password)})")
            with kept.turn((_SCHEMA,), self):
                self._attach(kept.duck)
                bring_up_to_date(kept.duck, self.url)
        except BaseException:
            kept.close()
            raise
        return kept

    def _attach(self, duck: Duck) -> None:
        try:
            duck.execute(f"attach {quoted(self.url)} as store (data_path {quoted(self.data_path)}); use store")
        except duckdb.Error as error:
            if "DATA_PATH" not in str(error):
                raise
            raise BadInput(
                f"opening the store {self.url}: {first_line(error)}; the folder that its rows were written to is "
                f"needed. Set store.data_path in the profile to it, instead of {self.data_path}."
            ) from error

    def _session(self) -> "psycopg.Connection[tuple[object, ...]]":
        """Return a connection of its own to Postgres, for locks. A machine that is gone loses them in a minute."""
        try:
            import psycopg
        except ImportError as error:
            raise BadInput(
                f"opening the store {self.url}: {error}; the package psycopg is needed for a DuckLake. Install it with "
                "`pip install -e '.[cluster]'`, or set store.url to a path."
            ) from error
        alive = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
        options = f"{alive} -c lock_timeout={round(1000 * self.lock_seconds)}"
        words, password = self.url.removeprefix(DUCKLAKE), self._password() or None
        try:
            return psycopg.connect(words, password=password, autocommit=True, options=options, connect_timeout=10)
        except psycopg.Error as error:
            if _is_away(error):
                raise _NotBegun(first_line(error)) from error
            raise BadInput(
                f"opening the store {self.url}: {first_line(error)}; behind {DUCKLAKE} stand libpq's words for a "
                "database that is there, such as dbname=gainloop host=db user=gainloop, and the environment variable "
                f"{self.password_variable} holds its password. Correct store.url, or set that variable."
            ) from error

    def _password(self) -> str:
        password = os.environ.get(self.password_variable, "")
        keep_secret(password)
        return password

    def leave(self) -> None:
        """Close the connections that this process keeps, if it has any."""
        kept = _KEPT.pop((self, os.getpid()), None)
        if kept:
            kept.close()

    def _still_away(self, error: Exception) -> StoreError:
        return StoreError(
            f"using the store {self.url}: {first_line(error)}, for {self.lock_seconds:g} s; {_ALLOWED} Or raise "
            "store.lock_seconds in the profile."
        )


@dataclass(frozen=True)
class _Kept:
    """Connections that a process keeps to one lake.

    Attributes:
        session: Session of Postgres that holds locks.
        duck: DuckDB that has the lake attached.
    """

    session: "psycopg.Connection[tuple[object, ...]]"
    duck: Duck

    @contextmanager
    def turn(self, tables: Sequence[str], lake: Lake) -> Iterator[None]:
        """Hold the locks of some tables for the block."""
        if not tables:
            yield
            return
        for table in sorted(set(tables)):  # in one order, so that no two wait for each other
            self._take(table, lake)
        self._await_commits()
        yield
        self.session.execute("select pg_advisory_unlock_all()")

    def _await_commits(self) -> None:
        """Wait for commits under way: who had a lock before may be dead, and his commit not yet done."""
        import psycopg

        try:
            self.session.execute("begin; lock table ducklake_snapshot in share mode; commit")
        except psycopg.errors.UndefinedTable:  # nobody has attached the lake yet
            self.session.execute("rollback")

    def _take(self, table: str, lake: Lake) -> None:
        import psycopg

        try:
            self.session.execute("select pg_advisory_lock(%s, hashtext(%s))", (_LOCKS, table))
        except psycopg.errors.LockNotAvailable as error:
            raise StoreError(
                f"writing {table} in the store {lake.url}: others held its lock for {lake.lock_seconds:g} s "
                f"({self._holder(table)}); one process may write a table at a time. End that process, or raise "
                "store.lock_seconds in the profile."
            ) from error

    def _holder(self, table: str) -> str:
        asked = (
            "select coalesce(host(client_addr), 'this machine'), coalesce(client_port, 0), pid from pg_locks join "
            "pg_stat_activity using (pid) where locktype = 'advisory' and granted and classid = %s and "
            "objid = (hashtext(%s)::bigint & 4294967295)::oid"
        )
        found = self.session.execute(asked, (_LOCKS, table)).fetchone()
        return "a client at {}, port {}, process {} of Postgres".format(*found) if found else "holder unknown"

    def require_turn(self) -> None:
        """Raise if the session is gone, and the locks with it: then another may be writing."""
        self.session.execute("select 1")

    def close(self) -> None:
        """Close both, the DuckDB first: what it has under way ends while the locks are held."""
        close_quietly(self.duck)
        self.session.close()


class _NotBegun(Exception):
    """Nobody answers, and nothing was sent."""


_KEPT: Final[dict[tuple[Lake, int], _Kept]] = {}


def _is_away(error: BaseException) -> bool:
    said = str(error).lower()
    return isinstance(error, _NotBegun) or (
        any(words in said for words in _AWAY) and not any(words in said for words in _FOR_GOOD)
    )


def _is_conflict(error: Exception) -> bool:
    said = str(error).lower()
    return isinstance(error, duckdb.Error) and any(words in said for words in _CONFLICT)

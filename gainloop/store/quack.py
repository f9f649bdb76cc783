"""A store in a DuckDB file that one machine serves to others by DuckDB's protocol Quack, on a trusted network.

What is attached by Quack 1.5 rolls nothing back, so that a transaction is one script that the server runs. A script
that writes changes the one row of the table ``turn`` first: of two at once one fails then, before it has read anything,
and is sent again. So "insert what is not there" holds without keys in the tables.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import duckdb
import polars as pl

from gainloop.store.lacks import explain
from gainloop.store.place import (
    TURN,
    Delete,
    Duck,
    close_quietly,
    column_types,
    distinct,
    first_line,
    load_extensions,
    not_there,
    patiently,
    quoted,
    require_known_version,
    signals_heard,
    storage_errors,
)
from schemas.errors import BadInput, StoreError
from schemas.masking import keep_secret
from schemas.profile import QUACK
from schemas.tables import KEYS, VERSION

EXTENSIONS: Final = ("httpfs", "quack")
"""DuckDB's extensions, in the order in which they are loaded: quack would look for httpfs on the network."""

MAKE_TURN: Final = (
    "create table if not exists turn (taken bigint not null); insert into turn select 0 where not exists (from turn);"
)
"""SQL by which a file that is served gets the row that whoever writes changes."""

_TAKE_TURN: Final = "update turn set taken = taken + 1"

_VERSION: Final = "the tables are of version "

_REQUIRE_VERSION: Final = (
    f"set variable checked = (select if(max(version) = {VERSION}, true, error('{_VERSION}' || max(version))) "
    "from schema_version)"
)
"""Not a select: the first one of a script is what the server answers with."""

_SECONDS: Final = 3600
"""How long a script may run; DuckDB's own 30 s would end a copy in the middle."""

_NOBODY: Final = ("could not connect", "connection refused")
"""Words for a server at whose address nobody listens, in lower case."""

_AWAY: Final = (*_NOBODY, "invalid connection id", 'catalog "store" does not exist')
"""Words for a server that did not begin the script: nobody listens, it was started again since, or it ends now."""

_CUT_OFF: Final = ("failed to send message", "returned nothing", "failed to read", "connection", "timeout")
"""Words for an answer that did not come: whether the script was done nobody knows."""

_CONFLICT: Final = ("conflict", "failed to commit")


@dataclass(frozen=True)
class Quack:
    """A file that a server has.

    Attributes:
        url: ``quack://host:port``.
        token_variable: Environment variable that holds the server's token.
        lock_seconds: Seconds to wait while others write, or the server is away.
    """

    url: str
    token_variable: str
    lock_seconds: float = 120

    def exists(self) -> bool:
        """Return true: a server has a store, or there is no server."""
        return True

    def query(self, sql: str, parameters: Sequence[Any]) -> pl.DataFrame:
        """Return the rows of a select.

        Raises:
            StoreError: The server cannot be reached past the deadline.
        """
        return self._ask(f"use store; {_prepared(sql, parameters)}", may_repeat=True)

    def insert(self, frames: dict[str, pl.DataFrame]) -> dict[str, int]:
        """Insert the rows that are not there, as one script.

        Raises:
            StoreError: The server cannot be reached past the deadline, or others write; no row is kept then.
        """
        some = {table: distinct(table, frame) for table, frame in frames.items() if frame.height}
        if not some:
            return dict.fromkeys(frames, 0)
        inserts = "; ".join(self._inserting(table, frame) for table, frame in some.items())
        counts = ", ".join(f"getvariable('added_{table}') as {table}" for table in some)
        added = self._write(inserts, f"select {counts}", all(KEYS[table] for table in some))
        return dict.fromkeys(frames, 0) | added.row(0, named=True)

    def take_back(self, deletes: Sequence[Delete]) -> None:
        self._write("; ".join(_prepared(sql, parameters) for sql, parameters in deletes), "select 1", True)

    def run(self, statement: str) -> pl.DataFrame:
        """Return what a statement gives that is no transaction, such as a checkpoint."""
        return self._ask(f"use store; {statement}", may_repeat=True)

    def _write(self, statements: str, answer: str, may_repeat: bool) -> pl.DataFrame:
        script = f"use store; begin; {_TAKE_TURN}; {_REQUIRE_VERSION}; {statements}; commit; {answer}"
        return self._ask(script, may_repeat)

    def _ask(self, script: str, may_repeat: bool) -> pl.DataFrame:
        """Return what the last statement of a script gives.

        Args:
            may_repeat: Whether it may be sent again if it may have been done; rows of a log would be there twice.
        """

        def may_pass(error: Exception) -> bool:
            return _is_conflict(error) or _says(error, _AWAY) or (may_repeat and _is_cut_off(error))

        with TURN, storage_errors(f"using the store {self.url}", self._allowed):
            return patiently(lambda: self._ask_once(script), self.lock_seconds, may_pass, self._still_away)

    def _ask_once(self, script: str) -> pl.DataFrame:
        duck = self._client()
        try:
            answer = duck.execute("from quack_query(?, ?)", [self._address, script])
            return pl.DataFrame(answer.to_arrow_table())
        except BaseException as error:
            # Whatever state the client is in, the next call makes another: but that takes a second of CPU, and a server
            # that is to come back needs it.
            if not _is_conflict(error) and not _says(error, _NOBODY):
                self._leave()
            self._explain(error)
            raise

    def _leave(self) -> None:
        client = _CLIENTS.pop((self, os.getpid()), None)
        if client:
            close_quietly(client)

    def _explain(self, error: BaseException) -> None:
        """Raise what the project says of an error, if it is one that a person can mend."""
        said = first_line(error)
        if "Authentication failed" in said:
            raise BadInput(
                f"opening the store {self.url}: {said}; the token that the server was started with is needed. Set the "
                f"environment variable {self.token_variable} to it."
            ) from error
        if _VERSION in said:
            raise self._other_version(int(said.rpartition(_VERSION)[2])) from error

    def _client(self) -> Duck:
        """Return this process's DuckDB, which keeps its connection; another's would be closed under its feet."""
        place = (self, os.getpid())
        if place not in _CLIENTS:
            _CLIENTS[place] = open_duck(f"opening the store {self.url}", read_token(self.token_variable, self.url))
            self._require_version()
        return _CLIENTS[place]

    def _require_version(self) -> None:
        found = self._ask_once("use store; select max(version) as version from schema_version")["version"].item()
        if found != VERSION:
            self._leave()
            raise self._other_version(found)

    def _other_version(self, found: int) -> StoreError:
        require_known_version(found, self.url)
        return StoreError(
            f"opening the store {self.url}: its tables are of version {found}; those of version {VERSION} are needed. "
            "Start its server again with this gainloop, which brings them up to it."
        )

    @property
    def _address(self) -> str:
        return f"quack:{self.url.removeprefix(QUACK)}"

    @property
    def _allowed(self) -> str:
        return (
            "the server of the store must be up, and its disk have room. Start it with `gainloop store serve`, then "
            "run the same again: what was complete is kept."
        )

    def _still_away(self, error: Exception) -> StoreError:
        return StoreError(
            f"using the store {self.url}: {first_line(error)}, for {self.lock_seconds:g} s; {self._allowed} Or raise "
            "store.lock_seconds in the profile."
        )

    def _inserting(self, table: str, frame: pl.DataFrame) -> str:
        """Return the statements that insert the rows of a frame that are not there, and count them."""
        kinds = column_types()[table] | {"new_row": "BIGINT"}
        types = {name: kinds.get(name, "VARCHAR") for name in frame.columns}
        # A blob travels as the text that SQL makes of it.
        shape = {name: _json_type("VARCHAR" if kind == "BLOB" else kind) for name, kind in types.items()}
        columns = ", ".join(
            f"{name}::blob as {name}" if kind == "BLOB" else name for name, kind in types.items() if name != "new_row"
        )
        rows = f"unnest(from_json('{_as_json(frame)}', '{json.dumps([shape])}'), max_depth := 2)"
        # Nobody else writes meanwhile, so that the difference is the rows that are new.
        return (
            f"set variable before_{table} = (select count(*) from {table}); "
            f"insert into {table} by name select {columns} from (select {rows}) {not_there(table)}; "
            f"set variable added_{table} = (select count(*) from {table}) - getvariable('before_{table}')"
        )


def _says(error: BaseException, words: Sequence[str]) -> bool:
    said = str(error).lower()
    return isinstance(error, duckdb.Error) and any(one in said for one in words)


def _is_conflict(error: BaseException) -> bool:
    return _says(error, _CONFLICT) and explain("", error) is None  # a full disk fails to commit too


def _is_cut_off(error: BaseException) -> bool:
    return isinstance(error, duckdb.IOException) and _says(error, _CUT_OFF)


_CLIENTS: Final[dict[tuple[Quack, int], Duck]] = {}


def open_duck(attempt: str, token: str) -> Duck:
    """Return a DuckDB that speaks Quack.

    Raises:
        BadInput: An extension is not installed.
    """
    duck = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    load_extensions(duck, EXTENSIONS, attempt)
    duck.execute(
        f"set http_retries = 0; set http_timeout = {_SECONDS}; create secret (type quack, token {quoted(token)})"
    )
    return duck


def read_token(variable: str, url: str) -> str:
    """Return the token of a server.

    Raises:
        BadInput: The environment variable is not set.
    """
    token = os.environ.get(variable, "")
    if not token:
        raise BadInput(
            f"opening the store {url}: the environment variable {variable} is not set; it holds the token that the "
            "server and its clients share, of four characters at least. Set it for both."
        )
    keep_secret(token)
    return token


def _as_json(frame: pl.DataFrame) -> str:
    """Return the rows as a list of JSON without a quote, in their order.

    Each quote of a literal would be doubled by moving all that follows it: 100,000 of them in 16 MB took 97 s.
    """
    with signals_heard(), duckdb.connect(config={"threads": 1}) as duck:  # more would mix up the order
        duck.register("new_rows", frame)
        ((text,),) = duck.execute("select to_json(list(new_rows))::varchar from new_rows").fetchall()
    return str(text).replace("'", "\\u0027")


def _json_type(kind: str) -> Any:
    """Return a type as from_json spells it.

    >>> _json_type("VARCHAR[]"), _json_type("BIGINT")
    (['VARCHAR'], 'BIGINT')
    """
    return [kind.removesuffix("[]")] if kind.endswith("[]") else kind


def _prepared(sql: str, parameters: Sequence[Any]) -> str:
    """Return the statements that run another with parameters."""
    given = f"({', '.join(map(_literal, parameters))})" if parameters else ""
    return f"prepare asked as {sql}; execute asked{given}"


def _literal(value: Any) -> str:
    """Return a parameter as SQL spells it.

    >>> [_literal(one) for one in ("it's", None, True, 0.1, 3)]
    ["'it''s'", 'null', 'true', '0.1::double', '3']
    >>> print(_literal(["a'"]))
    from_json('["a\\u0027"]', '["VARCHAR"]')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value!r}::double" if value == value and abs(value) != float("inf") else f"'{value}'::double"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        return f"'{value.isoformat()}'::timestamptz"
    if isinstance(value, list):
        listed = json.dumps(value).replace("'", "\\u0027")
        return f"from_json('{listed}', '[\"VARCHAR\"]')"
    return quoted(str(value))

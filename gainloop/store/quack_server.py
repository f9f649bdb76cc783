"""A server that gives the machines of a trusted network the store of one DuckDB file: ``gainloop store serve``."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import duckdb

from gainloop.store.duck_file import NEVER_BY_ITSELF, DuckFile
from gainloop.store.journal import standing
from gainloop.store.place import close_quietly, first_line, quoted, storage_errors
from gainloop.store.quack import MAKE_TURN, open_duck
from schemas.errors import BadInput

_LEAST_CHARACTERS: Final = 4
"""Characters of a token, at least: Quack's own rule."""


@contextmanager
def serving(file: DuckFile, host: str, port: int, token: str) -> Iterator[str]:
    """Serve a file for the block, which has it alone; one that is not there is made. Gives the server's address.

    Args:
        host: Address that is listened at; 0.0.0.0 for all that this machine has.
        token: Word that clients must know.

    Raises:
        BadInput: The port is taken, or the token is too short.
        StoreError: Another process has the file.
    """
    attempt = f"serving the store {file.path} at {host}:{port}"
    file.query("select 1", ())  # makes it, brings it up to date, and waits while another has it
    if len(token) < _LEAST_CHARACTERS:
        raise BadInput(
            f"{attempt}: the token has {len(token)} characters; {_LEAST_CHARACTERS} are the least. Set a longer one, "
            "such as `openssl rand -hex 16` makes."
        )
    duck = open_duck(attempt, token)
    try:
        duck.execute(NEVER_BY_ITSELF)
        file.attach(lambda: duck)
        duck.execute(MAKE_TURN)
        # Scripts of clients reach the store and no other file of this machine.
        duck.execute("set enable_external_access = false")
        with ExitStack() as held:
            with storage_errors(attempt, "the store's folder must be writable. Free space there."):
                held.enter_context(standing(duck, file.path))
            address = quoted(f"quack:{host}:{port}")
            try:
                duck.execute(f"call quack_serve({address}, token => {quoted(token)}, allow_other_hostname => true)")
            except duckdb.Error as error:
                raise BadInput(
                    f"{attempt}: {first_line(error)}; a free port of this machine is allowed. Set store.url in the "
                    "profile to another port, or host to another address."
                ) from error
            yield f"{host}:{port}"
            duck.execute(f"call quack_stop({address})")
    finally:
        close_quietly(duck)

"""Commands about a store as a whole, which run no flow: to serve it to other machines, and to copy it."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from gainloop.store import Store, open_store
from gainloop.store.copying import Copied, copy_files, copy_rows
from schemas.errors import BadInput
from schemas.masking import mask
from schemas.profile import QUACK, load_profile

_FILE: Final = "gainloop.duckdb"


def serve_store(profile: str, path: str = "", host: str = "") -> str:
    """Serve the store of a DuckDB file to the machines of a trusted network, until the process is told to end.

    Args:
        profile: Profile whose store.url is quack://host:port, as the workers have it.
        path: DuckDB file that is served. Default: gainloop.duckdb in the profile's folder.
        host: Address that is listened at; 0.0.0.0 for all of this machine. Default: the host of store.url.
    """
    from gainloop.store.duck_file import DuckFile
    from gainloop.store.quack import read_token
    from gainloop.store.quack_server import serving

    loaded = load_profile(profile)
    at = loaded.store
    name, _, port = at.url.removeprefix(QUACK).rpartition(":")
    if not at.url.startswith(QUACK) or not name or not port.isdecimal():
        raise BadInput(
            f"serving the store of profile {loaded.name!r}: its store.url is {at.url}; {QUACK}host:port is allowed. "
            "Set store.url to the address at which workers reach this machine, and a free port."
        )
    file = DuckFile(path or str(Path(loaded.folder, _FILE)), at.lock_seconds)
    with serving(file, host or name, int(port), read_token(at.token_variable, at.url)) as address:
        print(mask(f"store {file.path} at {QUACK}{address}"), flush=True)
        with suppress(KeyboardInterrupt, SystemExit):
            while True:
                time.sleep(3600)
    return ""


def copy_store(origin: str, target: str, files: bool = False) -> str:
    """Copy the rows of a store to another place; what is there stays, and done again it goes on.

    Args:
        origin: Store that is copied: a profile, or a .duckdb file.
        target: Store that the rows are copied to: a profile, or a .duckdb file, which may not be there yet.
        files: True to copy the files of the origin's folder too: replies, checkpoints, answers, pages.
    """
    one, other = open_store(origin), open_any(target)
    print(mask(f"copying {one.path} to {other.path}"), flush=True)
    copied = copy_rows(one, other, say_copied)
    rows, new = sum(table.num_rows for table in copied), sum(table.num_new for table in copied)
    return f"{rows:,} rows of {one.path}, of which {new:,} were new to {other.path}{say_files(one, other, files)}"


def open_any(store: str) -> Store:
    """Return a store by its profile or its file, which need not be there."""
    path = Path(store)
    return Store(str(path), str(path.parent)) if store.endswith(".duckdb") else open_store(store)


def say_copied(copied: Copied) -> None:
    print(f"{copied.table}: {copied.num_rows:,} rows, {copied.num_new:,} new", flush=True)


def say_files(one: Store, other: Store, files: bool) -> str:
    """Copy the files if asked, and return what is to be said of them."""
    if one.folder == other.folder:
        return "; both have the folder " + one.folder
    if not files:
        return f"; the files in {one.folder} were not copied to {other.folder}: --files true does"
    found, copied = copy_files(one.folder, other.folder)
    return f"; {copied:,} of {found:,} files of {one.folder} were new to {other.folder}"

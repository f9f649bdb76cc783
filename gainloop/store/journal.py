"""A rollback journal for DuckDB's checkpoints, which write over blocks that the state before still needs.

A checkpoint writes what changed into free blocks and then the file's header, so that a process which ends in between
leaves the state before. But a block of metadata holds 64 pieces, and one that has free pieces is written anew where it
lies. Whoever ends in the middle of that (SIGKILL, a full disk, no power) leaves a block of which a part is old, and a
file that DuckDB refuses as corrupt. So, as SQLite does, such blocks are copied beside the file before, and are put back
while the header is still the one of before: what had been committed since is in DuckDB's log, and nothing is lost.
Layout of the file: https://duckdb.org/docs/current/internals/storage
"""

import fcntl
import hashlib
import logging
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import duckdb

from gainloop.store.files import sync_folder
from gainloop.store.place import Duck, close_quietly, first_line

logger = logging.getLogger("gainloop.store")

_HEADERS: Final = (4096, 3 * 4096)
"""Where the file's two headers lie, of which each checkpoint writes one, and after them the blocks."""

_BLOCKS: Final = """
select block_id, (select block_size from pragma_database_size() where database_name = 'store')
from pragma_metadata_info('store')
"""

_FREE: Final = f"{_BLOCKS} where len(free_list) > 0"
"""In a store that was attached just now, pieces become free only as a checkpoint ends."""

_FRAME: Final = struct.Struct("<qq")
"""Where a block lies and its bytes, which follow."""

_DIGEST_BYTES: Final = 16
_RENEWED_SECONDS: Final = 0.1
"""For so long after a checkpoint in a server, another one would be unguarded."""


def log_of(path: str) -> Path:
    """Return DuckDB's write-ahead log of a file, which a checkpoint empties."""
    return Path(f"{os.path.realpath(path)}.wal")  # DuckDB follows a link, too


def journal_of(path: str) -> Path:
    """Return the journal of a file: it is there during a checkpoint, and after one that was cut off."""
    return Path(f"{os.path.realpath(path)}.journal")


def roll_back(path: str) -> None:
    """Undo a checkpoint that was cut off, in a file that no living process has; one that has a living one is left.

    It must not be one that this process has attached, whose lock would end with it.
    """
    journal = journal_of(path)
    with open(path, "r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as DuckDB locks it
        except OSError:
            return
        if not journal.exists():
            return
        headers, blocks = _read(journal)
        if headers == _headers(file):
            for at, content in blocks:
                file.seek(at)
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        journal.unlink()


def checkpoint(duck: Duck, path: str, file: BinaryIO, blocks: str = _FREE) -> None:
    """Write the log of the attached store into its file, which can be opened again after a kill at any instant.

    Args:
        file: The file, opened for reading, to be closed only after DuckDB has detached it: closing any handle of a
            file lets go of every lock that the process has on it.
        blocks: Select of the blocks that it may write over, and their size.

    Raises:
        OSError: The journal could not be written.
        duckdb.Error: The checkpoint failed. What is committed is in the log, of this as of the former.
    """
    _write(duck, path, file, blocks)
    duck.execute("checkpoint store")
    journal_of(path).unlink()


@contextmanager
def standing(duck: Duck, path: str) -> Iterator[None]:
    """Keep a journal for the block, for a store that stays attached and is checkpointed whenever DuckDB finds it due.

    After the block it is checkpointed once more, and DuckDB, which must not do so by itself, is closed.

    Raises:
        OSError: The journal could not be written.
    """
    over = threading.Event()
    with open(path, "rb", buffering=0) as file:
        try:
            written = _write(duck, path, file, _BLOCKS)
            renewing = threading.Thread(target=_renew, args=(duck.cursor(), path, file, written, over), daemon=True)
            renewing.start()
            try:
                yield
            finally:
                over.set()
                renewing.join()
            try:
                checkpoint(duck, path, file, _BLOCKS)
            except (OSError, duckdb.Error) as error:
                warn_of_log(path, error)
        finally:
            close_quietly(duck)


def warn_of_log(path: str, error: Exception) -> None:
    """Say that a checkpoint failed, after which what is committed lies in the log: nothing is lost."""
    why = first_line(error).split("Original error: ")[-1]
    logger.warning(
        "checkpointing the store %s: %s; what was written is kept in %s, and the next checkpoint writes it into the "
        "file. Mend what hinders it, such as a full disk, and leave the files beside the store where they are.",
        *(path, why, log_of(path)),
    )


def _renew(duck: Duck, path: str, file: BinaryIO, written: bytes, over: threading.Event) -> None:
    """Write the journal anew after each checkpoint, until it is over."""
    with duck:
        while not over.wait(_RENEWED_SECONDS):
            if _headers(file) != written:
                with suppress(OSError, duckdb.Error):  # a full disk, of which the next write tells
                    written = _write(duck, path, file, _BLOCKS)


def _headers(file: BinaryIO) -> bytes:
    return os.pread(file.fileno(), _HEADERS[1] - _HEADERS[0], _HEADERS[0])


def _write(duck: Duck, path: str, file: BinaryIO, blocks: str) -> bytes:
    """Write the journal of the state in which a file is, and return the headers of that state."""
    while True:
        headers = _headers(file)
        frames = [headers]
        for block_id, size in duck.execute(blocks).fetchall():
            at = _HEADERS[1] + block_id * size
            frames += [_FRAME.pack(at, size), os.pread(file.fileno(), size, at)]
        if headers == _headers(file):
            break
    content = b"".join(frames)
    journal = journal_of(path)
    begun = journal.with_suffix(f"{journal.suffix}.new")
    with begun.open("wb") as new:
        new.write(hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest() + content)
        new.flush()
        os.fsync(new.fileno())
    begun.replace(journal)
    sync_folder(str(journal.parent))
    return headers


def _read(journal: Path) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Return the headers of the state that a journal goes back to, and its blocks by where they lie."""
    whole = journal.read_bytes()
    digest, content = whole[:_DIGEST_BYTES], whole[_DIGEST_BYTES:]
    if hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest() != digest:
        return b"", []  # of a disk that lost power before it was written, and so before the checkpoint began
    at, blocks = _HEADERS[1] - _HEADERS[0], []
    headers = content[:at]
    while at < len(content):
        place, size = _FRAME.unpack_from(content, at)
        at += _FRAME.size
        blocks.append((place, content[at : at + size]))
        at += size
    return headers, blocks

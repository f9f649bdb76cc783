"""Files in the profile's folder, local or in object storage: whole or not there at all."""

import contextlib
import fcntl
import io
import logging
import os
import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from fsspec.implementations.local import LocalFileSystem

from gainloop.store.lacks import explain
from schemas.errors import GainloopError, StoreError
from schemas.profile import Profile

logger = logging.getLogger("gainloop.files")

WAIT_SECONDS = 2.0
"""Another run is waited for this long before it is spoken of."""

_SCRAP = ".partial"
"""End of the name of a file that is being written."""

_IN_MEMORY_BYTES = 64 * 2**20


def link_from(profile: Profile, url: str) -> str:
    """Return the address of a file in the profile's folder: what `gainloop serve` gives it, of a url the url."""
    below = url.removeprefix(f"{profile.folder}/")
    return url if "://" in url or below == url else f"{profile.pages.rstrip('/')}/{quote(below)}"


def write_file(url: str, content: bytes) -> None:
    """Write a file so that a reader, or a rerun after a crash, sees all of it or nothing.

    Raises:
        StoreError: The place cannot be written, for example because the disk is full.
    """
    with whole_file(url, f" for {len(content):,} bytes") as file:
        file.write(content)


def create_file(url: str) -> bool:
    """Create an empty file; False if it is there already. On a disk, of several who create it at once one is told True.

    Raises:
        StoreError: The place cannot be written.
    """
    system, path = fsspec.url_to_fs(url)
    if not isinstance(system, LocalFileSystem):
        is_new = not system.exists(path)
        if is_new:
            write_file(url, b"")
        return is_new
    with disk_errors(f"creating {url}"):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(os.path.dirname(path) or ".")
    return True


def write_frame(url: str, frame: pl.DataFrame) -> None:
    """Write a frame as one Parquet file; see ``write_file``."""
    part = io.BytesIO()
    frame.write_parquet(part)
    write_file(url, part.getvalue())


@contextmanager
def whole_file(url: str, size: str = "") -> Iterator[IO[bytes]]:
    """Give a file to write that takes the name ``url`` once the block ends well.

    Args:
        size: Room that the file needs, as the message says it.

    Raises:
        StoreError: The place cannot be written, for example because the disk is full.
        OutOfMemory: Memory ran out.
    """
    system, path = fsspec.url_to_fs(url)
    try:
        if isinstance(system, LocalFileSystem):
            with _whole_local_file(path) as file:
                yield file
        else:
            with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:
                yield file
                file.seek(0)
                system.makedirs(posixpath.dirname(path), exist_ok=True)
                system.pipe_file(path, file.read())  # one object put is atomic
    except GainloopError:
        raise
    except Exception as error:
        if lack := explain(f"writing {url}", error, size):
            raise lack from error
        if not isinstance(error, OSError):
            raise
        raise StoreError(
            f"writing {url}: {error.strerror or error}; the folder must be there and writable. "
            "Mend it or change the profile's folder, then run the same again: what was complete is kept."
        ) from error


def read_file(url: str) -> bytes:
    """Return a file's bytes."""
    system, path = fsspec.url_to_fs(url)
    content = system.cat_file(path)
    assert isinstance(content, bytes)
    return content


def read_frame(url: str) -> pl.DataFrame:
    """Return the frame that a Parquet file holds.

    Raises:
        StoreError: The file is damaged.
    """
    content = read_file(url)
    try:
        return pl.read_parquet(io.BytesIO(content))
    except pl.exceptions.PolarsError as error:
        raise _damaged(url, error) from error


def read_parts(url: str, columns: list[str], num_rows: int) -> Iterator[pl.DataFrame]:
    """Yield some columns of the frame that a Parquet file holds, so many rows at a time.

    Raises:
        StoreError: The file is damaged.
    """
    try:
        with fsspec.open(url, "rb") as file:
            for part in pq.ParquetFile(file).iter_batches(num_rows, columns=columns):
                yield pl.DataFrame(pl.from_arrow(part))
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # a page that is torn is an OSError without a number
            raise
        raise _damaged(url, error) from error


def _damaged(url: str, error: Exception) -> StoreError:
    return StoreError(
        f"reading {url}: it is damaged ({' '.join(str(error).split())[:200]}); a Parquet file as a run wrote it "
        "is needed. Put a sound copy back, or remove it and run the same again: what can be made is made anew."
    )


def write_recorded(url: str, frame: pl.DataFrame, shape: pl.Schema) -> None:
    """Write what was answered as one file, whole or not at all, with the columns of a shape and no others."""
    write_frame(url, frame.select(pl.col(name).cast(kind) for name, kind in shape.items()))


def read_recorded(url: str, what: str, again: str) -> pl.DataFrame:
    """Return what was answered, as ``write_recorded`` wrote it.

    Args:
        what: What the file holds, as the message says it.
        again: What is to be run where it is gone.

    Raises:
        StoreError: The file is gone.
    """
    if not exists(url):
        raise StoreError(
            f"reading {what}: there is no file {url}; answers that were recorded must be there. "
            f"Put it back, or run {again}: it asks what is missing."
        )
    return read_frame(url)


def list_files(folder: str, suffix: str) -> list[str]:
    """Return the files right below a folder, in name order; none if the folder is not there."""
    system, path = fsspec.url_to_fs(folder)
    try:
        if isinstance(system, LocalFileSystem):  # its own way asks the disk about each: a batch has thousands of parts
            return sorted(f"{path}/{name}" for name in os.listdir(path) if name.endswith(suffix))
        names = system.ls(path, detail=False)
    except FileNotFoundError:
        return []
    return sorted(system.unstrip_protocol(name) if "://" in folder else name for name in names if name.endswith(suffix))


def exists(url: str) -> bool:
    """Tell whether a file or folder is there."""
    system, path = fsspec.url_to_fs(url)
    return bool(system.exists(path))


def remove_file(url: str) -> None:
    """Remove a file, where there is one."""
    system, path = fsspec.url_to_fs(url)
    if system.exists(path):
        system.rm(path)


def clear_scraps(folder: str) -> None:
    """Remove what killed runs left half written right below a folder, in which nobody writes any more."""
    system, _ = fsspec.url_to_fs(folder)
    for url in list_files(folder, _SCRAP):
        system.rm(url)


@contextmanager
def whole_folder(path: str) -> Iterator[str]:
    """Give a scratch folder that takes the name ``path`` once the block ends well.

    The scratch folder is ``<path>.partial`` and outlives a crash, so that a rerun can resume in it.

    Raises:
        StoreError: The disk cannot be written, for example because it is full.
    """
    partial = f"{path}.partial"
    with disk_errors(f"filling {partial}"):
        os.makedirs(partial, exist_ok=True)
        yield partial
        _sync_files(partial)
        os.replace(partial, path)


@contextmanager
def disk_errors(attempt: str) -> Iterator[None]:
    """Turn what libraries raise for want of room, rights or memory into the project's error that names it."""
    try:
        yield
    except Exception as error:
        if lack := explain(attempt, error):
            raise lack from error
        raise


@contextmanager
def only_one(path: str, what: str) -> Iterator[None]:
    """Hold a lock for the block; wait for another run that has it, and say so. The lock dies with its holder.

    Object storage has no locks: there, two runs of one recipe ask for the same replies twice and keep them once.

    Args:
        path: The lock's file.
        what: What nobody else may do meanwhile, as the log says it.
    """
    if "://" in path:
        yield
        return
    with disk_errors(f"locking {path}"):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=WAIT_SECONDS)
        except Timeout:
            logger.warning("Another run %s; this one waits until that is done, and goes on with what it made.", what)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def file_sizes(folder: str) -> Iterator[tuple[str, int]]:
    """Yield the path and the bytes of every file below a folder; what a run removes meanwhile is left out."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            with contextlib.suppress(FileNotFoundError):
                yield path, os.lstat(path).st_size


def sync_folder(folder: str) -> None:
    """Bring a folder's list of names to the disk: without that, a power cut may take a new file away."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_files(folder: str) -> None:
    """Bring every file of a folder to the disk, so that no power cut leaves the folder's new name on half of it."""
    for path in Path(folder).rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


@contextmanager
def _whole_local_file(path: str) -> Iterator[IO[bytes]]:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    partial = f"{path}{_SCRAP}"
    with _only_writer_of(partial) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise


def _only_writer_of(partial: str) -> IO[bytes]:
    """Open a scrap for the only one who writes it: what a killed run left under this name is written over."""
    while True:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is closed, or its process ends
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(partial)):
                os.truncate(descriptor, 0)
                return os.fdopen(descriptor, "r+b")
        os.close(descriptor)  # another, who had it, gave it its own name or took it away

"""The files under folders and globs, wherever fsspec reaches, each with a fingerprint of its content."""

import logging
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from schemas.errors import BadInput, SourceError
from tasks.sources.formats import KINDS, is_readable
from tasks.sources.source import Part

logger = logging.getLogger("gainloop.sources")


def list_parts(paths: list[str]) -> list[Part]:
    """Return the readable files in the order of their names, which are relative to the folder that all share.

    Args:
        paths: Folders (with all below them), files or globs: paths or fsspec urls.

    Raises:
        BadInput: A path has nothing that can be read.
        SourceError: A place cannot be reached now.
    """
    roots: list[str] = []
    fingerprints: dict[str, str] = {}
    for path in paths:
        with reaching(path):
            root, found = _find(path)
        roots.append(root)
        fingerprints.update(found)
    shared = _shared_folder(roots)
    return [Part(_printable(url.removeprefix(shared)), fingerprints[url], url) for url in sorted(fingerprints)]


@contextmanager
def reaching(place: str) -> Iterator[None]:
    """Turn errors of the disk or the network into the project's."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise SourceError(
            f"reading {place}: {reason}; it must be whole and within reach. "
            "Look at it, then run the same again: parts that were read are kept."
        ) from error


def _find(path: str) -> tuple[str, dict[str, str]]:
    """Return the folder that names are relative to, and the fingerprints of the readable files under their urls."""
    system, place = _open_system(path)
    system.invalidate_cache()
    if system.isfile(place):
        root, infos = posixpath.dirname(place), {place: system.info(place)}
    elif system.isdir(place):
        root, infos = place, system.find(place, detail=True)
    else:
        root, infos = _folder_above_wildcards(place), system.glob(place, detail=True)
    files = [name for name, info in infos.items() if info["type"] == "file"]
    shown = [name for name in files if name == place or "/." not in name.removeprefix(root)]
    readable = [name for name in shown if is_readable(name)]
    _report_skipped(path, len(files), len(readable))
    return _url(system, root), {_url(system, name): _fingerprint(system, name, infos[name]) for name in readable}


def _report_skipped(path: str, num_files: int, num_readable: int) -> None:
    if not num_files:
        raise BadInput(
            f"reading source files: nothing found at {path!r}; a folder, a file or a glob is allowed. "
            "Correct paths, or put files there."
        )
    if not num_readable:
        raise BadInput(
            f"reading source files: {num_files} found at {path!r}, none of a kind that is read; "
            f"allowed are {KINDS}. Convert them or correct paths."
        )
    if num_readable < num_files:
        logger.info("Skipped %d of %d files at %s: hidden, or not %s", num_files - num_readable, num_files, path, KINDS)


def _fingerprint(system: Any, name: str, info: dict[str, Any]) -> str:
    if isinstance(system, LocalFileSystem):
        return f"{info['size']}-{info['mtime']:.6f}"
    return f"{system.checksum(name):x}"


def _url(system: Any, name: str) -> str:
    return name if isinstance(system, LocalFileSystem) else str(system.unstrip_protocol(name))


def _printable(name: str) -> str:
    """Return a name that UTF-8 can hold; a disk may have others."""
    return name.encode(errors="replace").decode()


def _open_system(path: str) -> tuple[Any, str]:
    try:
        system, place = fsspec.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise BadInput(
            f"reading source files: {path!r} cannot be opened ({error}); a path or a url that fsspec knows is allowed. "
            "Correct paths, or install what that kind of url needs."
        ) from error
    return system, place.rstrip("/") or "/"


def _shared_folder(roots: list[str]) -> str:
    """Return the folder that holds all of some folders.

    >>> _shared_folder(["/x/a", "/x/b/c"]), _shared_folder(["/x/a"]), _shared_folder(["/x", "s3://y"])
    ('/x/', '/x/a/', '')
    """
    steps = zip(*(root.split("/") for root in roots), strict=False)
    return "".join(f"{names[0]}/" for names in takewhile(lambda names: len(set(names)) == 1, steps))


def _folder_above_wildcards(pattern: str) -> str:
    """Return the fixed folder that a glob starts from.

    >>> _folder_above_wildcards("/x/y*/z")
    '/x'
    """
    return posixpath.dirname(re.split(r"[*?\[]", pattern, maxsplit=1)[0])

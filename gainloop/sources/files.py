"""Text, Markdown, JSON lines, CSV and Parquet files, in folders here or in object storage."""

import logging
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import IO, Annotated, Any, Literal

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import Field

from gainloop.sources.formats import KINDS, TABLES, decompressed, is_readable, read_lines, read_text, split_suffix
from gainloop.sources.source import Part, TabularSource
from schemas.errors import BadInput, SourceError
from schemas.recipe import BASIC
from schemas.rows import Document

logger = logging.getLogger("gainloop.sources")


def list_parts(paths: list[str]) -> list[Part]:
    """Return the readable files in the order of their names, which are relative to the folder that all share.

    Args:
        paths: Folders (with all below them), files or globs; as paths or fsspec urls.

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
    """Raise errors of the disk or the network as SourceError, which names the place."""
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
    """Return the innermost folder that holds all the folders.

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


class Files(TabularSource):
    """Folders and globs of .txt .md .jsonl .parquet .csv, also .gz and .zst, local or any fsspec url.

    A part is a file; it is read again when its size or time, or its checksum in object storage, is another. Part names
    are relative to the folder that all paths share, so no machine's path reaches an anchor.
    """

    kind: Literal["files"] = "files"
    paths: Annotated[
        list[str], BASIC, Field(min_length=1, description="Folders, files or globs, local or any fsspec url.")
    ]
    one_per_line: Annotated[bool, Field(description="Lines of .txt files as documents of their own.")] = False

    def parts(self) -> Iterator[Part]:
        yield from list_parts(self.paths)

    def read(self, part: Part) -> Iterator[Document]:
        suffix, compression = split_suffix(part.url)
        with reaching(part.url), fsspec.open(part.url, "rb") as raw:
            file = decompressed(raw, compression)
            if suffix in TABLES:
                for number, row in TABLES[suffix](file, self.fields, part.url):
                    yield self.to_document(row, number, part.name)
            elif suffix == ".txt" and self.one_per_line:
                yield from self._read_documents(file, part)
            else:
                yield self._read_document(file, part)

    def _read_document(self, file: IO[bytes], part: Part) -> Document:
        title, _ = posixpath.splitext(posixpath.basename(part.name).removesuffix(".gz").removesuffix(".zst"))
        return Document(read_text(file, part.url), title, part.name, self.licence)

    def _read_documents(self, file: IO[bytes], part: Part) -> Iterator[Document]:
        for number, line in enumerate(read_lines(file, part.url), 1):
            if line.strip():
                yield Document(line, "", f"{part.name}#{number}", self.licence)

"""Where files lie: a folder of this machine, or whatever fsspec can open. Each is found, marked and opened here."""

import io
import os
import re
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractFileSystem

from gainloop.sources.names import compiled, readable, split_pattern
from schemas.errors import BadInput, SourceChanged, SourceError

_BUFFER_BYTES = 2**17
_PROTOCOL = re.compile(r"\A[a-z][a-z0-9+.-]*(?:::[a-z][a-z0-9+.-]*)*://")


class File(NamedTuple):
    """One file that a place holds.

    Attributes:
        path: Path within the place.
        fingerprint: Mark of its content, new when the content is.
        stored_bytes: Size in the place, compressed or not; None if the place does not say.
    """

    path: str
    fingerprint: str
    stored_bytes: int | None


@dataclass(slots=True)
class Listing:
    """What a place holds below one folder.

    Attributes:
        root: Folder that names are relative to, as a path or a url; of an archive, what it is chained to comes first.
        files: Files by their names relative to the root.
        skipped: Why each of the others cannot be read or was not looked at, by its name.
    """

    root: str
    files: dict[str, File] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


class Place(ABC):
    """A folder, a file or a glob that a person named, and the way to what it names."""

    @abstractmethod
    def find(self) -> Listing:
        """Return what there is now.

        Raises:
            SourceError: The place cannot be reached now.
        """

    @abstractmethod
    def reaching(self) -> AbstractContextManager[None]:
        """Raise what the place raises while it is read as SourceError."""

    @abstractmethod
    def url(self, file: File) -> str:
        """Return the path or url of one file, which ``open_place`` opens."""

    @abstractmethod
    def open(self, file: File) -> IO[bytes]:
        """Open a file for reading.

        Raises:
            SourceChanged: Its content is no longer what it was found with.
            SourceError: The place cannot be reached now.
            BadInput: This file alone may not be read.
        """

    @abstractmethod
    def require_same(self, file: File) -> None:
        """Check that a file, which was read, is still what it was found with.

        Raises:
            SourceChanged: It is not.
        """


def open_place(path: str, follow_links: bool = False) -> Place:
    """Return the place of a path or a url. A name with ``::`` in it is a path, unless a protocol stands before.

    Raises:
        BadInput: Nothing that is installed can open such a url.
    """
    if found := re.match("(?:file|local)://", path):
        return LocalPlace(path[found.end() :], follow_links)
    first, chained, _ = path.partition("::")
    is_chain = chained and first in fsspec.available_protocols() and not os.path.lexists(path)
    return RemotePlace(path) if is_chain or _PROTOCOL.match(path) else LocalPlace(path, follow_links)


@contextmanager
def reaching(place: str) -> Iterator[None]:
    """Raise errors of the disk or the network as SourceError, which names the place."""
    try:
        yield
    except (SourceError, BadInput):
        raise
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise SourceError(
            f"reading {readable(place)}: {reason}; it must be whole and within reach. "
            "Look at it, then run the same again: parts that were read are kept."
        ) from error


class LocalPlace(Place):
    """A path on this machine, opened without fsspec, to which ``::`` and ``#`` are more than letters of a name."""

    def __init__(self, path: str, follow_links: bool = False) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        self.follow_links = follow_links

    def find(self) -> Listing:
        with reaching(self.path):
            if os.path.isfile(self.path):
                root, name = os.path.split(self.path)
                return Listing(root, {name: _local_file(self.path)})
            root, pattern = split_pattern(self.path, os.path.isdir)
            listing = Listing(root or "/")
            if pattern or os.path.isdir(root):
                self._walk(listing, pattern)
        return listing

    def reaching(self) -> AbstractContextManager[None]:
        return reaching(self.path)

    def url(self, file: File) -> str:
        return file.path

    def open(self, file: File) -> IO[bytes]:
        self.require_same(file)
        with reaching(file.path):
            try:
                return open(file.path, "rb", buffering=_BUFFER_BYTES)
            except PermissionError as error:
                raise BadInput(
                    f"reading {readable(file.path)}: {error.strerror}; whoever runs this must be allowed to read it. "
                    "Allow it, or leave the file out."
                ) from error

    def require_same(self, file: File) -> None:
        try:
            is_same = _local_file(file.path) == file
        except OSError:
            is_same = False
        if not is_same:
            raise changed(file.path)

    def _walk(self, listing: Listing, pattern: str) -> None:
        """Add what lies below a folder, hidden things left out."""
        wanted = compiled(pattern) if pattern else None
        depth = pattern.count("/") if pattern and "**" not in pattern else None
        links = _Links(os.path.realpath(listing.root), self.follow_links)
        folders = [""]
        while folders:
            for name, path, is_folder in self._entries(listing, folders.pop()):
                why = "hidden" if os.path.basename(name).startswith(".") else links.why_not(path, is_folder)
                if is_folder and not why and (depth is None or name.count("/") < depth):
                    folders.append(name)
                elif is_folder and why and depth is None:
                    listing.skipped[name] = why
                elif not is_folder and (wanted is None or wanted.match(name)):
                    _add(listing, name, path, why)

    def _entries(self, listing: Listing, folder: str) -> list[tuple[str, str, bool]]:
        try:
            with os.scandir(os.path.join(listing.root, folder)) as entries:
                return sorted((os.path.join(folder, one.name), one.path, _is_folder(one)) for one in entries)
        except OSError as error:
            if not folder:
                raise
            listing.skipped[folder] = f"cannot be opened: {error.strerror}"
            return []


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


@dataclass(slots=True)
class _Links:
    """Which links below a folder are followed: none out of it, but into the store that it was checked out from."""

    top: str
    follow_all: bool
    _followed: set[str] = field(default_factory=set)

    def why_not(self, path: str, is_folder: bool) -> str:
        """Return why a link is not followed; empty if it is, or is no link."""
        if not os.path.islink(path):
            return ""
        target = os.path.realpath(path)
        if not os.path.exists(target):
            return "a link that leads nowhere"
        below = target.removeprefix(self.top.rstrip("/")) if _is_within(target, self.top) else None
        if is_folder and (target in self._followed or (below is not None and "/." not in below)):
            return "a link to a folder that is read as itself"
        if below is None and not self.follow_all and not _is_stored_for(target, os.path.abspath(path)):
            return "a link that leads out of the folder"
        if is_folder:
            self._followed.add(target)
        return ""


def belongs(path: str, folder: str) -> bool:
    """Tell whether a file is a folder's own: it lies in it, or where its contents are stored."""
    target = os.path.realpath(path)
    return _is_within(target, os.path.realpath(folder)) or _is_stored_for(target, os.path.abspath(path))


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _is_stored_for(target: str, path: str) -> bool:
    """Tell whether a file lies in the store of contents that its link belongs to: the hub's cache, or git-annex.

    >>> link = "/h/datasets--a--b/snapshots/7f/a.md"
    >>> _is_stored_for("/h/datasets--a--b/blobs/12ab", link), _is_stored_for("/h/datasets--c/blobs/12ab", link)
    (True, False)
    >>> _is_stored_for("/r/.git/annex/objects/1/2/k/k", "/r/texts/a.md")
    True
    """
    for contents, links in (("/blobs/", "/snapshots/"), ("/.git/annex/objects/", "/")):
        owner, found, _ = target.rpartition(contents)
        if found and os.path.realpath(os.path.dirname(path)).startswith(owner + links):
            return True
    return False


def _add(listing: Listing, name: str, path: str, why: str) -> None:
    try:
        if not why and not stat.S_ISREG(os.stat(path).st_mode):
            why = "no regular file"
        if not why:
            listing.files[name] = _local_file(path)
    except OSError as error:
        why = error.strerror or type(error).__name__
    if why:
        listing.skipped[name] = why


def _local_file(path: str) -> File:
    """Return a file with its mark; the time of its last change of any kind tells what its own time does not."""
    found = os.stat(path)
    return File(path, f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}", found.st_size)


class RemotePlace(Place):
    """A url that fsspec knows, chained or not. It is opened once, so that what is found is what is read."""

    def __init__(self, url: str) -> None:
        self.place_url = url
        try:
            with reaching(url):
                self.system, place = fsspec.url_to_fs(url)
        except SourceError:
            raise
        except Exception as error:  # any of fsspec's systems raises its own kinds: a damaged archive, no such bucket
            raise BadInput(
                f"reading source files: {url!r} cannot be opened ({error}); a path or a url that fsspec knows is "
                "allowed. Correct paths, or install what that kind of url needs."
            ) from error
        self.path = place.rstrip("/") or self.system.root_marker

    def reaching(self) -> AbstractContextManager[None]:
        return _asking(self.place_url)

    def url(self, file: File) -> str:
        _, chain, chained_to = self.place_url.partition("::")
        return f"{self.system.unstrip_protocol(file.path)}{chain}{chained_to}"

    def find(self) -> Listing:
        system, path = self.system, self.path
        with self.reaching():
            system.invalidate_cache()
            if system.isfile(path):
                root, found = os.path.dirname(path), {path: system.info(path)}
            else:
                root, pattern = split_pattern(path, system.isdir)
                compiled(pattern)  # a glob that is none is not the place's fault
                found = self._below(root, pattern)
            inside = f"{root}/" if root.strip("/") else root
            names = {one: one.removeprefix(inside).lstrip("/") for one, info in found.items() if info["type"] == "file"}
            shown = {one: name for one, name in names.items() if one == path or "/." not in f"/{name}"}
            files = {name: self._file(one, found[one]) for one, name in shown.items()}
        return Listing(self._name(root), files, {names[one]: "hidden" for one in names if one not in shown})

    def open(self, file: File) -> IO[bytes]:
        with self.reaching():
            return io.BufferedReader(self.system.open(file.path, "rb"), _BUFFER_BYTES)

    def require_same(self, file: File) -> None:
        with self.reaching():
            self.system.invalidate_cache()
            try:
                is_same = self._file(file.path, self.system.info(file.path)) == file
            except FileNotFoundError:
                is_same = False
            if not is_same:
                raise changed(file.path)

    def _below(self, root: str, pattern: str) -> dict[str, Any]:
        strict = {"on_error": _raise_unless_gone} if _goes_folder_by_folder(self.system) else {}
        try:
            listed = self.system.glob if pattern else self.system.find
            return dict(listed(self.path if pattern else root, detail=True, **strict))
        except FileNotFoundError:
            return {}

    def _file(self, path: str, info: dict[str, Any]) -> File:
        return File(path, f"{self.system.checksum(path):x}", info.get("compress_size", info.get("size")))

    def _name(self, path: str) -> str:
        _, _, chained_to = self.place_url.partition("::")
        return f"{chained_to}/{path}".rstrip("/") if chained_to else str(self.system.unstrip_protocol(path))


def _goes_folder_by_folder(system: Any) -> bool:
    """Tell whether a system is listed by fsspec's own walk, which by default leaves out a folder that fails."""
    own = getattr(type(system), "_find", None) or type(system).find
    return own in (AbstractFileSystem.find, AsyncFileSystem._find)


def _raise_unless_gone(error: Exception) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Raise whatever one of fsspec's systems raises as SourceError, which names the place."""
    try:
        with reaching(url):
            yield
    except (SourceError, BadInput, MemoryError):
        raise
    except Exception as error:
        raise SourceError(
            f"reading {readable(url)}: {type(error).__name__}: {readable(str(error))}; it must be within reach. "
            "Look at it, then run the same again: parts that were read are kept."
        ) from error


def changed(path: str) -> SourceChanged:
    """Return the error about a file that was changed after it was found."""
    return SourceChanged(
        f"reading {readable(path)}: it was changed while it was read; a text must stay as it is for as long. "
        "Run the same again when nothing writes to it: parts that were read are kept."
    )

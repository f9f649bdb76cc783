"""What the machine lacked when something failed: memory, room, rights, files, threads. Each library says it its way."""

import errno
import os
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from schemas.errors import GainloopError, OutOfMemory, StoreError

_GO_ON = "then run the same again: what was complete is kept."


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that a machine can lack.

    Attributes:
        numbers: Numbers of the system's errors that say so.
        words: Words of libraries whose errors have no number.
        allowed: What must be, as a message says it.
        advice: What to do next, as a message says it.
    """

    numbers: frozenset[int]
    words: re.Pattern[str]
    allowed: str
    advice: str


ROOM: Final = Lack(
    frozenset({errno.ENOSPC, errno.EDQUOT}),
    re.compile(r"No space left on device|Disk quota exceeded|failed to offload data block|max_temp_directory_size"),
    "the disk must have room",
    f"Free space, or move the profile's folder and store to another disk, {_GO_ON}",
)
SIZE: Final = Lack(
    frozenset({errno.EFBIG}),
    re.compile("File too large"),
    "files must be allowed to become as large as a model",
    f"Raise the limit on the size of files (ulimit -f), {_GO_ON}",
)
RIGHTS: Final = Lack(
    frozenset({errno.EROFS, errno.EACCES, errno.EPERM}),
    re.compile("Read-only file system|Permission denied|Operation not permitted"),
    "the folder must be writable",
    f"Give this user the right to read and write there, or set the profile's folder to another place, {_GO_ON}",
)
FILES: Final = Lack(
    frozenset({errno.EMFILE, errno.ENFILE}),
    re.compile("Too many open files"),
    "a run must be allowed to open some hundred files",
    f"Raise the limit on open files (ulimit -n 4096), {_GO_ON}",
)
THREADS: Final = Lack(
    frozenset({errno.EAGAIN}),
    re.compile(r"can't start new thread|pthread_create|Resource temporarily unavailable"),
    "a run needs some dozens of threads, each with memory of its own",
    f"Raise the limits on processes and memory (ulimit -u, ulimit -v, the container's), {_GO_ON}",
)
DEVICE: Final = Lack(
    frozenset({errno.EIO}),
    re.compile("Input/output error"),
    "the disk must answer",
    f"Look at the system's log, or move the profile's folder and store to another disk, {_GO_ON}",
)
MEMORY: Final = Lack(
    frozenset({errno.ENOMEM}),
    re.compile(
        r"[Cc]annot allocate memory|[Cc]an't allocate memory|not enough memory|bad_alloc|out of memory|Out of Memory|"
        r"failed to (allocate|pin block)|could not allocate|failed to map segment|CUBLAS_STATUS_ALLOC_FAILED|"
        r"low on memory"
    ),
    "what is worked on at once must fit the memory that a run may have",
    "Raise the limit (of the container, ulimit -v, or the machine's), or lower training.rows_per_device, "
    f"generation.max_in_flight or runner.workers in the profile, {_GO_ON}",
)

LACKS: Final = (ROOM, SIZE, RIGHTS, FILES, DEVICE, MEMORY, THREADS)
"""In the order in which words are looked for: DuckDB calls its memory full where the disk that it spills to is."""

_TORCH_WRITES: Final = re.compile(r"inline_container|PytorchStreamWriter")
"""Words of torch.save for a file that it could not write; it does not say why."""

_MOST_CHARACTERS: Final = 200


def explain(attempt: str, error: BaseException, room: str = "") -> GainloopError | None:
    """Return the error that names what the machine lacked; None if it is one already, or the cause is another.

    Args:
        room: How much room is needed where a disk must have some, as " for 5 bytes".

    >>> print(explain("writing a", OSError(28, "No space left on device")))  # doctest: +ELLIPSIS
    writing a: No space left on device; the disk must have room. Free space, or move the profile's folder and ...
    >>> print(explain("training", MemoryError()))  # doctest: +ELLIPSIS
    training: memory ran out; what is worked on at once must fit the memory that a run may have. Raise the limit ...
    >>> explain("reading", OSError(2, "No such file or directory")), explain("counting", KeyError("a"))
    (None, None)
    """
    if isinstance(error, GainloopError):
        return None
    for one in _causes(error):
        if lack := _lack_of(one):
            kind: type[GainloopError] = OutOfMemory if lack is MEMORY else StoreError
            return kind(f"{attempt}: {_found(one, lack)}; {lack.allowed}{room if lack is ROOM else ''}. {lack.advice}")
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, those of a group, and what each was raised from."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _causes(one)
    else:
        yield error
        if error.__cause__:
            yield from _causes(error.__cause__)


def _lack_of(error: BaseException) -> Lack | None:
    if isinstance(error, MemoryError):
        return MEMORY
    if isinstance(error, OSError) and error.errno:
        return next((lack for lack in LACKS if error.errno in lack.numbers), None)
    said = str(error)
    if _TORCH_WRITES.search(said):
        return ROOM if resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY else SIZE
    return next((lack for lack in LACKS if lack.words.search(said)), None)


def _found(error: BaseException, lack: Lack) -> str:
    said = str(error).strip().partition("\n")[0][:_MOST_CHARACTERS].rstrip(" .!;")
    if lack is MEMORY:
        return f"memory ran out ({said})" if said else "memory ran out"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    named = lack.words.search(said)
    return named.group() if named and lack is not ROOM else os.strerror(min(lack.numbers))

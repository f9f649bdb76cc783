"""Programs that nobody has read, run where they can harm nothing: no network, no files, no secrets, and little time.

A program is forked off a process of one thread that has nothing else in it (``worker``). It gets namespaces of its own
(``namespaces``), limits on time, memory, processes, file sizes and files, an empty environment, and an empty folder
that is gone with it. At its deadline all of its processes are killed at once.
"""

import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, NoReturn

from gainloop.solutions import namespaces

Isolation = Literal["root", "user", "none"]
"""How a program is kept apart: by namespaces that root makes, by those that a user may make, or by limits alone."""

Ending = Literal["done", "failed", "timeout"]

MOST_PRINTED_BYTES: Final = 16 * 2**20
NONCE_BYTES: Final = 16
_GRACE_SECONDS: Final = 2
_PYTHON: Final = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
_USERS: Final = 1_000_000_000
"""Users from which on none is anybody's: each worker has one, so that limits count its processes alone."""

_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
_SOURCE, _NONCE, _PROOF = 3, 4, 5
"""Descriptors of a program: what it runs, what it has to say at its end, and where."""
_ABOVE, _MOST_OPEN = 100, 4096
_USED_UP: Final = 124

_BOOT: Final = """
import json, os, sys
with os.fdopen(3) as source:
    job = json.load(source)
def run(text, name, known):
    exec(compile(text, name, "exec"), known)
known = {"__name__": job["name"], "__builtins__": __builtins__}
run(job["solution"], "solution.py", known)
for test in job["tests"]:
    run(test, "test.py", known)
sys.stdout.flush()
os.write(5, os.read(4, 16))
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run of a program may take.

    Attributes:
        seconds: Time by the clock until it is killed.
        memory_bytes: Address space of each of its processes.
        processes: Processes and threads that it may have at once.
        file_bytes: Size of a file that it writes, and of all of them together.
        files: Files that it may have open.
    """

    seconds: float = 10.0
    memory_bytes: int = 2**30
    processes: int = 16
    file_bytes: int = 64 * 2**20
    files: int = 64

    def of_kernel(self) -> dict[int, int]:
        seconds = int(self.seconds) + 1
        return {
            resource.RLIMIT_AS: self.memory_bytes,
            resource.RLIMIT_CPU: seconds,
            resource.RLIMIT_NPROC: self.processes,
            resource.RLIMIT_FSIZE: self.file_bytes,
            resource.RLIMIT_NOFILE: self.files,
            resource.RLIMIT_CORE: 0,
        }


class Ran(NamedTuple):
    """What came of a run: how it ended, what it printed, and whether it came to its own last line."""

    ending: Ending
    printed: bytes
    is_proven: bool


def run(source: bytes, given: bytes, limits: Limits, isolation: Isolation) -> Ran:
    """Run a program once.

    Args:
        source: JSON of ``solution``, ``tests`` and the ``name`` of the module that they are.
        given: What it reads on standard input.

    Raises:
        OSError: It could not be kept apart, and was not run.
    """
    folder = tempfile.mkdtemp(prefix="gainloop-") if isolation == "none" else ""
    try:
        return _Run(source, given, limits, isolation, folder).result()
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def find_isolation() -> tuple[Isolation, str]:
    """Return the best way there is to keep a program apart, and where it is by limits alone, why no other is."""
    source = b'{"solution": "", "tests": [], "name": "solution"}'
    faults = []
    ways: tuple[Isolation, ...] = ("root", "user") if os.geteuid() == 0 else ("user",)
    for way in ways if sys.platform == "linux" else ():
        try:
            if run(source, b"", Limits(), way).is_proven:
                return way, ""
            faults.append("the program did not end as it should")
        except OSError as error:
            faults.append(str(error))
    return "none", "; ".join(faults) or f"{sys.platform} has no namespaces"


class _Run:
    def __init__(self, source: bytes, given: bytes, limits: Limits, isolation: Isolation, folder: str) -> None:
        self.limits, self.isolation, self.folder = limits, isolation, folder
        self.user = _USERS + os.getpid() % 2**20
        self.source, self.given = _in_memory(source), _in_memory(given)
        self.nonce = os.urandom(NONCE_BYTES)
        self.printed, self._stdout = os.pipe()
        self.proof, self._proof = os.pipe()
        self.fault, self._fault = os.pipe()
        self._nonce, nonce = os.pipe()
        os.write(nonce, self.nonce)
        os.close(nonce)
        if folder and os.geteuid() == 0:
            os.chown(folder, self.user, self.user)

    def result(self) -> Ran:
        child = os.fork()
        if not child:
            _never_return(self._outside, self._fault)
        for one in (self.source, self.given, self._stdout, self._proof, self._fault, self._nonce):
            os.close(one)
        try:
            output, ending, status = self._wait(child)
            fault, proof = _read_all(self.fault), _read_all(self.proof)
        finally:
            for one in (self.printed, self.proof, self.fault):
                os.close(one)
        if fault:
            raise OSError(fault.decode(errors="replace"))
        if ending != "timeout":
            code = os.waitstatus_to_exitcode(status)
            ending = "timeout" if code == _USED_UP or code < 0 else "done" if code == 0 else "failed"
        return Ran(ending, output, proof == self.nonce and ending == "done")

    def _wait(self, child: int) -> tuple[bytes, Ending, int]:
        """Read what is printed until the program ends, is too slow or says too much; leave none of it alive."""
        ended = os.pidfd_open(child)
        poll = select.poll()
        poll.register(self.printed, select.POLLIN)
        poll.register(ended, select.POLLIN)
        output, ending, deadline = bytearray(), "done", time.monotonic() + self.limits.seconds
        try:
            while ending == "done":
                ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
                if not ready:
                    ending = "timeout"
                if self.printed in ready:
                    chunk = os.read(self.printed, 2**16)
                    output += chunk
                    if len(output) > MOST_PRINTED_BYTES:
                        ending = "failed"
                    if not chunk:
                        poll.unregister(self.printed)
                elif ended in ready:
                    break
        finally:
            os.killpg(child, signal.SIGKILL)
            os.close(ended)
        _, status = os.waitpid(child, 0)
        if ending == "failed":
            status = 1 << 8
        return bytes(output), "timeout" if ending == "timeout" else "done", status

    def _outside(self) -> None:
        """Leave the machine's view, have a child that does all else, and end as it ends."""
        os.setsid()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        # Should the worker be killed, or be too slow to kill this, the kernel ends it.
        signal.setitimer(signal.ITIMER_REAL, self.limits.seconds + _GRACE_SECONDS)
        namespaces.die_with_parent()
        if self.isolation != "none":
            namespaces.enter(self.user, self.isolation == "root")
        child = os.fork()
        if not child:
            _never_return(self._inside, self._fault)
        self._close_all()
        _, status = os.waitpid(child, 0)
        os._exit(_exit_code(status))

    def _inside(self) -> None:
        """Make the root that the program sees, and be the first process of it: with this one all others end."""
        namespaces.die_with_parent()
        signal.setitimer(signal.ITIMER_REAL, self.limits.seconds + _GRACE_SECONDS)
        if self.isolation != "none":
            namespaces.shut_in(self.limits.file_bytes)
        else:
            os.chdir(self.folder)
        child = os.fork()
        if not child:
            _never_return(self._become, self._fault)
        self._close_all()
        while True:
            ended, status = os.wait()
            if ended == child:
                os._exit(_exit_code(status))

    def _become(self) -> None:
        """Become the program."""
        kept = (self.given, self._stdout, self._fault, self.source, self._nonce, self._proof)
        for number, one in enumerate(kept, _ABOVE):
            os.dup2(one, number, inheritable=False)
        for number, target in enumerate((0, 1, 2, _SOURCE, _NONCE, _PROOF), _ABOVE):
            if target != 2:
                os.dup2(number, target)
        fault = _ABOVE + 2
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os.closerange(_PROOF + 1, _ABOVE)
            os.closerange(_ABOVE + len(kept), _MOST_OPEN)
            signal.setitimer(signal.ITIMER_REAL, 0)
            for one in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(one, signal.SIG_DFL)
            if self.isolation != "user":
                namespaces.become(self.user)
            namespaces.limit(self.limits.of_kernel())
            os.execve(_PYTHON, [_PYTHON, "-I", "-S", "-B", "-c", _BOOT], _ENVIRONMENT)  # noqa: S606
        except BaseException as error:
            os.write(fault, f"{type(error).__name__}: {error}".encode())

    def _close_all(self) -> None:
        for one in (self.source, self.given, self._stdout, self._proof, self._fault, self._nonce):
            os.close(one)
        for one in (self.printed, self.proof, self.fault):
            os.close(one)


def _exit_code(status: int) -> int:
    """Return what a process ends with as its child ended: 0, 1, or a number for a child that had used up its time."""
    code = os.waitstatus_to_exitcode(status)
    # SIGKILL is the kernel's, where memory has run out.
    return _USED_UP if code in (-signal.SIGXCPU, -signal.SIGALRM, -signal.SIGKILL) else int(code != 0)


def _never_return(begin: Callable[[], None], fault: int) -> NoReturn:
    """Run what a forked child is for: it must never go on as its parent."""
    try:
        begin()
    except BaseException as error:
        os.write(fault, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(1)


def _in_memory(content: bytes) -> int:
    """Return the descriptor of a file that lies nowhere."""
    made = os.memfd_create("gainloop")
    with os.fdopen(os.dup(made), "wb") as file:
        file.write(content)
    os.lseek(made, 0, os.SEEK_SET)
    return made


def _read_all(descriptor: int) -> bytes:
    os.set_blocking(descriptor, False)
    try:
        return os.read(descriptor, 4096)
    except BlockingIOError:
        return b""

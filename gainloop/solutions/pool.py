"""Processes that verify solutions, kept alive from one to the next, killed at the deadline and replaced.

They are no children of ``multiprocessing``: they can be asked from any thread, from processes of a pool, which may have
none of their own, from a running event loop, and after a fork, where the child has processes of its own.
"""

import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from schemas.errors import VerifierError

Job = dict[str, Any]

START_SECONDS: Final = 180.0
"""Time in which a process must have imported what it needs; on a busy machine that takes tens of seconds."""
_GRACE_SECONDS: Final = 5.0
_PASSED_ON: Final = ("PATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR", "SYSTEMROOT")
"""Variables that a process gets; no other, since they hold secrets."""


class Died(Exception):
    """A process ended before it answered."""


class Process:
    """One process that does jobs, one after the other."""

    def __init__(self) -> None:
        paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        given = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "gainloop.solutions.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env={**given, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        assert self._popen.stdin
        assert self._popen.stdout
        self._in, self._out = self._popen.stdin, self._popen.stdout
        self.prepared: dict[str, Job] = {}

    def ask(self, job: Job, seconds: float) -> Job | None:
        """Have a job done; return its answer, or None if there is none in time.

        Raises:
            Died: The process ended.
        """
        deadline = time.monotonic() + seconds
        left = memoryview(json.dumps({**job, "seconds": seconds + _GRACE_SECONDS}).encode() + b"\n")
        os.set_blocking(self._in.fileno(), False)
        answer = bytearray()
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        poll.register(self._in, select.POLLOUT)
        try:
            while not answer.endswith(b"\n"):
                ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
                if not ready:
                    return None
                if self._in.fileno() in ready:
                    left = left[os.write(self._in.fileno(), left) :]
                    if not left:
                        poll.unregister(self._in)
                if self._out.fileno() in ready:
                    chunk = os.read(self._out.fileno(), 2**16)
                    if not chunk:
                        raise Died
                    answer += chunk
        except BrokenPipeError as error:
            raise Died from error
        return dict(json.loads(answer))

    @property
    def is_alive(self) -> bool:
        return self._popen.returncode is None

    def end(self) -> None:
        """Kill the process, and wait until it is gone."""
        self._popen.kill()
        self._popen.wait()
        self.forget()

    def forget(self) -> None:
        """Let go of a process that is another's child."""
        if self._popen.returncode is None:
            self._popen.returncode = 0
        for one in (self._in, self._out):
            with suppress(OSError):
                one.close()


class Pool:
    """At most so many processes; who finds none free waits for one.

    Args:
        size: Processes at once. Default: one for each core that this process may use.
    """

    def __init__(self, size: int = 0) -> None:
        self.size = size or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else size or 1
        self._begin()
        _POOLS.add(self)

    def _begin(self) -> None:
        self._idle: list[Process] = []
        self._busy: set[Process] = set()
        self._free = threading.Condition()
        self._num_out = 0

    @contextmanager
    def lend(self) -> Iterator[Process]:
        """Lend a process; one that is handed back with an error is killed and replaced, and so is one that ``end`` was
        called of."""
        process = self._take()
        is_whole = False
        try:
            yield process
            is_whole = process.is_alive
        finally:
            if not is_whole:
                process.end()
            with self._free:
                self._num_out -= 1
                self._busy.discard(process)
                if is_whole:
                    self._idle.append(process)
                self._free.notify()

    def _take(self) -> Process:
        with self._free:
            while not self._idle and self._num_out >= self.size:
                self._free.wait()
            self._num_out += 1
            process = self._idle.pop() if self._idle else None
        try:
            process = process or Process()
        except OSError as error:
            with self._free:
                self._num_out -= 1
                self._free.notify()
            raise VerifierError(
                f"verifying solutions: no process can be started, {error}; {self.size} at once are needed. "
                "Free memory or processes of this machine, and run the same again."
            ) from error
        self._busy.add(process)
        return process

    def close(self) -> None:
        """End the processes that nobody uses."""
        with self._free:
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()

    def forget(self) -> None:
        """Begin anew in a forked child: processes, and locks that threads of the parent may hold, are not its own."""
        for process in (*self._idle, *self._busy):
            process.forget()
        self._begin()


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _forget_all() -> None:
    for pool in _POOLS:
        pool.forget()


os.register_at_fork(after_in_child=_forget_all)

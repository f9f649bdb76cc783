"""Work in a process of its own, which is forked from one that has imported what it needs: it can be killed."""

import os
import signal
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

_forks = get_context("forkserver")
_forks.set_forkserver_preload(["tests.test_engine_crash", "tests.test_tool_crash"])


class Apart:
    """A function of a module at work in a process and a process group of its own.

    The process that it is forked from has imported what such functions need, and run none.
    """

    def __init__(self, work: Callable[..., object], *given: Any) -> None:
        self._process = _forks.Process(target=_alone, args=(work, *given))
        self._process.start()

    def poll(self) -> int | None:
        """Return how the process ended, as subprocess does; None while it goes on."""
        return self._process.exitcode

    def wait(self) -> int:
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def kill(self) -> None:
        """End the process and all it started at once."""
        assert self._process.pid is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self.wait()


def _alone(work: Callable[..., object], *given: Any) -> None:
    os.setpgrp()
    work(*given)

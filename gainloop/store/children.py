"""Child processes that end when this process ends, however it does."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

STOP_SECONDS: Final = 15
"""How long a child may take to end by itself once it is asked to."""

_WITH_ITS_PARENT: Final = 'exec 3<&0; (cat <&3 >/dev/null; kill -KILL 0) & exec "$@" </dev/null 3<&-'
"""Runs a command in whose process group a watcher waits for the end of a pipe from us.

However we end, SIGKILL too, the pipe then ends, and the watcher kills the group.
"""

Child = subprocess.Popen


def start_child(command: Sequence[str], environment: Mapping[str, str], log: Path) -> "Child[bytes]":
    """Start a command in a process group of its own, with what it prints in a file; it ends with this process.

    It is started in the root folder, where ``python -m`` finds no modules but those on its path.
    """
    with log.open("wb") as output:
        return Child(
            ["/bin/sh", "-c", _WITH_ITS_PARENT, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd="/",
            start_new_session=True,
        )


def stop_child(process: "Child[bytes]") -> None:
    """End a child's whole process group, also what the child itself left behind."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdin is not None
    process.stdin.close()

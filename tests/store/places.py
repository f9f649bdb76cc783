"""The three places of a store, each as a profile and whatever serves it, which can be killed and started again."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gainloop.store import Store, open_store
from tests.postgres import Postgres, find_programs, postgres
from tests.small_run import ROOT, write_profile

PLACES = ("file", "quack", "ducklake")

SECRETS = {"GAINLOOP_STORE_TOKEN": "quack-quack", "LAKE_PASSWORD": "ducks-and-lakes"}
"""What the profiles name by its variable."""

SECONDS = 120


@dataclass
class Ground:
    """A store in one place, by a profile whose files all lie in one folder.

    Attributes:
        kill: Ends what serves the store at once; nothing where nobody does.
        start: Starts it again.
    """

    kind: str
    profile: Path
    kill: Callable[[], None] = lambda: None
    start: Callable[[], None] = lambda: None
    postgres: Postgres | None = None
    others: dict[str, Any] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return open_store(str(self.profile))


@contextmanager
def ground(kind: str, folder: Path, server: Postgres | None, **changes: Any) -> Iterator[Ground]:
    """Keep a place for the block.

    Args:
        server: Postgres that has the catalogue of a DuckLake.
        changes: Sections of the profile that differ.
    """
    folder.mkdir(parents=True, exist_ok=True)
    makers = {"file": _file, "quack": _quack, "ducklake": _ducklake}
    with makers[kind](folder, server, changes) as made:
        yield made


@contextmanager
def _file(folder: Path, _server: Postgres | None, changes: dict[str, Any]) -> Iterator[Ground]:
    yield Ground("file", write_profile(folder, **changes))


@contextmanager
def _quack(folder: Path, _server: Postgres | None, changes: dict[str, Any]) -> Iterator[Ground]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    profile = write_profile(
        folder, **{"store": {"url": f"quack://127.0.0.1:{port}", "lock_seconds": SECONDS}} | changes
    )
    with ExitStack() as running:
        made = Ground("quack", profile)

        def start() -> None:
            asked = [sys.executable, "-m", "flows", "store", "serve", "--profile", str(profile)]
            process = subprocess.Popen(asked, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True)
            running.callback(process.wait)
            running.callback(process.kill)
            assert process.stdout is not None
            assert f"gainloop.duckdb at quack://127.0.0.1:{port}" in process.stdout.readline()
            made.others["server"] = process

        def kill() -> None:
            made.others["server"].kill()
            made.others["server"].wait()

        made.kill, made.start = kill, start
        start()
        yield made


@contextmanager
def _ducklake(folder: Path, server: Postgres | None, changes: dict[str, Any]) -> Iterator[Ground]:
    if server is None:
        pytest.skip("no Postgres here: apt-get install postgresql")
    database = f"lake_{uuid4().hex[:12]}"
    server.create(database)
    words = server.words(database)
    store = {
        "url": f"ducklake:postgres:{words}",
        "data_path": str(folder / "data" / "lake"),
        "password_variable": "LAKE_PASSWORD",
        "lock_seconds": SECONDS,
    }
    yield Ground("ducklake", write_profile(folder, **{"store": store} | changes), server.kill, server.start, server)


@contextmanager
def lake_server() -> Iterator[Postgres | None]:
    """Keep a Postgres that asks for the password of ``SECRETS``; None where there is none."""
    if not find_programs():
        yield None
        return
    with postgres(SECRETS["LAKE_PASSWORD"]) as server:
        yield server


class Writer:
    """A process of ``tests.store.writing``, which has begun when it is made."""

    def __init__(self, profile: Path, batch_id: str, num_calls: int, num_rows: int) -> None:
        words = [str(profile), batch_id, str(num_calls), str(num_rows)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.writing", *words],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[int] = []

    def wait_ready(self) -> None:
        assert self._line() == "ready\n", self.process.stderr and self.process.stderr.read()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def read(self, num_calls: int) -> None:
        """Wait until so many calls more are acknowledged."""
        self.said += [int(self._line()) for _ in range(num_calls)]

    def finish(self) -> int:
        """Wait for its end, which must be a good one; return how many rows it was told were new, all calls."""
        out, err = self.process.communicate(timeout=5 * SECONDS)
        assert self.process.returncode == 0, err
        self.said += [int(line) for line in out.split()]
        return sum(self.said)

    def kill(self) -> None:
        self.process.kill()
        out, _ = self.process.communicate()
        self.said += [int(line) for line in out.split()]

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr and self.process.stderr.read()
        return line


def write_at_once(writers: list[Writer]) -> list[int]:
    """Let writers go together; return how many rows each was told were new."""
    for writer in writers:
        writer.wait_ready()
    for writer in writers:
        writer.go()
    return [writer.finish() for writer in writers]

"""Whole runs as people start them: processes of the command line that share one Prefect server."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from gainloop.store import Store, open_store
from gainloop.store.batches import stage_summary
from schemas.profile import Profile, load_profile
from schemas.tables import KEYS
from tests.small_run import ROOT, command, environment

OF_ONE_RUN = ("seconds", "requests_sent", "retries", "refusals", "hedges", "tokens_per_second", "cache_hit_rate",
              "training_speed")  # fmt: skip
READY_SECONDS = 120
RUN_SECONDS = 600
"""How long a run may take that is one of many on a busy machine."""


@dataclass(frozen=True)
class Ended:
    """A run that has ended: its exit status, and what it said."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Run:
    """A run that goes on in a process group of its own, with its output in files."""

    process: "subprocess.Popen[bytes]"
    out: Path
    err: Path

    def wait(self) -> Ended:
        status = self.process.wait(timeout=RUN_SECONDS)
        return Ended(status, self.out.read_text(), self.err.read_text())

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return the moment that a condition holds; it must do so before the run has ended."""
        deadline = time.monotonic() + RUN_SECONDS
        while not condition():
            assert self.process.poll() is None, self.err.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.03)

    def kill(self) -> Ended:
        """End it and all it started at once, with no time to put anything in order."""
        os.killpg(self.process.pid, signal.SIGKILL)
        return self.wait()


def start(flow: str, given: dict[str, Any], folder: Path, api_url: str | None, within: Path = ROOT) -> Run:
    """Start a flow from the folder ``within``; its output goes into ``folder``. Without an API it starts a server."""
    out, err = folder / f"{flow}.out", folder / f"{flow}.err"
    with out.open("wb") as to_out, err.open("wb") as to_err:
        process = subprocess.Popen(
            command(flow, given),
            cwd=within,
            env=environment(folder, api_url),
            stdout=to_out,
            stderr=to_err,
            start_new_session=True,
        )
    return Run(process, out, err)


@dataclass(frozen=True)
class Place:
    """A folder with the small profile in it, and what runs leave there."""

    folder: Path

    @property
    def profile(self) -> Profile:
        return load_profile(str(self.folder / "small.yaml"))

    @property
    def store(self) -> Store:
        return open_store(self.profile)

    @property
    def batch(self) -> Path:
        (batch,) = self.folder.glob("data/batches/*/")
        return batch

    def rows(self, *left_out: str) -> dict[str, pl.DataFrame]:
        """Return all that the store holds, without some columns."""
        return {table: self.store.query(f"from {table} order by all").drop(left_out, strict=False) for table in KEYS}

    def summary(self, stage: str) -> dict[str, Any]:
        """Return what a complete stage of the one batch wrote down; nothing if it is not complete."""
        return stage_summary(self.store, self.batch.name, stage) or {}

    def figures(self) -> dict[str, Any]:
        """Return the report without what depends on when and how fast it was made, and on how many runs made it."""
        report: dict[str, Any] = json.loads((self.batch / "report.json").read_text())
        del report["created"]
        del report["gain"]["per_second"]
        for name in OF_ONE_RUN:
            del report["cost"][name]
        return report

    def files(self) -> dict[str, int]:
        """Return when each file was written, the store's and locks apart."""
        found = (path for path in (self.folder / "data").rglob("*") if path.is_file())
        paths = [path for path in found if ".duckdb" not in path.name and path.name != ".lock"]
        return {str(path.relative_to(self.folder)): path.stat().st_mtime_ns for path in paths}


@contextmanager
def prefect_server(folder: Path) -> Iterator[str]:
    """Run a Prefect server for the block; gives the url of its API."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    asked = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            asked, cwd=ROOT, env=environment(folder), stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_up(f"http://127.0.0.1:{port}/api", process)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_up(api_url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{api_url}/health").raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise AssertionError("the Prefect server does not start")

"""`gainloop up`: a Prefect server that stays, is used by runs, and is not started twice."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from flows.__keeping__ import is_running
from tests.small_run import ROOT, environment, write_corpus, write_profile

pytestmark = pytest.mark.server


def test_another_program_with_the_number_of_a_server_that_died_is_not_taken_for_it(tmp_path: Path) -> None:
    assert not is_running(tmp_path / "none.pid")
    (tmp_path / "server.pid").write_text(str(os.getpid()))
    assert not is_running(tmp_path / "server.pid")


def test_a_server_that_is_kept_is_used_by_runs_and_by_the_next_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = environment(tmp_path) | {"PREFECT_SERVER_API_PORT": str(port)}

    def ask(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, "-m", *words], cwd=ROOT, env=own, text=True, capture_output=True)

    corpus = write_corpus(tmp_path / "corpus", num_topics=2)
    refresh = ("flows", "refresh", "--source.paths", str(corpus), "--profile", str(write_profile(tmp_path)))
    try:
        first, second = ask("flows", "up"), ask("flows", "up")
        assert first.stdout.startswith(f"up: Prefect server is up, at http://127.0.0.1:{port}: runs use it")
        assert second.stdout.startswith(f"up: Prefect server was up already, at http://127.0.0.1:{port}: runs use it")
        refreshed = ask(*refresh)
        assert refreshed.returncode == 0, refreshed.stderr
        assert "Starting temporary server" not in refreshed.stderr
        found = httpx.post(f"http://127.0.0.1:{port}/api/flow_runs/filter", json={}).json()
        assert [run["state"]["type"] for run in found] == ["COMPLETED"]
        home = Path(own["PREFECT_HOME"])
        assert f"Its log is {home}/server.log." in first.stdout
        assert "Check out the dashboard" in (home / "server.log").read_text()

        os.kill(int((home / "server.pid").read_text()), signal.SIGKILL)  # it dies, and leaves its number behind
        third = ask("flows", "up")
        assert third.stdout.startswith(f"up: Prefect server is up, at http://127.0.0.1:{port}: runs use it")
    finally:
        stopped = ask("prefect", "server", "stop")
    assert "Server stopped" in stopped.stdout

    failed = ask(*refresh)
    assert failed.returncode == 1
    assert "Start it with `gainloop up`" in failed.stderr.splitlines()[-1]
    own["PREFECT_API_URL"] = "http://192.0.2.1:4200/api"  # of another machine: not ours to start
    assert "it does not answer; the one that PREFECT_API_URL names must be up" in ask("flows", "up").stderr

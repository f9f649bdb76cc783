"""Processes of a study end with it, however it ends."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.crash

PROGRAM = """
import time
from gainloop.studies.world_runs import side_by_side

if __name__ == "__main__":
    for _ in side_by_side(time.sleep, [(300,), (300,)], 2):
        pass
"""

SECONDS = 120


def test_processes_of_a_study_that_is_killed_end_with_it(tmp_path: Path) -> None:
    program = tmp_path / "study.py"
    program.write_text(PROGRAM)
    study = subprocess.Popen([sys.executable, str(program)], cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + SECONDS

    def workers() -> list[psutil.Process]:
        return [one for one in psutil.Process(study.pid).children() if "spawn_main" in " ".join(one.cmdline())]

    while len(found := workers()) < 2:
        assert study.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)

    study.kill()
    study.wait()
    assert not psutil.wait_procs(found, timeout=SECONDS)[1]  # once they have imported what they run

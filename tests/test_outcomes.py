"""Each stage under each limit of the machine names the limit, and goes on when it is lifted."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.outcomes import HARMS, STAGES

pytestmark = pytest.mark.crash


@pytest.fixture(scope="module")
def done() -> "subprocess.CompletedProcess[str]":
    """The table of all stages, made by one process."""
    return subprocess.run(
        [sys.executable, "-m", "tests.outcomes"], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_under_a_limit_says_which_and_ends_the_same_when_it_is_run_again(
    stage: str, small_disk: Path, done: "subprocess.CompletedProcess[str]"
) -> None:
    lines = [line for line in done.stdout.splitlines() if line.startswith(f"| {stage} |")]
    assert len(lines) == len(HARMS), done.stderr
    assert [line for line in lines if not line.endswith("| yes |")] == []
    assert done.returncode == 0, done.stdout + done.stderr

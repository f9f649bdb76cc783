"""Each stage under each limit of the machine names the limit, and goes on when it is lifted."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.outcomes import HARMS, STAGES

pytestmark = pytest.mark.crash


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_under_a_limit_says_which_and_ends_the_same_when_it_is_run_again(stage: str, small_disk: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.outcomes", stage], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()[2:]
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(lines) == len(HARMS)

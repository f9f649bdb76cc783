"""A hostile hour ends as it must: no traceback, no lost row, no secret told, and nothing loaded or run."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.server


def test_whatever_is_hostile_ends_as_a_sentence_or_a_counted_drop_and_gets_nothing_out() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| NO |" not in done.stdout

"""Benchmarks that a change of what they measure would break."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.duplicates import measure

ROOT = Path(__file__).resolve().parent.parent


def test_measures_of_a_made_up_batch_are_timed_with_their_memory() -> None:
    command = [sys.executable, "-m", "benchmarks.measures", "--records", "400", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["records"] == 400
    assert 0 < told["seconds"] < told["peak_rss_mb"]


def test_pairing_is_timed_beside_exact_search_with_its_recall() -> None:
    command = [sys.executable, "-m", "benchmarks.pairing", "--rows", "500", "--only", "clustered"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["recall"]["value"], told["recall"]["n"]) == (1, 500)  # so few are searched exactly
    assert told["counts"]["pairs"] > 0
    assert told["search_seconds"] < told["seconds"]


def test_planted_near_duplicates_and_probes_are_found_and_timed(tmp_path: Path) -> None:
    told = measure(2000, 120, 500, str(tmp_path))
    assert told["planted_found"] == told["planted"] > 0
    assert (told["probes_found"], told["probes_wrong"]) == (told["probes_planted"], 0)
    assert told["precision"] == told["recall"] == 1
    assert told["seconds"]["sketches, read"] < told["seconds"]["sketches, written"]

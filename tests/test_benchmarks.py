"""Benchmarks that a change of what they measure would break."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def test_a_house_is_measured_from_its_source_alone(tmp_path: Path) -> None:
    files = {
        "flows/__init__.py": "",
        "flows/cycle.py": "from tasks import make\n\ndef cycle():\n    from gainloop.store import duck\n",
        "tasks/make.py": "if TYPE_CHECKING:\n    from gainloop import serving\nimport gainloop.models.start as a\n",
        "gainloop/__init__.py": 'ORDER: Final = (("serving",), ("models", "store"))\n',
        "gainloop/serving.py": "raise SystemExit\n",
        "gainloop/models/__init__.py": "",
        "gainloop/models/start.py": "from ..store import duck\nfrom . import end\nfrom gainloop.store import Store\n",
        "gainloop/models/end.py": "import gainloop.models.start\n\nclass Long:\n    def end(self):\n        (\n1)\n",
        "gainloop/store/__init__.py": "def later():\n    from gainloop import serving\n",
        "gainloop/store/duck.py": "if TYPE_CHECKING:\n    from flows.cycle import cycle\n",
        "gainloop/odd.py": "",
        "schemas/rows.py": "import json\n",
        "tests/test_rows.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    told = _house(str(tmp_path))
    assert told["files"] == {"flows": 2, "tasks": 1, "gainloop": 8, "schemas": 1, "tests": 1}
    assert told["lines"] == sum(text.count("\n") for name, text in files.items() if "tests" not in name)
    assert told["code_lines"] == told["lines"] - 2  # the blank ones
    assert told["main_job_files"] == 2 + 1 + 7  # all but odd
    assert (told["functions"], told["median_function"]) == (3, 2)
    assert told["longest_function"] == [3, "gainloop.models.end.end"]
    assert told["back_up"] == ["gainloop.store > gainloop.serving", "gainloop.store.duck > flows.cycle"]
    assert told["circles"] == [["gainloop.models.end", "gainloop.models.start"]]
    assert told["unordered"] == ["odd"]


def test_imports_of_this_house_point_one_way_and_in_no_circle() -> None:
    told = _house()
    assert told["back_up"] == told["circles"] == told["unordered"] == []
    assert 0 < told["main_job_files"] < sum(told["files"].values())


def _house(*asked: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.house", *asked, "--json"]
    told: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    return told

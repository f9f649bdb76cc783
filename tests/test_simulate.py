"""The simulation as people run it: a page and its JSON, found again instead of run again."""

import json
from html import unescape
from pathlib import Path

from schemas.studies import Simulation
from tasks.simulate import run_simulation


def test_a_simulation_is_written_once_and_found_again(tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    first, page = run_simulation(str(tmp_path), 3, 10, 4, 1, lambda done, total: progress.append((done, total)))
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    again, other = run_simulation(str(tmp_path), 3, 10, 4, 1, lambda *_: progress.append((-1, -1)))
    assert (again, other) == (first, page)
    assert progress == [(done, 7) for done in range(1, 8)]
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    truth = json.loads(Path(page).with_suffix(".json").read_text())
    assert Simulation.model_validate(truth) == first


def test_the_page_shows_every_trend_with_interval_and_says_what_is_printed(tmp_path: Path) -> None:
    simulation, page = run_simulation(str(tmp_path), 3, 10, 4, 1, lambda *_: None)
    html = Path(page).read_text()
    assert simulation.headline in unescape(html)
    for trend in simulation.trends:
        assert trend.correlation.number in html
        assert trend.correlation.interval in html
    assert html.count("<svg") == 4
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "simulation.json" in html


def test_other_parameters_are_another_simulation(tmp_path: Path) -> None:
    pages = {run_simulation(str(tmp_path), seed, 4, 3, 1, lambda *_: None)[1] for seed in (0, 1)}
    assert len(pages) == 2

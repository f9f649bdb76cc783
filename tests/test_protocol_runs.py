"""Protocols as people run them: killed in the middle and run again, and by a served model."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.protocol import ProtocolReport
from tests.exams import documents, rows, write_rows
from tests.serving.stub_server import stub_server
from tests.small_run import START, write_corpus, write_profile
from tests.tiny_model import PLAN, save_tiny_model
from tests.whole_run import Place, start

pytestmark = pytest.mark.crash

OPTIMISER = {"learning_rate": 0.002, "batch_tokens": 512}


def report_of(place: Place) -> ProtocolReport:
    (path,) = place.folder.glob("data/protocols/*/protocol.json")
    assert path.with_suffix(".html").is_file()
    return ProtocolReport.model_validate(json.loads(path.read_text()))


def checkpoints(place: Place) -> dict[Path, int]:
    """Return when the weights of each checkpoint were written."""
    found = place.folder.glob("data/checkpoints/*/model.safetensors")
    return {path: path.stat().st_mtime_ns for path in found if path.parent.suffix != ".partial"}


def test_sbps_protocol_goes_on_where_it_was_killed(tmp_path: Path, api_url: str) -> None:
    model = {name: value for name, value in START.items() if name != "kind"}
    model |= {"budget_tokens": 8192, "optimiser": OPTIMISER}
    tuning = {"budget_tokens": 4096, "min_similarity": 0.1, "optimiser": OPTIMISER}
    paper: dict[str, Any] = {"kind": "sbp", "model": model, "unique": 0.4, "seeds": 1, "points": 2, "method": tuning}
    paper |= {"random_pairs": False, "measured_texts": 16, "sampling": {"max_tokens": 160}}
    source = {"kind": "files", "paths": [str(write_corpus(tmp_path / "corpus"))], "max_chars": 400}
    given = {"paper": paper, "source": source, "profile": str(write_profile(tmp_path))}
    place = Place(tmp_path)

    run = start("protocol", given, tmp_path, api_url)
    # A blank, two moments of repetition, the generator: the next is of the arm SBP.
    run.wait_until(lambda: len(checkpoints(place)) == 4 and place.store.query("from completions").height > 0)
    assert run.kill().status != 0
    before, replies = checkpoints(place), [*tmp_path.glob("data/batches/*/replies/*.parquet")]
    assert len(before) == 4
    assert replies

    ended = start("protocol", given, tmp_path, api_url).wait()
    assert ended.status == 0, ended.err
    assert "protocol.html" in ended.out
    after = checkpoints(place)
    assert {path: after[path] for path in before} == before
    assert len(after) == 8
    assert len([*tmp_path.glob("data/batches/*/")]) == 1
    report = report_of(place)
    assert report.bootstrapping
    assert [*report.bootstrapping.arms] == ["repetition", "sbp", "oracle"]
    assert all(one.seconds for one in report.costs)
    assert {one.levels["oracle"].n for one in report.bootstrapping.measured if one.unit == "perplexity"} != {0}


def test_entigraphs_protocol_runs_from_documents_to_curve_by_a_served_model(tmp_path: Path, api_url: str) -> None:
    folder = tmp_path / "mills"
    folder.mkdir()
    for name, text in documents().items():
        (folder / f"{name}.md").write_text(f"# The mill of {name}\n\n{text} " + "It ground rye and oats. " * 12)
    trainee = save_tiny_model(tmp_path / "trainee", PLAN.model_copy(update={"context_tokens": 512}))
    paper = {
        "kind": "entigraph",
        "start": {"model": trainee},
        "rephrase": {"unit": "chunk"},
        "context_tokens": 128,
        "trained_layers": "none",
        "parts": [0.5, 1.0],
        "synthetic_tokens": 2048,
        "seeds": 2,
        "optimiser": OPTIMISER,
    }
    exam = {"kind": "files", "paths": [str(write_rows(tmp_path / "questions.jsonl", rows()))]}
    with stub_server() as stub:
        profile = write_profile(tmp_path, serving={"kind": "servers", "urls": [stub.url]})
        given = {
            "paper": paper,
            "source": {"kind": "files", "paths": [str(folder)]},
            "exam": exam,
            "generator": {"kind": "served", "model": "stub"},
            "profile": str(profile),
        }
        ended = start("protocol", given, tmp_path, api_url).wait()
    assert ended.status == 0, ended.err

    report = report_of(Place(tmp_path))
    assert report.recital
    asked = [(one.arm, one.condition) for one in report.recital.sat]
    whole = [("entigraph", "closed"), ("entigraph", "retrieved"), ("entigraph", "open")]
    assert asked[3:] == [("raw", "closed"), ("rephrase", "closed"), ("entigraph", "closed"), *whole]
    assert {one.right.n + one.skipped for one in report.recital.sat} == {20}
    first, *others = report.recital.curve.points
    assert (first.tokens, len(others)) == (0, 2)
    assert report.recital.curve.slope.seeds == 2
    steps = [one.step for one in report.costs]
    assert steps[:3] == ["write by rephrase", "write by entigraph", "train raw"]

"""Exams asked of checkpoints as the flow evaluate and the cycle ask them, with real small models."""

import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gainloop.curation.probes import exam_probes
from gainloop.evaluation.results import tabulate
from gainloop.store import Store
from gainloop.store.batches import begin_batch, complete_stage
from gainloop.store.checkpoints import Lineage, make_once
from gainloop.store.exams import read_answers, read_exam, snapshot_questions
from schemas.errors import BadInput
from schemas.exam import Asking, ExamFiles
from schemas.profile import Profile
from schemas.recipe import Recipe
from tasks.evaluate import (
    Point,
    conditions_of,
    evaluate_points,
    examine,
    find_checkpoints,
    find_evaluation,
    points_of,
)
from tasks.exam import make_exam
from tests.exams import documents, fill, rows, write_rows
from tests.tiny_model import PLAN, save_tiny_model


def quiet(*_told: object) -> None:
    """Tell nobody."""


END = {"fraction": 1.0}


@pytest.fixture
def snapshot_id(store: Store) -> str:
    return fill(store, documents(), heldout_fraction=0.3)


@pytest.fixture
def exam_id(store: Store, snapshot_id: str, tmp_path: Path) -> str:
    return make_exam(store, ExamFiles(paths=[str(write_rows(tmp_path / "q.jsonl", rows()))]), "latest")


def checkpoint(store: Store, role: str, seed: int) -> str:
    def make(folder: str) -> dict[str, Any]:
        save_tiny_model(Path(folder), PLAN.model_copy(update={"seed": seed, "context_tokens": 256}))
        return {"num_tokens": 0}

    return make_once(store, Lineage(role, "", {"seed": seed}), make)


def test_reading_an_exam_says_how_many_rows_gave_none_and_why(
    store: Store, snapshot_id: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [*rows(), {"question": "Why?", "answer": "rye", "document": "Nowhere.md"}]
    with caplog.at_level(logging.INFO):
        exam_id = make_exam(store, ExamFiles(paths=[str(write_rows(tmp_path / "q.jsonl", lines))]), snapshot_id)

    exam = read_exam(store, exam_id)
    assert f"exam {exam_id}: {len(exam.questions)} questions; {21 - len(exam.questions)} gave none" in caplog.text
    assert "1 no_document" in caplog.text
    summary, few = (one for one in caplog.records if exam_id in one.message)
    assert (summary.levelname, few.levelname) == ("WARNING", "WARNING")
    assert f"{len(exam.questions)} questions have no options" in few.message
    (row,) = store.query("select * from exams").iter_rows(named=True)
    assert (row["snapshot_id"], row["kind"], row["num_questions"]) == (snapshot_id, "files", len(exam.questions))


def test_the_points_of_a_training_are_those_of_its_arms_or_of_its_checkpoints_where_it_names_no_arms() -> None:
    checkpoints = {"start": "s", "synthetic": "x", "baseline": "b", "synthesizer": "w"}
    arms = [
        {
            "arm": "synthetic",
            "seed": 1,
            "points": [{"fraction": 0.5, "checkpoint": "x5"}, {"fraction": 1.0, "checkpoint": "x"}],
        },
        {"arm": "replay_control", "seed": 0, "points": [{"fraction": 1.0, "checkpoint": "r"}]},
    ]

    assert [point.name for point in points_of({"checkpoints": checkpoints})] == [
        "start/0/0",
        "synthetic/0/1",
        "baseline/0/1",
    ]
    named = [point.name for point in points_of({"checkpoints": checkpoints, "arms": arms})]
    assert named == ["start/0/0", "synthetic/1/0.5", "synthetic/1/1", "replay_control/0/1"]
    assert conditions_of(Point("start", 0, 0, "s")) == ("closed", "open")
    assert conditions_of(Point("baseline", 0, 1, "b")) == ("closed",)


def test_every_checkpoint_of_a_training_takes_the_exam_and_the_general_set_once(
    store: Store, profile: Profile, snapshot_id: str, exam_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = begin_batch(store, Recipe(method={"kind": "sbp"}, snapshot_id=snapshot_id, model="m"), "raw")
    checkpoints = {role: checkpoint(store, role, seed) for seed, role in enumerate(("start", "synthetic", "baseline"))}
    complete_stage(store, batch_id, "train", {"checkpoints": checkpoints}, "t1")

    summary = evaluate_points(store, profile, batch_id, "t1", exam_id, Asking(), quiet)

    assert summary["exam"] == exam_id
    assert set(summary["urls"]) == {
        "start/0/0/closed", "start/0/0/open", "synthetic/0/1/closed", "synthetic/0/1/open", "baseline/0/1/closed"
    }  # fmt: skip
    assert set(summary["general"]) == {"start/0/0", "synthetic/0/1", "baseline/0/1"}
    answers = [read_answers(store.locate(url)) for url in summary["urls"].values()]
    exam = read_exam(store, exam_id)
    assert {frame.height for frame in answers} == {len(exam.questions)}
    assert answers[0]["nats"].to_list() != answers[2]["nats"].to_list()
    general = pl.read_parquet(store.locate(summary["general"]["start/0/0"]))
    assert general["nats"].min() > 0
    assert find_evaluation(store, batch_id, "t1") == summary

    monkeypatch.setattr("gainloop.models.answers.open_examinee", None)
    assert evaluate_points(store, profile, batch_id, "t1", exam_id, Asking(), quiet) == summary
    assert examine(store, profile, exam, checkpoints["start"], ("closed", "open"), Asking(), quiet)


def test_a_table_tells_shares_with_intervals_chance_and_how_many_were_asked(
    store: Store, profile: Profile, snapshot_id: str, exam_id: str
) -> None:
    exam = read_exam(store, exam_id)
    urls = examine(
        store, profile, exam, checkpoint(store, "start", 0), ("closed", "retrieved"), Asking(pieces=1), quiet
    )
    table = tabulate({f"a/b/{condition}": read_answers(url) for condition, url in urls.items()})

    assert [(row["model"], row["asked"]) for row in table] == [("a/b", "closed"), ("a/b", "retrieved")]
    assert all(row["chance"] == "25 %" and row["questions"] == str(len(exam.questions)) for row in table)
    assert all("%" in row["right (options)"] and "[" in row["nats a token"] for row in table)
    assert "right (exact)" not in table[0]


def test_the_questions_of_an_exam_are_probes(store: Store, snapshot_id: str, exam_id: str) -> None:
    exam = read_exam(store, exam_id)
    probes = exam_probes(snapshot_questions(store, snapshot_id))

    assert set(probes["text"]) == {one.question for one in exam.questions}
    assert probes["item"][0].startswith("exam question ")


def test_a_folder_is_asked_as_a_checkpoint_is_and_what_is_none_is_an_error(
    store: Store, profile: Profile, tmp_path: Path
) -> None:
    folder = save_tiny_model(tmp_path / "tiny")
    named = find_checkpoints.fn(profile, [folder])

    assert find_checkpoints.fn(profile, [named[folder], folder]) == {
        named[folder]: named[folder],
        folder: named[folder],
    }
    with pytest.raises(BadInput):
        find_checkpoints.fn(profile, [str(tmp_path / "none")])

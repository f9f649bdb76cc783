"""The probe run with real small models: what it asks, keeps and removes, and what the gate makes of it."""

from pathlib import Path

import polars as pl
import pytest

from flows.cycle import list_stages
from gainloop.evaluation.arms import Comparison
from gainloop.evaluation.likelihoods import Run
from gainloop.reports.examined import read_examined
from gainloop.reports.probed import probe_of
from gainloop.steering.probe import probe_plan
from gainloop.store import Store
from gainloop.store.batches import begin_batch, complete_stage, stage_summary
from gainloop.store.checkpoints import find_weights
from gainloop.store.exams import read_exam
from gainloop.store.snapshots import read_anchors
from schemas.exam import Asking, ExamFiles
from schemas.plan import Optimiser, TrainingPlan
from schemas.profile import Profile
from schemas.recipe import Recipe
from tasks.exam import make_exam
from tasks.probe import conclude_probe, list_unmade, name_probe, part_of_exam, read_probe
from tasks.train import make_start, train_arm
from tests.exams import documents, fill, rows, write_rows
from tests.test_train import QUIET, START

FULL = TrainingPlan(
    budget_tokens=8_192, context_tokens=64, seeds=2, optimiser=Optimiser(learning_rate=1e-3, batch_tokens=512)
)
ASKING = Asking()


@pytest.fixture
def snapshot_id(store: Store) -> str:
    return fill(store, documents())


@pytest.fixture
def exam_id(store: Store, snapshot_id: str, tmp_path: Path) -> str:
    return make_exam(store, ExamFiles(paths=[str(write_rows(tmp_path / "q.jsonl", rows()))]), "latest")


@pytest.fixture
def full(store: Store, profile: Profile, snapshot_id: str) -> Comparison:
    recipe = Recipe(method={"kind": "rephrase"}, snapshot_id=snapshot_id, model="m")
    batch_id = begin_batch(store, recipe, "raw")
    about = {"batch_id": batch_id, "method": "rephrase", "facet": "", "request_ids": ["q"], "num_bytes": 9, "turns": ""}
    anchors = read_anchors(store, snapshot_id).select("anchor_id", "text").rows()
    store.insert(
        records=[
            about | {"record_id": f"r{n}", "anchor_id": one, "text": text} for n, (one, text) in enumerate(anchors)
        ]
    )
    complete_stage(store, batch_id, "validate", {})
    start_id = make_start(store, profile.training, snapshot_id, START, QUIET)
    return Comparison(batch_id, start_id, FULL)


def run_probe(store: Store, profile: Profile, full: Comparison, exam_id: str) -> tuple[Comparison, list[Run]]:
    of = Comparison(full.batch_id, full.start_id, probe_plan(full.plan, 0.25))
    unmade = list_unmade(profile, of)
    runs = [Run(arm, seed, train_arm(store, profile.training, of, seed, arm, QUIET)) for seed, arm in of.runs]
    conclude_probe.fn(profile, of, runs, exam_id, ASKING, 0.25, 49_152, 0.0, unmade)
    return of, runs


def test_a_probe_run_asks_only_what_may_steer_and_leaves_no_weights(
    store: Store, profile: Profile, full: Comparison, exam_id: str
) -> None:
    of, runs = run_probe(store, profile, full, exam_id)
    summary = stage_summary(store, of.batch_id, "probe", name_probe(of, exam_id, ASKING))
    assert summary is not None
    assert len(runs) == 4
    assert summary["tokens"] == 4 * 2_048
    assert all(find_weights(store, run.checkpoints[-1]) is None for run in runs)

    examined = read_examined(store, read_exam(store, exam_id).snapshot_id, of.batch_id, "", summary, summary["arms"])
    parts = {
        part
        for answers in examined.answers.values()
        for part in answers.join(examined.questions, on="question_id")["part"]
    }
    assert parts == {"dev"}
    found = probe_of(examined, summary)
    asked = part_of_exam(store, exam_id, "dev").questions
    assert (found.status, found.questions, found.seeds) == ("ok", len(asked), 2)
    assert found.nats_gain.status == "not measured: the other figure of the probe run decides"
    final = examined.questions.filter(pl.col("part") == "final")
    assert final.height
    assert read_probe(store, of.batch_id, name_probe(of, exam_id, ASKING)).startswith("The probe run (25%")


def test_weights_that_were_there_before_stay(store: Store, profile: Profile, full: Comparison, exam_id: str) -> None:
    of = Comparison(full.batch_id, full.start_id, probe_plan(full.plan, 0.25))
    kept = train_arm(store, profile.training, of, 0, "synthetic", QUIET)[-1]
    run_probe(store, profile, full, exam_id)
    assert find_weights(store, kept) is not None


def test_a_cycle_asks_first_where_there_is_an_exam_and_nothing_is_released() -> None:
    exam = ExamFiles(paths=["q.jsonl"])
    stages = list_stages(None, exam, dry_run=False, asks_first=True)
    assert stages[stages.index("gate") : stages.index("train") + 1] == ["gate", "probe", "train"]
    assert "probe" not in list_stages(None, exam, dry_run=False, asks_first=False)

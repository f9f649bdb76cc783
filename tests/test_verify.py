"""A verification as people run it: in a small world, and on their own batches."""

import json
from dataclasses import dataclass, replace
from html import unescape
from itertools import product
from operator import attrgetter
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from flows.verify import verify
from gainloop.measures.prediction import MIN_FOR_A_FINDING
from gainloop.reports.batch import measure_batch
from gainloop.reports.evidence import Examined
from gainloop.store import Store
from gainloop.store.duck import now
from gainloop.store.measurements import save_measurement
from gainloop.studies.own_batches import read_reports
from gainloop.studies.targets import half_of, read_questions
from gainloop.studies.world_runs import list_jobs, make_base, run_jobs
from schemas.errors import BadInput
from schemas.figure import Figure
from schemas.profile import Profile, StoreSettings
from schemas.report import WORDS
from schemas.studies import InventedWorld, OwnBatches, Verification
from tasks.verify import run_verification
from tests.evidence import make_evidence, save_evidence, save_training
from tests.examined import make_examined, save_examined
from tests.tiny_model import save_tiny_model

SMALL = InventedWorld(batches=7, seeds=2, updates=4, base_updates=2, anchors=50, batch_tokens=2000, steering_seeds=0)
NUM_TRAININGS = 8 * 3
CRASHED_AFTER = 5


@dataclass(frozen=True)
class Verified:
    """A verification in a small world that crashed once and went on: its progress, and what it left."""

    verification: Verification
    page: Path
    progress: list[tuple[int, int]]
    at_crash: dict[Path, int]


class Crash(Exception):
    pass


def crash(done: int, total: int) -> None:
    if done == CRASHED_AFTER:
        raise Crash


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Verified:
    folder = tmp_path_factory.mktemp("verified")
    profile = Profile(name="test", folder=str(folder), store=StoreSettings(url=str(folder / "gainloop.duckdb")))
    store = Store(profile.store.url, profile.folder, 20)
    with pytest.raises(Crash):
        run_verification(store, "cpu", SMALL, 1, crash)
    at_crash = {path: path.stat().st_mtime_ns for path in folder.rglob("runs/*.json")}
    progress: list[tuple[int, int]] = []
    verification, page = run_verification(store, "cpu", SMALL, 1, lambda done, total: progress.append((done, total)))
    return Verified(verification, Path(page), progress, at_crash)


def silent(done: int, total: int) -> None:
    pass


def fill(store: Store, profile: Profile, num_batches: int, num_trainings: int = 1) -> None:
    """Write batches whose gains and sizes differ, each with trainings that have a report."""
    for batch, training in product(range(num_batches), range(num_trainings)):
        ids = {"batch_id": f"batch{batch:011d}", "training_id": f"{batch:08x}{training:08x}"}
        evidence = make_evidence(30 + 3 * batch, 0.02 + 0.01 * batch + 0.001 * training, **ids)
        (save_training if training else save_evidence)(store, profile, evidence)
        save_measurement(store, measure_batch(evidence), evidence.training_id)


def figures_of(verification: Verification) -> list[Figure]:
    found = [verification.reliability, verification.random_regret]
    for worth in verification.worth:
        found += [worth.correlation, worth.chance, worth.within, worth.regret]
    return found + [batch.verdict for batch in verification.batches]


def test_a_rerun_does_only_what_a_crash_left_undone(verified: Verified) -> None:
    assert len(verified.at_crash) == CRASHED_AFTER
    assert {path: path.stat().st_mtime_ns for path in verified.at_crash} == verified.at_crash
    assert verified.progress == [(done, NUM_TRAININGS) for done in range(CRASHED_AFTER, NUM_TRAININGS + 1)]


def test_trainings_are_the_same_to_the_last_digit_on_any_number_of_processes(
    tmp_path: Path, verified: Verified
) -> None:
    make_base(str(tmp_path), SMALL)
    jobs = [list_jobs(SMALL)[place] for place in (1, 9)]
    assert len(list(run_jobs(str(tmp_path), SMALL, jobs, 2))) == 2
    for job in jobs:
        name = f"runs/{job.name}.json"
        assert (tmp_path / name).read_bytes() == (verified.page.parent / name).read_bytes()


def test_the_page_has_every_figure_with_its_interval_and_number(verified: Verified) -> None:
    verification, html = verified.verification, verified.page.read_text()
    assert json.loads(verified.page.with_suffix(".json").read_text()) == verification.model_dump(mode="json")
    assert verification.headline in unescape(html)
    assert len(verification.batches) == 7
    for figure in figures_of(verification):
        assert (figure.value is None) == (figure.status != "ok")
        assert f">{figure.n}<" in html or f"from {figure.n}<" in html
        if figure.value is not None and figure.unit != "p":
            assert figure.interval
            assert figure.interval in html
    for batch in verification.batches:
        assert {key for key, figure in batch.predictors.items() if figure.value is None} == set()
    assert html.count("<svg") == 8
    assert verification.collapse is not None
    assert verification.collapse.headline in unescape(html)
    assert verification.steered is None
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_steering_comes_after_the_batches_in_one_count_and_on_the_page(store: Store) -> None:
    subject = InventedWorld(
        batches=2, seeds=1, updates=4, base_updates=2, anchors=6, batch_tokens=600, steering_seeds=1, seed=4
    )
    progress: list[tuple[int, int]] = []
    verification, page = run_verification(store, "cpu", subject, 1, lambda done, total: progress.append((done, total)))
    assert [done for done, _ in progress] == [*range(7), *range(6, 13)]
    assert {total for _, total in progress} == {12}
    assert verification.steered is not None
    assert verification.steered.seeds == [4]
    assert verification.collapse is not None
    html = unescape(Path(page).read_text())
    assert verification.steered.headline in html
    assert verification.collapse.headline in html
    assert html.index("Whether steering pays") < html.index("What becomes of a loop")


def test_own_batches_are_judged_by_their_reports(store: Store, profile: Profile) -> None:
    fill(store, profile, MIN_FOR_A_FINDING)
    verification, page = run_verification(store, "cpu", OwnBatches(), 1, silent)
    assert len(verification.batches) == MIN_FOR_A_FINDING
    assert verification.collapse is None  # it is no matter of batches
    worth = {each.predictor: each for each in verification.worth}
    assert worth["gate_gain"].finding == "predicts"
    assert worth["gate_gain"].correlation.n == MIN_FOR_A_FINDING
    assert "delta_i.bits_per_byte" in worth
    assert not [key for key in worth if key.startswith("gain.")]  # half of each is the verdict
    reports = read_reports(store)
    for path in (path for path, words in WORDS.items() if words.predicts and not path.startswith("gain.")):
        assert (path in worth) == all(attrgetter(path)(report).value is not None for report in reports)
    assert "It is worth following" not in verification.headline  # it is known only when the training is done
    assert verification.headline in unescape(Path(page).read_text())
    gate, verdict = verification.batches[3].predictors["gate_gain"], verification.batches[3].verdict
    assert gate.n + verdict.n == 60


def fill_examined(store: Store, profile: Profile, gained: list[float], exam_id: str, first: int = 0) -> list[Examined]:
    """Write batches whose models sat an exam; on held-out text the first gain most. Returns what they answered."""
    found = []
    for number, more in enumerate(gained, start=first):
        training_id = f"{number:08x}{0:08x}"
        right = {"start": 0.27, "baseline": 0.38, "synthetic": 0.38 + more}
        exam = make_examined(right, None, 1, (1.0,), None, exam_id=exam_id, training_id=training_id)
        evidence = make_evidence(30, 0.2 - 0.02 * number, batch_id=f"batch{number:011d}", training_id=training_id)
        save_evidence(store, profile, evidence)
        save_examined(store, evidence.batch_id, exam)
        save_measurement(store, measure_batch(replace(evidence, examined=(exam,))))
        found.append(exam)
    return found


def test_where_reports_have_an_exam_its_gain_is_foretold_and_the_page_names_it(store: Store, profile: Profile) -> None:
    exams = fill_examined(store, profile, [0.02 * number**1.5 for number in range(7)], "e0a3")
    fill_examined(store, profile, [0.5, 0.6], "another", first=7)
    verification, page = run_verification(store, "cpu", OwnBatches(), 1, silent)
    html = unescape(Path(page).read_text())

    assert (
        "<b>The verdict</b> is the knowledge gained over repeating by exam e0a3, by choosing among options, on its"
        in html
    )
    assert "2 batches that it does not measure are left out" in verification.verdict
    assert "Gain on the dev part of exam e0a3" in html
    assert [batch.verdict.unit for batch in verification.batches] == ["points"] * 7
    final = exams[6].questions.filter(part="final")["question_id"].to_list()
    right = {
        arm: exams[6].answers[f"{arm}/0/1/closed"].filter(pl.col("question_id").is_in(final))["option_right"].mean()
        for arm in ("synthetic", "baseline")
    }
    last = verification.batches[6]
    assert last.verdict.value == pytest.approx(100 * (right["synthetic"] - right["baseline"]))
    assert (last.verdict.n, last.verdict.clusters, last.predictors["gate_gain"].n) == (64, 8, 64)
    worth = {each.predictor: each for each in verification.worth}
    assert worth["gate_gain"].correlation.value > 0.8
    assert worth["gain.advantage"].correlation.value < -0.8  # held-out text says the opposite here


def test_the_target_may_be_held_out_text_though_there_is_an_exam(store: Store, profile: Profile) -> None:
    fill_examined(store, profile, [0.0, 0.1], "e0a3")
    fill_examined(store, profile, [0.2], "another", first=2)
    verification, page = run_verification(store, "cpu", OwnBatches(target="text"), 1, silent)
    assert [batch.verdict.unit for batch in verification.batches] == ["bits/byte"] * 3
    assert verification.verdict.startswith("gain on held-out text, on the verdict's half")
    assert "Gain on the gate's half of held-out text" in unescape(Path(page).read_text())
    with pytest.raises(ValidationError, match="leave out target or questions"):
        OwnBatches(target="text", questions="questions.jsonl")


def test_an_exam_that_no_report_has_is_no_target(store: Store, profile: Profile) -> None:
    fill(store, profile, 2)
    with pytest.raises(BadInput, match=r"of 2 reports of trainings none has one.*set subject\.target to text"):
        run_verification(store, "cpu", OwnBatches(target="exam"), 1, silent)


def test_several_trainings_of_a_batch_count_as_its_seeds(store: Store, profile: Profile) -> None:
    fill(store, profile, 5, num_trainings=2)
    verification, _ = run_verification(store, "cpu", OwnBatches(), 1, silent)
    assert len(verification.batches) == 5
    assert verification.reliability.value == pytest.approx(1)
    for batch in verification.batches:
        first, second = batch.by_seed
        assert batch.verdict.value == pytest.approx((first + second) / 2)
        assert second > first


def test_a_training_that_was_measured_again_is_no_further_seed(store: Store, profile: Profile) -> None:
    fill(store, profile, 5)
    (old, *_) = read_reports(store)
    save_measurement(store, old.model_copy(update={"headline": "measured again", "created": now()}), "again")
    reports = read_reports(store)
    assert [report.batch for report in reports] == sorted({report.batch for report in reports})
    assert reports[0].headline == "measured again"


def test_a_few_own_batches_cannot_tell_and_the_page_says_how_many_are_needed(store: Store, profile: Profile) -> None:
    verification, page = run_verification(store, "cpu", OwnBatches(), 1, silent)
    assert "there are 0 batches" in verification.headline
    fill(store, profile, 2)
    verification, page = run_verification(store, "cpu", OwnBatches(), 1, silent)
    assert "there are 2 batches" in verification.headline
    assert "at least 12 are needed" in unescape(Path(page).read_text())


def test_questions_are_asked_of_every_checkpoint_once(tmp_path: Path, store: Store, profile: Profile) -> None:
    fill(store, profile, 5)
    folder = save_tiny_model(tmp_path / "model")
    row = {
        "parent": "",
        "role": "start",
        "batch_ids": [],
        "url": folder,
        "plan": {},
        "metrics": {},
        "created_at": now(),
    }
    store.insert(checkpoints=[row | {"checkpoint_id": f"c0ffee000000000{arm}"} for arm in (2, 3)])
    questions = tmp_path / "questions.jsonl"
    lines = [json.dumps({"prompt": f"The number after {n} is", "answer": str(n + 1)}) for n in range(20)]
    questions.write_text("\n".join(lines))
    verification, _ = run_verification(store, "cpu", OwnBatches(questions=str(questions)), 1, silent)
    assert {batch.verdict.unit for batch in verification.batches} == {"nats/answer"}
    assert {batch.verdict.value for batch in verification.batches} == {0}  # both arms are one model here
    asked = read_questions(str(questions))["text_id"].to_list()
    assert verification.batches[0].verdict.n == sum(half_of(text_id) == "verdict" for text_id in asked)
    assert "gain.advantage" in {each.predictor for each in verification.worth}
    assert len(list((tmp_path / "data" / "scores").glob("*probes*"))) == 2


@pytest.mark.parametrize("line", ["no json", '{"prompt": "a"}', '{"prompt": "a", "answer": 3}', '["a", "b"]'])
def test_a_line_that_is_no_question_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(f'{{"prompt": "a", "answer": "b"}}\n{line}\n')
    with pytest.raises(BadInput, match="line 2 is"):
        read_questions(str(path))


def test_a_file_of_questions_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.jsonl: .*Set subject\.questions"):
        read_questions(str(tmp_path / "none.jsonl"))


def test_a_subject_that_is_unknown_is_refused_with_those_known() -> None:
    with pytest.raises(Exception, match="known are batches, world"):
        verify.validate_parameters({"subject": {"kind": "oracle"}, "profile": "embedded"})

"""What becomes of each stage under each limit of the machine, and of a run that is stopped: a table.

    python -m tests.outcomes            # all of it, a minute or two; making small file systems takes root's rights
    python -m tests.outcomes train      # one stage

Every stage runs on a tiny corpus and tiny models, in a process of its own, in a small file system of its own: first
undisturbed, then under each harm, then again without it. A row says how the harmed run ended, and whether the run
after it ended with the rows of the undisturbed one.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import great_expectations

from flows.__main__ import say_what_failed
from flows.__stopping__ import Stop
from gainloop.evaluation.arms import Comparison
from gainloop.evaluation.likelihoods import Run, score_training
from gainloop.models import answers, pretraining, scoring
from gainloop.reports import batch, overview_page, page
from gainloop.serving import embedded
from gainloop.sources.files import Files
from gainloop.store import Store
from gainloop.store.batches import only_writer
from gainloop.store.checkpoints import checkpoint_folder
from gainloop.store.draws import plan_batch
from gainloop.store.measurements import resolve_training
from gainloop.store.snapshots import read_snapshot
from schemas.curation import Curation
from schemas.exam import Asking, ExamFiles
from schemas.profile import Profile
from schemas.recipe import Recipe, Sampling
from schemas.tables import KEYS
from tasks.evaluate import evaluate_points
from tasks.exam import make_exam
from tasks.generate import RunTotals, finish_batch, generate_records
from tasks.refresh import refresh_snapshot
from tasks.report import save_report
from tasks.train import finish_training, make_start, train_arm
from tasks.validate import validate_batch
from tests import exams
from tests.evidence import make_evidence, save_evidence
from tests.store.test_snapshots import make_snapshot, write_part
from tests.test_evaluate import quiet
from tests.test_generate import shards
from tests.test_train import PLAN, QUIET, START, write_batch
from tests.test_validate import good_anchors, good_texts, make_world
from tests.tiny_model import TEXTS

IMPORTED: Final = (great_expectations, answers, pretraining, scoring, batch, overview_page, page, embedded)
"""What stages import when they begin; here it is there before any limit holds."""

CORPUS: Final = Path(tempfile.gettempdir(), "gainloop-outcomes")
OF_ONE_RUN: Final = {"summary", "report", "decision", "url", "metrics", "source", "source_id", "about"}
"""Columns that say when, where or how fast a run did something."""

DISK_MB: Final = 96
HEADROOM_BYTES: Final = 40 * 2**20

NO_ROOM_FOR_A_THREAD: Final = 127
"""The status with which the C library ends a process: "cannot allocate memory for thread-local data: ABORT"."""


@dataclass(frozen=True)
class Place:
    """A folder, and in it the store, the profile and the corpus of one stage."""

    folder: Path

    @property
    def profile(self) -> Profile:
        store = {"url": str(self.folder / "x.duckdb"), "lock_seconds": 20}
        return Profile.model_validate({"name": "outcomes", "folder": str(self.folder), "store": store})

    @property
    def store(self) -> Store:
        return Store(str(self.folder / "x.duckdb"), str(self.folder))

    def rows(self) -> dict[str, list[Any]]:
        frames = {table: self.store.query(f"from {table} order by all") for table in KEYS}
        kept = {
            table: [name for name in frame.columns if not name.endswith("_at") and name not in OF_ONE_RUN]
            for table, frame in frames.items()
        }
        return {table: sorted(map(repr, frame.select(kept[table]).rows())) for table, frame in frames.items()}


def write_corpus(_place: Place) -> None:
    CORPUS.mkdir(exist_ok=True)
    for number, text in enumerate(TEXTS):
        (CORPUS / f"{number}.md").write_text(text)


def refresh(place: Place) -> None:
    refresh_snapshot(place.store, Files(paths=[str(CORPUS)]), 0.25)


def write_snapshot(place: Place) -> None:
    write_part(place.store, "a", "1", TEXTS)
    make_snapshot(place.store, {"a": "1"}, heldout_fraction=0.25)


def pretrain(place: Place) -> str:
    snapshot_id = read_snapshot(place.store)["snapshot_id"]
    return make_start(place.store, place.profile.training, snapshot_id, START, QUIET)


def before_generate(place: Place) -> None:
    write_snapshot(place)
    pretrain(place)


def generate(place: Place) -> None:
    store, start_id = place.store, pretrain(place)
    recipe = Recipe(
        method={"kind": "sbp", "draws": 2},
        snapshot_id=read_snapshot(store)["snapshot_id"],
        model="start",
        revision=start_id,
        sampling=Sampling(max_tokens=48),
    )
    plan_batch(store, recipe)
    with only_writer(store, recipe.batch_id):
        for span in shards(place.profile, recipe):
            generate_records(store, place.profile, recipe, checkpoint_folder(store, start_id), span, {})
        finish_batch(store, place.profile.prices, recipe, RunTotals())


def write_world(place: Place) -> None:
    make_world(place.store, good_texts(), good_anchors())


def validate(place: Place) -> None:
    (batch_id,) = place.store.query("select batch_id from batches")["batch_id"]
    validate_batch(place.store, batch_id, Curation())


def before_train(place: Place) -> None:
    before_generate(place)
    write_batch(place.store, read_snapshot(place.store)["snapshot_id"], seed=0)


def compared(place: Place) -> Comparison:
    (batch_id,) = place.store.query("select batch_id from batches")["batch_id"]
    return Comparison(batch_id, pretrain(place), PLAN)


def train(place: Place) -> list[Run]:
    of = compared(place)
    return [Run(arm, 0, train_arm(place.store, place.profile.training, of, 0, arm, QUIET)) for arm in of.arms]


def before_score(place: Place) -> None:
    before_train(place)
    train(place)


def score(place: Place) -> None:
    of, runs = compared(place), train(place)
    scores = score_training(place.store, "cpu", of, runs, quiet)
    finish_training(place.store, of, runs, scores, 1.0)


def before_evaluate(place: Place) -> None:
    exams.fill(place.store, exams.documents(), heldout_fraction=0.3)
    start_id, snapshot_id = pretrain(place), read_snapshot(place.store)["snapshot_id"]
    asked = exams.write_rows(place.folder / "q.jsonl", exams.rows())
    make_exam(place.store, ExamFiles(paths=[str(asked)]), "latest")
    batch_id = write_batch(place.store, snapshot_id, seed=0)
    of = Comparison(batch_id, start_id, PLAN)
    runs = train(place)
    finish_training(place.store, of, runs, score_training(place.store, "cpu", of, runs, quiet), 1.0)


def evaluate(place: Place) -> None:
    (exam_id,) = place.store.query("select exam_id from exams")["exam_id"]
    of = compared(place)
    evaluate_points(place.store, place.profile, of.batch_id, of.training_id, exam_id, Asking(), quiet)


def before_report(place: Place) -> None:
    save_evidence(place.store, place.profile, make_evidence())


def report(place: Place) -> None:
    (batch_id,) = place.store.query("select batch_id from batches")["batch_id"]
    save_report(place.store, place.profile.gate, batch_id, resolve_training(place.store, batch_id))


STAGES: Final[dict[str, tuple[Callable[[Place], object], Callable[[Place], object]]]] = {
    "refresh": (write_corpus, refresh),
    "start": (write_snapshot, pretrain),
    "generate": (before_generate, generate),
    "validate": (write_world, validate),
    "train": (before_train, train),
    "score": (before_score, score),
    "evaluate": (before_evaluate, evaluate),
    "report": (before_report, report),
}
"""By stage: what is there before it, and the stage itself."""


@dataclass(frozen=True)
class Ended:
    """How a process ended: 0 well, 1 with an error, 127 by the C library, 143 stopped, below 0 by a signal.

    Attributes:
        said: Its last line.
    """

    status: int
    said: str
    seconds: float


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    stage: str
    harm: str
    harmed: Ended
    again: Ended
    is_same: bool

    @property
    def is_well(self) -> bool:
        """Whether the harm was named, or did no harm, and the run after it made what an undisturbed one makes."""
        expected = HARMS[self.harm]
        ended = self.harmed.status in (0, *expected.statuses)
        return ended and (self.harmed.status != 1 or expected.words in self.harmed.said) and self.is_same


@dataclass(frozen=True)
class Harm:
    """Something that befalls a run.

    Attributes:
        words: What its error must say.
        statuses: How it may end.
        within: Sets a limit in the run's own process.
        around: Changes the file system for the run.
        signal: Sent in the middle of it.
    """

    words: str
    statuses: tuple[int, ...] = (1,)
    within: Callable[[], None] = lambda: None
    around: Callable[[Path, bool], None] = lambda _disk, _on: None
    signal: int = 0


def limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + HEADROOM_BYTES, resource.RLIM_INFINITY))


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


def fill_disk(disk: Path, on: bool) -> None:
    filler = disk / "filler"
    if not on:
        filler.unlink()
        return
    with filler.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass


def remount(disk: Path, on: bool) -> None:
    subprocess.run(["mount", "-o", f"remount,{'ro' if on else 'rw'}", str(disk)], check=True)


HARMS: Final = {
    "full disk": Harm("No space left on device", around=fill_disk),
    "read-only folder": Harm("Read-only file system", around=remount),
    "limit on file sizes": Harm("File too large", within=limit_files),
    # A library in Rust ends its process where an allocation fails, and the C library where a new thread has no room
    # for its data; nothing can catch either: as after a kill.
    "limit on memory": Harm("memory", (1, -signal.SIGABRT, NO_ROOM_FOR_A_THREAD), within=limit_memory),
    "SIGTERM": Harm("", (143,), signal=signal.SIGTERM),
    "SIGKILL": Harm("", (-signal.SIGKILL,), signal=signal.SIGKILL),
}


def run_apart(work: Callable[[Place], object], place: Place, harm: Harm, after_seconds: float = 0.0) -> Ended:
    """Run a stage in a process of its own. It is a copy of this one, which has opened no store and computed nothing."""
    begun, (reader, writer) = time.monotonic(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _live(work, place, harm, writer)
    os.close(writer)
    if harm.signal:
        time.sleep(after_seconds)
        os.kill(child, harm.signal)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return Ended(os.waitstatus_to_exitcode(status), said, time.monotonic() - begun)


def _live(work: Callable[[Place], object], place: Place, harm: Harm, writer: int) -> None:
    stop, status, said = Stop(lambda: None), 0, ""
    try:
        harm.within()
        work(place)
    except BaseException as error:  # nothing may leave a copy of a process
        status, said = (stop.status, "") if stop.was_told(error) else (1, say_what_failed("running", error))
    os.write(writer, said.encode())
    os._exit(status)


@contextmanager
def small_disk() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def measure(stage: str) -> Iterator[Row]:
    """Yield what becomes of a stage under each harm."""
    prepare, work = STAGES[stage]
    with tempfile.TemporaryDirectory() as kept:
        before, whole = Place(Path(kept, "before")), Place(Path(kept, "whole"))
        before.folder.mkdir()
        _require_well(run_apart(prepare, before, Harm("")))
        shutil.copytree(before.folder, whole.folder)
        undisturbed = run_apart(work, whole, Harm(""))
        _require_well(undisturbed)
        for name, harm in HARMS.items():
            with small_disk() as disk:
                place = Place(disk / "place")
                shutil.copytree(before.folder, place.folder)
                harm.around(disk, True)
                harmed = run_apart(work, place, harm, undisturbed.seconds / 2)
                harm.around(disk, False)
                again = run_apart(work, place, Harm(""))
                is_same = run_apart(lambda place: _require_same(place, whole), place, Harm("")).status == 0
                yield Row(stage, name, harmed, again, again.status == 0 and is_same)


def _require_well(ended: Ended) -> None:
    if ended.status:
        raise RuntimeError(f"{ended.status}: {ended.said}")


def _require_same(place: Place, whole: Place) -> None:
    if place.rows() != whole.rows():
        raise RuntimeError("other rows")


SILENT: Final = {0: "done: the limit was not reached", NO_ROOM_FOR_A_THREAD: "ended by the C library", 143: "stopped"}


def as_line(row: Row) -> str:
    found = row.harmed.said.partition("; ")[0] or SILENT.get(row.harmed.status, f"ended by signal {-row.harmed.status}")
    again = "the same rows" if row.is_same else f"other rows, or {row.again.said or row.again.status}"
    return f"| {row.stage} | {row.harm} | {found} | {again} | {'yes' if row.is_well else 'NO'} |"


def main(stages: list[str]) -> int:
    """Print the table; return 1 if a line of it is not as it must be."""
    print("| Stage | Harm | It ends with | Run again | As it must be |\n|---|---|---|---|---|", flush=True)
    is_well = True
    for stage in stages or STAGES:
        for row in measure(stage):
            print(as_line(row), flush=True)
            is_well &= row.is_well
    return int(not is_well)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

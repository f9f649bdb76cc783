"""Evaluation: the answers of checkpoints to an exam, what they amount to, and what was forgotten."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.evaluation.answering import Sitting, answer, find_answers, ungraded
from gainloop.evaluation.likelihoods import MAX_SCORED, general_set, score_set
from gainloop.evaluation.results import as_table, tabulate
from gainloop.evaluation.retrieval import open_search, recall
from gainloop.store import Store, open_store
from gainloop.store.batches import complete_stage, list_summaries, only_writer, read_recipe, stage_summary
from gainloop.store.checkpoints import checkpoint_folder
from gainloop.store.exams import read_answers, read_exam
from gainloop.store.snapshots import whole_documents
from schemas.errors import BadInput
from schemas.exam import AnyExam, Asking, Condition, Exam, WrittenExam
from schemas.plan import Checkpoint
from schemas.profile import Profile
from schemas.rows import content_hash
from tasks.artifacts import create_markdown_artifact
from tasks.exam import require_unguessable
from tasks.grade import OnDone, ask_served, grade_answers
from tasks.progress import Bar
from tasks.runner import slot
from tasks.train import make_start

logger = logging.getLogger("gainloop.evaluate")

STAGE = "evaluate"

Urls = dict[str, str]


class Point(NamedTuple):
    """One checkpoint along the run of an arm: ``fraction`` of its tokens are read; the start is at 0."""

    arm: str
    seed: int
    fraction: float
    checkpoint_id: str

    @property
    def name(self) -> str:
        return f"{self.arm}/{self.seed}/{self.fraction:g}"


def points_of(training: Mapping[str, Any]) -> list[Point]:
    """Return the checkpoints of a training, from its summary: the start first, then each arm's points in order.

    >>> [point.name for point in points_of({"checkpoints": {"start": "s", "synthetic": "x"}})]
    ['start/0/0', 'synthetic/0/1']
    """
    checkpoints = training["checkpoints"]
    start = Point("start", 0, 0, checkpoints["start"])
    if "arms" not in training:
        others = [Point(arm, 0, 1, one) for arm, one in checkpoints.items() if arm not in ("start", "synthesizer")]
        return [start, *others]
    arms = [
        Point(run["arm"], run["seed"], point["fraction"], point["checkpoint"])
        for run in training["arms"]
        for point in run["points"]
        if run["arm"] != "start"
    ]
    return [start, *arms]


def conditions_of(point: Point) -> tuple[Condition, ...]:
    """Return how a point is asked in a cycle: open book only where a claim needs it, since it costs the most."""
    is_end = point.arm == "synthetic" and point.seed == 0 and point.fraction == 1
    return ("closed", "open") if point.arm == "start" or is_end else ("closed",)


def examine(
    store: Store,
    profile: Profile,
    exam: Exam,
    checkpoint_id: str,
    conditions: Sequence[Condition],
    asking: Asking,
    bar: OnDone,
) -> Urls:
    """Return the urls of a checkpoint's answers by condition; ask what was not asked before."""
    sittings = [Sitting(exam, condition, asking) for condition in conditions]
    urls = {one.condition: find_answers(store, checkpoint_id, one) for one in sittings}
    missing = [one for one in sittings if urls[one.condition] is None]
    is_graded = "graded" in asking.gradings
    unasked = [ungraded(one) if is_graded else one for one in missing]
    if unasked:
        from gainloop.models.answers import open_examinee

        examinee = open_examinee(checkpoint_folder(store, checkpoint_id), profile.training.device)
        for done, one in enumerate(unasked):
            step = _Part(bar, done, len(unasked), len(exam.questions), one.condition)
            urls[one.condition] = answer(store, examinee, checkpoint_id, one, step)
        del examinee
    if is_graded:
        for one in missing:
            urls[one.condition] = grade_answers(store, profile, checkpoint_id, one)
    return {condition: url for condition, url in urls.items() if url}


def score_general(
    store: Store, device: str, batch_id: str, training: Mapping[str, Any], points: Sequence[Point]
) -> Urls:
    """Return the urls of the likelihoods of general text under each checkpoint: what was forgotten.

    It is the text that the training was measured on, so that nothing is scored twice.
    """
    snapshot_id, start_id = read_recipe(store, batch_id).snapshot_id, training["checkpoints"]["start"]
    most = training.get("scored_texts", MAX_SCORED)
    texts = general_set(store, device, training.get("general", ""), start_id, snapshot_id, most)
    return {point.name: score_set(store, device, point.checkpoint_id, texts) for point in points}


def find_evaluation(
    store: Store, batch_id: str, training_id: str, exam_id: str = "", asking: Asking | None = None
) -> dict[str, Any] | None:
    """Return the summary of a training's last evaluation, by any exam or by one asked in one way; None if none is."""
    wanted = asking.model_dump(mode="json") if asking else None
    for key, summary in list_summaries(store, batch_id, STAGE):
        is_wanted = exam_id in ("", summary["exam"]) and wanted in (None, summary["asking"])
        if key.partition("-")[0] == training_id and is_wanted:
            return summary
    return None


def evaluate_points(
    store: Store, profile: Profile, batch_id: str, training_id: str, exam_id: str, asking: Asking, bar: OnDone
) -> dict[str, Any]:
    """Examine every point of a training and score the general set under each; return the summary.

    Returns:
        ``exam``, ``urls`` by ``<arm>/<seed>/<fraction>/<condition>``, ``general`` by ``<arm>/<seed>/<fraction>``, the
        settings (``asking``) and the seconds.
    """
    if found := find_evaluation(store, batch_id, training_id, exam_id, asking):
        return found
    begun, exam = time.monotonic(), read_exam(store, exam_id)
    training = stage_summary(store, batch_id, "train", training_id)
    assert training is not None
    points, urls = points_of(training), Urls()
    for done, point in enumerate(points):
        step = _Part(bar, done, len(points), len(exam.questions), point.name)
        answers = examine(store, profile, exam, point.checkpoint_id, conditions_of(point), asking, step)
        urls |= {f"{point.name}/{condition}": store.keep(url) for condition, url in answers.items()}
    general = score_general(store, profile.training.device, batch_id, training, points)
    summary = {
        "exam": exam_id,
        "urls": urls,
        "general": {name: store.keep(url) for name, url in general.items()},
        "asking": asking.model_dump(mode="json"),
        "seconds": time.monotonic() - begun,
    }
    is_other = find_evaluation(store, batch_id, training_id) is not None
    other = f"{training_id}-{content_hash(exam_id, summary['asking'])}"
    complete_stage(store, batch_id, STAGE, summary, other if is_other else training_id)
    return summary


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of a bar that one of several exams of ``size`` questions has."""

    bar: OnDone
    done: int
    total: int
    size: int
    name: str

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        said = ", ".join(filter(None, [self.name, note]))
        self.bar(self.size * self.done + self.size * done // max(1, total), self.size * self.total, said)


def require_asked(checkpoints: Sequence[str], served: Sequence[str], asking: Asking) -> None:
    """Refuse an evaluation that asks nobody, or a served model by likelihood alone.

    Raises:
        BadInput: There is no model, or one that cannot be asked so.
    """
    if not checkpoints and not served:
        raise BadInput(
            "evaluating: no model is named; one at least is needed. Set checkpoints to folders, hub ids, .gguf files "
            "or ids of the store, or served to models of the profile's servers."
        )
    if served and set(asking.gradings) == {"likelihood"}:
        raise BadInput(
            f"evaluating {', '.join(served)}: asking.gradings is likelihood; a served model is graded by what it "
            "writes. Add short or graded to asking.gradings."
        )


def recall_summary(exam: Exam, store: Store, asking: Asking) -> str:
    """Return how often a search finds the right piece."""
    found = recall(open_search(whole_documents(store, exam.snapshot_id)), exam.questions, asking.titled)
    shares = ", ".join(f"{100 * share:.0f} % within {cut}" for cut, share in found.items())
    return f"the search finds the right piece for {shares}"


def _named(store: Store, profile: Profile, models: Sequence[str]) -> Iterator[tuple[str, str]]:
    for model in models:
        named = Checkpoint(model=model)
        yield model, make_start(store, profile.training, "", named, Bar("copy the checkpoint", "steps"))


@task(cache_policy=NO_CACHE, task_run_name="find checkpoints")
def find_checkpoints(profile: Profile, models: Sequence[str]) -> dict[str, str]:
    """Return the ids of checkpoints by the names they were given; a folder, hub id or file is copied into the store."""
    return dict(_named(open_store(profile), profile, models))


@task(cache_policy=NO_CACHE, task_run_name="ask {name}")
def ask_checkpoint(
    profile: Profile, exam_id: str, name: str, checkpoint_id: str, conditions: Sequence[Condition], asking: Asking
) -> Urls:
    store = open_store(profile)
    with Bar(f"ask {name}", "questions") as bar:
        answers = examine(store, profile, read_exam(store, exam_id), checkpoint_id, conditions, asking, bar)
    return {f"{name}/{condition}": store.keep(url) for condition, url in answers.items()}


@task(cache_policy=NO_CACHE, task_run_name="ask the served {model}")
def ask_model(profile: Profile, exam_id: str, model: str, conditions: Sequence[Condition], asking: Asking) -> Urls:
    store = open_store(profile)
    exam = read_exam(store, exam_id)
    with slot(profile), Bar(f"ask {model}", "documents") as bar:
        urls = {one: ask_served(store, profile, model, Sitting(exam, one, asking), bar) for one in conditions}
    return {f"{model}/{condition}": store.keep(url) for condition, url in urls.items()}


@task(cache_policy=NO_CACHE, task_run_name="evaluate {training_id}")
def evaluate_training(profile: Profile, batch_id: str, training_id: str, exam_id: str, asking: Asking) -> Urls:
    store = open_store(profile)
    with only_writer(store, batch_id), Bar("ask the checkpoints", "questions") as bar:
        summary = evaluate_points(store, profile, batch_id, training_id, exam_id, asking, bar)
    urls: Urls = summary["urls"]
    return urls


def guess(profile: Profile, exam: AnyExam, exam_id: str, asking: Asking) -> None:
    """Measure what the guesser of a written exam gets right of it, and refuse one that it passes.

    Raises:
        BadInput: It passes.
    """
    if isinstance(exam, WrittenExam) and exam.guesser:
        (checkpoint_id,) = find_checkpoints(profile, [exam.guesser]).values()
        likely = asking.model_copy(update={"gradings": ("likelihood",)})
        (url,) = ask_checkpoint(profile, exam_id, exam.guesser, checkpoint_id, ("closed",), likely).values()
        store = open_store(profile)
        require_unguessable(exam, read_answers(store.locate(url)))


def show_answers(profile: Profile, exam_id: str, urls: Urls, asking: Asking) -> str:
    """Return what answers amount to, and put it on the run's page."""
    store = open_store(profile)
    exam = read_exam(store, exam_id)
    told = "the document's title given" if asking.titled else "without the document's title"
    head = f"Exam {exam_id}: {len(exam.questions):,} questions, {told}; intervals are over documents."
    if any(name.endswith("/retrieved") for name in urls):
        head += f" With {asking.pieces} pieces: {recall_summary(exam, store, asking)}."
    table = as_table(tabulate({name: read_answers(store.locate(url)) for name, url in urls.items()}))
    create_markdown_artifact(key=f"exam-{exam_id}", markdown=f"{head}\n\n{table}", description="What models answered")
    return f"{head}\n{table}"


def complete_evaluation(profile: Profile, exam_id: str, urls: Urls, asking: Asking) -> None:
    """Record what was asked of which checkpoints outside any training."""
    store = open_store(profile)
    summary = {"exam": exam_id, "urls": urls, "general": {}, "asking": asking.model_dump(mode="json")}
    key = content_hash("evaluation", exam_id, urls)
    complete_stage(store, read_exam(store, exam_id).snapshot_id, STAGE, summary, key)

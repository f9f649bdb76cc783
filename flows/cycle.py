"""The main job: refresh a corpus, generate from it, validate, train, examine, and say what was gained."""

from prefect import flow, get_run_logger

from flows.generate import find_since, generate, say_passed
from flows.judge import judge as ask
from flows.probe import ask_first
from flows.refresh import HeldoutFraction, refresh
from flows.score import score
from flows.train import train_arms
from flows.validate import validate
from gainloop.curation.probes import read_probes
from gainloop.evaluation.arms import Comparison
from gainloop.methods import SmallMaking, require_generator, require_objective
from gainloop.sources import AnySource
from gainloop.store import open_store
from gainloop.store.batches import page_of
from gainloop.store.spending import require_left, say_day
from schemas.curation import Curation
from schemas.errors import DaySpent, NothingNew
from schemas.exam import AnyExam, Asking, WrittenExam
from schemas.form import SHUT, Folded
from schemas.plan import Accepted, AnyPlan, AnyStart, Checkpoint
from schemas.profile import load_profile
from schemas.recipe import AnyGenerator, Judge, Own, Scoring
from tasks.evaluate import evaluate_training, guess, show_answers
from tasks.exam import prepare_exam
from tasks.judge import find_judge
from tasks.progress import Stages, ended
from tasks.refresh import find_general
from tasks.report import as_finished, as_held, headline_of, make_report, show_report, why_held
from tasks.train import adopt_start, find_start, reads_turns, require_trainable, warn_of_little_text


@flow(name="cycle", flow_run_name="cycle-{text.method.kind}-on-{source.kind}")
def cycle(
    source: Folded[AnySource] = SHUT,
    text: Folded[SmallMaking] = SHUT,
    generator: Folded[AnyGenerator] = SHUT,
    start: Folded[AnyStart] = SHUT,
    curation: Folded[Curation] = SHUT,
    scoring: Folded[Scoring] = SHUT,
    judge: Judge | None = None,
    exam: AnyExam | None = None,
    asking: Folded[Asking] = SHUT,
    plan: AnyPlan = SHUT,
    general: AnySource | None = None,
    heldout_fraction: HeldoutFraction = 0.05,
    dry_run: bool = False,
    release: str = "",
    profile: str = "embedded",
) -> str:
    """Return the path of the report's page, of a dry run the batch's id, and re-use whatever is there already.

    Where the tokens of the day are spent it ends with nothing, and says when the next can start.

    Args:
        source: Source of the documents.
        generator: Generator that writes the text: one's own, the start checkpoint, or a served model.
        start: Model that everything starts from: a new one made from the anchors, a checkpoint, or the one that the
            corpus's latest accepted batch made.
        exam: Exam that every checkpoint takes, or none: from files, written by a model, or one that the store has.
        general: Source of text that has nothing to do with the corpus: to measure forgetting on, to replay, and for the
            replay control. Default: text that the start itself writes.
        heldout_fraction: Part of the documents that is neither generated from nor trained on.
        dry_run: Stop after the pre-flight of generate. A generator of one's own is made before it, and an exam read.
        release: Reason to train on a batch that the gate holds; it is recorded, and holds for that batch.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    loaded = load_profile(profile)
    require_generator(loaded, text, generator)
    require_objective(plan, [text.method])
    read_probes(curation.probes)  # one that cannot be read is an error now, not hours later
    if not dry_run:
        require_trainable(loaded)
    if judge:
        find_judge(loaded, judge)  # before anything costs time
    chats = (isinstance(generator, Own) and not text.method.tunes_generator) or reads_turns(text.method, plan)
    if isinstance(start, Checkpoint):
        start = adopt_start(loaded, start, chats)
    elif isinstance(start, Accepted):
        adopt_start(loaded, start.first_checkpoint, chats)
    asks_first = exam is not None and plan.probe_share > 0 and not release  # what is released is not held by it
    with Stages(list_stages(judge, exam, dry_run, asks_first)) as stage:
        stage("refresh")
        snapshot_id = refresh(source, profile, heldout_fraction)
        warn_of_little_text(open_store(loaded), snapshot_id, start)
        try:
            find_since(open_store(loaded), snapshot_id, text)
            if text.day_tokens:
                require_left(open_store(loaded), snapshot_id, text.day_tokens)
        except NothingNew as nothing:
            stage.end("nothing new")
            return ended(str(nothing), page_of(open_store(loaded), nothing.batch_id))
        except DaySpent as spent:
            stage.end("the budget of the day is spent")
            return ended(str(spent), "")
        if isinstance(start, Accepted):
            start = Checkpoint(model=find_start(loaded, snapshot_id, start))
        general_id = find_general(loaded, general)
        exam_id = ""
        if exam and is_read(exam, dry_run):
            stage("exam")  # before anything is paid for
            exam_id = prepare_exam(loaded, exam, snapshot_id)
        stage("generate")
        if isinstance(generator, Own):
            start = Checkpoint(model=find_start(loaded, snapshot_id, start))
        if exam and exam_id and not dry_run:
            guess(loaded, exam, exam_id, asking)
        batch_id = generate(text, generator, snapshot_id, start, dry_run, profile)
        if not batch_id:
            stage.end("the budget of the day is spent")
            return ended(say_day(open_store(loaded), text.day_tokens or 0), "")
        if dry_run:
            return ended(say_passed(batch_id), batch_id)
        stage("validate")
        validate(batch_id, curation, profile)
        stage("score")
        score(batch_id, scoring, profile)
        if judge:
            stage("judge")
            ask(judge, batch_id, profile)
        stage("gate")
        start_id = find_start(loaded, snapshot_id, start)
        if held := why_held(loaded, batch_id, start_id, release):
            stage.end("held")
            return as_held(held)
        of = Comparison(batch_id, start_id, plan, general_id)
        if asks_first:
            stage("probe")
            if said := ask_first(loaded, of, exam_id, asking):
                get_run_logger().info(said)
            if held := why_held(loaded, batch_id, start_id, release):
                stage.end("held")
                return as_held(held)
        stage("train")
        training_id = train_arms(loaded, of)
        if exam_id:
            stage("evaluate")
            urls = evaluate_training(loaded, batch_id, training_id, exam_id, asking)
            get_run_logger().info(show_answers(loaded, exam_id, urls, asking))
        stage("report")
        page = make_report(loaded, batch_id, training_id)
        get_run_logger().info(show_report(loaded, batch_id, training_id))
        stage.end(headline_of(loaded, batch_id, training_id))
    return as_finished(loaded, batch_id, training_id, page)


def is_read(exam: AnyExam, dry_run: bool) -> bool:
    """Tell whether a run reads an exam: a dry run has none written, which takes as long as a batch."""
    return not (dry_run and isinstance(exam, WrittenExam))


def list_stages(judge: Judge | None, exam: AnyExam | None, dry_run: bool, asks_first: bool) -> list[str]:
    """Return the stages that a cycle has, in order; a batch that is held has no more after gate or probe.

    >>> list_stages(None, None, dry_run=True, asks_first=False)
    ['refresh', 'generate']
    """
    asked = ["exam"] if exam and is_read(exam, dry_run) else []
    made = ["refresh", *asked, "generate"]
    if dry_run:
        return made
    judged, examined = (["judge"] if judge else []), (["evaluate"] if exam else [])
    asked_first = ["probe"] if asks_first else []
    return [*made, "validate", "score", *judged, "gate", *asked_first, "train", *examined, "report"]

"""Run the protocol of a paper with the product's own parts: SBP from scratch, or EntiGraph closed book."""

from prefect import flow, get_run_logger

from flows.generate import find_generator, make_batch
from gainloop.methods import Making, require_generator
from gainloop.sources import AnySource
from gainloop.store import open_store
from gainloop.studies.bootstrapped import list_arms, tuned_method
from gainloop.studies.protocols import AnyProtocol, EntiGraphProtocol, SBPProtocol
from schemas.errors import BadInput
from schemas.exam import AnyExam, Asking, Condition
from schemas.form import SHUT, Folded
from schemas.plan import Checkpoint
from schemas.profile import Profile, load_profile
from schemas.protocol import ProtocolReport
from schemas.recipe import AnyGenerator, Own
from tasks.exam import prepare_exam
from tasks.progress import Stages, ended
from tasks.protocol import (
    Ground,
    ask_models,
    find_readings,
    prepare_blanks,
    publish_protocol,
    read_corpus,
    save_protocol,
    score_arms_along,
    train_protocol_arm,
    train_protocol_reading,
    unique_tokens,
)
from tasks.protocol_report import report_entigraph, report_sbp
from tasks.refresh import find_general
from tasks.train import adopt_start, require_trainable

EVERY: tuple[Condition, ...] = ("closed", "retrieved", "open")


@flow(name="protocol", flow_run_name="protocol-{paper.kind}")
def protocol(
    paper: Folded[AnyProtocol] = SHUT,
    source: Folded[AnySource] = SHUT,
    general: AnySource | None = None,
    exam: AnyExam | None = None,
    asking: Folded[Asking] = SHUT,
    generator: Folded[AnyGenerator] = SHUT,
    profile: str = "embedded",
) -> str:
    """Return the path of a page with the paper's tables, at the size that was run; what is there is not made again.

    Args:
        paper: Protocol that is run: sbp (from scratch at one budget) or entigraph (continued, closed book).
        source: Source of the documents.
        general: Source of text that has nothing to do with the corpus: to measure on (sbp), or to replay (entigraph).
        exam: Exam about the documents, which entigraph needs: from files, written by a model, or one of the store.
        generator: Generator that writes the text of entigraph: the start itself, or a served model.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    loaded = load_profile(profile)
    require_trainable(loaded)
    if isinstance(paper, SBPProtocol):
        report = run_sbp(loaded, paper, source, general)
    else:
        report = run_entigraph(loaded, paper, source, general, require_exam(exam), asking, generator)
    page = save_protocol(open_store(loaded), report)
    publish_protocol(loaded, report, page)
    get_run_logger().info(report.headline)
    return ended(report.headline, page)


def require_exam(exam: AnyExam | None) -> AnyExam:
    """Return the exam; entigraph asks about the documents, so that it cannot be without.

    Raises:
        BadInput: There is none.
    """
    if exam is None:
        raise BadInput(
            "running the protocol entigraph: exam is not set; questions about the documents are needed. Set exam.paths "
            "to files of questions, such as QuALITY's, or exam.model to a model that writes them."
        )
    return exam


def run_sbp(loaded: Profile, paper: SBPProtocol, source: AnySource, general: AnySource | None) -> ProtocolReport:
    """Train every arm from nothing at one budget, and say what SBP recovered of what fresh text would gain."""
    require_generator(loaded, Making(method=paper.method), Own())
    first, *others = list_arms(paper)
    with Stages(["refresh", "repetition", "text", "arms", "scores"]) as stage:
        stage("refresh")
        snapshot_id = read_corpus(loaded, source, 1 - paper.unique)
        general_id = find_general(loaded, general)
        stage("repetition")
        blanks = prepare_blanks(loaded, paper, snapshot_id)
        trained = {
            (first.name, seed): train_protocol_arm(loaded, paper, first, seed, snapshot_id)
            for seed in range(paper.seeds)
        }
        stage("text")
        start_id = trained[first.name, 0][-1]
        by_chance = {arm.by_chance for arm in others if arm.share}
        batches = {
            one: write_related(loaded, paper, one, snapshot_id, start_id, blanks[0]) for one in sorted(by_chance)
        }
        stage("arms")
        for seed in range(paper.seeds):
            for arm in others:
                batch_id = batches[arm.by_chance] if arm.share else ""
                trained[arm.name, seed] = train_protocol_arm(loaded, paper, arm, seed, snapshot_id, batch_id)
        stage("scores")
        score_arms_along(loaded, paper, trained, snapshot_id, general_id)
        report = report_sbp(loaded, paper, trained, snapshot_id, general_id, batches, blanks[0])
        stage.end(report.headline)
    return report


def write_related(
    loaded: Profile, paper: SBPProtocol, by_chance: bool, snapshot_id: str, start_id: str, blank_id: str
) -> str:
    """Return the batch of a generator tuned on pairs of the unique documents, by likeness or drawn at random."""
    num_tokens, _ = unique_tokens(open_store(loaded), paper, snapshot_id, blank_id)
    method = tuned_method(paper, by_chance, num_tokens)
    text = Making(method=method, sampling=paper.sampling)
    model, revision, folder = find_generator(loaded, snapshot_id, text, Own(), Checkpoint(model=start_id))
    return make_batch(loaded, text.recipe(snapshot_id, model, revision), folder)


def run_entigraph(
    loaded: Profile,
    paper: EntiGraphProtocol,
    source: AnySource,
    general: AnySource | None,
    exam: AnyExam,
    asking: Asking,
    generator: AnyGenerator,
) -> ProtocolReport:
    """Continue a model on the documents, on rephrasings and on more and more of EntiGraph's text, and examine each."""
    methods = {"rephrase": paper.rephrase, "entigraph": paper.entigraph}
    texts = {
        name: Making(method=method, sampling=paper.sampling, max_anchors=paper.max_anchors, seed=paper.seed)
        for name, method in methods.items()
    }
    for text in texts.values():
        require_generator(loaded, text, generator)
    start = adopt_start(loaded, paper.start, isinstance(generator, Own))
    with Stages(["refresh", "exam", "text", "arms", "answers"]) as stage:
        stage("refresh")
        snapshot_id = read_corpus(loaded, source, 0.0)
        general_id = find_general(loaded, general)
        stage("exam")
        exam_id = prepare_exam(loaded, exam, snapshot_id)
        stage("text")
        batches = []
        for text in texts.values():
            model, revision, folder = find_generator(loaded, snapshot_id, text, generator, start)
            batches.append(make_batch(loaded, text.recipe(snapshot_id, model, revision), folder))
        ground = Ground(snapshot_id, general_id, start.model, (batches[0], batches[1]))
        readings = find_readings(open_store(loaded), paper, ground)
        stage("arms")
        trained = [
            [train_protocol_reading(loaded, paper, number, seed, ground) for seed in range(paper.seeds)]
            for number in range(len(readings))
        ]
        stage("answers")
        asked = [ask_models(loaded, exam_id, "start", [start.model], EVERY, asking)]
        for number, (reading, checkpoints) in enumerate(zip(readings, trained, strict=True)):
            conditions = EVERY if number == len(readings) - 1 else EVERY[:1]
            asked.append(ask_models(loaded, exam_id, reading.arm, checkpoints, conditions, asking))
        report = report_entigraph(loaded, paper, ground, readings, trained, asked, exam_id, asking)
        stage.end(report.headline)
    return report

"""Ask models questions about the documents: from memory, with the document in front, or with what a search finds."""

from prefect import flow, get_run_logger

from schemas.exam import AnyExam, Asking, Condition
from schemas.form import SHUT, Folded
from schemas.profile import load_profile
from tasks.evaluate import (
    ask_checkpoint,
    ask_model,
    complete_evaluation,
    find_checkpoints,
    guess,
    require_asked,
    show_answers,
)
from tasks.exam import prepare_exam


@flow(name="evaluate", flow_run_name="evaluate-by-{exam.kind}")
def evaluate(
    exam: AnyExam,
    checkpoints: tuple[str, ...] = (),
    served: tuple[str, ...] = (),
    snapshot_id: str = "latest",
    conditions: tuple[Condition, ...] = ("closed", "open"),
    asking: Folded[Asking] = SHUT,
    profile: str = "embedded",
) -> str:
    """Return the id of an exam that models have answered, and say what their answers amount to.

    What a model was asked before, by the same exam under the same conditions, it is not asked again.

    Args:
        exam: Exam: from files, written by a model, or one that the store has.
        checkpoints: Models that are asked: checkpoint ids, folders, hub ids or .gguf files.
        served: Models of the profile's servers that are asked: written answers alone, by likelihood they are not.
        snapshot_id: Snapshot whose documents the exam is about: its id, a source's id, or latest.
        conditions: Text in front of a question: none (closed), its document (open), what a search finds (retrieved).
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    loaded = load_profile(profile)
    require_asked(checkpoints, served, asking)
    exam_id = prepare_exam(loaded, exam, snapshot_id)  # before any model is opened
    guess(loaded, exam, exam_id, asking)
    urls: dict[str, str] = {}
    for name, checkpoint_id in find_checkpoints(loaded, checkpoints).items():
        urls |= ask_checkpoint(loaded, exam_id, name, checkpoint_id, conditions, asking)
    for model in served:
        urls |= ask_model(loaded, exam_id, model, conditions, asking)
    complete_evaluation(loaded, exam_id, urls, asking)
    get_run_logger().info(show_answers(loaded, exam_id, urls, asking))
    return exam_id

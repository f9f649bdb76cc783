"""Exams: read from files and tied to the documents of a snapshot, or written by a model and verified."""

import logging

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.evaluation.distractors import add_distractors
from gainloop.evaluation.exam_files import read_exam_files
from gainloop.evaluation.results import as_share, result_of
from gainloop.evaluation.writing import WORDING_ID, Writing, assemble, chosen_pieces
from gainloop.store import Store, open_store
from gainloop.store.batches import complete_stage, stage_summary
from gainloop.store.exams import read_exam, save_exam
from gainloop.store.snapshots import read_snapshot, whole_documents
from schemas.errors import BadInput
from schemas.exam import AnyExam, Exam, ExamFiles, KnownExam, WrittenExam
from schemas.profile import Profile
from schemas.recipe import Sampling
from schemas.rows import content_hash
from tasks.grade import OnDone, ask_all, find_model
from tasks.progress import Bar
from tasks.runner import slot

FEW = 40
"""Questions without options, below which their wrong ones may be of another kind than the right one."""

logger = logging.getLogger("gainloop.exam")


def make_exam(store: Store, wanted: ExamFiles, snapshot_id: str) -> str:
    """Return the id of the exam that files hold about a snapshot, and say what became of their rows.

    Raises:
        BadInput: The files cannot be read, or none of their rows fits a document.
    """
    snapshot = read_snapshot(store, snapshot_id)["snapshot_id"]
    found = read_exam_files(wanted, snapshot, whole_documents(store, snapshot))
    exam_id = save_exam(store, found.exam, wanted.kind, wanted.model_dump(mode="json"), found.drops)
    level = logging.WARNING if found.examples else logging.INFO
    logger.log(level, exam_summary(exam_id, len(found.exam.questions), found.drops, found.examples))
    if 0 < found.num_made < FEW:
        logger.warning(
            "exam %s: %s questions have no options, and answers to the others as wrong ones. Of so few, a right one "
            "may be told by its form alone (a duration among names) and pass for knowledge. Give their rows options.",
            exam_id,
            found.num_made,
        )
    return exam_id


def write_exam(store: Store, profile: Profile, wanted: WrittenExam, snapshot_id: str, on_done: OnDone) -> str:
    """Return the id of the exam that a model writes about a snapshot, and say what became of its pairs.

    It is written once: after a crash what landed is not asked for again.

    Raises:
        BadInput: No pair of it can be verified.
        ServerError: The model cannot be asked.
    """
    snapshot = read_snapshot(store, snapshot_id)["snapshot_id"]
    found = find_model(store, profile, wanted.model, wanted.revision)
    about = wanted.model_dump(mode="json") | {"model": found.model, "revision": found.revision}
    key = content_hash(
        "writing", WORDING_ID, {name: about[name] for name in about if name not in ("guesser", "most_guessed")}
    )
    if done := stage_summary(store, snapshot, "exam", key):
        return str(done["exam"])
    documents = chosen_pieces(whole_documents(store, snapshot), wanted.max_pieces, wanted.seed)
    pieces = {piece.anchor_id: piece for one in documents.values() for piece in one.pieces}
    sampling = Sampling(temperature=wanted.temperature, max_tokens=wanted.max_tokens)
    work, anchors = Writing(wanted, documents), [pieces[anchor_id] for anchor_id in documents]
    outcomes = ask_all(store, profile, found, sampling, work, anchors, f"written/{key}", on_done, wanted.seed)
    questions, drops = assemble(outcomes, documents)
    if not questions:
        counts = ", ".join(f"{count} {reason}" for reason, count in drops.most_common())
        raise BadInput(
            f"writing an exam by {wanted.model!r}: none of {sum(drops.values())} pairs and replies is a question "
            f"({counts}); one at least must be. Choose a model that follows instructions, or give the files of an exam."
        )
    exam = Exam(
        snapshot, tuple(sorted(add_distractors(questions, wanted.distractors), key=lambda one: one.question_id))
    )
    exam_id = save_exam(store, exam, wanted.kind, about, dict(drops))
    complete_stage(store, snapshot, "exam", {"exam": exam_id, "drops": dict(drops), "pieces": len(anchors)}, key)
    logger.info(exam_summary(exam_id, len(questions), dict(drops), []))
    return exam_id


def require_unguessable(exam: WrittenExam, answers: pl.DataFrame) -> None:
    """Refuse a written exam that a guesser passes: a model that saw no document, by the likeliest option.

    Args:
        answers: Answers of the guesser from memory.

    Raises:
        BadInput: Its share right is above ``most_guessed``.
    """
    guessed = result_of(answers).shares.get("options")
    if guessed and guessed.value is not None and guessed.value > exam.most_guessed:
        raise BadInput(
            f"examining by a written exam: {exam.guesser} gets {as_share(guessed)} of it right without any document; "
            f"at most {100 * exam.most_guessed:.0f} % are allowed. Raise exam.distractors or exam.most_guessed, or "
            "have another model write it."
        )


def exam_summary(exam_id: str, num_questions: int, drops: dict[str, int], examples: list[str]) -> str:
    """Return what an exam holds, and which rows or pairs gave no question.

    >>> exam_summary("1a", 116, {"no_document": 2}, ["q.jsonl row 3: no_document, 'Mill'"])
    "exam 1a: 116 questions; 2 gave none (2 no_document), for example q.jsonl row 3: no_document, 'Mill'"
    """
    said = f"exam {exam_id}: {num_questions:,} questions"
    if drops:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(drops.items(), key=lambda one: -one[1]))
        said += f"; {sum(drops.values()):,} gave none ({counts})"
    return said + (f", for example {'; '.join(examples)}" if examples else "")


@task(cache_policy=NO_CACHE, task_run_name="read the exam")
def prepare_exam(profile: Profile, exam: AnyExam, snapshot_id: str) -> str:
    store = open_store(profile)
    match exam:
        case KnownExam():
            return read_exam(store, exam.exam_id, read_snapshot(store, snapshot_id)["snapshot_id"]).exam_id
        case ExamFiles():
            return make_exam(store, exam, snapshot_id)
        case WrittenExam():
            with slot(profile), Bar("write the exam", "pieces") as bar:
                return write_exam(store, profile, exam, snapshot_id, bar)

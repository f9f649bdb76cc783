"""Exams: read from files and tied to the documents of a snapshot, before anything is paid for."""

import logging
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.evaluation.exam_files import read_exam_files
from gainloop.store import Store, open_store
from gainloop.store.exams import exam_kind, read_documents, read_exam, save_exam
from gainloop.store.snapshots import read_snapshot
from schemas.exam import AnyExam, ExamFiles, KnownExam
from schemas.profile import Profile

logger = logging.getLogger("gainloop.exam")


def make_exam(store: Store, wanted: ExamFiles, snapshot_id: str) -> str:
    """Return the id of the exam that files hold about a snapshot, and say what became of their rows.

    Raises:
        BadInput: The files cannot be read, or none of their rows fits a document.
    """
    snapshot = read_snapshot(store, snapshot_id)["snapshot_id"]
    found = read_exam_files(wanted, snapshot, read_documents(store, snapshot))
    exam_id = save_exam(store, found.exam, wanted.kind, wanted.model_dump(mode="json"), found.drops)
    logger.info(exam_summary(exam_id, len(found.exam.questions), found.drops, found.examples))
    return exam_id


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
            return read_exam(store, exam.exam_id).exam_id
        case ExamFiles():
            return make_exam(store, exam, snapshot_id)
    raise AssertionError(exam)


def about_exam(store: Store, exam_id: str) -> dict[str, Any]:
    return exam_kind(store, exam_id)

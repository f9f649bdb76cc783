"""Exams in the store: their questions as rows, and the answers of models as Parquet files beside it."""

from collections.abc import Iterable
from typing import Any

import polars as pl

from gainloop.store.duck import Store, now
from gainloop.store.files import read_recorded, write_recorded
from schemas.errors import BadInput
from schemas.exam import Exam, Question

ANSWERS = pl.Schema(
    {
        "question_id": pl.String,
        "document_id": pl.String,
        "part": pl.String,
        "condition": pl.String,
        "nats": pl.Float64,
        "num_tokens": pl.Int64,
        "num_bytes": pl.Int64,
        "option": pl.Int64,
        "option_right": pl.Boolean,
        "option_right_by_byte": pl.Boolean,
        "num_options": pl.Int64,
        "answer": pl.String,
        "exact": pl.Boolean,
        "f1": pl.Float64,
        "verdict": pl.String,
        "skipped": pl.String,
    }
)
"""One row per question: of the gold answer nats, tokens and bytes; of options the likeliest one by its sum of nats,
and whether it, or the likeliest by byte, is right; the written answer, its scores, a judge's verdict; ``skipped`` says
why a question was not asked, and is empty if it was. Null is what was not measured."""


def save_exam(store: Store, exam: Exam, kind: str, about: dict[str, Any], drops: dict[str, int]) -> str:
    """Insert an exam and its questions, and return its id; one that is there already stays as it is."""
    row = {
        "exam_id": exam.exam_id,
        "snapshot_id": exam.snapshot_id,
        "kind": kind,
        "num_questions": len(exam.questions),
        "about": about,
        "drops": drops,
        "created_at": now(),
    }
    store.insert(exams=[row], questions=[_as_row(exam.exam_id, one) for one in exam.questions])
    return exam.exam_id


def _as_row(exam_id: str, one: Question) -> dict[str, Any]:
    names = ("question_id", "document_id", "part", "question", "answer", "title", "evidence")
    lists = {"accepted": list(one.accepted), "options": list(one.options)}
    return {"exam_id": exam_id, **{name: getattr(one, name) for name in names}, **lists}


def read_exam(store: Store, exam_id: str = "latest", snapshot_id: str = "") -> Exam:
    """Return an exam; ``latest`` is the one made most recently.

    Args:
        snapshot_id: Snapshot of the corpus whose latest exam is wanted; empty for that of any corpus.

    Raises:
        BadInput: There is no such exam.
    """
    known = store.query(
        "select exam_id, snapshot_id from exams left join snapshots using (snapshot_id) where $1 = '' or $2 or "
        "snapshot_id = $1 or source_id = (select source_id from snapshots where snapshot_id = $1) "
        "order by exams.rowid desc",
        *(snapshot_id, exam_id != "latest"),
    )
    ids = known["exam_id"].to_list()
    if exam_id == "latest" and ids:
        exam_id = str(ids[0])
    if exam_id not in ids:
        raise BadInput(
            f"finding exam {exam_id!r}{snapshot_id and f' about snapshot {snapshot_id}'}: it is not in the store "
            f"{store.path}; known are {', '.join(ids[:5]) or 'none'}. "
            "Set exam.exam_id to one of them or to latest, or give the files of one."
        )
    (snapshot_id, *_) = known.filter(exam_id=exam_id)["snapshot_id"]
    return Exam(str(snapshot_id), tuple(_questions(store, [exam_id])))


def snapshot_questions(store: Store, snapshot_id: str) -> list[Question]:
    """Return the questions of every exam about a snapshot, each once."""
    exams = store.query("select exam_id from exams where snapshot_id = ?", snapshot_id)["exam_id"].to_list()
    return list(dict.fromkeys(_questions(store, exams)))


def _questions(store: Store, exam_ids: list[str]) -> Iterable[Question]:
    names = "question, answer, document_id, accepted, options, title, evidence"
    rows = store.query(
        f"select {names} from questions where exam_id in (select unnest(?::varchar[])) order by question_id", exam_ids
    )
    for row in rows.iter_rows(named=True):
        yield Question(**row | {name: tuple(row[name]) for name in ("accepted", "options")})


def exam_kind(store: Store, exam_id: str) -> dict[str, Any]:
    """Return how an exam was made: kind, about (JSON), drops (JSON), num_questions."""
    rows = store.query("select kind, about, drops, num_questions from exams where exam_id = ? limit 1", exam_id)
    return rows.row(0, named=True)


def answers_url(store: Store, checkpoint_id: str, name: str) -> str:
    """Return where a model's answers lie that were asked for in one way."""
    return f"{store.folder}/exams/{checkpoint_id}-{name}.parquet"


def write_answers(url: str, answers: pl.DataFrame) -> None:
    """Write a model's answers as one file, whole or not at all."""
    write_recorded(url, answers, ANSWERS)


def read_answers(url: str) -> pl.DataFrame:
    """Return a model's answers, one row a question.

    Raises:
        StoreError: The file is gone.
    """
    return read_recorded(url, "answers", "the flow evaluate on that checkpoint with the same exam")

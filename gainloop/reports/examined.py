"""What the models of a training answered in exams, as the store has it."""

import json
from typing import Any

from gainloop.reports.evidence import Examined
from gainloop.store import Store
from gainloop.store.batches import list_summaries, stage_summary
from gainloop.store.exams import exam_kind, read_answers
from gainloop.store.scores import find_scores
from gainloop.store.snapshots import untrained_documents


def gather_exams(
    store: Store, snapshot_id: str, batch_id: str, training_id: str, exam_id: str = ""
) -> tuple[Examined, ...]:
    """Return what the models of a training answered in its last exam, then those of the batch's others in the same.

    Args:
        snapshot_id: Snapshot that the batch was made from; it says which documents were held out of training.
        exam_id: Exam that is wanted; empty for the training's last one.
    """
    found: dict[str, dict[str, Any]] = {}
    for key, summary in list_summaries(store, batch_id, "evaluate"):
        if exam_id in ("", summary["exam"]):
            found.setdefault(key.partition("-")[0], summary)  # the latest comes first
    own = found.pop(training_id, None)
    if own is None:
        return ()
    others = {key: summary for key, summary in found.items() if summary["exam"] == own["exam"]}
    wanted = {training_id: own, **others}
    trained = {key: (stage_summary(store, batch_id, "train", key) or {}).get("arms", []) for key in wanted}
    return tuple(read_examined(store, snapshot_id, batch_id, key, one, trained[key]) for key, one in wanted.items())


def read_examined(
    store: Store, snapshot_id: str, batch_id: str, training_id: str, summary: dict[str, Any], arms: list[dict[str, Any]]
) -> Examined:
    """Return what models answered in an exam, by the summary of the stage that asked them.

    Args:
        summary: ``exam``, ``urls`` of answers, ``general`` of scores, and ``asking``.
        arms: Runs as the stage train lists them.
    """
    questions = "question_id, question, answer, options, document_id, title, part"
    made = exam_kind(store, summary["exam"])
    return Examined(
        exam_id=summary["exam"],
        kind=made["kind"],
        training_id=training_id,
        questions=store.query(f"select {questions} from questions where exam_id = ?", summary["exam"]),
        answers={name: read_answers(store.locate(url)) for name, url in summary["urls"].items()},
        general=find_scores(store, batch_id, summary["general"]),
        arms=arms,
        asking=summary.get("asking", {}),
        untrained=untrained_documents(store, snapshot_id),
        drops=json.loads(made["drops"]),
    )

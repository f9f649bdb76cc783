"""Measurements: the reports of batches as the store has them, and which training each is of."""

from gainloop.store.batches import latest_judging, latest_summary, list_summaries
from gainloop.store.duck import Store
from schemas.errors import BadInput
from schemas.identity import content_hash
from schemas.report import FORMAT, Report


def resolve_training(store: Store, batch_id: str, training_id: str = "latest") -> str:
    """Return the id of a training of a batch; ``latest`` is the one completed last, or "" before the first.

    Raises:
        BadInput: The batch has no such training.
    """
    known = [key for key, _ in list_summaries(store, batch_id, "train")]
    if training_id == "latest":
        return known[0] if known else ""
    if training_id not in known:
        raise BadInput(
            f"finding training {training_id!r} of batch {batch_id}: known are {', '.join(known) or 'none'}. "
            "Set training_id to one of them or to latest, or run the flow train first."
        )
    return training_id


def name_measurement(store: Store, batch_id: str, training_id: str) -> str:
    """Return the id of what a report rests on.

    A batch never changes once it is validated, but it can be scored, judged by a model, held against a start, trained
    on: then it is measured anew.
    """
    scored, yardstick = list_summaries(store, batch_id, "score"), latest_summary(store, batch_id, "yardstick") or {}
    judged, model = latest_judging(store, batch_id), training_id or yardstick.get("start", "")
    parts = [model, scored[0][0] if scored else "", judged["judging"] if judged else ""]
    return content_hash("report", FORMAT, *parts)


def save_measurement(store: Store, report: Report) -> None:
    """Write a report down; it is never changed."""
    row = {"batch_id": report.batch, "measurement_id": name_measurement(store, report.batch, report.training)}
    store.insert(measurements=[row | {"report": report.model_dump_json(), "measured_at": report.created}])


def find_report(store: Store, batch_id: str, training_id: str) -> Report | None:
    """Return the report of a training of a batch, if it was measured as the batch is now."""
    rows = store.query(
        "select report from measurements where batch_id = ? and measurement_id = ?",
        *(batch_id, name_measurement(store, batch_id, training_id)),
    )
    return None if rows.is_empty() else Report.model_validate_json(rows["report"][0])


def load_report(store: Store, batch_id: str, training_id: str) -> Report:
    """Return the report of a training of a batch.

    Raises:
        BadInput: It was not measured.
    """
    report = find_report(store, batch_id, training_id)
    if report is None:
        raise BadInput(
            f"loading the report of batch {batch_id}, training {training_id or 'none'}: it was not measured; "
            f"the flow report measures. Run it with batch_id {batch_id} first."
        )
    return report

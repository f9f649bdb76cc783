"""Measurements of batches: the reports, each of a training or of none, and what the gate decided on them."""

from typing import Any

from pydantic import ValidationError

from gainloop.store.batches import latest_judging, latest_summary, list_summaries
from gainloop.store.digests import digest_rows
from gainloop.store.duck import Store
from schemas.decision import FORMAT as DECISION_FORMAT
from schemas.decision import Decision
from schemas.errors import BadInput
from schemas.figure import Figure
from schemas.profile import Gate
from schemas.report import DELTA_I, FORMAT, WORDS, Report
from schemas.rows import content_hash


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
    """Return the id of a measurement: the hash of the scores, judging, probe runs, exams and the training or start.

    A batch never changes once it is validated. Scored, judged, compared with a start, trained on or examined, it is
    measured anew; so it is where reports have other figures by now.
    """
    scored, yardstick = list_summaries(store, batch_id, "score"), latest_summary(store, batch_id, "yardstick") or {}
    judged, model = latest_judging(store, batch_id), training_id or yardstick.get("start", "")
    parts = [model, scored[0][0] if scored else "", judged["judging"] if judged else ""]
    exams = [[key, summary["exam"]] for key, summary in list_summaries(store, batch_id, "evaluate")]
    probes = [key for key, _ in list_summaries(store, batch_id, "probe")]
    return content_hash("report", FORMAT, sorted(WORDS), *parts, exams if training_id else [], probes)


def save_measurement(store: Store, report: Report, measurement_id: str = "") -> None:
    """Insert a report with its digest and figures, in one transaction; it is never changed.

    Args:
        measurement_id: Id of the measurement. Default: the one that ``name_measurement`` gives.
    """
    measurement_id = measurement_id or name_measurement(store, report.batch, report.training)
    row: dict[str, Any] = {"batch_id": report.batch, "measurement_id": measurement_id}
    row |= {"report": report.model_dump_json(), "measured_at": report.created}
    store.insert(measurements=[row], **digest_rows(report, measurement_id))


def find_report(store: Store, batch_id: str, training_id: str) -> Report | None:
    """Return the report of a training of a batch, or None if it has been scored, judged or trained on since."""
    rows = store.query(
        "select report from measurements where batch_id = ? and measurement_id = ?",
        *(batch_id, name_measurement(store, batch_id, training_id)),
    )
    return None if rows.is_empty() else Report.model_validate_json(rows["report"][0])


def is_measured(store: Store, batch_id: str, training_id: str) -> bool:
    """Return whether ``find_report`` finds a report, without reading it."""
    found = "select 1 from measurements where batch_id = ? and measurement_id = ?"
    return store.query(found, batch_id, name_measurement(store, batch_id, training_id)).height > 0


def parse_report(text: str) -> Report | None:
    """Return a report from its JSON, or None if it has other figures than reports have by now."""
    try:
        return Report.model_validate_json(text)
    except ValidationError:
        return None


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


def name_decision(measurement: str, gate: Gate, is_released: bool) -> str:
    """Return the id of a decision on one measurement by one set of thresholds, or of the release that overrules it."""
    return content_hash("decision", DECISION_FORMAT, measurement, gate.model_dump(mode="json"), is_released)


def find_decision(store: Store, batch_id: str, measurement: str, gate: Gate) -> Decision | None:
    """Return the decision on a measurement by these thresholds, or the release that overrules it; None if neither."""
    released, first = (name_decision(measurement, gate, is_released) for is_released in (True, False))
    rows = store.query(
        "select decision from decisions where batch_id = $1 and decision_id in ($2, $3) order by decision_id = $2 desc",
        *(batch_id, released, first),
    )
    return None if rows.is_empty() else Decision.model_validate_json(rows["decision"][0])


def save_decision(store: Store, decision: Decision, gate: Gate) -> None:
    """Insert a decision; it is never changed."""
    row = {
        "batch_id": decision.batch,
        "decision_id": name_decision(decision.measurement, gate, decision.state == "released"),
        "measurement_id": decision.measurement,
        "training_id": decision.training,
        "state": decision.state,
        "decision": decision.model_dump_json(),
        "decided_at": decision.decided,
    }
    store.insert(decisions=[row])


def latest_accepted(store: Store, source_id: str) -> dict[str, str] | None:
    """Return the latest batch of a source that the gate accepts by its latest decision; None if there is none.

    Returns:
        Its ``batch_id``, the ``training_id`` by which it is accepted, and its ``snapshot_id``.
    """
    rows = store.query(
        "select batch_id, training_id, batches.snapshot_id from decisions join batches using (batch_id) "
        "where training_id != '' and batches.snapshot_id in (select snapshot_id from snapshots where source_id = ?) "
        "group by all having arg_max(state, decisions.rowid) = 'accepted' order by max(decisions.rowid) desc limit 1",
        source_id,
    )
    return None if rows.is_empty() else rows.row(0, named=True)


def read_releases(store: Store, batch_id: str) -> dict[str, str]:
    """Return the reasons why a person released a batch, by the key of each veto that was overruled."""
    rows = store.query(
        "select decision from decisions where batch_id = ? and state = 'released' order by rowid", batch_id
    )
    decisions = [Decision.model_validate_json(row) for row in rows["decision"]]
    return {veto.key: decision.release for decision in decisions for veto in decision.vetoes}


YARDSTICK = """
with made as (
    select batch_id, batches.rowid as place, row(
        recipe ->> '$.method.kind', recipe ->> '$.model', recipe ->> '$.revision',
        recipe ->> '$.sampling.temperature', recipe ->> '$.sampling.top_p',
        coalesce(source_id, recipe ->> '$.snapshot_id')) as how
    from batches left join (select snapshot_id, any_value(source_id) as source_id from snapshots group by all) as known
        on known.snapshot_id = (recipe ->> '$.snapshot_id')),
bad as (
    select batch_id from decisions group by batch_id having arg_max(state, rowid) = 'held'
    union select batch_id from decisions, unnest(from_json(decision -> '$.reasons', '["json"]')) as listed(reason)
    where (reason ->> '$.key') = 'collapsed' and (reason ->> '$.outcome') = 'vetoes')
select figures.* exclude (batch_id, measurement_id, path) from figures join made using (batch_id)
where path = $2 and place < (select place from made where batch_id = $1)
    and how = (select how from made where batch_id = $1) and batch_id not in (select batch_id from bad)
qualify row_number() over (partition by batch_id order by figures.rowid desc) = 1 order by place
"""
"""Batches of the same method, generator, sampling and source; those held or collapsed are no yardstick."""


def read_history(store: Store, batch_id: str) -> list[Figure]:
    """Return Delta I per byte of earlier batches that were made alike, of each by its latest report.

    Alike are batches of the same method, generator, temperature, top_p and source of anchors. Those that the gate holds
    by its latest decision, or that it ever found collapsed, are left out: the next one would be measured by them.
    """
    return [Figure(**row) for row in store.query(YARDSTICK, batch_id, DELTA_I).iter_rows(named=True)]

"""Decisions of the gate: one row each, a release another; and the history that a decision rests on."""

import json

from gainloop.store.duck import Store
from schemas.decision import FORMAT, Decision
from schemas.figure import Figure
from schemas.identity import content_hash
from schemas.profile import Gate


def name_decision(measurement: str, gate: Gate, is_released: bool) -> str:
    """Return the id of a decision on one measurement by one set of thresholds, or of the release that overrules it."""
    return content_hash("decision", FORMAT, measurement, gate.model_dump(mode="json"), is_released)


def find_decision(store: Store, batch_id: str, measurement: str, gate: Gate) -> Decision | None:
    """Return what was decided on a measurement by these thresholds: the release, if there is one."""
    released, first = (name_decision(measurement, gate, is_released) for is_released in (True, False))
    rows = store.query(
        "select decision from decisions where batch_id = $1 and decision_id in ($2, $3) order by decision_id = $2 desc",
        *(batch_id, released, first),
    )
    return None if rows.is_empty() else Decision.model_validate_json(rows["decision"][0])


def save_decision(store: Store, decision: Decision, gate: Gate) -> None:
    """Write a decision down; it is never changed."""
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


def read_releases(store: Store, batch_id: str) -> dict[str, str]:
    """Return the vetoes that a person has overruled for a batch, and why."""
    rows = store.query(
        "select decision from decisions where batch_id = ? and state = 'released' order by decided_at", batch_id
    )
    decisions = [Decision.model_validate_json(row) for row in rows["decision"]]
    return {veto.key: decision.release for decision in decisions for veto in decision.vetoes}


def read_history(store: Store, batch_id: str) -> list[Figure]:
    """Return Delta I per byte of the batches of the same method that were begun before this one, the latest of each."""
    rows = store.query(
        "with own as (select created_at, (recipe ->> '$.method.kind') as kind from batches where batch_id = ?) "
        "select arg_max(report -> '$.delta_i.bits_per_byte', measured_at)::varchar as figure, min(created_at) as begun "
        "from measurements join batches using (batch_id) "
        "where created_at < (select created_at from own) and (recipe ->> '$.method.kind') = (select kind from own) "
        "group by batch_id order by begun, batch_id",
        batch_id,
    )
    return [Figure(**json.loads(found)) for found in rows["figure"] if found]

"""The gate before training: a batch that a veto holds is shown, and goes no further unless it is released."""

import logging
from typing import cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed

from schemas.errors import Held
from schemas.profile import Profile
from tasks.judging.decision import require_not_held
from tasks.likelihoods import score_yardstick
from tasks.report import decide_on, measure_once, page_of, publish, show_decision, write_report
from tasks.store import Store, open_store

log = logging.getLogger("gainloop.gate")


def ask_gate(store: Store, place: Profile, batch_id: str, start_id: str, release: str = "") -> None:
    """Measure a batch before anything is trained on it, and let it pass or not; the run's page shows why.

    Args:
        start_id: The model that would be trained: the batch's anchors under it are the yardstick for noise.
        release: Why a person overrules the vetoes; nothing is released if it is empty.

    Raises:
        Held: A veto holds the batch, and nobody released it; its report is written and shown.
    """
    score_yardstick(store, place, batch_id, start_id)
    page, report = page_of(place, batch_id), measure_once(store, place, batch_id, "")
    decision = decide_on(store, place, report, release)
    if decision.state == "held":
        write_report(report, decision, page)
        publish(report, decision, page)
        require_not_held(decision, page)
    log.info("Batch %s: %s", batch_id, decision.headline)
    show_decision(decision)


@task(cache_policy=NO_CACHE, task_run_name="ask the gate about {batch_id}")
def why_held(place: Profile, batch_id: str, start_id: str, release: str) -> Held | None:
    """Return the error that says why a batch is held; None if it may be trained on."""
    try:
        ask_gate(open_store(place), place, batch_id, start_id, release)
    except Held as held:
        return held
    return None


def as_held(held: Held) -> str:
    """Return the state "Held" for a flow to end in: to whoever calls the flow from Python, it raises the error."""
    return cast(str, Failed(name="Held", message=str(held), data=held))

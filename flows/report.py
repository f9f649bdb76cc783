"""Say what a batch added: one page, one JSON, one set of artifacts."""

from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import Field

from schemas.profile import load_profile
from tasks.report import make_report, resolve_training, show_report
from tasks.store import open_store
from tasks.store.records import resolve_batch


@flow(name="report", flow_run_name="report-{batch_id}")
def report(
    batch_id: Annotated[str, Field(description="a batch, or latest for the one begun most recently")] = "latest",
    training_id: Annotated[str, Field(description="a training of it, or latest for the newest, if any")] = "latest",
    profile: Annotated[str, Field(description="where to run: a file of profiles/, without .yaml")] = "embedded",
) -> str:
    """Return the path of the report's page. What was measured before is not measured again."""
    place = load_profile(profile)
    store = open_store(place)
    batch_id = resolve_batch(store, batch_id)
    training_id = resolve_training(store, batch_id, training_id)
    page = make_report(place, batch_id, training_id)
    headline = show_report(place, batch_id, training_id)
    get_run_logger().info(headline)
    return page

"""Say what a batch added: one page, one JSON, one set of artifacts."""

from prefect import flow, get_run_logger

from gainloop.store import open_store
from gainloop.store.batches import resolve_batch
from gainloop.store.measurements import resolve_training
from schemas.profile import load_profile
from tasks.report import as_finished, make_report, show_report


@flow(name="report", flow_run_name="report-{batch_id}")
def report(
    batch_id: str = "latest",
    training_id: str = "latest",
    profile: str = "embedded",
) -> str:
    """Return the path of a batch's report; what was measured before is not measured again.

    Args:
        batch_id: Batch that is reported on, or latest for the one begun most recently.
        training_id: Training of the batch, or latest for the newest, if there is any.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    loaded = load_profile(profile)
    store = open_store(loaded)
    batch_id = resolve_batch(store, batch_id)
    training_id = resolve_training(store, batch_id, training_id)
    page = make_report(loaded, batch_id, training_id)
    get_run_logger().info(show_report(loaded, batch_id, training_id))
    return as_finished(loaded, batch_id, training_id, page)

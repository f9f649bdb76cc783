"""Validate the anchors and the records of one batch; stop if either fails as a whole."""

from prefect import flow

from gainloop.store import open_store
from gainloop.store.batches import only_writer, read_recipe, resolve_batch
from schemas.curation import Curation
from schemas.profile import load_profile
from tasks.progress import ended
from tasks.validate import validate_records, validate_snapshot, validation_summary


@flow(name="validate", flow_run_name="validate-{batch_id}")
def validate(
    batch_id: str = "latest",
    curation: Curation = Curation(),
    profile: str = "embedded",
) -> str:
    """Return what became of a batch's records: those that fail its suites are quarantined with their reasons.

    Args:
        batch_id: Batch that is validated, once, or latest for the one begun most recently.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    loaded = load_profile(profile)
    store = open_store(loaded)
    batch_id = resolve_batch(store, batch_id)
    with only_writer(store, batch_id):
        validate_snapshot(loaded, read_recipe(store, batch_id).snapshot_id)
        said = validation_summary(validate_records(loaded, batch_id, curation))
    return ended(said, said)

"""Judge the anchors and the records of one batch; stop if either fails as a whole."""

from prefect import flow

from gainloop.store import open_store
from gainloop.store.batches import read_recipe, resolve_batch
from schemas.profile import load_profile
from schemas.recipe import Curation
from tasks.validate import validate_records, validate_snapshot, validation_summary


@flow(name="validate", flow_run_name="validate-{batch_id}")
def validate(
    batch_id: str = "latest",
    curation: Curation = Curation(),
    profile: str = "embedded",
) -> str:
    """Return what became of a batch's records: those that fail its suites are quarantined with their reasons.

    Args:
        batch_id: A batch, or latest for the one begun most recently.
        curation: Near duplicates and probes that records are held against; a batch is judged once.
        profile: Where to run: a name in profiles/, or a YAML file.
    """
    place = load_profile(profile)
    store = open_store(place)
    batch_id = resolve_batch(store, batch_id)
    validate_snapshot(place, read_recipe(store, batch_id).snapshot_id)
    return validation_summary(validate_records(place, batch_id, curation))

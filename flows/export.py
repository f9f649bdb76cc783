"""Write the kept records of batches as a dataset that trainers read."""

from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import Field

from gainloop.reports.dataset import Format
from schemas.profile import load_profile
from tasks.export import find_batches, write_dataset
from tasks.progress import ended


@flow(name="export", flow_run_name="export-to-{folder}")
def export(
    folder: Annotated[str, Field(min_length=1)],
    batches: Annotated[tuple[str, ...], Field(min_length=1)] = ("latest",),
    form: Format = "jsonl",
    mixes_licences: bool = False,
    profile: str = "embedded",
) -> str:
    """Return the path of a dataset of batches' kept records: text or messages, source, licence, recipe, and a card.

    Args:
        folder: Folder, or any fsspec url, that the records and the card are written to.
        batches: Batches that are exported, or latest for the one begun most recently.
        form: Form of the file of records.
        mixes_licences: True to write records of documents under several licences into one dataset.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    loaded = load_profile(profile)
    batch_ids = find_batches(loaded, batches)
    data = write_dataset(loaded, batch_ids, folder, form, mixes_licences)
    get_run_logger().info("Wrote the kept records of %s to %s.", ", ".join(batch_ids), data)
    return ended(data, data)

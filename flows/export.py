"""Write the kept records of batches as a dataset that trainers read: into a folder, or onto the hub."""

from typing import Annotated, Final

from prefect import flow, get_run_logger
from pydantic import Field

from gainloop.reports.dataset import Format
from schemas.errors import BadInput
from schemas.profile import load_profile
from tasks.export import find_batches, publish_dataset, write_dataset
from tasks.progress import ended

HUB: Final = "hub"


@flow(name="export", flow_run_name="export")
def export(
    to: Annotated[str, Field(min_length=1)],
    batches: Annotated[tuple[str, ...], Field(min_length=1)] = ("latest",),
    form: Format = "jsonl",
    mixes_licences: bool = False,
    repo: str = "",
    public: bool = False,
    profile: str = "embedded",
) -> str:
    """Return the path or url of a dataset of batches' kept records: text or messages, source, licence, and a card.

    Args:
        to: Folder, or any fsspec url, that the records and the card are written to; hub for a dataset of the hub, by
            the token in HF_TOKEN.
        batches: Batches that are exported, or latest for the one begun most recently.
        form: Form of the file of records.
        mixes_licences: True to write records of documents under several licences into one dataset.
        repo: Repository of the hub, as account/name; one that is not there is made.
        public: True for a repository that everybody may read. Default: a private one.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    if to == HUB and not repo:
        raise BadInput(f"exporting to {to}: no --repo is given; one is needed. Set it.")
    if to != HUB and (repo or public):
        given = "repo" if repo else "public"
        raise BadInput(
            f"exporting to {to}: --{given} is given, which is of the hub alone. Leave it out, or set --to {HUB}."
        )
    loaded = load_profile(profile)
    batch_ids = find_batches(loaded, batches)
    if to == HUB:
        data = publish_dataset(loaded, batch_ids, repo, form, mixes_licences, public)
    else:
        data = write_dataset(loaded, batch_ids, to, form, mixes_licences)
    get_run_logger().info("Wrote the kept records of %s to %s.", ", ".join(batch_ids), data)
    return ended(data, data)

"""Export: kept records of batches as a dataset of one's own, in a folder or on the hub."""

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.reports.dataset import Format, export_batches
from gainloop.store import open_store
from gainloop.store.batches import resolve_batch
from schemas.profile import Profile


def find_batches(profile: Profile, batches: Sequence[str]) -> list[str]:
    """Return the ids of batches, each once, in the order in which they are named.

    Raises:
        BadInput: One of them is not in the store.
    """
    store = open_store(profile)
    return list(dict.fromkeys(resolve_batch(store, one) for one in batches))


@task(cache_policy=NO_CACHE, task_run_name="write the dataset")
def write_dataset(profile: Profile, batch_ids: Sequence[str], folder: str, form: Format, mixes_licences: bool) -> str:
    return export_batches(open_store(profile), batch_ids, folder, form, mixes_licences)


@task(cache_policy=NO_CACHE, task_run_name="write the dataset to {repo}")
def publish_dataset(
    profile: Profile, batch_ids: Sequence[str], repo: str, form: Format, mixes_licences: bool, is_public: bool
) -> str:
    from gainloop.reports.hub import publish_batches  # a second of import that no folder needs

    return publish_batches(open_store(profile), batch_ids, repo, form, mixes_licences, is_public)

"""Keep a store in shape: give back room that nothing needs, and make few files of many."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from schemas.profile import load_profile
from tasks.maintain import tend_store
from tasks.progress import ended


@flow(name="maintain", flow_run_name="maintain-{profile}")
def maintain(
    keep_days: Annotated[float, Field(ge=0)] = 7,
    profile: str = "embedded",
) -> str:
    """Return what the store took before, and what it takes now.

    Args:
        keep_days: Days for which a DuckLake keeps what was merged or deleted, for whoever still reads it.
        profile: Profile that says where the store is: a name in profiles/, or a YAML file.
    """
    said = tend_store(load_profile(profile), keep_days)
    return ended(said, said)

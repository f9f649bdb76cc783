"""Read what is new in a source, and name the corpus that it is now."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from gainloop.sources import AnySource
from schemas.form import SHUT, Folded
from schemas.profile import load_profile
from tasks.refresh import read_source

HeldoutFraction = Annotated[float, Field(ge=0, lt=1)]


@flow(name="refresh", flow_run_name="refresh-{source.kind}")
def refresh(
    source: Folded[AnySource] = SHUT,
    profile: str = "embedded",
    heldout_fraction: HeldoutFraction = 0.05,
) -> str:
    """Return the id of the snapshot: the one there was if nothing changed.

    Args:
        source: Source of the documents.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
        heldout_fraction: Part of the documents that is neither generated from nor trained on.
    """
    return read_source(load_profile(profile), source, heldout_fraction)

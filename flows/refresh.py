"""Read what is new in a source, and name the corpus that it is now."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from schemas.profile import load_profile
from tasks.refresh import read_source
from tasks.sources import AnySource, PythonDocs


@flow(name="refresh", flow_run_name="refresh-{source.kind}")
def refresh(
    source: AnySource = PythonDocs(),
    profile: Annotated[str, Field(description="where to run: a file of profiles/, without .yaml")] = "embedded",
    heldout_fraction: Annotated[
        float, Field(ge=0, lt=1, description="anchors never generated from or trained on")
    ] = 0.05,
) -> str:
    """Return the id of the snapshot: the one there was if nothing changed."""
    return read_source(load_profile(profile), source, heldout_fraction)

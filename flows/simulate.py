"""Run the simulation of Gan & Liu 2024, as published and exact."""

from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import Field

from schemas.profile import load_profile
from tasks.progress import ended
from tasks.simulate import simulate_gaps


@flow(name="simulate", flow_run_name="simulate-{seed}")
def simulate(
    seed: int = 0,
    settings: Annotated[int, Field(ge=2)] = 100,
    largest: Annotated[int, Field(ge=3, le=64)] = 15,
    repeats: Annotated[int, Field(ge=1)] = 4,
    profile: str = "embedded",
) -> str:
    """Return the path of a page that says how the KL Gap grows with K, J and L, and why the published figure differs.

    Args:
        seed: Seed of the settings.
        settings: Number of independent settings of each point.
        largest: Largest of K, J and L, which go up to it from 2 one by one while the others are 2.
        repeats: Number of draws that the released code's estimator is averaged over; it takes 100, for the same mean.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    headline, page = simulate_gaps(load_profile(profile), seed, settings, largest, repeats)
    get_run_logger().info(headline)
    return ended(headline, page)

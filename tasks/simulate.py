"""The simulation of Gan & Liu 2024: computed once, written as JSON and as a page, shown on the run's page."""

from collections.abc import Callable

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.store.files import exists, link_from, read_file, write_file
from schemas.profile import Profile
from schemas.rows import content_hash
from schemas.studies import SIMULATION_FORMAT, Simulation
from tasks.artifacts import create_image_artifact, create_link_artifact, create_markdown_artifact
from tasks.progress import Bar


def run_simulation(
    folder: str, seed: int, settings: int, largest: int, repeats: int, on_progress: Callable[[int, int], None]
) -> tuple[Simulation, str]:
    """Return a simulation and the path of its page; one that is there already is not run again.

    Args:
        folder: Folder of the profile.
        on_progress: Called with the cells done, and all of them.
    """
    from gainloop.studies.simulation import Cell, describe, make_settings, measure_gaps, render_simulation

    simulation_id = content_hash("simulation", SIMULATION_FORMAT, seed, settings, largest, repeats)
    page = f"{folder}/simulations/{simulation_id}/simulation.html"
    truth = page.replace(".html", ".json")
    if exists(truth) and exists(page):
        return Simulation.model_validate_json(read_file(truth)), page
    gaps = measure_gaps(seed, range(2, largest + 1), settings, repeats, on_progress)
    simulation = describe(gaps, simulation_id, seed, settings, repeats)
    drawn = make_settings(np.random.default_rng([seed, 2, 2, 2]), Cell(), settings)
    write_file(page, render_simulation(simulation, drawn).encode())
    write_file(truth, simulation.model_dump_json(indent=2).encode())
    return simulation, page


@task(cache_policy=NO_CACHE, task_run_name="simulate seed {seed}")
def simulate_gaps(profile: Profile, seed: int, settings: int, largest: int, repeats: int) -> tuple[str, str]:
    with Bar("simulate", "cells") as bar:
        simulation, page = run_simulation(profile.folder, seed, settings, largest, repeats, bar)
    publish(simulation, link_from(profile, page))
    return simulation.headline, page


def publish(simulation: Simulation, url: str) -> None:
    """Show a simulation on the run's page in Prefect."""
    from gainloop.reports.plots import as_png_uri
    from gainloop.studies.simulation import NAMES, draw_gaps

    key = f"simulation-{simulation.simulation}"
    rows = [
        f"| {NAMES[trend.kind]} | {trend.letter.upper()} | {trend.correlation.number} | {trend.correlation.interval} "
        f"| {trend.correlation.n:,} | {trend.direction} | {trend.published_direction} |"
        for trend in simulation.trends
    ]
    head = "| KL Gap | over | rank correlation | 95 % interval | n | it | printed |\n|---|---|---:|---|---:|---|---|"
    markdown = "\n".join(
        [f"**{simulation.headline}**", "", head, *rows, "", f"[The whole page]({url}), where `gainloop serve` runs."]
    )
    create_markdown_artifact(markdown, key=key, description=simulation.headline)
    plot = as_png_uri(draw_gaps(simulation.points, "forward"), NAMES["forward"])
    create_image_artifact(plot, key=f"{key}-plot", description="The KL Gap by KL(G || pi), nats")
    create_link_artifact(url, key=f"{key}-page", link_text="The whole page", description=simulation.headline)

"""Verifications: run once, written as JSON and as a page, shown on the run's page."""

import os
from collections.abc import Callable

from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.reports.plots import as_png_uri
from gainloop.store import Store, open_store
from gainloop.store.files import link_from, write_file
from gainloop.studies.own_batches import describe_own_batches
from gainloop.studies.verification_page import TITLES, draw_worth, list_worth, render_verification
from schemas.profile import Profile
from schemas.rows import content_hash
from schemas.studies import VERIFICATION_FORMAT, AnySubject, OwnBatches, Verification
from tasks.artifacts import create_image_artifact, create_link_artifact, create_markdown_artifact
from tasks.progress import Bar

MOST_PROCESSES = 8
"""Trainings side by side, at most: each holds half a gigabyte."""


def run_verification(
    store: Store, device: str, subject: AnySubject, processes: int, on_progress: Callable[[int, int], None]
) -> tuple[Verification, str]:
    """Return a verification and the path of its page.

    Trainings and scores that are there already are not made again; figures and page are.

    Args:
        device: Torch device on which models answer questions.
        processes: Trainings side by side; it changes no result.
        on_progress: Called with the trainings done, and all of them.
    """
    if isinstance(subject, OwnBatches):
        verification = describe_own_batches(store, device, subject, on_progress)
    else:
        from gainloop.studies.steered import count_steps, steer
        from gainloop.studies.world_runs import list_jobs, verify_world

        verification_id = content_hash("verification", VERIFICATION_FORMAT, subject.model_dump(mode="json"))
        folder = f"{store.folder}/verify/{verification_id}"
        more = count_steps(subject)
        verification = verify_world(
            folder, verification_id, subject, processes, lambda done, total: on_progress(done, total + more)
        )
        if subject.steering_seeds:
            first = len(list_jobs(subject))
            steered = steer(
                folder,
                subject,
                verification.batches,
                processes,
                lambda done, total: on_progress(first + done, first + total),
            )
            verification = verification.model_copy(update={"steered": steered})
    page = f"{store.folder}/verify/{verification.verification}/verification.html"
    write_file(page, render_verification(verification).encode())
    write_file(page.replace(".html", ".json"), verification.model_dump_json(indent=2).encode())
    return verification, page


@task(cache_policy=NO_CACHE, task_run_name="verify {subject.kind}")
def verify_predictors(profile: Profile, subject: AnySubject) -> tuple[str, str]:
    processes = min(MOST_PROCESSES, os.cpu_count() or 1)
    what, unit = ("score trainings", "trainings") if isinstance(subject, OwnBatches) else ("verify", "trainings")
    with Bar(what, unit) as bar:
        verification, page = run_verification(open_store(profile), profile.training.device, subject, processes, bar)
    publish(verification, link_from(profile, page))
    return verification.headline, page


def publish(verification: Verification, url: str) -> None:
    """Show a verification on the run's page in Prefect."""
    key = f"verification-{verification.verification}"
    head = "| Predictor | rank correlation | 95 % interval | n | p | within methods | lost by following it | it |"
    rows = [head, "|---|---:|---|---:|---:|---:|---:|---|"]
    for line in list_worth(verification):
        worth = line.worth
        rows.append(
            f"| {line.name} | {worth.correlation.signed} | {worth.correlation.interval} | {worth.correlation.n} "
            f"| {line.p} | {worth.within.signed} {worth.within.interval} "
            f"| {worth.regret.number} {worth.regret.interval} | {worth.finding} |"
        )
    about = f"The verdict is the {verification.verdict}."
    markdown = "\n".join(
        [
            f"**{verification.headline}**",
            "",
            about,
            "",
            *rows,
            "",
            f"[The whole page]({url}), where `gainloop serve` runs.",
        ]
    )
    create_markdown_artifact(markdown, key=key, description=verification.headline)
    if plot := draw_worth(verification):
        create_image_artifact(as_png_uri(plot, TITLES["worth"]), f"{key}-plot", "Rank correlations with the verdict")
    create_link_artifact(url, key=f"{key}-page", link_text="The whole page", description=verification.headline)

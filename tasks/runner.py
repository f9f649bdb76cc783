"""Where the task runs of a flow run: threads of its own process, or a Ray cluster."""

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from prefect import Task
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext
from prefect.futures import as_completed
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from schemas.errors import BadInput
from schemas.profile import Profile, Ray

ROOT = Path(__file__).resolve().parents[1]

NOT_UPLOADED = ["/data/", "/build/", "/.venv*/", "/.git/", "*.log"]

QUIET_RAY = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_COLOR_PREFIX": "0",
}
"""Ray 2.60 asks for tokens by default, and an address that is given explicitly then fails as if nobody was there."""


def run_all(
    profile: Profile, task: Task[..., Any], parameters: list[dict[str, Any]], guard: AbstractContextManager[Any]
) -> Iterator[tuple[int, Any]]:
    """Run a task once for each set of parameters, and yield its number and its result as they come.

    The first failure is raised as it is; what waits is not begun then.

    Args:
        guard: Entered before the first and left after the last task run, or at once when one fails.
    """
    at_once = profile.runner.workers if isinstance(profile.runner, Ray) else 2 * profile.generation.shards_at_once
    waiting, running = iter(enumerate(parameters)), {}
    with _own_server_for_all(), _runner_of(profile) as runner, guard:
        # A cluster that is there already may have room for more than may be in flight.
        for number, one in islice(waiting, at_once):
            running[runner.submit(task, parameters=one)] = number
        while running:
            future = next(as_completed(list(running)))
            yield running.pop(future), future.result()
            for number, one in islice(waiting, 1):
                running[runner.submit(task, parameters=one)] = number


@contextmanager
def slot(profile: Profile) -> Iterator[None]:
    """Hold one slot of the profile's Prefect concurrency limit; one that does not exist is an error, not no limit."""
    limit = getattr(profile.serving, "concurrency_limit", None)
    if not limit:
        yield
        return
    with ExitStack() as held:
        try:
            held.enter_context(concurrency(limit, strict=True))
        except ConcurrencySlotAcquisitionError as error:
            if "must be created" not in str(error):
                raise
            raise BadInput(
                f"taking a slot of the concurrency limit {limit!r}: the Prefect server has none of that name; "
                f"one that exists is needed. Run `prefect gcl create {limit} --limit 4`, or take concurrency_limit "
                "out of the profile."
            ) from error
        yield


@contextmanager
def _own_server_for_all() -> Iterator[None]:
    """Let workers use the server of this run: with none configured each of them would start one of its own."""
    run = FlowRunContext.get()
    with ExitStack() as held:
        if run:
            held.enter_context(temporary_settings({PREFECT_API_URL: str(run.client.api_url).rstrip("/")}))
        yield


def _runner_of(profile: Profile) -> TaskRunner[Any]:
    if not isinstance(profile.runner, Ray):
        return ThreadPoolTaskRunner(max_workers=profile.generation.shards_at_once)
    try:
        from tasks.ray_runner import FlushingRayRunner
    except ImportError as error:
        raise BadInput(
            f"running on Ray with profile {profile.name!r}: {error}; the packages ray and prefect-ray are needed. "
            "Install them with `pip install -e '.[cluster]'`, or set runner.kind to threads."
        ) from None
    for name, value in QUIET_RAY.items():
        os.environ.setdefault(name, value)
    settings: dict[str, Any] = {"logging_level": logging.WARNING, "runtime_env": _environment(profile, profile.runner)}
    if profile.runner.address == "local":
        settings |= {"num_cpus": profile.runner.workers, "include_dashboard": False}
    return FlushingRayRunner(address=profile.runner.address, init_kwargs=settings)


def _environment(profile: Profile, ray: Ray) -> dict[str, Any]:
    """Return what workers need: the project's modules, and its log lines sent to the server."""
    variables = {"PREFECT_LOGGING_EXTRA_LOGGERS": "gainloop"}
    if ray.address == "local":
        return {"env_vars": variables | {"PYTHONPATH": str(ROOT)}}
    at = profile.store
    for name, path in (("folder", profile.folder), ("store.url", at.url), ("store.data_path", at.data_path)):
        if path and ":" not in path and not os.path.isabs(path):
            raise BadInput(
                f"running on the Ray cluster {ray.address!r}: {name} of profile {profile.name!r} is {path!r}; on a "
                "cluster it must be the same place for every worker. Set it to an absolute path of a shared disk, or "
                "to a url."
            )
    return {"env_vars": variables, "working_dir": str(ROOT), "excludes": NOT_UPLOADED}

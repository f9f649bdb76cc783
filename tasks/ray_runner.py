"""A Ray cluster as a task runner. Imported only where ray is installed and asked for."""

from typing import Any

from prefect.logging.handlers import APILogWorker
from prefect_ray import RayTaskRunner


class FlushingRayRunner(RayTaskRunner):  # type: ignore[misc]
    """Sends what a task run logged before the run ends: Ray ends its workers without asking, and it was lost."""

    @staticmethod
    def _run_prefect_task(*upstream: Any, **given: Any) -> Any:
        try:
            return RayTaskRunner._run_prefect_task(*upstream, **given)
        finally:
            APILogWorker.drain_all(timeout=5)

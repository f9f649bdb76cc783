"""Maintain: the upkeep of a store."""

import logging

from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.store import open_store
from gainloop.store.maintenance import maintain_store
from schemas.profile import Profile

logger = logging.getLogger("gainloop.maintain")


@task(cache_policy=NO_CACHE, task_run_name="maintain the store")
def tend_store(profile: Profile, keep_days: float) -> str:
    said = maintain_store(open_store(profile), keep_days).summary
    logger.info("%s", said)
    return said

"""Prune: what may be removed of a store's folder is told, or removed."""

import logging
import re
from collections import Counter
from collections.abc import Collection
from datetime import timedelta
from typing import Final

from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.reports.overview import save_overview
from gainloop.store import Store, open_store
from gainloop.store.pruned import Kind
from gainloop.store.retention import Prunable, find_leftovers, plan_prune, prune
from schemas.profile import Gate, Profile
from tasks.artifacts import create_markdown_artifact

log = logging.getLogger("gainloop.prune")

_HOURS: Final = {"h": 1, "d": 24, "w": 24 * 7}


def read_age(older_than: str) -> timedelta | None:
    """Return an age, None of nothing.

    >>> read_age("30d"), read_age("12h"), read_age("")
    (datetime.timedelta(days=30), datetime.timedelta(seconds=43200), None)
    """
    found = re.fullmatch(r"(\d+)([hdw])", older_than)
    return timedelta(hours=int(found[1]) * _HOURS[found[2]]) if found else None


def prune_store(
    store: Store, gate: Gate, what: Collection[Kind], older_than: str, decision: Collection[str], yes: bool
) -> tuple[str, list[Prunable]]:
    """Return in words what was freed, or would be, and all that was asked for; what needs nothing any more goes.

    Folders that a prune was removing when it was stopped go too.

    Args:
        yes: True to remove it; otherwise nothing is touched.

    Raises:
        BadInput: Neither an age nor a decision is given, or the folder is not local.
    """
    asked = find_leftovers(store) + plan_prune(store, what, read_age(older_than), decision)
    why = ", ".join(part for part in (f"older than {older_than}" if older_than else "", " or ".join(decision)) if part)
    going = [one for one in asked if not one.needed]
    freed = [one for one in going if not yes or prune(store, one, why)]
    if yes and any(one.kind == "batches" for one in freed):
        save_overview(store, gate)
    stays = f"; {len(asked) - len(going)} more are needed and stay" if len(asked) > len(going) else ""
    busy = f"; {len(going) - len(freed)} are being worked on and stay" if len(going) > len(freed) else ""
    total = f"{sum(one.num_bytes for one in freed):,} bytes of {count_by_kind(freed)}"
    said = f"freed {total}" if yes else f"would free {total}"
    return f"{said}{stays}{busy}" + ("" if yes or not freed else ". Give --yes to do it"), asked


def count_by_kind(parts: Collection[Prunable]) -> str:
    """Return how many parts of each kind there are, in words."""
    words = {
        "replies": ("replies of {} batch", "replies of {} batches"),
        "weights": ("weights of {} checkpoint", "weights of {} checkpoints"),
        "batches": ("{} whole batch", "{} whole batches"),
    }
    counts = Counter(one.kind for one in parts)
    return ", ".join(words[kind][count > 1].format(count) for kind, count in sorted(counts.items())) or "nothing"


def as_markdown(said: str, asked: Collection[Prunable]) -> str:
    """Return what was asked for as a table, with why a part stays."""
    rows = "".join(
        f"| {one.kind} | {one.name} | {one.num_bytes:,} | {one.last:%Y-%m-%d} | {', '.join(sorted(one.states))} "
        f"| {one.needed or 'goes'} |\n"
        for one in asked
    )
    return f"{said}\n\n| what | of | bytes | last worked on | the gate says | |\n|---|---|---:|---|---|---|\n{rows}"


@task(cache_policy=NO_CACHE, task_run_name="prune")
def make_room(profile: Profile, what: Collection[Kind], older_than: str, decision: Collection[str], yes: bool) -> str:
    said, asked = prune_store(open_store(profile), profile.gate, what, older_than, decision, yes)
    for one in asked:
        stays = f"stays: {one.needed}" if one.needed else "goes"
        log.info("%s of %s, %s bytes, last worked on %s: %s", one.kind, one.name, f"{one.num_bytes:,}", one.last, stays)
    create_markdown_artifact(as_markdown(said, asked), key="prune")
    return said

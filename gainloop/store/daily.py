"""What an operator looks at in the morning: what ran since yesterday, its cost, what is held, what fills the disk."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from gainloop.store.catalogue import find_refusal, worked_on
from gainloop.store.duck import Store, now
from gainloop.store.files import file_sizes
from gainloop.store.spending import LEDGER

DAY: Final = timedelta(days=1)

MOST_HELD: Final = 5
"""Batches that are named, the newest; `gainloop list` has all."""

_HELD: Final = """
with decided as (select batch_id, arg_max(state, rowid) as state, arg_max(decision ->> '$.headline', rowid) as headline
    from decisions group by batch_id)
select batch_id, headline from decided join batches using (batch_id) where state = 'held' order by batches.rowid desc
"""

_UNVALIDATED: Final = """
select batch_id from batches where batch_id not in (select batch_id from completions where stage = 'validate')
order by batches.rowid desc
"""


_DONE: Final = """
select stage, summary from completions where completed_at >= ? and batch_id != ? and stage != 'aim' order by rowid
"""


def morning_lines(store: Store, at: datetime | None = None) -> Iterator[str]:
    """Yield the lines of the morning's screen.

    Args:
        at: Time that is looked back from. Default: now.
    """
    since = (at or now()) - DAY
    yield from _running(store)
    yield from _ran(store, since)
    yield from _held(store)
    yield _disk(store)


def _running(store: Store) -> Iterator[str]:
    if working := list(worked_on(store)):
        yield f"running now: {', '.join(working)}"


def _ran(store: Store, since: datetime) -> Iterator[str]:
    rows = store.query(_DONE, since, LEDGER)
    done = [(stage, json.loads(summary)) for stage, summary in rows.iter_rows()]
    begun = store.query("select count(*) from batches where created_at >= ?", since).item()
    stages = ", ".join(f"{stage} {count}" for stage, count in sorted(Counter(stage for stage, _ in done).items()))
    yield f"since {since:%Y-%m-%d %H:%M} UTC: batches begun {begun}; completed: {stages or 'nothing'}"
    if done:
        yield f"it took {_tokens(done)}; {_money(done)}"


def _tokens(done: list[tuple[str, dict[str, Any]]]) -> str:
    """Return what was read and written in words; a stage that took none is left out."""
    counts: Counter[str] = Counter()
    for stage, summary in done:
        read = int(summary.get("prompt_tokens") or 0) + int(summary.get("completion_tokens") or 0)
        counts["tokens of prompts and replies"] += read if stage == "generate" else 0
        counts["of judges"] += read if stage == "judge" else 0
        counts["scored"] += int(summary.get("tokens") or 0) if stage == "score" else 0
        trained = summary.get("tokens", {}) if stage == "train" else {}
        counts["trained on"] += sum(number for role, number in trained.items() if role != "start")
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "no tokens"


def _money(done: list[tuple[str, dict[str, Any]]]) -> str:
    spent: dict[str, float] = {}
    for _, summary in done:
        if isinstance(cost := summary.get("cost"), int | float) and cost:
            currency = str(summary.get("currency") or "")
            spent[currency] = spent.get(currency, 0.0) + cost
    return ", ".join(f"{amount:,.2f} {currency}" for currency, amount in spent.items()) or "no price is set"


def _held(store: Store) -> Iterator[str]:
    held = list(store.query(_HELD).iter_rows())
    for batch_id, headline in held[:MOST_HELD]:
        yield f"batch {batch_id} is {headline or 'held'}"
    refused = [(one, why) for one in store.query(_UNVALIDATED)["batch_id"] if (why := find_refusal(store, one))]
    for batch_id, why in refused[:MOST_HELD]:
        yield f"batch {batch_id} is {why}"
    more = max(0, len(held) - MOST_HELD) + max(0, len(refused) - MOST_HELD)
    if more:
        yield f"and {more} older batches are held or refused: `gainloop list batches`"
    if not held and not refused:
        yield "no batch is held"


def _disk(store: Store) -> str:
    if "://" in store.folder or not os.path.isdir(store.folder):
        return f"disk: {store.folder} is not on this machine"
    sizes = sorted(bytes_by_kind(store).items(), key=lambda one: -one[1])
    free = shutil.disk_usage(store.folder).free
    return f"disk: {', '.join(f'{kind} {size_words(size)}' for kind, size in sizes)}; {size_words(free)} free"


def bytes_by_kind(store: Store) -> dict[str, int]:
    """Return the bytes of a store's folder: replies, checkpoints, pages, the store's tables, and all other files."""
    sizes: Counter[str] = Counter({"replies": 0, "checkpoints": 0, "pages": 0, "tables": 0})
    for path, size in file_sizes(store.folder):
        sizes[_kind_of(os.path.relpath(path, store.folder))] += size
    file = Path(store.path)  # or the url of another place, whose rows are not of this folder
    if file.is_file() and not file.resolve().is_relative_to(Path(store.folder).resolve()):
        sizes["tables"] += file.stat().st_size
    return dict(sizes)


def _kind_of(path: str) -> str:
    """Return the kind of a file by its path below the folder.

    >>> [_kind_of(path) for path in ("batches/b/replies/0.parquet", "checkpoints/c/config.json", "scores/s.parquet")]
    ['replies', 'checkpoints', 'other']
    """
    parts = Path(path).parts
    if "replies" in parts:
        return "replies"
    if parts[0] == "checkpoints":
        return "checkpoints"
    if Path(path).suffix in (".html", ".js"):
        return "pages"
    return "tables" if ".duckdb" in parts[-1] else "other"


def size_words(num_bytes: int) -> str:
    """Return a number of bytes with a unit.

    >>> [size_words(number) for number in (0, 1_500, 2_340_000, 71_000_000_000)]
    ['0 kB', '2 kB', '2.3 MB', '71 GB']
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= size:
            return f"{num_bytes / size:.{1 if num_bytes < 10 * size else 0}f} {unit}"
    return f"{-(-num_bytes // 1000)} kB"

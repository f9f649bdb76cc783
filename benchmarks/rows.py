"""The engine over a number of anchors, one request each, with everything on disk: what ``benchmarks.engine`` measures.

``python -m benchmarks.rows --url http://127.0.0.1:8000/v1 --rows 10000 --json`` does it in a process of its own.
"""

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from statistics import median

from benchmarks.measured import METHOD, Measured, anchor_of, peak_rss_mb, read_flags, rss_mb, show
from gainloop.serving.driver import Progress, run_shard
from gainloop.serving.engine import engine
from gainloop.store import open_store
from gainloop.store.batches import replies_folder
from gainloop.store.draws import plan_batch
from gainloop.store.replies import compact_replies, read_replies, spans_of
from gainloop.store.snapshots import PartWriter, insert_snapshot
from schemas.profile import Generation, Profile, Servers, StoreSettings
from schemas.recipe import Recipe, Sampling

SNAPSHOT = "benchmark"

WARM_UP_ROWS = 256
"""Made before the clock starts: pandas alone, which pyarrow imports at first use, takes a second of CPU."""


def make_corpus(profile: Profile, rows: int) -> None:
    """Write that many anchors into a store, as one snapshot."""
    store = open_store(profile)
    writer = PartWriter(store, "benchmark")
    for row in range(rows):
        writer.add_anchor("all", anchor_of(row))
    writer.finish_part("all", "1", {"documents": rows, "anchors": rows, "too_short": 0})
    writer.write()
    about = {"source_id": "benchmark", "source": "{}", "heldout_fraction": 0.0, "num_heldout": 0, "num_bytes": 0}
    insert_snapshot(store, {"snapshot_id": SNAPSHOT, "num_anchors": rows, **about}, {"all": "1"})


def make_records(profile: Profile, recipe: Recipe) -> tuple[Progress, float]:
    """Run every shard of a recipe as the flow ``generate`` does, Prefect apart.

    Returns:
        What was done, and the median of the resident memory after each shard, in MB.
    """
    seen: list[float] = []
    store, size = open_store(profile), profile.generation.shard_anchors
    num_anchors = plan_batch(store, recipe)
    replies = replies_folder(store, recipe.batch_id)
    spans = spans_of(num_anchors, size)
    total = Progress()
    with engine(profile, recipe, None) as lent, ThreadPoolExecutor(profile.generation.shards_at_once) as threads:
        shards = [lambda pool, span=span: run_shard(store, replies, recipe, pool, span) for span in spans]
        for done in threads.map(lent.run, shards):
            total = total.add(done)
            seen.append(rss_mb())
    compact_replies(replies)
    return total, median(seen)


def measure(url: str, rows: int, in_flight: int, logprobs: bool, deadline_seconds: float = 600) -> Measured:
    """Run the engine over that many rows in a folder of its own, and make sure that every row is accounted for."""
    with tempfile.TemporaryDirectory() as folder:
        profile = Profile(
            name="benchmark",
            folder=folder,
            store=StoreSettings(url=f"{folder}/store.duckdb"),
            serving=Servers(urls=[url], logprobs=logprobs),
            generation=Generation(max_in_flight=in_flight, shard_anchors=1000, deadline_seconds=deadline_seconds),
        )
        with ProcessPoolExecutor(1, get_context("spawn")) as other:  # its memory is not the engine's
            other.submit(make_corpus, profile, rows).result()
        make_records(profile, recipe_of(min(rows, WARM_UP_ROWS), seed=1))
        recipe = recipe_of(rows, seed=0)
        begun, cpu_begun = time.perf_counter(), time.process_time()
        done, resident = make_records(profile, recipe)
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
        peak = peak_rss_mb()
        landed = read_replies(replies_folder(open_store(profile), recipe.batch_id), columns=["request_id"]).height
        assert done.records == landed == rows - sum(done.drops.values()), (done, landed)
    return Measured(rows, seconds, rows / seconds, 1000 * cpu_seconds / rows, resident, peak)


def recipe_of(rows: int, seed: int) -> Recipe:
    """Return the recipe that asks once for each of that many anchors."""
    method = METHOD.model_dump(mode="json")
    about = {"model": "stub", "revision": "/models/stub", "sampling": Sampling(max_tokens=256)}
    return Recipe(method=method, snapshot_id=SNAPSHOT, seed=seed, max_anchors=rows, **about)


def main() -> None:
    """Measure what the flags say, and print it."""
    asked = read_flags("rows", __doc__)
    show(measure(asked.url, asked.rows, asked.in_flight, asked.logprobs), asked.json)


if __name__ == "__main__":
    main()

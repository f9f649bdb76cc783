"""What each step takes as a corpus grows: a store of ``--rows`` anchors and records, beside one of a tenth of them.

``python -m benchmarks.million --rows 1000000`` prints, for both sizes, seconds of CPU and peak resident megabytes of
each step, and how much more the larger takes: ten times is linear. ``--json`` prints one object as the last line. Every
step has a process of its own, and goes through the functions that a run uses; made up are the words of the texts, drawn
from Python's documentation, and the replies, which no generator wrote. Steps that are named by a number are the same at
any size.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.measured import peak_rss_mb, rss_mb

ROOT = Path(__file__).resolve().parents[1]
ROWS_PER_FILE, WORDS, SENTENCE_WORDS, TOKENS = 1000, 36, 12, 24
SHARDS, SHARD_ANCHORS, FILLED_AT_ONCE = 100, 256, 4096
BATCHES = 1000
SMALLER = 10
"""The other store is this many times smaller."""

MOST_GROWTH = 12

Step = Callable[[Path, int], dict[str, float] | None]


def profile_of(folder: Path) -> Any:
    """Return a profile whose every file lies in a folder."""
    from schemas.profile import Profile, StoreSettings

    return Profile(name="million", folder=str(folder), store=StoreSettings(url=f"{folder}/gainloop.duckdb"))


def store_of(folder: Path) -> Any:
    from gainloop.store import open_store

    return open_store(profile_of(folder))


def source_of(folder: Path) -> Any:
    from gainloop.sources.files import Files

    return Files(paths=[f"{folder}/source"], licence="PSF-2.0", min_chars=20)


def recipe_of(store: Any) -> Any:
    from gainloop.methods import Making
    from gainloop.methods.rephrase import Rephrase
    from gainloop.store.snapshots import read_snapshot

    return Making(method=Rephrase()).recipe(read_snapshot(store)["snapshot_id"], "made up", "")


def write_source(folder: Path, rows: int) -> None:
    """Write files of documents, each of some sentences of words as common as in Python's documentation."""
    (folder / "source").mkdir(parents=True)
    words = vocabulary()
    for begin in range(0, rows, ROWS_PER_FILE):
        write_file(folder, begin, min(ROWS_PER_FILE, rows - begin), Random(begin), words)  # noqa: S311


def write_file(folder: Path, begin: int, rows: int, rng: Random, words: list[str]) -> None:
    texts = (say(rng.choices(words, k=WORDS)) for _ in range(rows))
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (folder / f"source/{begin:09d}.jsonl").write_text(lines)


def vocabulary() -> list[str]:
    """Return the words of the language reference, each as often as it stands there."""
    from pydoc_data.topics import topics

    return [word for text in topics.values() for word in text.split() if word.isalpha() and len(word) < 20]


def say(words: list[str]) -> str:
    """Return words as sentences."""
    pieces = [words[begin : begin + SENTENCE_WORDS] for begin in range(0, len(words), SENTENCE_WORDS)]
    return " ".join(f"{' '.join(piece).capitalize()}." for piece in pieces)


def refresh(folder: Path, rows: int) -> None:
    """Refresh as the flow does."""
    from tasks.refresh import refresh_snapshot

    found = refresh_snapshot(store_of(folder), source_of(folder), 0.02)
    assert found.corpus.num_anchors == rows, found


def refresh_changed(folder: Path, rows: int) -> None:
    """Refresh after one file was written anew, and then as it was again: the batch is of the first snapshot."""
    from tasks.refresh import refresh_snapshot

    write_file(folder, 0, min(ROWS_PER_FILE, rows), Random(-1), vocabulary())  # noqa: S311
    assert refresh_snapshot(store_of(folder), source_of(folder), 0.02).changed


def plan(folder: Path, _rows: int) -> None:
    """Choose the anchors of a batch."""
    from gainloop.store.draws import plan_batch

    store = store_of(folder)
    assert plan_batch(store, recipe_of(store)) > 0


def spans(folder: Path, are_shards: bool) -> Iterator[Any]:
    """Yield a hundred shards spread over the batch's order, or the spans between them."""
    from gainloop.store.batches import count_settled
    from gainloop.store.replies import Span, spans_of

    store = store_of(folder)
    num_anchors, _ = count_settled(store, recipe_of(store).batch_id)
    for whole in spans_of(num_anchors, -(-num_anchors // SHARDS)):
        end = min(whole.begin + SHARD_ANCHORS, whole.begin + (whole.end - whole.begin + 1) // 2)
        if are_shards:
            yield Span(whole.begin, end)
        else:
            yield from (Span(end + one.begin, end + one.end) for one in spans_of(whole.end - end, FILLED_AT_ONCE))


def work(folder: Path, are_shards: bool) -> None:
    """Do all that a run does for shards of a batch, but for asking a generator."""
    from gainloop.store.batches import begin_batch, settled_positions

    store = store_of(folder)
    recipe = recipe_of(store)
    begin_batch(store, recipe, "processed")
    words, settled = vocabulary(), settled_positions(store, recipe.batch_id)
    for span in spans(folder, are_shards):
        work_shard(store, recipe, span, settled, words)


def work_shard(store: Any, recipe: Any, span: Any, settled: set[int], words: list[str]) -> None:
    from gainloop.serving.driver import insert_outcomes
    from gainloop.store.batches import open_anchors, replies_folder
    from gainloop.store.replies import ReplyLog, compact_replies
    from schemas.rows import Outcome

    anchors, folder = open_anchors(store, recipe.batch_id, span, settled), replies_folder(store, recipe.batch_id)
    log = ReplyLog.open(folder, span, [one.anchor_id for one in anchors])
    outcomes: dict[str, Outcome] = {}

    async def land() -> None:
        async with log, asyncio.TaskGroup() as landing:
            for anchor in anchors:
                reply, record = reply_to(anchor, words)
                outcomes[anchor.anchor_id] = Outcome([record])
                landing.create_task(log.land(reply, anchor.anchor_id, record.facet))

    asyncio.run(land())
    compact_replies(folder, span)
    insert_outcomes(store, recipe.batch_id, outcomes)


def reply_to(anchor: Any, words: list[str]) -> tuple[Any, Any]:
    """Return a reply, and the record that it is: words of the anchor in another order, and some others."""
    from schemas.rows import Record, Reply, content_hash

    rng = Random(anchor.anchor_id)  # noqa: S311
    own = anchor.text.replace(".", "").lower().split()
    text = say(rng.sample(own, len(own)) + rng.choices(words, k=SENTENCE_WORDS))
    request_id = content_hash("request", anchor.anchor_id)
    tokens, logprobs = tuple(rng.choices(range(50_000), k=TOKENS)), tuple(rng.choices((-0.1, -0.7, -3.0), k=TOKENS))
    about = {"prompt_tokens": 100, "completion_tokens": TOKENS, "seconds": 1.0, "server": "none"}
    reply = Reply(request_id, content_hash("prompt", anchor.anchor_id), text, tokens, logprobs, "stop", **about)
    return reply, Record(anchor.anchor_id, "rephrase", "style", text, (request_id,))


def count(folder: Path, _rows: int) -> None:
    """Compact the replies, and count the batch."""
    from schemas.profile import Prices
    from tasks.generate import RunTotals, finish_batch

    store = store_of(folder)
    finish_batch(store, Prices(), recipe_of(store), RunTotals(seconds=1.0))


def find_lost(folder: Path, _rows: int) -> None:
    """Look for lost replies, as every rerun of a recipe does."""
    from tasks.generate import reopen_unanswered

    store = store_of(folder)
    assert not reopen_unanswered(store, recipe_of(store), ask_again=False)


def validate_anchors(folder: Path, _rows: int) -> None:
    from tasks import validate

    store = store_of(folder)
    validate.validate_anchors(store, recipe_of(store).snapshot_id)


def validate_records(folder: Path, rows: int) -> dict[str, float]:
    """Validate the records; return what looking across the corpus took of it."""
    from schemas.curation import Curation
    from tasks import validate

    store, seconds = store_of(folder), dict[str, float]()
    time_part(validate, "compare", seconds)
    summary = validate.validate_batch(store, recipe_of(store).batch_id, Curation())
    assert summary["kept"] > 0.5 * rows, summary
    return {"of it curation": seconds["compare"]}


def report(folder: Path, _rows: int) -> dict[str, float]:
    """Measure the batch and write its pages; return what measuring took of it."""
    from tasks import report as reporting

    profile, store, seconds = profile_of(folder), store_of(folder), dict[str, float]()
    for part in ("gather_evidence", "measure_once", "save_records_page"):
        time_part(reporting, part, seconds)
    reporting.save_report(store, profile.gate, recipe_of(store).batch_id, "")
    measured = seconds["measure_once"] - seconds["gather_evidence"]
    return {
        "of it evidence": seconds["gather_evidence"],
        "of it measures": measured,
        "of it records page": seconds["save_records_page"],
    }


def overview(folder: Path, _rows: int) -> None:
    from gainloop.reports.overview import save_overview

    for name in ("html", "json"):
        Path(folder, f"batches/index.{name}").unlink()
    save_overview(store_of(folder), profile_of(folder).gate)


def make_batches(folder: Path, _rows: int) -> None:
    """Write the batch's report as that of a thousand batches of ten recipes into another store."""
    from gainloop.store.digests import digest_rows
    from gainloop.store.duck import now

    store, others = store_of(folder), store_of(folder / "others")
    recipe = recipe_of(store)
    measured = store.report()
    tables: dict[str, list[dict[str, Any]]] = {"batches": [], "measurements": [], "digests": [], "figures": []}
    for number in range(BATCHES):
        batch_id = f"{number:016x}"
        made = recipe.model_copy(update={"seed": number, "revision": str(number % 10)}).model_dump_json()
        row = {"batch_id": batch_id, "snapshot_id": recipe.snapshot_id, "recipe": made, "created_at": now()}
        tables["batches"].append(row | {"logprob_semantics": "processed"})
        told = measured.model_copy(update={"batch": batch_id})
        row = {"batch_id": batch_id, "measurement_id": "m", "report": told.model_dump_json(), "measured_at": now()}
        tables["measurements"].append(row)
        for name, rows in digest_rows(told, "m").items():
            tables[name] += rows
    done = {"key": "", "summary": {"requests": 100, "records": 100, "kept": 90}, "completed_at": now()}
    tables["completions"] = [
        done | {"batch_id": row["batch_id"], "stage": stage}
        for row in tables["batches"]
        for stage in ("generate", "validate")
    ]
    others.insert(**tables)


def overview_of_batches(folder: Path, _rows: int) -> None:
    from gainloop.reports.overview import save_overview

    save_overview(store_of(folder / "others"), profile_of(folder).gate)


def list_batches(folder: Path, _rows: int) -> None:
    from gainloop.store.catalogue import ROWS, list_rows

    for what in ROWS:
        list_rows(store_of(folder / "others"), what)


STEPS: Final[dict[str, tuple[str, Step]]] = {
    "refresh, all new": ("tasks.refresh", refresh),
    "refresh, unchanged": ("tasks.refresh", refresh),
    "refresh, one file changed": ("tasks.refresh", refresh_changed),
    "plan a batch": ("gainloop.store.draws", plan),
    "fill the batch": ("gainloop.serving.driver", lambda folder, _rows: work(folder, are_shards=False)),
    "100 shards of 256": ("gainloop.serving.driver", lambda folder, _rows: work(folder, are_shards=True)),
    "count the batch": ("tasks.generate", count),
    "look for lost replies": ("tasks.generate", find_lost),
    "validate anchors": ("tasks.validate", validate_anchors),
    "validate records": ("tasks.validate", validate_records),
    "report": ("tasks.report", report),
    "overview": ("gainloop.reports.overview_page", overview),
}
"""By name: the module that a step imports before it is timed, and the step."""

OF_BATCHES: Final[dict[str, tuple[str, Step]]] = {
    "write 1,000 batches": ("gainloop.store.digests", make_batches),
    "overview of 1,000 batches": ("gainloop.reports.overview_page", overview_of_batches),
    "list of 1,000 batches": ("gainloop.store.catalogue", list_batches),
}


def measure(name: str, folder: Path, rows: int) -> dict[str, Any]:
    """Do one step in this process; return seconds of CPU of all its threads, by the clock, and memory."""
    module, step = (STEPS | OF_BATCHES)[name]
    import_module(module)
    resident, begun, cpu_begun = rss_mb(), time.perf_counter(), time.process_time()
    parts = step(folder, rows) or {}
    taken = {"cpu_seconds": time.process_time() - cpu_begun, "seconds": time.perf_counter() - begun}
    return taken | {"before_mb": resident, "peak_mb": peak_rss_mb(), "parts": parts}


def time_part(module: Any, name: str, seconds: dict[str, float]) -> None:
    """Make a function of a module add the CPU that it takes to ``seconds``."""
    function = getattr(module, name)

    def timed(*args: Any, **named: Any) -> Any:
        begun = time.process_time()
        try:
            return function(*args, **named)
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.process_time() - begun

    setattr(module, name, timed)


def in_process(name: str, folder: Path, rows: int) -> dict[str, Any]:
    """Do one step in a process of its own; return what it took."""
    words = [sys.executable, "-m", "benchmarks.million", "--step", name, "--folder", str(folder), "--rows", str(rows)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(
            f"measuring {name!r} at {rows:,} rows: it ended with {done.returncode}.\n{done.stderr[-4000:]}"
        )
    taken: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return taken


def measure_all(folder: Path, rows: int, steps: dict[str, tuple[str, Step]]) -> dict[str, dict[str, Any]]:
    """Do some steps one after the other; return what each took, and each part of it that was timed."""
    found: dict[str, dict[str, Any]] = {}
    for name in steps:
        found[name] = in_process(name, folder, rows)
        for part, seconds in found[name].pop("parts").items():
            found[f"  {part}"] = {"cpu_seconds": seconds, "peak_mb": found[name]["peak_mb"]}
        print(f"{rows:>10,} {name:<26} {found[name]['cpu_seconds']:9.2f} s", file=sys.stderr, flush=True)
    return found


def show(told: dict[str, Any]) -> None:
    """Print the table."""
    small, large = told["small"], told["large"]
    print(f"{'':<28} {told['rows'] // SMALLER:>11,} rows {'':>6} {told['rows']:>11,} rows")
    print(f"{'step':<28} {'CPU s':>8} {'peak MB':>9}  {'CPU s':>11} {'peak MB':>9}  growth")
    for name, taken in large.items():
        before = small[name]
        grown = taken["cpu_seconds"] / before["cpu_seconds"] if before["cpu_seconds"] else 0
        mark = "" if grown <= MOST_GROWTH or taken["cpu_seconds"] < 1 else f"  more than {MOST_GROWTH} times"
        print(
            f"{name:<28} {before['cpu_seconds']:>8.2f} {before['peak_mb']:>9,.0f}  {taken['cpu_seconds']:>11.2f} "
            f"{taken['peak_mb']:>9,.0f}  {grown:>5.1f}{mark}"
        )
    for name, taken in told["batches"].items():
        print(f"{name:<28} {taken['cpu_seconds']:>8.2f} {taken['peak_mb']:>9,.0f}")


def main() -> None:
    """Measure as the flags say, and print it."""
    parser = argparse.ArgumentParser("python -m benchmarks.million", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="anchors of the larger store")
    parser.add_argument("--folder", type=Path, help="folder of the stores, left there; default: a scratch folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--step", metavar="NAME", help="only do this step of a store that is there")
    asked = parser.parse_args()
    if asked.step:
        print(json.dumps(measure(asked.step, asked.folder, asked.rows)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        told: dict[str, Any] = {"rows": asked.rows}
        for size, rows in (("small", asked.rows // SMALLER), ("large", asked.rows)):
            folder = (asked.folder or Path(scratch)).resolve() / size
            write_source(folder, rows)
            told[size] = measure_all(folder, rows, STEPS)
            if size == "small":
                told["batches"] = measure_all(folder, rows, OF_BATCHES)
    show(told)
    if asked.json:
        print(json.dumps(told))


if __name__ == "__main__":
    main()

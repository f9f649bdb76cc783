"""What measuring a large batch takes: ``measure_batch`` on made-up evidence, in a process of its own.

``python -m benchmarks.measures`` prints seconds of each section and megabytes; ``--json`` one object as its last line.
The batch: records of Zipfian words, five of each anchor, of which some copy a passage of it, some are near copies of
another record and some are equal to it; 250 log-probabilities a reply.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measured import peak_rss_mb, rss_mb

ROOT = Path(__file__).resolve().parents[1]
FRAMES = ("replies", "records", "quarantine", "drops", "anchors")
PER_ANCHOR = 5
VOCABULARY = 100_000
TOKENS = 250
SECTIONS = {
    "gainloop.reports.batch": ("count_rows", "measure_texts", "measure_delta_i", "measure_curation", "measure_cost"),
    "gainloop.reports.texts": (
        "hash_records",
        "near_duplicates",
        "measure_diversity",
        "measure_faithfulness",
        "measure_quality",
    ),
    "gainloop.reports.evidence": ("hash_texts", "repeated_words", "take_from_anchors"),
}
"""What is timed, by the module that calls it. ``measure_texts`` and ``hash_records`` hold the time of their parts."""


def make_batch(folder: Path, num_records: int, num_words: int) -> None:
    """Write the frames of a made-up batch as Parquet files, as a store holds them."""
    import numpy as np
    import polars as pl

    from schemas.rows import content_hash

    rng = np.random.default_rng(0)
    words = np.array([_word(rank) for rank in range(VOCABULARY)], dtype=object)
    shares = np.cumsum(1 / np.arange(2.7, VOCABULARY + 2.7))
    num_anchors = max(1, num_records // PER_ANCHOR)
    of_anchors = np.searchsorted(shares / shares[-1], rng.random((num_anchors, num_words)))
    of_records = np.searchsorted(shares / shares[-1], rng.random((num_records, num_words)))
    own = np.arange(num_records) % num_anchors
    kind = rng.random(num_records)
    (copies,) = np.nonzero(kind < 0.2)  # 40 words of the anchor
    of_records[copies, 10:50] = of_anchors[own[copies], 100:140]
    (near,) = np.nonzero((kind > 0.97) & (np.arange(num_records) > 0))  # another record but for two words
    of_records[near] = of_records[near - 1]
    of_records[near, 20:22] = 7
    (equal,) = np.nonzero((kind > 0.95) & (kind < 0.96) & (np.arange(num_records) > 0))
    of_records[equal] = of_records[equal - 1]

    def written(rows: Any) -> list[str]:
        return [" ".join(row) + "." for row in words[rows]]

    anchor_ids = [content_hash("anchor", number) for number in range(num_anchors)]
    ids = [content_hash("request", number) for number in range(num_records)]
    texts, beside = written(of_records), [anchor_ids[number] for number in own]
    logprobs = -rng.gamma(0.6, 2.0, num_records * TOKENS).astype(np.float32)
    tokens = rng.integers(0, 150_000, num_records * TOKENS).astype(np.int32)
    replies = pl.DataFrame(
        {
            "request_id": ids,
            "prompt_id": [content_hash("prompt", anchor_id) for anchor_id in beside],
            "anchor_id": beside,
            "facet": [f"draw {row // num_anchors}" for row in range(num_records)],
            "text": texts,
            "token_ids": _lists(tokens, pl.Int32),
            "token_logprobs": _lists(logprobs, pl.Float32),
            "finish_reason": ["stop"] * num_records,
            "prompt_tokens": [TOKENS] * num_records,
            "completion_tokens": [TOKENS] * num_records,
        }
    )
    records = replies.select(
        "anchor_id",
        "facet",
        "text",
        record_id=pl.Series([content_hash("record", one) for one in ids]),
        request_ids=pl.concat_list("request_id"),
        num_bytes=pl.col("text").str.len_bytes().cast(pl.Int64),
        kept=pl.Series(rng.random(num_records) > 0.05),
    )
    frames = {
        "replies": replies,
        "records": records,
        "quarantine": records.filter(~pl.col("kept")).select("record_id", reason=pl.lit("repeats")),
        "drops": pl.DataFrame(schema=dict.fromkeys(("anchor_id", "facet", "reason", "request_id"), pl.String)),
        "anchors": pl.DataFrame({"anchor_id": anchor_ids, "text": written(of_anchors)}).with_columns(
            title=pl.lit(""), num_bytes=pl.col("text").str.len_bytes().cast(pl.Int64)
        ),
    }
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")


def measure(folder: Path) -> dict[str, Any]:
    """Measure the batch in a folder, in this process; return seconds of each section, and memory in MB."""
    import polars as pl

    from gainloop.reports import batch
    from gainloop.reports.evidence import Evidence, sum_replies

    frames = {name: pl.read_parquet(folder / f"{name}.parquet") for name in FRAMES}
    frames["replies"] = sum_replies(frames["replies"])
    num_records = frames["records"].height
    evidence = Evidence(
        batch_id="benchmark",
        training_id="",
        recipe={
            "method": {"kind": "rephrase"},
            "snapshot_id": "made up",
            "model": "made up",
            "revision": "",
            "sampling": {"temperature": 1.0, "top_p": 1.0},
        },
        logprob_semantics="processed",
        measured_at=datetime(2026, 1, 1, tzinfo=UTC),
        scores={},
        contrasts=None,
        summaries={
            "generate": {
                "anchors": frames["anchors"].height,
                "requests": num_records,
                "records": num_records,
                "prompt_tokens": 0,
                "completion_tokens": num_records * TOKENS,
                "seconds": 1.0,
            }
        },
        checkpoints={},
        **frames,
    )
    seconds: dict[str, float] = {}
    for name, functions in SECTIONS.items():
        for function in functions:
            _time(sys.modules[name], function, seconds)
    resident, begun, cpu_begun = rss_mb(), time.perf_counter(), time.process_time()
    report = batch.measure_batch(evidence)
    taken, cpu_taken = time.perf_counter() - begun, time.process_time() - cpu_begun
    return {
        "records": num_records,
        "seconds": taken,
        "cpu_seconds": cpu_taken,
        "evidence_mb": resident,
        "peak_rss_mb": peak_rss_mb(),
        "sections": seconds,
        "near_duplicates": report.diversity.near_duplicates.value,
        "copying": report.faithfulness.copying.value,
    }


def in_process(*flags: str) -> str:
    """Run this module with flags in a process of its own; return what it printed."""
    command = [sys.executable, "-m", "benchmarks.measures", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"measuring a batch: the process ended with status {done.returncode}.\n{done.stderr}")
    return done.stdout


def main() -> None:
    """Measure as the flags say, and print it."""
    parser = argparse.ArgumentParser("python -m benchmarks.measures", description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=200, help="words per record and anchor")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--make", metavar="FOLDER", help="only write the batch there")
    parser.add_argument("--read", metavar="FOLDER", help="only measure the batch that lies there")
    asked = parser.parse_args()
    size = ("--records", str(asked.records), "--words", str(asked.words))
    if asked.make:
        make_batch(Path(asked.make), asked.records, asked.words)
    elif asked.read:
        print(json.dumps(measure(Path(asked.read))))
    else:
        with tempfile.TemporaryDirectory() as folder:
            in_process("--make", folder, *size)
            taken = json.loads(in_process("--read", folder).splitlines()[-1])
        show(taken)
        if asked.json:
            print(json.dumps(taken))


def show(taken: dict[str, Any]) -> None:
    """Print what measuring took."""
    for name, seconds in taken["sections"].items():
        print(f"{name:>22} {seconds:8.2f} s")
    print(f"{'measure_batch':>22} {taken['seconds']:8.2f} s for {taken['records']:,} records")
    print(f"{'CPU':>22} {taken['cpu_seconds']:8.2f} s, of all cores together")
    print(f"{'resident before':>22} {taken['evidence_mb']:8,.0f} MB, the evidence and imports")
    print(f"{'peak resident':>22} {taken['peak_rss_mb']:8,.0f} MB, reading among it")


def _time(module: Any, name: str, seconds: dict[str, float]) -> None:
    """Make a function of a module add what it takes to ``seconds``."""
    function: Callable[..., Any] = getattr(module, name)

    def timed(*args: Any, **named: Any) -> Any:
        begun = time.perf_counter()
        try:
            return function(*args, **named)
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - begun

    setattr(module, name, timed)


def _lists(flat: Any, kind: Any) -> Any:
    """Return [rows] lists of ``TOKENS`` values each."""
    import polars as pl

    return pl.Series(flat.reshape(-1, TOKENS), dtype=pl.Array(kind, TOKENS)).cast(pl.List(kind))


def _word(rank: int) -> str:
    """Return a word for a rank: the more common, the shorter; some seven letters on average over a vocabulary."""
    letters, number = "", rank
    while True:
        number, digit = divmod(number, 21)
        letters += "bcdfghjklmnpqrstvwxyz"[digit] + "aeiou"[(rank + digit) % 5]
        if not number:
            return letters


if __name__ == "__main__":
    main()

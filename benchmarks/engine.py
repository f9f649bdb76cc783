"""The engine beside the least that a client can do: both against the same stub server, in turns, in one run.

``python -m benchmarks.engine`` prints a table; ``--json`` one object as its last line. Every measurement is a process
of its own, so that memory is its own too. Machines are shared: what counts are the ratios, those of CPU above all, and
the medians of turns.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.stub import StubOptions, running_stub

ROOT = Path(__file__).resolve().parents[1]

LOOPS = {
    "floor": "aiohttp alone: send, read, parse, keep nothing",
    "openai": "the openai package on aiohttp: parse, keep nothing",
    "rows": "the engine: anchors from DuckDB, replies on disk, records in DuckDB",
}


def measure(loop: str, url: str, rows: int, in_flight: int, logprobs: bool) -> dict[str, float]:
    """Run one loop in a process of its own and return what it took."""
    flags = ["--url", url, "--rows", str(rows), "--in-flight", str(in_flight), "--json"]
    command = [sys.executable, "-m", f"benchmarks.{loop}", *flags, *(["--logprobs"] if logprobs else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"measuring {loop}: it ended with status {done.returncode}.\n{done.stderr}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def in_turns(turns: int, rows: int, in_flight: int, logprobs: bool) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield what each loop took, turn by turn, against one stub with 20 ms latency and replies of 200 tokens."""
    with running_stub(StubOptions()) as url:
        for _ in range(turns):
            for loop in LOOPS:
                yield loop, measure(loop, url, rows, in_flight, logprobs)


def medians(turns: int, rows: int, in_flight: int, logprobs: bool) -> dict[str, dict[str, float]]:
    """Return the medians over the turns, by loop."""
    taken: dict[str, list[dict[str, float]]] = {loop: [] for loop in LOOPS}
    for loop, measured in in_turns(turns, rows, in_flight, logprobs):
        taken[loop].append(measured)
        what = f"{loop:>6}{' logprobs' if logprobs else ''}"
        print(f"{what}: {measured['rows_s']:,.0f} rows/s, {measured['cpu_ms_per_row']:.2f} CPU ms/row, "
              f"{measured['rss_mb']:.0f} MB", file=sys.stderr)  # fmt: skip
    return {loop: {key: median(one[key] for one in runs) for key in runs[0]} for loop, runs in taken.items()}


def compare(turns: int, rows: int, in_flight: int, many_rows: int) -> dict[str, Any]:
    """Return the comparison: without log-probabilities, with them, and the engine's memory over many rows."""
    plain, told = (medians(turns, rows, in_flight, logprobs) for logprobs in (False, True))
    result = {"rows": rows, "in_flight": in_flight, "turns": turns}
    result |= _beside(plain) | {f"logprobs_{name}": value for name, value in _beside(told).items()}
    result |= {"rss_mb": plain["rows"]["rss_mb"], "peak_rss_mb": plain["rows"]["peak_rss_mb"]}
    if many_rows:
        with running_stub(StubOptions()) as url:
            many = measure("rows", url, many_rows, in_flight, logprobs=False)
        result |= {"many_rows": many_rows, "many_rows_s": many["rows_s"], "many_rss_mb": many["rss_mb"]}
        result["many_peak_rss_mb"] = many["peak_rss_mb"]
    return result


def _beside(taken: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return what the engine took beside the others; a ratio is above 1 where the engine is the better one."""
    floor, openai, engine = taken["floor"], taken["openai"], taken["rows"]
    return {
        "floor_rows_s": floor["rows_s"],
        "openai_rows_s": openai["rows_s"],
        "engine_rows_s": engine["rows_s"],
        "ratio": engine["rows_s"] / floor["rows_s"],
        "openai_ratio": engine["rows_s"] / openai["rows_s"],
        "floor_cpu_ms_per_row": floor["cpu_ms_per_row"],
        "openai_cpu_ms_per_row": openai["cpu_ms_per_row"],
        "engine_cpu_ms_per_row": engine["cpu_ms_per_row"],
        "cpu_ms_per_row_above_floor": engine["cpu_ms_per_row"] - floor["cpu_ms_per_row"],
        "cpu_ratio": floor["cpu_ms_per_row"] / engine["cpu_ms_per_row"],
        "openai_cpu_ratio": openai["cpu_ms_per_row"] / engine["cpu_ms_per_row"],
    }


def main() -> None:
    """Compare as the flags say, and print it."""
    parser = argparse.ArgumentParser("python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--in-flight", type=int, default=128)
    parser.add_argument("--turns", type=int, default=3, help="the medians of so many runs of each loop")
    parser.add_argument("--many-rows", type=int, default=100_000, help="rows of the memory's run; 0 leaves it out")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    asked = parser.parse_args()
    result = compare(asked.turns, asked.rows, asked.in_flight, asked.many_rows)
    for name, value in result.items():
        print(f"{name:>28} {value:,.4g}" if isinstance(value, float) else f"{name:>28} {value:,}")
    if asked.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()

"""What every measured loop shares: its text, its flags, and what is told of it."""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gainloop.asking.chunks import Chunk
from gainloop.methods.rephrase import Rephrase, ask_rewrite
from schemas.rows import Anchor

TEXT = "The mill by the river grinds rye for seven towns and their bakers. " * 6
ANCHOR_CHARACTERS = 300

METHOD = Rephrase(styles=("easy",))
"""What every loop asks for: one reply an anchor."""


def anchor_of(row: int) -> Anchor:
    """Return one of as many anchors as are wanted, no two alike."""
    return Anchor(f"{row} {TEXT}"[:ANCHOR_CHARACTERS], f"Row {row}", revision="1")


def turns_of(row: int) -> list[Any]:
    """Return what the engine asks of an anchor, as a chat's turns: the other loops send the same bytes."""
    anchor = anchor_of(row)
    prompt = ask_rewrite(anchor, Chunk(anchor.text), "easy", METHOD.prompts).prompt
    assert not isinstance(prompt, str)
    return [{"role": turn.role, "content": turn.content} for turn in prompt]


@dataclass(frozen=True)
class Measured:
    """What a loop took. CPU and memory are this process's, the interpreter and its imports among it.

    ``rss_mb`` is resident while the loop runs, the median of what was seen; ``peak_rss_mb`` the most there ever was.
    """

    rows: int
    seconds: float
    rows_s: float
    cpu_ms_per_row: float
    rss_mb: float
    peak_rss_mb: float


def measure_loop(loop: Callable[[], int]) -> Measured:
    """Run a loop that returns how many rows were answered, and return what it took."""
    begun, cpu_begun = time.perf_counter(), time.process_time()
    rows = loop()
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
    return Measured(rows, seconds, rows / seconds, 1000 * cpu_seconds / rows, rss_mb(), peak_rss_mb())


def rss_mb() -> float:
    """Return this process's resident memory now, in MB; Linux only."""
    return _status_mb("VmRSS:")


def peak_rss_mb() -> float:
    """Return this process's largest resident memory so far, in MB; Linux only.

    Not ``getrusage``: what that tells begins with the memory of the process that started this one.
    """
    return _status_mb("VmHWM:")


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = (int(line.split()[1]) for line in lines if line.startswith(name))
    return kib * 1024 / 1e6


def read_flags(loop: str, about: str | None) -> argparse.Namespace:
    """Return the flags that every loop takes."""
    parser = argparse.ArgumentParser(f"python -m benchmarks.{loop}", description=about)
    parser.add_argument("--url", required=True, help="ends in /v1")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--in-flight", type=int, default=128)
    parser.add_argument("--logprobs", action="store_true", help="ask for one log-probability per token")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def show(measured: Measured, as_json: bool) -> None:
    """Print what a loop took."""
    told = asdict(measured)
    print(json.dumps(told) if as_json else "\n".join(f"{name:>14} {value:.4g}" for name, value in told.items()))

"""The least that a client can do: send, read, parse, keep nothing. What every other loop is compared with.

``python -m benchmarks.floor --url http://127.0.0.1:8000/v1 --rows 10000 --json`` measures it in a process of its own.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

TEXT = "The mill by the river grinds rye for seven towns and their bakers. " * 6
PROMPT_CHARACTERS = 400


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


def chat_bodies(rows: int, logprobs: bool) -> Iterator[bytes]:
    """Return the bodies of that many chat completions, no two alike, one by one."""
    for row in range(rows):
        turn = {"role": "user", "content": f"{row} {TEXT}"[:PROMPT_CHARACTERS]}
        body = {"model": "stub", "messages": [turn], "max_tokens": 256, "temperature": 1.0, "seed": row}
        yield json.dumps(body | {"logprobs": True} if logprobs else body).encode()


async def bare_loop(url: str, bodies: Iterable[bytes], in_flight: int) -> int:
    """Post every body, ``in_flight`` at a time, and return how many were answered.

    Raises:
        aiohttp.ClientError: A request failed; nothing is tried again.
    """
    waiting, headers = iter(bodies), {"Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers, raise_for_status=True) as session:

        async def work() -> int:
            num_rows = 0
            for body in waiting:  # all workers take from one iterator
                async with session.post(f"{url}/chat/completions", data=body) as answer:
                    json.loads(await answer.read())
                num_rows += 1
            return num_rows

        return sum(await asyncio.gather(*(work() for _ in range(in_flight))))


def measure(url: str, rows: int, in_flight: int, logprobs: bool = False) -> Measured:
    """Run the bare loop over that many rows."""
    begun, cpu_begun = time.perf_counter(), time.process_time()
    answered = asyncio.run(bare_loop(url, chat_bodies(rows, logprobs), in_flight))
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
    return Measured(answered, seconds, answered / seconds, 1000 * cpu_seconds / answered, rss_mb(), peak_rss_mb())


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


def main() -> None:
    """Measure what the flags say, and print it."""
    asked = read_flags("floor", __doc__)
    show(measure(asked.url, asked.rows, asked.in_flight, asked.logprobs), asked.json)


if __name__ == "__main__":
    main()

"""The least that a client can do: send, read, parse, keep nothing. What every other loop is compared with.

``python -m benchmarks.floor --url http://127.0.0.1:8000/v1 --rows 10000 --json`` measures it in a process of its own.
"""

import asyncio
import json
from collections.abc import Iterable

import aiohttp

from benchmarks.measured import measure_loop, read_flags, show, turns_of


def chat_bodies(rows: int, logprobs: bool) -> list[bytes]:
    """Return the bodies of that many chat completions, no two alike."""
    asked = {"model": "stub", "max_tokens": 256, "temperature": 1.0} | ({"logprobs": True} if logprobs else {})
    return [json.dumps(asked | {"messages": turns_of(row), "seed": row}).encode() for row in range(rows)]


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


def main() -> None:
    """Measure what the flags say, and print it."""
    asked = read_flags("floor", __doc__)
    bodies = chat_bodies(asked.rows, asked.logprobs)
    show(measure_loop(lambda: asyncio.run(bare_loop(asked.url, bodies, asked.in_flight))), asked.json)


if __name__ == "__main__":
    main()

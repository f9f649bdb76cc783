"""The openai package on aiohttp, keeping nothing: what its client costs, measured as ``benchmarks.floor`` is."""

import asyncio
from typing import Any

from openai import AsyncOpenAI, DefaultAioHttpClient

from benchmarks.measured import measure_loop, read_flags, show, turns_of


async def openai_loop(url: str, prompts: list[list[Any]], in_flight: int, logprobs: bool) -> int:
    """Ask for a chat completion of each prompt, ``in_flight`` at a time, and return how many were answered."""
    waiting = iter(enumerate(prompts))
    async with AsyncOpenAI(base_url=url, api_key="none", http_client=DefaultAioHttpClient()) as client:

        async def work() -> int:
            num_rows = 0
            for row, turns in waiting:  # all workers take from one iterator
                await client.chat.completions.create(
                    model="stub",
                    messages=turns,
                    max_tokens=256,
                    temperature=1.0,
                    seed=row,
                    logprobs=logprobs,
                )
                num_rows += 1
            return num_rows

        return sum(await asyncio.gather(*(work() for _ in range(in_flight))))


def main() -> None:
    """Measure what the flags say, and print it."""
    asked = read_flags("openai", __doc__)
    prompts = [turns_of(row) for row in range(asked.rows)]
    loop = openai_loop(asked.url, prompts, asked.in_flight, asked.logprobs)
    show(measure_loop(lambda: asyncio.run(loop)), asked.json)


if __name__ == "__main__":
    main()

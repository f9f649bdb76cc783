"""The embedded engine beside bare forward passes of the same model: tokens per second of one core, and memory.

``python -m benchmarks.embedded FOLDER`` prints a table; ``--json`` one object as its last line. The bare loop reads
prompts of the same length as one batch with transformers' own cache, and takes the likeliest token at every step:
nothing is drawn, no reply has a log-probability, and what a row computes depends on its neighbours. CPU time is a
process's own, so that other work on the machine counts little; every number of rows has a process, and its memory.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import torch
from transformers import DynamicCache

from benchmarks.measured import peak_rss_mb
from gainloop.serving.embedded import EmbeddedEngine
from schemas.recipe import Sampling
from schemas.rows import Request

ROOT = Path(__file__).resolve().parents[1]
TEXT = " ".join(" ".join(topics[name].split()) for name in sorted(topics))


def prompts(engine: EmbeddedEngine, count: int, num_tokens: int, shared: bool) -> list[str]:
    """Return texts of about so many tokens: no two that begin alike, or all but for their end."""
    ids = engine.tokenizer.encode(TEXT[:400_000], add_special_tokens=False)
    starts = [0 if shared else number * num_tokens for number in range(count)]
    return [str(engine.tokenizer.decode(ids[start : start + num_tokens])) + f" {n}" for n, start in enumerate(starts)]


async def engine_tokens(engine: EmbeddedEngine, texts: list[str], sampling: Sampling) -> int:
    """Ask for all at once, and return the tokens of their replies."""
    asked = [engine.complete(f"{number:016x}", Request(text), sampling) for number, text in enumerate(texts)]
    return sum([reply.completion_tokens for reply in await asyncio.gather(*asked)])


@torch.inference_mode()
def bare_tokens(engine: EmbeddedEngine, texts: list[str], max_tokens: int) -> int:
    """Read all as one batch, cut to the shortest, add the likeliest token to each, and return how many were added."""
    encoded = [engine.tokenizer.encode(text, add_special_tokens=False) for text in texts]
    shortest = min(map(len, encoded))
    ids, cache = torch.tensor([one[:shortest] for one in encoded]), DynamicCache(config=engine.network.config)
    for _ in range(max_tokens):
        logits = engine.network(input_ids=ids, past_key_values=cache, logits_to_keep=1).logits
        ids = logits[:, -1].argmax(-1, keepdim=True)
    return len(texts) * max_tokens


def measure(folder: str, rows: int, prompt_tokens: int, max_tokens: int, shared: bool) -> dict[str, float]:
    """Return what the engine and the bare loop take for so many rows, in this process."""
    engine = EmbeddedEngine(folder, "measured", "1")
    texts, sampling = prompts(engine, rows, prompt_tokens, shared), Sampling(max_tokens=max_tokens, temperature=0.7)
    asyncio.run(engine_tokens(engine, ["Once"], Sampling(max_tokens=2)))  # shapes are tried out only once
    begun, cpu_begun = time.perf_counter(), time.process_time()
    tokens = asyncio.run(engine_tokens(engine, texts, sampling))
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
    told = {"tokens_per_s": tokens / seconds, "tokens_per_core_s": tokens / cpu_seconds, "peak_rss_mb": peak_rss_mb()}
    if not shared:
        begun = time.process_time()
        bare = bare_tokens(engine, texts, max_tokens)
        told["bare_tokens_per_core_s"] = bare / (time.process_time() - begun)
        told["ratio"] = told["tokens_per_core_s"] / told["bare_tokens_per_core_s"]
    return told


def in_its_own_process(*arguments: object) -> dict[str, float]:
    """Measure in another process."""
    command = [sys.executable, "-m", "benchmarks.embedded", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def compare(asked: argparse.Namespace) -> dict[str, Any]:
    """Return the measurements for each number of requests in flight, and the memory of long prompts."""
    folder, bounds = str(Path(asked.folder).resolve()), ("--max-tokens", asked.max_tokens)
    result: dict[str, Any] = {"threads": torch.get_num_threads()}
    for rows in (1, 8, 32):
        told = in_its_own_process(folder, "--rows", rows, "--prompt-tokens", asked.prompt_tokens, *bounds)
        result |= {f"{name}_at_{rows}": value for name, value in told.items()}
    long = in_its_own_process(folder, "--rows", 32, "--prompt-tokens", 1000, "--max-tokens", 8, "--shared")
    return result | {f"long_{name}_at_32": value for name, value in long.items()}


def main() -> None:
    """Measure as the flags say, and print it."""
    parser = argparse.ArgumentParser("python -m benchmarks.embedded", description=__doc__)
    parser.add_argument("folder", help="a checkpoint")
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--rows", type=int, default=0, help="measure this many in flight alone, in this process")
    parser.add_argument(
        "--shared", action="store_true", help="prompts that begin alike: their memory, without the wait"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    asked = parser.parse_args()
    if asked.rows:
        print(json.dumps(measure(asked.folder, asked.rows, asked.prompt_tokens, asked.max_tokens, asked.shared)))
        return
    result = compare(asked)
    for name, value in result.items():
        print(f"{name:>32} {value:,.4g}")
    if asked.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()

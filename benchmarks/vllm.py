"""The engine beside ``vllm bench serve`` against real vLLM servers on this CPU, in turns, and what grouping saves.

``python -m benchmarks.vllm`` needs the environment of ``make vllm`` and about six minutes; ``--json`` ends with one
object. Both clients send the same prompts with the same sampling and ask for log-probabilities; the model is small and
untrained, so nearly every reply has as many tokens as are allowed.
"""

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from pydoc_data.topics import topics
from random import Random
from statistics import median
from typing import Any

from gainloop.methods.entigraph import ask_relation, choose_groups
from gainloop.models.start import make_model, make_tokenizer
from gainloop.serving.driver import name_request
from gainloop.serving.opening import connect_servers, count_cached
from gainloop.serving.pool import Pool
from gainloop.serving.vllm import serve_vllm
from schemas.plan import NewModel
from schemas.profile import PROFILES, Generation, LocalVLLM, Servers, load_profile
from schemas.recipe import Sampling
from schemas.rows import Anchor, Message, Request

ROOT = PROFILES.parent
NAME = "tiny"
SAMPLING = Sampling(max_tokens=64)
PLAN = NewModel(vocabulary=2048, hidden_size=128, layers=4, head_size=32, context_tokens=1024)
TEXTS = [" ".join(topics[name].split())[:1500] for name in sorted(topics)]
ENTITIES = ["the statement", "the expression", "a name", "an object", "the syntax", "a module", "a class", "a value"]

BENCH_SERVE = """
import json
from argparse import ArgumentParser
from vllm.benchmarks.datasets.datasets import CustomDataset
from vllm.benchmarks.serve import add_cli_args, main

def load_data(self):
    self.data = [json.loads(line) for line in open(self.dataset_path)]

CustomDataset.load_data = load_data
parser = ArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
"""What ``vllm bench serve`` runs: the command itself does not start in the CPU build, which also lacks pandas."""

Asked = list[tuple[str, Request]]
"""Requests, and what each shares a prefix with."""

Order = Callable[[Pool, list[Asked]], Coroutine[Any, Any, int]]
"""Asks for a batch in some order, and returns the completion tokens."""

NUM_DOCUMENTS = 24


def save_model(folder: Path) -> str:
    """Write an untrained model of the project's own make, and return its folder."""
    tokenizer = make_tokenizer(TEXTS, PLAN.vocabulary)
    make_model(PLAN, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@contextmanager
def servers(model: str, count: int, *arguments: str) -> Iterator[list[str]]:
    """Run that many vLLM servers as profiles/vllm-cpu.yaml says, and give their urls."""
    serving = load_profile("vllm-cpu").serving
    assert isinstance(serving, LocalVLLM)
    changes = {"python": str(ROOT / serving.python), "arguments": (*serving.arguments, *arguments)}
    with ExitStack() as running:
        yield [running.enter_context(serve_vllm(serving.model_copy(update=changes), model, NAME)) for _ in range(count)]


def chats(count: int, seed: int) -> Asked:
    """Return requests with prompts of about 300 characters, no two alike."""
    rng = Random(seed)  # noqa: S311
    starts = [rng.randrange(0, 1000) for _ in range(count)]
    texts = [TEXTS[number % len(TEXTS)][start : start + 300] for number, start in enumerate(starts)]
    return [("", Request((Message("user", f"{number} {text}"),))) for number, text in enumerate(texts)]


async def ask_all(urls: list[str], asked: Asked, in_flight: int) -> float:
    """Ask everything of a pool of servers; return completion tokens per second."""
    bounds = Generation(max_in_flight=in_flight)
    async with connect_servers(Servers(urls=urls), bounds, NAME) as pool:
        await pool.check()
        begun = time.perf_counter()
        tokens = await asyncio.gather(*(_ask(pool, near, request) for near, request in asked))
        return sum(tokens) / (time.perf_counter() - begun)


async def _ask(pool: Pool, near: str, request: Request) -> int:
    request_id = name_request(pool.model, pool.revision, request, SAMPLING.model_dump(mode="json"), 0)
    return (await pool.complete(request_id, request, SAMPLING, near)).completion_tokens


def engine_rate(urls: list[str], count: int, in_flight: int, seed: int) -> float:
    return asyncio.run(ask_all(urls, chats(count, seed), in_flight))


def bench_rates(urls: list[str], model: str, folder: Path, count: int, in_flight: int, seed: int) -> list[float]:
    """Run ``vllm bench serve`` at every url at the same time; return completion tokens per second of each."""
    prompts = folder / f"prompts-{seed}.jsonl"
    lines = (json.dumps({"prompt": request.prompt[0].content}) for _, request in chats(count, seed))  # type: ignore[union-attr]
    prompts.write_text("\n".join(lines) + "\n")
    runs = [_start_bench(url, model, prompts, folder, count, in_flight) for url in urls]
    for run in runs:
        output, _ = run.communicate()
        if run.returncode:
            raise SystemExit(f"vllm bench serve ended with status {run.returncode}:\n{output.decode()[-2000:]}")
    results = [json.loads((folder / f"{_port(url)}.json").read_text()) for url in urls]
    assert all(result["completed"] == count for result in results), results
    return [float(result["output_throughput"]) for result in results]


def _start_bench(
    url: str, model: str, prompts: Path, folder: Path, count: int, in_flight: int
) -> "subprocess.Popen[bytes]":
    python = str(ROOT / load_profile("vllm-cpu").serving.python)  # type: ignore[union-attr]
    # As the engine asks: seeded, nothing left to the model's own defaults, log-probabilities.
    body = {"seed": 0, "min_p": 0.0, "top_k": -1, "top_p": 1.0, "return_token_ids": True}
    options = {
        "backend": "openai-chat",
        "base-url": url.removesuffix("/v1"),
        "endpoint": "/v1/chat/completions",
        "model": NAME,
        "tokenizer": model,
        "dataset-name": "custom",
        "dataset-path": prompts,
        "custom-output-len": SAMPLING.max_tokens,
        "num-prompts": count,
        "max-concurrency": in_flight,
        "temperature": SAMPLING.temperature,
        "logprobs": 1,
        "extra-body": json.dumps(body),
        "result-dir": folder,
        "result-filename": f"{_port(url)}.json",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command = [python, "-c", BENCH_SERVE, *flags, "--skip-chat-template"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(  # noqa: S603
        [*command, "--save-result", "--disable-tqdm"],
        cwd="/",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _port(url: str) -> str:
    return url.rsplit(":", 1)[1].removesuffix("/v1")


def entigraph(texts: list[str], document_first: bool = True) -> list[Asked]:
    """Return the requests of EntiGraph's second round, anchor by anchor."""
    batch = []
    for text in texts:
        anchor = Anchor(text)
        groups = choose_groups(ENTITIES, 16, 4, Random(anchor.anchor_id))  # noqa: S311
        requests = [ask_relation(anchor, group, 200) for group in groups]
        batch.append([(anchor.anchor_id, one if document_first else _turned(one)) for one in requests])
    return batch


def _turned(request: Request) -> Request:
    """Return a request with the wish before the document: nothing is shared at the beginning."""
    assert isinstance(request.prompt, tuple)
    system, user = request.prompt
    document, _, wish = user.content.rpartition("\n\n")
    return Request((system, Message("user", f"{wish}\n\n{document}")))


async def grouped(pool: Pool, batch: list[Asked]) -> int:
    """Ask as the driver does: an anchor's first round alone, then the others together; few anchors at a time."""

    async def step(asked: Asked) -> int:
        first = await _ask(pool, *asked[0])
        return first + sum(await asyncio.gather(*(_ask(pool, *one) for one in asked[1:])))

    running = []
    for asked in batch:
        await pool.quiet()
        running.append(asyncio.create_task(step(asked)))
        await asyncio.sleep(0)
    return sum(await asyncio.gather(*running))


async def scattered(pool: Pool, batch: list[Asked]) -> int:
    """Ask round by round over all anchors, in any order and anywhere."""
    first = [one for asked in batch for _, one in asked[:1]]
    rest = [one for asked in batch for _, one in asked[1:]]
    tokens = await asyncio.gather(*(_ask(pool, "", one) for one in first))
    shuffled = Random(0).sample(rest, len(rest))  # noqa: S311
    return sum(tokens) + sum(await asyncio.gather(*(_ask(pool, "", one) for one in shuffled)))


async def hit_rate(urls: list[str], order: Order, batch: list[Asked], in_flight: int) -> tuple[float, float]:
    """Return the share of prompt tokens that the servers found in their prefix caches, and tokens per second."""
    named = Servers(urls=urls)
    before = await count_cached(named, NAME) or (0.0, 0.0)
    async with connect_servers(named, Generation(max_in_flight=in_flight), NAME) as pool:
        await pool.check()
        begun = time.perf_counter()
        rate = await order(pool, batch) / (time.perf_counter() - begun)
    after = await count_cached(named, NAME) or (0.0, 0.0)
    return (after[0] - before[0]) / (after[1] - before[1]), rate


def compare(turns: int, count: int, in_flight: int) -> dict[str, Any]:
    """Return the rates of both clients with one server and with two, and the hit rates of the prefix cache."""
    result: dict[str, Any] = {"turns": turns, "requests": count, "in_flight": in_flight}
    with tempfile.TemporaryDirectory() as name:
        folder, model = Path(name), save_model(Path(name) / "model")
        with servers(model, 2) as urls:
            engine_rate(urls, 64, in_flight, seed=99)
            for places, key in ((urls[:1], "one"), (urls, "two")):
                bench, engine = [], []
                for turn in range(turns):
                    number = len(places)
                    bench.append(sum(bench_rates(places, model, folder, count, in_flight, seed=2 * turn)))
                    engine.append(engine_rate(places, count * number, in_flight * number, seed=2 * turn + 1))
                    print(f"{key}: bench {bench[-1]:,.0f} tokens/s, engine {engine[-1]:,.0f} tokens/s", flush=True)
                result |= {f"{key}_bench_tokens_s": median(bench), f"{key}_engine_tokens_s": median(engine)}
                result[f"{key}_ratio"] = median(engine) / median(bench)
        orders = (("grouped", grouped, True), ("scattered", scattered, True), ("document_last", grouped, False))
        # 8 MiB of keys and values: room for a dozen documents, as a GPU has for some of a corpus and not for all.
        with servers(model, 2, "--kv-cache-memory-bytes=8388608") as urls:
            for number, (key, order, document_first) in enumerate(orders):
                texts = TEXTS[number * NUM_DOCUMENTS :][:NUM_DOCUMENTS]  # others each time: nothing is cached of them
                batch = entigraph(texts, document_first)
                rates = asyncio.run(hit_rate(urls, order, batch, in_flight // 2))
                result[f"{key}_hit_rate"], result[f"{key}_tokens_s"] = rates
                print(f"{key}: {rates[0]:.0%} of prompt tokens cached", flush=True)
    return result


def main() -> None:
    """Compare as the flags say, and print it."""
    parser = argparse.ArgumentParser("python -m benchmarks.vllm", description=__doc__)
    parser.add_argument("--turns", type=int, default=3, help="the medians of so many runs of each client")
    parser.add_argument("--requests", type=int, default=600, help="per server and run")
    parser.add_argument("--in-flight", type=int, default=64, help="per server")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    asked = parser.parse_args()
    result = compare(asked.turns, asked.requests, asked.in_flight)
    for name, value in result.items():
        print(f"{name:>24} {value:,.4g}" if isinstance(value, float) else f"{name:>24} {value:,}")
    if asked.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()

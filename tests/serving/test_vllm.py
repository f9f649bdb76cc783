"""The process around a vLLM server, with a stand-in for the interpreter; and, in the ring ``vllm``, the real one."""

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from gainloop.evaluation.judge import VERDICTS, ask_about, reader_of
from gainloop.measures.mutual_information import conditional_entropy, mutual_information
from gainloop.serving import Refused
from gainloop.serving.embedded import EmbeddedEngine
from gainloop.serving.server import Server
from gainloop.serving.vllm import serve_vllm
from schemas.errors import ServerError
from schemas.plan import NewModel
from schemas.profile import PROFILES, LocalVLLM, load_profile
from schemas.recipe import Sampling
from schemas.rows import Message, Reply, Request
from tests.serving.enumerated import all_outputs, entropy, mixed

ROOT = PROFILES.parent


@pytest.fixture(autouse=True)
def logs_in_the_tests_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


STAND_IN = """#!{python}
import http.server, os, subprocess, sys, time
if os.environ["DOES"] == "die":
    sys.exit("no room for the weights")
child = subprocess.Popen(["sleep", "600"])
with open(os.environ["PIDS"], "w") as pids:
    pids.write(f"{{os.getpid()}} {{child.pid}}")
if os.environ["DOES"] == "dawdle":
    time.sleep(600)
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Health).serve_forever()
"""


def stand_in(folder: Path, does: str) -> LocalVLLM:
    """Return a place whose interpreter serves /health, or fails to; it writes its and its child's process ids."""
    script = folder / "python"
    script.write_text(STAND_IN.format(python=sys.executable))
    script.chmod(0o755)
    return LocalVLLM(python=str(script), environment={"DOES": does, "PIDS": str(folder / "pids")}, ready_seconds=20)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def running(folder: Path) -> list[int]:
    """Return which processes of a stand-in still run, once they had time to end."""
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    deadline = time.monotonic() + 5
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return list(filter(is_running, pids))


def test_a_missing_interpreter_is_an_error_that_says_how_to_get_it() -> None:
    with pytest.raises(ServerError, match=r"no interpreter '.venv-none/bin/python'.* Run `make vllm`"):
        serve_vllm(LocalVLLM(python=".venv-none/bin/python"), "model", "m").__enter__()


def test_a_server_that_dies_while_starting_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"ended by itself with status 1[\s\S]*no room for the weights"):
        serve_vllm(stand_in(tmp_path, "die"), "model", "m").__enter__()


def test_the_error_of_a_start_begins_with_why_however_far_above_the_end_it_stands(tmp_path: Path) -> None:
    script = tmp_path / "python"
    log = [
        "(EngineCore pid=7) ERROR 11-28 19:40:01 [core.py:1] ValueError: 1.3 GiB of cache is needed for 8,192 tokens",
        "(APIServer pid=6) RuntimeError: Engine core initialization failed. See root cause above.",
        *(f"line {number}" for number in range(60)),
    ]
    script.write_text(f"#!{sys.executable}\nprint({chr(10).join(log)!r})\nraise SystemExit(1)")
    script.chmod(0o755)
    with pytest.raises(ServerError, match=r"It says: ValueError: 1\.3 GiB of cache is needed.*\nIt ends:\nline 45"):
        serve_vllm(LocalVLLM(python=str(script)), "model", "m").__enter__()


@pytest.mark.parametrize(("context", "served"), [(512, 512), (8192, 2048), (None, 2048)])
def test_a_model_is_served_with_no_more_context_than_it_has(tmp_path: Path, context: int | None, served: int) -> None:
    nested = {"text_config": {"max_position_embeddings": context}}
    for config in ({"max_position_embeddings": context} if context else {}, nested if context else {}):
        (tmp_path / "config.json").write_text(json.dumps(config))
        settings = LocalVLLM(python=str(tmp_path / "python"), arguments=("--seed=1", "--max-model-len=2048"))
        (tmp_path / "python").write_text(f"#!{sys.executable}\nimport sys\nraise SystemExit(str(sys.argv))")
        (tmp_path / "python").chmod(0o755)
        with pytest.raises(ServerError, match=f"'--seed=1', '--max-model-len={served}'"):
            serve_vllm(settings, str(tmp_path), "m").__enter__()


def test_a_server_that_is_not_ready_in_time_is_stopped(tmp_path: Path) -> None:
    place = stand_in(tmp_path, "dawdle").model_copy(update={"ready_seconds": 1})
    with pytest.raises(ServerError, match="not ready after 1 s"):
        serve_vllm(place, "model", "m").__enter__()
    assert running(tmp_path) == []


def test_the_server_and_its_children_end_with_the_block(tmp_path: Path) -> None:
    with serve_vllm(stand_in(tmp_path, "serve"), "model", "m") as url:
        assert url.endswith("/v1")
        assert all(is_running(int(pid)) for pid in (tmp_path / "pids").read_text().split())
        assert len(list(tmp_path.glob("*.log"))) == 1
    assert running(tmp_path) == []
    assert list(tmp_path.glob("*.log")) == []


def test_the_server_ends_too_when_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(KeyError), serve_vllm(stand_in(tmp_path, "serve"), "model", "m"):
        raise KeyError
    assert running(tmp_path) == []


def test_a_server_that_dies_during_the_block_is_an_error(tmp_path: Path) -> None:
    serving = serve_vllm(stand_in(tmp_path, "serve"), "model", "m")
    serving.__enter__()
    os.kill(int((tmp_path / "pids").read_text().split()[0]), signal.SIGKILL)
    time.sleep(0.2)
    with pytest.raises(ServerError, match="ended by itself with status -9"):
        serving.__exit__(None, None, None)
    assert running(tmp_path) == []


def test_the_server_ends_with_us_even_when_we_are_killed(tmp_path: Path) -> None:
    place = stand_in(tmp_path, "serve")
    code = (
        "from schemas.profile import LocalVLLM\nfrom gainloop.serving.vllm import serve_vllm\nimport time\n"
        f"with serve_vllm(LocalVLLM.model_validate_json({place.model_dump_json()!r}), 'model', 'm'):\n"
        "    print('ready', flush=True)\n    time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
    assert running(tmp_path) == []


# The ring: a real vLLM server, on the CPU, of a model that is trained for a second.

TOWNS = ("Arvo", "Bell", "Cray", "Dunn", "Esk", "Faro")
WARES = ("salt", "wool", "glass", "tin", "honey", "cloth")
SAMPLING = Sampling(max_tokens=64)


def sentence(rng: Random) -> str:
    town, first, second = rng.choice(TOWNS), rng.choice(WARES), rng.choice(WARES)
    return f"{town} sells {first} in spring and buys {second} in {rng.choice(('autumn', 'winter'))}."


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that writes such sentences and ends them, and whose own defaults would sample greedily."""
    import torch

    from gainloop.models.start import make_model, make_tokenizer

    rng = Random(0)
    texts = [sentence(rng) for _ in range(1000)]
    tokenizer = make_tokenizer(texts, 1000)
    model = make_model(NewModel(hidden_size=128, layers=4, head_size=64, context_tokens=256), tokenizer)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for start in range(0, 640, 16):
        rows = [tokenizer.encode(text + tokenizer.eos_token) for text in texts[start : start + 16]]
        ids = torch.tensor([row + [0] * (48 - len(row)) for row in rows])
        labels = torch.tensor([row + [-100] * (48 - len(row)) for row in rows])
        model(input_ids=ids, labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.generation_config.do_sample, model.generation_config.top_k = True, 1
    folder = tmp_path_factory.mktemp("tiny")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def served(checkpoint: Path) -> Iterator[str]:
    """The url of a vLLM server that serves the checkpoint as profile vllm-cpu says."""
    place = load_profile("vllm-cpu").serving
    assert isinstance(place, LocalVLLM)
    place = place.model_copy(update={"python": str(ROOT / place.python)})
    if not Path(place.python).exists():
        pytest.skip(f"{place.python} is missing: `make vllm` installs it")
    with serve_vllm(place, str(checkpoint), "tiny") as url:
        yield url


@pytest.fixture
async def generator(served: str) -> AsyncIterator[Server]:
    server = Server(served, "tiny")
    yield server
    await server.close()


def forward_logprobs(checkpoint: Path, before: list[int], after: list[int]) -> list[float]:
    """Return the log-probability of each token of ``after`` behind ``before``, by transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    with torch.inference_mode():
        logprobs = model(input_ids=torch.tensor([before + after])).logits[0].double().log_softmax(-1)
    return [float(logprobs[len(before) - 1 + place, token]) for place, token in enumerate(after)]


def tokenizer_of(checkpoint: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(checkpoint)


async def ask(generator: Server, number: int, request: Request = Request("Bell sells")) -> Reply:  # noqa: B008
    return await generator.complete(f"{number:08x}00000000", request, SAMPLING)


@pytest.mark.vllm
async def test_vllm_passes_the_check_and_gives_raw_logprobs(generator: Server, checkpoint: Path) -> None:
    await generator.check()
    assert generator.logprob_semantics == "raw"
    assert generator.revision == str(checkpoint)


@pytest.mark.vllm
async def test_vllm_gives_the_same_reply_twice_alone_and_among_others(generator: Server) -> None:
    numbers = [*range(40), 2**32 - 1]
    alone = [await ask(generator, number) for number in numbers]
    among = await asyncio.gather(*(ask(generator, number) for number in numbers))
    assert [reply.token_ids for reply in alone] == [reply.token_ids for reply in among]
    for one, other in zip(alone, among, strict=True):
        assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-4)


@pytest.mark.vllm
async def test_the_models_own_sampling_defaults_do_not_reach_the_draw(generator: Server) -> None:
    replies = await asyncio.gather(*(ask(generator, number) for number in range(20)))
    assert len({reply.text for reply in replies}) > 5


@pytest.mark.vllm
@pytest.mark.parametrize("prompt", ["Bell sells", (Message("user", "Bell sells"),)], ids=["raw", "chat"])
async def test_vllms_logprobs_are_the_models_with_the_end_token_last(
    generator: Server, checkpoint: Path, prompt: str | tuple[Message, ...]
) -> None:
    tokenizer = tokenizer_of(checkpoint)
    turns = [{"role": "user", "content": "Bell sells"}]
    text = (
        prompt
        if isinstance(prompt, str)
        else tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    )
    before = tokenizer.encode(text)
    replies = [await ask(generator, number, Request(prompt)) for number in range(8)]
    assert "stop" in {reply.finish_reason for reply in replies}
    for reply in replies:
        assert (reply.prompt_tokens, reply.completion_tokens) == (len(before), len(reply.token_ids))
        assert (reply.token_ids[-1] == tokenizer.eos_token_id) == (reply.finish_reason == "stop")
        expected = forward_logprobs(checkpoint, before, list(reply.token_ids))
        assert reply.token_logprobs == pytest.approx(expected, abs=1e-3)


@pytest.mark.vllm
async def test_vllm_keeps_to_a_json_schema(generator: Server) -> None:
    wares = {"type": "array", "items": {"enum": list(WARES)}, "minItems": 2, "maxItems": 3}
    schema = json.dumps({"type": "object", "properties": {"wares": wares}, "required": ["wares"]})
    for prompt in ("Bell sells", (Message("user", "Bell sells"),)):
        reply = await ask(generator, 5, Request(prompt, json_schema=schema))
        assert set(json.loads(reply.text)["wares"]) <= set(WARES)
        assert len(reply.token_logprobs) == len(reply.token_ids)


@pytest.mark.vllm
async def test_a_judge_behind_vllm_gives_a_verdict_of_the_question_whatever_it_knows(generator: Server) -> None:
    for number, question in enumerate(VERDICTS):
        schema = ask_about(question, "Bell sells rye.").json_schema
        request = Request("Bell sells", json_schema=schema, greedy=True)
        reply = await generator.complete(f"{number:08x}00000000", request, Sampling(temperature=0, max_tokens=240))
        assert reply.finish_reason == "stop"
        assert reader_of(question)(reply.text)


@pytest.mark.vllm
async def test_vllms_scores_are_those_of_a_forward_pass(generator: Server, checkpoint: Path) -> None:
    tokenizer = tokenizer_of(checkpoint)
    chat = (Message("user", "What does Bell sell?"),)
    turns = [{"role": "user", "content": chat[0].content}]
    chat_text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    prompts = {"Bell sells salt in spring": "Bell sells salt in spring", "Dorn": "Dorn", chat: str(chat_text)}
    after = tuple(tokenizer.encode(" and buys tin in winter."))
    scores = await generator.score(list(prompts), after, Sampling())
    for text, score in zip(prompts.values(), scores, strict=True):
        expected = sum(forward_logprobs(checkpoint, tokenizer.encode(text), list(after)))
        assert score.low == score.high == pytest.approx(expected, abs=1e-3)
    for prompt in prompts:  # now they lie in the prefix cache
        await ask(generator, 0, Request(prompt))
    again = await generator.score(list(prompts), after, Sampling())
    assert [one.low for one in again] == pytest.approx([one.low for one in scores], abs=1e-4)


@pytest.mark.vllm
@pytest.mark.parametrize(("temperature", "top_p"), [(1, 1), (0.7, 1), (0.7, 0.9)])
async def test_measured_through_vllm_delta_i_and_i_are_those_of_all_outputs_enumerated(
    generator: Server, checkpoint: Path, temperature: float, top_p: float
) -> None:
    sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=3)
    tokenizer = tokenizer_of(checkpoint)
    prompts = [f"{town} sells{more}" for town in TOWNS for more in ("", " salt in", " wool in")]
    exact = [all_outputs(checkpoint, tokenizer.encode(one), tokenizer.eos_token_id, sampling) for one in prompts]
    assert sum(exact[0].values()) == pytest.approx(1, abs=1e-4)
    own = np.repeat(np.arange(len(prompts)), 8)

    asked = [generator.complete(f"{n:08x}{n:08x}", Request(prompts[at]), sampling) for n, at in enumerate(own)]
    replies = await asyncio.gather(*asked)
    scored = await asyncio.gather(*(generator.score(prompts, reply.token_ids, sampling) for reply in replies))
    low, high = np.array(scored).transpose(2, 0, 1)
    rows = np.arange(len(own))
    assert np.exp((low[rows, own] + high[rows, own]) / 2) == pytest.approx(
        [exact[at][reply.token_ids] for at, reply in zip(own, replies, strict=True)], rel=0.02
    )
    least, most = conditional_entropy(-high[rows, own], own), conditional_entropy(-low[rows, own], own)
    truth = float(np.mean([entropy(outputs) for outputs in exact]))
    assert least.low <= truth <= most.high
    assert most.high - least.low < 0.9
    others = np.stack([np.delete(row, at) for row, at in zip(low, own, strict=True)])
    found = mutual_information(low[rows, own], others, len(prompts), own)
    assert found.low <= entropy(mixed(exact)) - truth <= found.high
    # At temperature 1 what was sampled tells the same; elsewhere it is raw, and its mean is above the entropy.
    sampled = conditional_entropy([-sum(reply.token_logprobs) for reply in replies], own)
    if (temperature, top_p) == (1, 1):
        assert sampled.value == pytest.approx(most.value, abs=1e-3)
    else:
        assert sampled.value > 1.03 * most.value


@pytest.mark.vllm
async def test_vllm_refuses_what_does_not_fit_the_models_context(generator: Server) -> None:
    for words in (100, 400):  # with room for some of the reply, and for none of it
        with pytest.raises(Refused, match="rejected"):
            await generator.complete(
                "0" * 16, Request("Bell sells " * words), SAMPLING.model_copy(update={"max_tokens": 200})
            )
    fits, does_not = await generator.score(["Bell sells", "Bell sells" + " salt" * 400], (7, 8), Sampling())
    assert fits.low < 0
    assert math.isnan(does_not.low)


@pytest.mark.vllm
async def test_a_name_that_vllm_does_not_serve_is_an_error_that_lists_what_it_serves(served: str) -> None:
    server = Server(served, "tinier")
    with pytest.raises(ServerError, match=r"served are tiny\. Set the model to one of them"):
        await server.check()
    with pytest.raises(ServerError, match=r"no answer to this \(404\), saying: The model `tinier` does not exist"):
        await ask(server, 1)
    await server.close()


@pytest.mark.vllm
async def test_vllm_is_up_and_tells_what_its_prefix_cache_finds(generator: Server, checkpoint: Path) -> None:
    assert await generator.is_up()
    tokenizer = tokenizer_of(checkpoint)
    long = Request(tokenizer.decode(tokenizer.encode("Bell sells salt in spring. " * 60)[:160]))
    first = await ask(generator, 0, long)
    before = await generator.cache_counts()
    for number in range(1, 3):
        await ask(generator, number, long)
    after = await generator.cache_counts()
    assert before is not None
    assert after is not None
    assert after[1] - before[1] == 2 * first.prompt_tokens
    assert after[0] - before[0] == 2 * 128  # one whole block of tokens


@pytest.mark.vllm
async def test_a_real_model_of_a_long_context_is_served_and_answers(smollm2: str) -> None:
    serving = load_profile("vllm-cpu").serving
    assert isinstance(serving, LocalVLLM)
    place = serving.model_copy(update={"python": str(ROOT / serving.python)})
    with serve_vllm(place, smollm2, "smollm2") as url:
        server = Server(url, "smollm2")
        await server.check()
        turns = (Message("system", "You are a helpful assistant."), Message("user", "What is the capital of France?"))
        asked = ("0" * 16, Request(turns), Sampling(temperature=0, max_tokens=24))
        reply = await server.complete(*asked)
        await server.close()
    assert "Paris" in reply.text
    assert reply.token_ids == (await EmbeddedEngine(smollm2, "smollm2", "1").complete(*asked)).token_ids

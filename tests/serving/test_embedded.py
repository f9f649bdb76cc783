import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from gainloop.asking.structured import list_of, object_of, text_of
from gainloop.models.loading import load_model, load_tokenizer
from gainloop.serving import Refused, embedded
from gainloop.serving.attention import CHUNK_TOKENS, GROWTH_TOKENS, Prefixes, size
from gainloop.serving.embedded import SLOTS, EmbeddedEngine
from schemas.recipe import Sampling
from schemas.rows import Message, Reply, Request
from tests.tiny_model import PLAN, TEXTS, save_tiny_model

CONTEXT = PLAN.context_tokens
SAMPLING = Sampling(max_tokens=24)
CHAT = Request((Message("system", "Be brief."), Message("user", "Once")))
REQUESTS = [Request(TEXTS[n % 24][: 4 + 3 * n], facet=str(n)) for n in range(40)] + [CHAT]
SCHEMA = object_of(entities=list_of(text_of(60), 2, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def engine(folder: str) -> EmbeddedEngine:
    return EmbeddedEngine(folder, "start", "1")


async def complete(
    engine: EmbeddedEngine, requests: list[Request], sampling: Sampling = SAMPLING, first: int = 0
) -> list[Reply]:
    """Ask for all at once; a request's id is its place in the list, from ``first`` on."""
    asked = [engine.complete(f"{first + n:016x}", request, sampling) for n, request in enumerate(requests)]
    return [replace(reply, seconds=0) for reply in await asyncio.gather(*asked)]


plain_model = cache(load_model)


def next_logprobs(folder: str, ids: list[int]) -> torch.Tensor:
    """Return the log-probabilities of every token after every prefix, [tokens, vocabulary], by a plain forward pass."""
    with torch.inference_mode():
        logits = plain_model(folder)(torch.tensor([ids])).logits[0]
    return logits.double().log_softmax(-1)


def prompt_ids(folder: str, request: Request) -> list[int]:
    tokenizer = load_tokenizer(folder)
    assert isinstance(request.prompt, str)
    return list(tokenizer.encode(request.prompt, add_special_tokens=False))


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
async def test_a_reply_is_the_same_alone_among_others_in_any_order_and_again(folder: str) -> None:
    together = await complete(EmbeddedEngine(folder, "start", "1"), REQUESTS)
    engine = EmbeddedEngine(folder, "start", "1")
    order = Random(1).sample(range(len(REQUESTS)), len(REQUESTS))
    shuffled = await asyncio.gather(*(complete(engine, [REQUESTS[n]], first=n) for n in order))

    assert len(REQUESTS) > SLOTS
    assert [shuffled[order.index(n)] for n in range(len(REQUESTS))] == [[reply] for reply in together]
    for n in (0, 7, 39, 40):
        assert await complete(engine, [REQUESTS[n]], first=n) == [together[n]]


def lengths(num_requests: int, longest: int) -> list[Request]:
    """Return requests whose prompts begin alike and are of different lengths."""
    text = " ".join(TEXTS)
    return [Request(text[: 1 + n * longest // num_requests] + f" {n}") for n in range(num_requests)]


async def all_the_same(engine: EmbeddedEngine, requests: list[Request], sampling: Sampling) -> None:
    """Check that requests get the same replies in five companies; the first is asked anew in each."""
    (alone,) = await complete(engine, requests[:1], sampling)
    together = await complete(engine, requests, sampling)
    assert together[0] == alone

    others = [asyncio.create_task(complete(engine, [one], sampling, first=1 + n)) for n, one in enumerate(requests[1:])]
    while not engine._seats or not engine._seats[0].tokens:
        await asyncio.sleep(0.005)
    assert await complete(engine, requests[:1], sampling) == [alone]  # it came when others were under way
    for task in others[1:]:
        task.cancel()
    assert await complete(engine, requests[:1], sampling) == [alone]  # others have left
    assert await others[0] == [together[1]]

    engine._prefixes = Prefixes(0)
    assert await complete(engine, requests[:1], sampling) == [alone]  # nothing that others read is used


@pytest.mark.parametrize("shapes", [[8, 16, 24, 32], [8], [1]])
async def test_a_reply_is_the_same_in_any_company_and_shape(tmp_path: Path, shapes: list[int]) -> None:
    plan = PLAN.model_copy(update={"context_tokens": 1024})
    engine = EmbeddedEngine(save_tiny_model(tmp_path, plan), "start", "1")
    if shapes[-1] not in engine._shapes:
        assert shapes == [1]
    engine._shapes = shapes
    for first in (0, 200, 900):
        requests = lengths(32, 900)
        await all_the_same(engine, [requests[first * 31 // 900], *requests], SAMPLING)


async def test_a_real_models_reply_is_the_same_in_any_company(smollm2: str) -> None:
    engine = EmbeddedEngine(smollm2, "start", "1")
    requests = [Request((Message("user", f"Say this in other words: {one.prompt}"),)) for one in lengths(32, 400)]
    await all_the_same(engine, [requests[11], *requests], Sampling(max_tokens=4))


async def test_requests_that_begin_alike_read_their_beginning_once(tmp_path: Path, monkeypatch: Any) -> None:
    engine = EmbeddedEngine(save_tiny_model(tmp_path, PLAN.model_copy(update={"context_tokens": 512})), "start", "1")
    read: list[int] = []
    forward = engine.network.forward
    monkeypatch.setattr(
        engine.network, "forward", lambda **given: read.append(given["input_ids"].shape[1]) or forward(**given)
    )  # type: ignore[func-returns-value]
    begins = engine.tokenizer.decode(engine._encode(" ".join(TEXTS))[:200])
    await complete(engine, [Request(begins), Request(begins + " Once")], Sampling(max_tokens=1))

    assert [number for number in read if number > 1].count(CHUNK_TOKENS) == len(
        engine._encode(begins)[:-1]
    ) // CHUNK_TOKENS


async def test_a_row_has_room_for_what_it_uses_and_no_request_waits_for_room_it_does_not_need(
    engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await complete(engine, REQUESTS[:8])
    monkeypatch.setattr(embedded, "ROW_BYTES", 100 * engine._token_bytes)
    most = 0
    advance = engine._advance

    def watched(seats: list[Any]) -> None:
        nonlocal most
        most = max(most, len(seats))
        assert sum(size(seat.row.layers) for seat in seats) <= len(seats) * GROWTH_TOKENS * engine._token_bytes
        assert len(seats) == 1 or sum(seat.most_tokens for seat in seats) <= 100
        advance(seats)

    monkeypatch.setattr(engine, "_advance", watched)
    assert await complete(engine, REQUESTS[:8]) == expected
    assert 1 < most < 8
    (long,) = await complete(engine, [Request("\x00" * 90)], Sampling(max_tokens=30))  # alone, beyond the bound
    assert long.prompt_tokens == 90


async def test_logprobs_are_those_of_a_plain_forward_pass(engine: EmbeddedEngine, folder: str) -> None:
    for request, reply in zip(REQUESTS[:40:6], await complete(engine, REQUESTS[:40:6]), strict=True):
        prompt = prompt_ids(folder, request)
        expected = next_logprobs(folder, prompt + list(reply.token_ids))[len(prompt) - 1 : -1]
        picked = expected.gather(1, torch.tensor(reply.token_ids)[:, None])[:, 0]
        assert reply.token_logprobs == pytest.approx(picked.tolist(), abs=1e-4)
        assert reply.prompt_tokens == len(prompt)


@pytest.mark.parametrize("settings", [{"temperature": 0.6}, {"top_p": 0.5}, {"temperature": 1.4, "top_p": 0.9}])
async def test_logprobs_are_of_the_distribution_that_was_sampled(
    engine: EmbeddedEngine, folder: str, settings: dict[str, float]
) -> None:
    sampling = Sampling(max_tokens=8, **settings)
    (reply,) = await complete(engine, REQUESTS[20:21], sampling)
    prompt = prompt_ids(folder, REQUESTS[20])
    plain = next_logprobs(folder, prompt + list(reply.token_ids))[len(prompt) - 1 : -1]
    tempered = (plain / sampling.temperature).softmax(-1)
    largest = tempered.sort(descending=True)
    inside = largest.values.cumsum(-1) - largest.values < sampling.top_p
    nucleus = torch.zeros_like(tempered).scatter(1, largest.indices, largest.values * inside)
    expected = (nucleus / nucleus.sum(-1, keepdim=True)).log().gather(1, torch.tensor(reply.token_ids)[:, None])

    assert reply.token_logprobs == pytest.approx(expected[:, 0].tolist(), abs=1e-4)


async def test_a_reply_that_ends_by_itself_has_the_end_tokens_logprob_last(engine: EmbeddedEngine) -> None:
    replies = await complete(engine, [replace(REQUESTS[3], draw=n) for n in range(60)], Sampling(max_tokens=40))
    stopped = [reply for reply in replies if reply.finish_reason == "stop"]
    end = engine.tokenizer.eos_token_id

    assert stopped
    for reply in replies:
        assert len(reply.token_ids) == len(reply.token_logprobs)
        assert (reply.token_ids[-1] == end) == (reply.finish_reason == "stop")
        assert end not in reply.token_ids[:-1]
        assert "<|end|>" not in reply.text
        assert reply.finish_reason == "stop" or len(reply.token_ids) == 40


async def test_a_greedy_reply_takes_the_likeliest_token_for_certain(engine: EmbeddedEngine, folder: str) -> None:
    (reply,) = await complete(engine, REQUESTS[10:11], Sampling(temperature=0, max_tokens=8))
    ids = prompt_ids(folder, REQUESTS[10])
    for token in reply.token_ids:
        assert token == int(next_logprobs(folder, ids)[-1].argmax())
        ids.append(token)
    assert set(reply.token_logprobs) == {0.0}


@pytest.mark.parametrize("temperature", [1, 2])
async def test_a_json_schema_gives_valid_json_every_time(tmp_path: Path, temperature: float) -> None:
    engine = EmbeddedEngine(save_tiny_model(tmp_path, PLAN.model_copy(update={"context_tokens": 320})), "start", "1")
    requests = [Request("List the people:", json_schema=SCHEMA, draw=n) for n in range(12)]
    replies = await complete(engine, [*requests, *REQUESTS[:5]], Sampling(temperature=temperature, max_tokens=250))

    for reply in replies[:12]:
        assert reply.finish_reason == "stop"
        (entities,) = json.loads(reply.text).values()
        assert 2 <= len(entities) <= 3
        assert all(isinstance(entity, str) and entity for entity in entities)
    assert all(np.isfinite(reply.token_logprobs).all() for reply in replies)


async def test_a_prompt_that_fills_the_context_is_refused_and_so_is_a_reply_with_no_room(
    engine: EmbeddedEngine,
) -> None:
    too_long = Request("\x00" * CONTEXT)
    with pytest.raises(Refused, match="rejected"):
        await complete(engine, [too_long])
    with pytest.raises(Refused, match="rejected"):
        await complete(engine, [Request("")])

    almost = Request("\x00" * (CONTEXT - 10))
    (reply,) = await complete(engine, [almost], Sampling(max_tokens=10))
    assert len(reply.token_ids) <= 10
    with pytest.raises(Refused, match="rejected"):
        await complete(engine, [almost], Sampling(max_tokens=11, temperature=0))


async def test_scores_are_those_of_a_plain_forward_pass_after_each_prompt(engine: EmbeddedEngine, folder: str) -> None:
    after = prompt_ids(folder, Request(TEXTS[1][:60]))
    prompts = [TEXTS[number][: 20 + number] for number in range(24)]
    scores = await engine.score(prompts, tuple(after), Sampling())
    for prompt, score in zip(prompts, scores, strict=True):
        ids = [*prompt_ids(folder, Request(prompt)), *after]
        expected = next_logprobs(folder, ids)[-len(after) - 1 : -1].gather(1, torch.tensor(after)[:, None]).sum()
        assert score.low == score.high == pytest.approx(float(expected), abs=1e-3)
    assert await engine.score(prompts[:2], (), Sampling()) == [(0, 0), (0, 0)]


@pytest.mark.parametrize(("temperature", "top_p"), [(1, 1), (0.7, 1), (1, 0.9), (0.7, 0.9), (0, 1)])
async def test_a_replys_score_after_its_own_prompt_is_the_likelihood_it_was_drawn_with(
    engine: EmbeddedEngine, temperature: float, top_p: float
) -> None:
    sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=16)
    requests = [*REQUESTS[:6], CHAT]
    for request, reply in zip(requests, await complete(engine, requests, sampling), strict=True):
        (own, other) = await engine.score([request.prompt, "Never asked"], reply.token_ids, sampling)
        assert own.low == pytest.approx(sum(reply.token_logprobs), abs=2e-3)
        assert other.low < own.low or temperature == 0


async def test_scores_of_a_large_vocabulary_are_read_a_few_tokens_at_a_time_and_are_the_same(
    engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tuple(engine._encode(TEXTS[1][:60]))
    prompts = [TEXTS[number][: 5 + 3 * number] for number in range(24)]
    expected = await engine.score(prompts, text, Sampling(top_p=0.9))
    sizes: list[int] = []
    forward = engine.network.forward

    def watched(**given: Any) -> Any:
        output = forward(**given)
        sizes.append(output.logits.nbytes)
        return output

    monkeypatch.setattr(engine.network, "forward", watched)
    monkeypatch.setattr(embedded, "SCORED_BYTES", 300_000)
    scores = await engine.score(prompts, text, Sampling(top_p=0.9))
    assert [one.low for one in scores] == pytest.approx([one.low for one in expected], abs=1e-3)
    assert len(sizes) > 3
    assert max(sizes) <= 300_000


async def test_what_does_not_fit_has_no_score_and_spoils_no_other(engine: EmbeddedEngine, folder: str) -> None:
    text = tuple(prompt_ids(folder, Request("Once upon")))
    short, long, empty = await engine.score(["Once", "\x00" * CONTEXT, ""], text, Sampling())
    assert short.low < 0
    assert np.isnan([*long, *empty]).all()


@pytest.mark.parametrize("sampling", [Sampling(max_tokens=1), Sampling(max_tokens=1, temperature=0.5, top_p=0.8)])
async def test_the_mean_surprise_of_many_draws_is_the_exact_entropy(
    engine: EmbeddedEngine, folder: str, sampling: Sampling
) -> None:
    replies = await complete(engine, [Request("Once", draw=n) for n in range(640)], sampling)
    nats = np.array([-sum(reply.token_logprobs) for reply in replies])
    logprobs = next_logprobs(folder, prompt_ids(folder, Request("Once")))[-1].numpy()
    probabilities = np.exp(logprobs / sampling.temperature)
    probabilities = np.sort(probabilities / probabilities.sum())[::-1]
    probabilities = probabilities[probabilities.cumsum() - probabilities < sampling.top_p]
    probabilities /= probabilities.sum()
    entropy = -(probabilities * np.log(probabilities)).sum()

    assert abs(nats.mean() - entropy) < 4 * nats.std() / len(nats) ** 0.5
    assert nats.std() / len(nats) ** 0.5 < 0.1


async def test_an_abandoned_request_frees_its_place_and_changes_no_other(engine: EmbeddedEngine, folder: str) -> None:
    long = Sampling(max_tokens=100)
    expected = await complete(EmbeddedEngine(folder, "start", "1"), REQUESTS[:4])
    abandoned = [asyncio.create_task(complete(engine, [CHAT], long, first=100 + n)) for n in range(2 * SLOTS)]
    await asyncio.sleep(0.05)
    for task in abandoned:
        task.cancel()

    assert await complete(engine, REQUESTS[:4]) == expected
    assert not any(engine._seats)
    assert not engine._waiting


async def test_an_engine_serves_one_event_loop_after_another(engine: EmbeddedEngine) -> None:
    replies = [await asyncio.to_thread(asyncio.run, complete(engine, REQUESTS[:3])) for _ in range(2)]

    assert replies[0] == replies[1]


async def test_a_chat_is_answered_by_the_model_that_was_named(engine: EmbeddedEngine) -> None:
    await engine.check()
    (reply,) = await complete(engine, [CHAT])

    assert (reply.prompt_id, reply.server, engine.logprob_semantics) == (CHAT.prompt_id, "embedded", "processed")

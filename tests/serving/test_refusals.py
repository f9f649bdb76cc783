"""Servers that refuse: one request, which is a drop, or all of them, which stops the run and costs no anchor."""

import asyncio
import json
import logging
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gainloop.serving import Refused, Unreachable
from gainloop.serving.pool import Pool
from gainloop.serving.server import Server
from schemas.errors import ServerError
from schemas.profile import Generation
from schemas.recipe import Sampling
from schemas.rows import Message, Reply, Request
from tests.serving.stub_server import StubOptions, stub_server

KEY = "sk-a-long-and-secret-KEY42"
SPENT = json.dumps({"error": {"message": "Budget has been exceeded", "code": 402}})


@asynccontextmanager
async def pool_of(*urls: str, key: str = "none", **bounds: Any) -> AsyncIterator[Pool]:
    servers = [Server(url, "stub", api_key=key) for url in urls]
    async with Pool(servers, Generation(**({"max_in_flight": 4, "attempts": 2} | bounds))) as pool:
        await pool.check()
        yield pool


async def ask(pool: Pool, count: int, text: str = "Once") -> list[Reply | str]:
    """Return the reply to each request, or the reason of its drop."""

    async def one(number: int) -> Reply | str:
        request = Request((Message("user", f"{text} {number}"),))
        try:
            return await pool.complete(f"{number:016x}", request, Sampling(max_tokens=64))
        except Refused as error:
            return error.reason

    return await asyncio.gather(*(one(number) for number in range(count)))


@pytest.mark.parametrize("answered", [0, 10])
@pytest.mark.parametrize(
    "denies",
    [
        (402, SPENT),
        (400, '{"error": {"message": "You exceeded your quota"}}'),
        (403, '{"detail": "suspended"}'),
        (422, "no"),
        (200, SPENT),
        (200, '{"error": {"message": "the provider is gone"}}'),
        (500, "{}"),
    ],
    ids=str,
)
async def test_what_refuses_all_stops_the_run_and_drops_nothing(denies: tuple[int, str], answered: int) -> None:
    with stub_server(StubOptions(denies=denies, denied_after=answered)) as stub:
        async with pool_of(stub.url) as pool:
            dropped: list[Reply | str] = []

            async def work() -> None:
                for _ in range(10):
                    dropped.extend(one for one in await ask(pool, 4) if isinstance(one, str))

            with pytest.raises(ServerError, match=r"asking http://127.*\. .*"):
                await work()
            assert dropped == []


async def test_its_own_words_are_in_the_message() -> None:
    with stub_server(StubOptions(denies=(402, SPENT))) as stub:
        async with pool_of(stub.url) as pool:
            with pytest.raises(ServerError, match=r"its budget is spent \(402\), saying: Budget has been exceeded;"):
                await ask(pool, 1)
    with stub_server(StubOptions(denies=(400, SPENT), denied_after=4)) as stub:
        async with pool_of(stub.url) as pool:
            await ask(pool, 4)
            with pytest.raises(
                ServerError, match=r"not answer what it answered before \(400: Budget has been exceeded"
            ):
                await ask(pool, 1)


async def test_a_server_that_refuses_all_is_left_out_while_another_works() -> None:
    with stub_server(StubOptions(denies=(400, SPENT), denied_after=5)) as spent, stub_server() as sound:
        async with pool_of(spent.url, sound.url) as pool:
            replies = await ask(pool, 60)
    assert Counter(type(reply) for reply in replies) == {Reply: 60}


async def test_a_request_that_alone_is_refused_is_a_drop() -> None:
    with stub_server(StubOptions(context_tokens=80)) as stub:
        async with pool_of(stub.url) as pool:
            assert await ask(pool, 3, "word " * 90) == ["rejected"] * 3
            assert [type(one) for one in await ask(pool, 3)] == [Reply] * 3
            assert await ask(pool, 3, "word " * 90) == ["rejected"] * 3


async def test_replies_that_are_withheld_one_by_one_are_drops_and_all_of_them_stop_the_run() -> None:
    def filter_some(body: dict[str, Any]) -> None:
        choice = body["choices"][0]
        if "message" in choice and len(choice["message"]["content"]) % 2:
            withhold(body)

    def withhold(body: dict[str, Any]) -> None:
        if body["usage"]["completion_tokens"] > 1:
            body["choices"][0]["finish_reason"] = "content_filter"

    with stub_server(StubOptions(edits=filter_some)) as stub:
        async with pool_of(stub.url) as pool:
            outcomes = Counter(one if isinstance(one, str) else "reply" for one in await ask(pool, 60))
    assert outcomes.keys() == {"refusal", "reply"}
    assert min(outcomes.values()) > 10
    with stub_server(StubOptions(edits=withhold)) as stub:
        async with pool_of(stub.url) as pool:
            with pytest.raises(ServerError, match=r"does not answer a plain request \(finish_reason content_filter\)"):
                await ask(pool, 60)


async def test_a_server_without_room_that_says_why_is_quoted_when_the_run_stops() -> None:
    with stub_server(StubOptions(denies=(429, SPENT))) as stub:
        async with pool_of(stub.url, outage_seconds=0.5) as pool:
            with pytest.raises(
                Unreachable, match=r"no request was answered for 0.5 s \(429: Budget has been exceeded\)"
            ):
                await ask(pool, 1)


async def test_a_key_that_comes_back_is_masked_and_nothing_steers_the_terminal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    echo = json.dumps({"error": {"message": f"bad \x1b[2J\x07\u202eBearer {KEY} or {KEY.lower()}\nfor you"}})
    caplog.set_level(logging.DEBUG)
    with stub_server(StubOptions(denies=(400, echo))) as stub:
        async with pool_of(stub.url, key=KEY) as pool:
            with pytest.raises(ServerError) as caught:
                await ask(pool, 1)
    said = f"{caught.value} {caplog.text}"
    assert "400: bad [2JBearer *** or *** for you" in str(caught.value)
    assert KEY.casefold() not in said.casefold()
    assert not any(mark in said for mark in "\x1b\x07\u202e")


@pytest.mark.parametrize("before", [" " * 4080, "<i a=b>" * 582 + " "], ids=["blanks", "tags"])
async def test_no_part_of_a_key_is_told_that_stands_where_a_long_body_is_cut(
    before: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with stub_server(StubOptions(denies=(400, f"no: {before}{KEY} is bad"))) as stub:
        async with pool_of(stub.url, key=KEY) as pool:
            with pytest.raises(ServerError) as caught:
                await ask(pool, 1)
    assert "(400: no:)" in caplog.text
    assert "sk-a" not in f"{caught.value} {caplog.text}"


async def test_a_server_that_sends_on_to_where_nothing_is_says_where_that_is() -> None:
    with stub_server(StubOptions(sends_on="http://127.0.0.1:9/v1")) as stub:
        sends_on, down = Server(stub.url, "stub"), Server("http://127.0.0.1:9/v1", "stub")
        with pytest.raises(Unreachable, match=r"asking .* for its models: .*\(it sends on to 127.0.0.1:9\)"):
            await sends_on.check()
    with pytest.raises(Unreachable, match=r"asking http://127.0.0.1:9/v1 for its models: no connection; "):
        await down.check()
    await asyncio.gather(sends_on.close(), down.close())


@pytest.mark.parametrize(
    ("root", "revision"),
    [("/models/a b.", "/models/a b."), (".", "."), (f"/{KEY}", ""), ("/\x1b[2J", ""), ("/a\x00", ""), ("/" * 301, "")],
    ids=ascii,
)
async def test_a_root_with_the_key_or_what_cannot_be_seen_is_no_revision(root: str, revision: str) -> None:
    with stub_server(StubOptions(models={"stub": root})) as stub:
        async with pool_of(stub.url, key=KEY) as pool:
            assert pool.revision == revision
            assert len(await ask(pool, 1)) == 1


@pytest.mark.parametrize(
    "spelled", [KEY, KEY.upper(), "SK%2Fa-long%2fand%2Fsecret-KEY42", b64encode(KEY.encode()).decode()], ids=ascii
)
async def test_a_reply_that_holds_the_key_is_a_drop_however_it_is_spelled(spelled: str) -> None:
    key = "sk/a-long/and/secret-KEY42" if "%" in spelled else KEY
    with stub_server(StubOptions(says=lambda _prompt: f"Bearer {spelled}")) as stub:
        async with pool_of(stub.url, key=key) as pool:
            assert await ask(pool, 2) == ["holds_key"] * 2


async def test_numbers_that_cannot_be_are_no_reply_and_stop_the_run_if_all_are_so() -> None:
    def edit(body: dict[str, Any]) -> None:
        if body["usage"]["completion_tokens"] > 1:
            body["usage"]["prompt_tokens"] = -10

    with stub_server(StubOptions(edits=edit)) as stub:
        async with pool_of(stub.url) as pool:
            with pytest.raises(ServerError, match=r"Expected `float` >= 0.0 - at `\$.usage.prompt_tokens`"):
                await ask(pool, 1)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 3, "completion_tokens": None}, {"prompt_tokens": 3.0}])
async def test_a_server_that_does_not_count_tokens_is_used(usage: Any, caplog: pytest.LogCaptureFixture) -> None:
    with stub_server(StubOptions(edits=lambda body: body.update(usage=usage))) as stub:
        async with pool_of(stub.url) as pool:
            (reply,) = await ask(pool, 1)
    assert isinstance(reply, Reply)
    assert reply.completion_tokens == len(reply.token_logprobs)
    assert reply.prompt_tokens == (3 if usage else 0)
    assert ("prompt tokens count as 0" in caplog.text) == (not usage)


async def test_a_server_that_only_chats_serves_chats_and_says_so_to_raw_prompts() -> None:
    with stub_server(StubOptions(paths=("chat/completions",))) as stub:
        async with pool_of(stub.url) as pool:
            assert [type(one) for one in await ask(pool, 2)] == [Reply] * 2
            with pytest.raises(ServerError, match=r"for completions: it has models, but no answer to this \(404\)"):
                await pool.complete("1" * 16, Request("Once"), Sampling(max_tokens=8))

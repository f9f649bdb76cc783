import asyncio
import json
import math
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gainloop.serving import Refused, TryAgain, Unreachable
from gainloop.serving.opening import connect_servers
from gainloop.serving.pool import Pool
from gainloop.serving.server import Server
from schemas.errors import ServerError
from schemas.profile import Generation, Servers
from schemas.recipe import Sampling
from schemas.rows import Message, Prompt, Reply, Request
from tests.serving.stub_model import END, logprob, tokenise
from tests.serving.stub_server import Stub, StubOptions, stub_server

DOWN = "http://127.0.0.1:9/v1"
ID = "00000007deadbeef"


async def complete(url: str, request: Request, model: str = "stub", **settings: Any) -> Reply:
    async with closing(Server(url, model, **settings)) as server:
        return await server.complete(ID, request, Sampling(max_tokens=64))


async def check(url: str, **settings: Any) -> Server:
    async with closing(Server(url, **{"model": "stub"} | settings)) as server:
        await server.check()
        return server


@asynccontextmanager
async def closing(server: Server) -> AsyncIterator[Server]:
    yield server
    await server.close()


def pool_of(*urls: str, **bounds: Any) -> Pool:
    return Pool([Server(url, "stub") for url in urls], Generation(**bounds))


def always(fault: str) -> StubOptions:
    return StubOptions(faults={fault: 1.0})


async def test_a_reply_has_one_logprob_per_token_with_the_end_token_last() -> None:
    with stub_server() as stub:
        for prompt in ("Once there was", (Message("user", "Once"),)):
            reply = await complete(stub.url, Request(prompt))
            assert [token for token, _ in tokenise(reply.text)] == list(reply.token_ids[:-1])
            assert reply.token_ids[-1] == END
            assert reply.token_logprobs[-1] == logprob(reply.token_ids[-2], END)
            assert len(reply.token_logprobs) == len(reply.token_ids)
            assert (reply.finish_reason, reply.server, reply.request_id) == ("stop", stub.url, ID)


async def test_the_seed_comes_from_the_request_id_so_asking_twice_gives_the_same_reply() -> None:
    with stub_server() as stub, stub_server() as other:
        replies = [await complete(url, Request("Once")) for url in (stub.url, stub.url, other.url)]
        assert len({reply.text for reply in replies}) == 1
        assert stub.requests[0]["seed"] == 7


async def test_a_json_schema_shapes_the_reply() -> None:
    schema = {"type": "object", "properties": {"names": {"type": "array", "items": {"type": "string"}, "minItems": 2}}}
    with stub_server() as stub:
        reply = await complete(stub.url, Request("List", json_schema=json.dumps(schema)))
        assert len(json.loads(reply.text)["names"]) >= 2


async def test_an_empty_text_is_a_reply() -> None:
    with stub_server(always("empty")) as stub:
        reply = await complete(stub.url, Request("Once"))
        assert (reply.text, reply.token_ids) == ("", (END,))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("server_error", "server_error"),
        ("overloaded", "overloaded"),
        ("unavailable", "overloaded"),
        ("malformed", "malformed"),
        ("no_choice", "malformed"),
        ("no_logprobs", "malformed"),
        ("nan", "malformed"),
        ("aborted", "aborted"),
        ("reset", "connection"),
    ],
)
async def test_a_passing_fault_says_try_again(fault: str, reason: str) -> None:
    with stub_server(always(fault)) as stub:
        with pytest.raises(TryAgain) as caught:
            await complete(stub.url, Request("Once"))
        assert caught.value.reason == reason


@pytest.mark.parametrize(("told", "waited"), [(1.5, 1.5), (None, 0), (9999, 120)])
async def test_retry_after_is_passed_on_up_to_two_minutes(told: float | None, waited: float) -> None:
    with stub_server(StubOptions(faults={"overloaded": 1.0}, retry_after_seconds=told)) as stub:
        with pytest.raises(TryAgain) as caught:
            await complete(stub.url, Request("Once"))
        assert caught.value.after_seconds == waited


async def test_a_server_that_is_down_says_try_again() -> None:
    with pytest.raises(TryAgain, match="connection"):
        await complete(DOWN, Request("Once"))


async def test_a_withheld_or_too_long_request_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    with stub_server(always("filtered")) as stub, pytest.raises(Refused, match="refusal"):
        await complete(stub.url, Request("Once"))
    with stub_server(StubOptions(context_tokens=32)) as stub:
        with pytest.raises(Refused, match="rejected"):
            await complete(stub.url, Request("word " * 40))
        assert "maximum context length is 32" in caplog.text


async def test_a_reply_that_names_another_model_stops_the_run() -> None:
    with stub_server(always("other_model")) as stub, pytest.raises(ServerError, match="names the model 'another'"):
        await complete(stub.url, Request("Once"))


async def test_a_refused_key_stops_the_run_and_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_KEY", "sesame-wrong")
    with stub_server(StubOptions(api_key="sesame")) as stub:
        place = Servers(urls=[stub.url], api_key_variable="STUB_KEY")
        async with connect_servers(place, Generation(), "stub") as pool:
            with pytest.raises(ServerError, match=r"refuses the key \(401\)") as caught:
                await pool.check()
        assert "sesame" not in str(caught.value)
        assert caught.value.__context__ is None
        monkeypatch.setenv("STUB_KEY", "sesame")
        async with connect_servers(place, Generation(), "stub") as pool:
            await pool.check()


async def ask_many(pool: Pool, count: int) -> Counter[str]:
    requests = (pool.complete(f"{number:016x}", Request("Once"), Sampling(max_tokens=64)) for number in range(count))
    return Counter(reply.server for reply in await asyncio.gather(*requests))


async def test_the_least_busy_server_gets_the_request() -> None:
    quick, slow = StubOptions(latency_seconds=0.01), StubOptions(latency_seconds=0.5)
    with stub_server(quick) as one, stub_server(slow) as other:
        async with pool_of(one.url, other.url) as pool:
            assert await ask_many(pool, 8) == {one.url: 4, other.url: 4}
            waiting = asyncio.create_task(ask_many(pool, 2))
            await asyncio.sleep(0.2)
            assert await ask_many(pool, 1) == {one.url: 1}
            await waiting


async def test_hundreds_are_open_at_once_where_a_server_takes_them_and_no_more_than_the_bound() -> None:
    with stub_server(StubOptions(latency_seconds=1.0)) as stub:
        async with pool_of(stub.url, max_in_flight=300) as pool:
            await ask_many(pool, 1000)
        assert stub.most_open == 300


async def test_a_server_that_went_down_is_passed_over_while_another_works() -> None:
    with stub_server() as stub:
        async with pool_of(DOWN, stub.url) as pool:
            assert await ask_many(pool, 20) == {stub.url: 20}
            assert pool.state == "1 of 2 servers up, 0 open"


async def test_a_cancelled_request_no_longer_counts_as_open() -> None:
    with stub_server(always("hang")) as stub:
        async with pool_of(stub.url) as pool:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await pool.complete(ID, Request("Once"), Sampling())
            assert [desk.num_open for desk in pool.desks] == [0]


async def test_a_server_that_hangs_is_waited_for_until_the_caller_ends_it() -> None:
    with stub_server(always("hang")) as stub, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await complete(stub.url, Request("Once"))


async def test_a_pool_ends_a_hanging_request_at_its_deadline_which_is_a_drop_if_the_server_works() -> None:
    with stub_server(StubOptions(latency_seconds=1.0)) as stub:
        async with pool_of(stub.url, deadline_seconds=0.3) as pool:
            begun = time.monotonic()
            with pytest.raises(Refused, match="deadline"):
                await pool.complete(ID, Request("Once"), Sampling())
            assert 0.3 <= time.monotonic() - begun < 4


async def test_a_text_is_scored_after_each_prompt_in_one_request() -> None:
    prompts: list[Prompt] = ["The mill", "A bakery by the river", (Message("user", "Which mill?"),)]
    text = tuple(token for token, _ in tokenise(" grinds rye"))
    with stub_server() as stub:
        async with closing(Server(stub.url, "stub")) as server, pool_of(stub.url) as pool:
            scores = await server.score(prompts, text, Sampling())
            assert await server.score(prompts, (), Sampling()) == [(0, 0)] * 3
            assert len(stub.requests) == 1
            assert await pool.score(prompts, text, Sampling()) == scores
    last = [tokenise(words)[-1][0] for words in ("The mill", "A bakery by the river", "<user> Which mill?")]
    expected = [logprob(before, text[0]) + logprob(*text) for before in last]
    assert [score.low for score in scores] == [score.high for score in scores] == pytest.approx(expected)


async def test_what_does_not_fit_has_no_score_and_spoils_no_other() -> None:
    with stub_server(StubOptions(context_tokens=32)) as stub:
        async with closing(Server(stub.url, "stub")) as server:
            short, long = await server.score(["The mill", " rye" * 40], (7, 8), Sampling())
    assert short.low < 0
    assert math.isnan(long.low)


async def test_scores_outlast_passing_faults_and_refusals() -> None:
    faults = {"server_error": 0.1, "malformed": 0.1, "overloaded": 0.1}
    with stub_server(StubOptions(faults=faults)) as stub:
        async with pool_of(stub.url, attempts=8) as pool:
            await pool.check()
            found = await asyncio.gather(*(pool.score(["The mill"], (7, text), Sampling()) for text in range(20)))
    assert [score.low for (score,) in found] == [
        pytest.approx(logprob(tokenise("The mill")[-1][0], 7) + logprob(7, text)) for text in range(20)
    ]


@pytest.mark.parametrize(("processed", "semantics"), [(False, "raw"), (True, "processed")])
async def test_check_finds_out_what_the_logprobs_are_of(processed: bool, semantics: str) -> None:
    with stub_server(StubOptions(processed_logprobs=processed)) as stub:
        assert (await check(stub.url)).logprob_semantics == semantics


async def test_logprobs_of_servers_that_disagree_are_of_something_unknown() -> None:
    with stub_server() as raw, stub_server(StubOptions(processed_logprobs=True)) as processed:
        async with pool_of(raw.url, processed.url) as pool:
            await pool.check()
            assert pool.logprob_semantics == "unknown"


async def test_the_revision_comes_from_the_servers_unless_it_is_given() -> None:
    with stub_server() as stub:
        assert (await check(stub.url)).revision == "/models/stub"
        assert (await check(stub.url, revision="abc")).revision == "abc"
        async with pool_of(stub.url, stub.url) as pool:
            await pool.check()
            assert pool.revision == "/models/stub"


async def test_a_reply_under_another_name_of_the_same_weights_is_the_models() -> None:
    with stub_server(StubOptions(models={"stub": "/m", "another": "/m"}, faults={"other_model": 1.0})) as stub:
        assert (await check(stub.url)).logprob_semantics == "raw"


async def test_two_servers_with_different_weights_do_not_pass_as_one() -> None:
    with stub_server() as stub, stub_server(StubOptions(models={"stub": "/models/other"})) as other:
        async with pool_of(stub.url, other.url) as pool:
            with pytest.raises(ServerError, match="they name different weights") as caught:
                await pool.check()
        assert f"/models/other at {other.url}, /models/stub elsewhere" in str(caught.value)


async def test_a_server_that_is_down_is_named() -> None:
    with pytest.raises(Unreachable, match=f"asking {DOWN} for its models: no connection"):
        await check(DOWN)
    async with pool_of(DOWN, DOWN) as pool:
        with pytest.raises(Unreachable, match=f"asking {DOWN} for its models: no connection"):
            await pool.check()


async def test_a_server_that_is_down_is_a_warning_while_another_works(caplog: pytest.LogCaptureFixture) -> None:
    with stub_server() as stub:
        async with pool_of(stub.url, DOWN) as pool:
            await pool.check()
            assert await ask_many(pool, 3) == {stub.url: 3}
    assert re.search(
        f"asking {DOWN} for its models: no connection; .* asked again until it is up; 1 others work", caplog.text
    )


async def test_a_server_is_up_if_it_says_anything_to_that_question() -> None:
    with stub_server() as stub, stub_server(StubOptions(api_key="sesame")) as closed:
        for url, is_up in ((stub.url, True), (f"{stub.url}/nowhere/v1", True), (closed.url, True), (DOWN, False)):
            async with closing(Server(url, "stub")) as server:
                assert await server.is_up() is is_up, url


async def test_a_model_that_is_not_served_is_an_error_that_lists_those_that_are() -> None:
    with stub_server() as stub, pytest.raises(ServerError, match=r"'stubb' at .* served are stub. Set the model"):
        await check(stub.url, model="stubb")


@pytest.mark.parametrize("fault", ["no_logprobs", "nan"])
async def test_a_server_without_logprobs_is_an_error_before_the_first_request(fault: str) -> None:
    with stub_server(always(fault)) as stub, pytest.raises(ServerError, match="has no log-probability per token"):
        await check(stub.url)


async def test_a_server_without_logprobs_will_do_if_none_are_asked_for() -> None:
    with stub_server(always("no_logprobs")) as stub:
        assert (await check(stub.url, logprobs=False)).logprob_semantics == "unknown"
        reply = await complete(stub.url, Request("Once"), logprobs=False)
        assert (reply.token_logprobs, reply.completion_tokens) == ((), len(reply.token_ids))


@pytest.mark.parametrize(
    "fault", ["aborted", "filtered", "malformed", "no_choice", "server_error", "unavailable", "reset"]
)
async def test_a_check_that_fails_says_what_was_asked_whom_and_what_to_do(fault: str) -> None:
    with (
        stub_server(always(fault)) as stub,
        pytest.raises(ServerError, match=rf"asking {stub.url} for a token of 'stub': .+; .+\. .+\.") as caught,
    ):
        await check(stub.url, logprobs=False)
    assert isinstance(caught.value, Unreachable) == (fault in ("server_error", "unavailable", "reset"))


async def test_a_url_that_is_no_openai_server_is_an_error_that_says_so() -> None:
    with stub_server() as stub, pytest.raises(ServerError, match=r"not found \(404\).* Give a url that ends in /v1"):
        await check(stub.url.removesuffix("/v1"))


@pytest.mark.parametrize("fault", ["overloaded", "unavailable", "server_error", "reset", "malformed", "no_logprobs"])
async def test_a_check_outlasts_a_passing_fault(fault: str) -> None:
    with stub_server(StubOptions(faults={fault: 0.4})) as stub:
        assert (await check(stub.url)).logprob_semantics == "raw"
        assert len(stub.requests) > 2


async def test_a_stopped_server_cuts_off_what_is_open_and_the_client_says_so() -> None:
    with stub_server(StubOptions(latency_seconds=30)) as stub:
        asking = asyncio.create_task(complete(stub.url, Request("Once")))
        await _until_open(stub)
        await asyncio.to_thread(stub.stop)
        with pytest.raises(TryAgain, match="connection"):
            await asking


async def _until_open(stub: Stub) -> None:
    deadline = time.monotonic() + 5
    while not stub.most_open and time.monotonic() < deadline:
        await asyncio.sleep(0.01)

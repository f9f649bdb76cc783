"""Connections to servers that are as odd as HTTP allows, and odder: real sockets, bytes written by hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from gainloop.serving import TryAgain, session
from gainloop.serving.endpoint import Endpoint
from gainloop.serving.server import Server
from schemas.errors import ServerError
from tests.serving.odd_server import OddServer, listening

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
ENDLESS = {
    "in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + 100 * (b"400\r\n" + 1024 * b"x" + b"\r\n"),
    "of a length": b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n" + 102_400 * b"x",
    "of no length": b"HTTP/1.1 200 OK\r\n\r\n" + 102_400 * b"x",
}


@asynccontextmanager
async def asking(server: OddServer) -> AsyncIterator[Endpoint]:
    async with listening(server) as port:
        endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", "key")
        yield endpoint
        await endpoint.close()


async def post(endpoint: Endpoint, body: bytes = b"{}") -> bytes:
    return await endpoint.send("completions", body)


async def fetch(url: str, body: dict[str, object] | None = None) -> bytes:
    endpoint = Endpoint(url, "none")
    try:
        return await endpoint.fetch("completions", body)
    finally:
        await endpoint.close()


async def test_a_request_is_sent_whole_and_a_connection_is_used_again() -> None:
    server = OddServer([HELLO] * 3)
    async with asking(server) as endpoint:
        assert [await post(endpoint, body) for body in (b"a", b"bc", b"")] == [b"hello"] * 3
    assert server.num_connections == 1
    head, _, body = server.asked[1].partition(b"\r\n\r\n")
    assert body == b"bc"
    assert head.startswith(b"POST /v1/completions HTTP/1.1\r\n")
    assert b"\r\nHost: 127.0.0.1:" in head
    assert b"\r\nAuthorization: Bearer key" in head


async def test_what_is_vllms_own_is_beside_the_protocol_and_a_path_without_a_body_is_got() -> None:
    server = OddServer([HELLO] * 2)
    async with asking(server) as endpoint:
        assert [await endpoint.fetch("/health"), await endpoint.fetch("models")] == [b"hello"] * 2
    assert [head.split(b" HTTP")[0] for head in server.asked] == [b"GET /health", b"GET /v1/models"]


async def test_requests_at_once_have_connections_of_their_own() -> None:
    server = OddServer([HELLO] * 40)
    async with asking(server) as endpoint:
        assert await asyncio.gather(*(post(endpoint) for _ in range(20))) == [b"hello"] * 20
        assert await asyncio.gather(*(post(endpoint) for _ in range(20))) == [b"hello"] * 20
    assert server.num_connections == 20


@pytest.mark.parametrize("ended", ["idle", "closed", "told"])
async def test_a_connection_that_may_have_ended_is_not_used_again(ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if ended == "idle":
        monkeypatch.setattr(session, "IDLE_SECONDS", 0)
    told = HELLO.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) if ended == "told" else HELLO
    server = OddServer([told] * 2, ending=ended == "closed")
    async with asking(server) as endpoint:
        assert await post(endpoint) == b"hello"
        await asyncio.sleep(0.05)
        assert await post(endpoint) == b"hello"
    assert server.num_connections == 2


@pytest.mark.parametrize("reply", [CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO])
async def test_an_answer_in_chunks_or_after_an_interim_one_is_whole(reply: bytes) -> None:
    async with asking(OddServer([reply, reply])) as endpoint:
        assert [await post(endpoint), await post(endpoint)] == [b"hello"] * 2


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async with asking(OddServer([b"HTTP/1.1 200 OK\r\n\r\nhello"], ending=True)) as endpoint:
        assert await post(endpoint) == b"hello"


async def test_a_server_says_how_long_to_wait() -> None:
    async with asking(OddServer([b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"])) as endpoint:
        with pytest.raises(TryAgain, match="overloaded") as caught:
            await post(endpoint)
    assert caught.value.after_seconds == 7


@pytest.mark.parametrize("reply", [b"", HELLO[:-1], HELLO[:20], CHUNKED[:-5]])
async def test_a_connection_that_ends_too_early_is_a_fault_that_passes(reply: bytes) -> None:
    async with asking(OddServer([reply], ending=True)) as endpoint:
        with pytest.raises(TryAgain, match="connection"):
            await post(endpoint)


@pytest.mark.parametrize("reply", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello"])
async def test_what_is_not_http_is_told_from_a_lost_connection(reply: bytes) -> None:
    async with asking(OddServer([reply])) as endpoint:
        with pytest.raises(TryAgain, match="malformed"):
            await post(endpoint)


@pytest.mark.parametrize("kind", ENDLESS)
async def test_a_body_without_an_end_is_cut_and_is_a_fault(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_BYTES", 50_000)
    server = OddServer([ENDLESS[kind]], piece=4096)
    async with asking(server) as endpoint:
        with pytest.raises(TryAgain, match="endless"):
            await post(endpoint)
        server.replies = iter([ENDLESS[kind]] * 3)
        with pytest.raises(ServerError, match=r"longer than 256 MiB \(more than 50,000 bytes\); an answer must"):
            await endpoint.patiently("its models", "models", None, bytes)


async def test_a_reply_is_no_longer_than_what_was_asked_for_can_be() -> None:
    async with asking(OddServer([HELLO, CHUNKED, HELLO])) as endpoint:
        for _ in range(2):
            with pytest.raises(TryAgain, match="endless"):
                await endpoint.fetch("completions", {}, most_bytes=4)
        assert await endpoint.fetch("completions", {}, most_bytes=5) == b"hello"


async def test_what_is_as_long_as_an_answer_may_be_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_BYTES", 5)
    async with asking(OddServer([HELLO, CHUNKED])) as endpoint:
        assert [await post(endpoint), await post(endpoint)] == [b"hello"] * 2


@pytest.mark.parametrize("length", [1, 20, 42, 43])
async def test_an_answer_that_nobody_asked_for_answers_no_later_request(length: int) -> None:
    late = HELLO.replace(b"hello", b"stale")
    answers = []
    async with asking(OddServer([HELLO + late[:length], late[length:] + HELLO, HELLO, HELLO])) as endpoint:
        for _ in range(4):
            with suppress(TryAgain):  # the rest of it comes first here, on a connection of its own
                answers.append(await post(endpoint))
            await asyncio.sleep(0.05)
    assert set(answers) == {b"hello"}
    assert len(answers) >= 2


async def test_a_cancelled_request_takes_its_connection_with_it() -> None:
    server = OddServer([HELLO, b"HTTP/1.1 200 OK\r\n", HELLO])
    async with asking(server) as endpoint:
        await post(endpoint)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await post(endpoint)
        assert await post(endpoint) == b"hello"
    assert server.num_connections == 2
    assert server.num_lost == 2


async def test_a_port_where_nobody_listens_is_a_fault_that_passes_and_half_a_letter_is_none() -> None:
    with pytest.raises(TryAgain, match="connection"):
        await fetch("http://127.0.0.1:9/v1", {})
    with pytest.raises(UnicodeEncodeError):
        await fetch("http://127.0.0.1:9/v1", {"prompt": "\ud800"})


async def test_a_host_with_several_addresses_is_found_at_the_one_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def addresses(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(2, 1, 6, "", (address, port)) for address in ("127.0.0.9", "127.0.0.1")]

    server = OddServer([HELLO] * 2, ending=True)
    async with listening(server) as port:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses)
        endpoint = Endpoint(f"http://localhost:{port}/v1", "key")
        assert await post(endpoint) == b"hello"
        await asyncio.sleep(0.05)
        assert await post(endpoint) == b"hello"
        await endpoint.close()
    assert asked == ["localhost"]


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://host/v1",
        "http://",
        "http://h:port/v1",
        "http://a b/v1",
        "http://[bad/v1",
        "http://a..b/",
    ],
)
async def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ServerError, match="that is no url"):
        await fetch(url)


async def test_a_name_in_the_url_is_not_sent_beside_the_key_and_never_shown() -> None:
    server = OddServer([HELLO])
    async with listening(server) as port:
        url = f"http://somebody:secret@127.0.0.1:{port}/v1/"
        assert await fetch(url) == b"hello"
    assert (Endpoint(url, "none").url, Server(url, "m").name) == (f"http://127.0.0.1:{port}/v1",) * 2
    assert b"\r\nAuthorization: Bearer none\r\n" in server.asked[0]
    assert server.asked[0].startswith(b"GET /v1/completions HTTP/1.1\r\n")

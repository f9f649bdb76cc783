"""Connections to servers that are as odd as HTTP allows, and odder: real sockets, bytes written by hand."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gainloop.serving import TryAgain, connection
from gainloop.serving.connection import Connections, NotHTTP
from gainloop.serving.endpoint import Endpoint
from schemas.errors import ServerError

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

Replies = list[bytes]
"""What a server sends to one request after another; an empty one closes the connection."""


class Server:
    """Answers the n-th request it gets with the n-th of its replies, piece by piece, and keeps what it was asked."""

    def __init__(self, replies: Replies, ending: bool = False) -> None:
        self.replies, self.ending, self.asked, self.num_connections = iter(replies), ending, list[bytes](), 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.asked.append(head + await reader.readexactly(length))
                reply = next(self.replies)
                for at in range(0, len(reply), 7):
                    writer.write(reply[at : at + 7])
                    await writer.drain()
                    await asyncio.sleep(0)
                if self.ending or not reply:
                    return
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def served(server: Server, tls: ssl.SSLContext | None = None) -> AsyncIterator[Connections]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    connections = Connections(f"http{'s' if tls else ''}://localhost:{port}/v1", {"Authorization": "Bearer key"})
    async with listening:
        yield connections
        await connections.close()


async def fetch(url: str, body: dict[str, Any]) -> bytes:
    endpoint = Endpoint(url, "none")
    try:
        return await endpoint.fetch("completions", body)
    finally:
        await endpoint.close()


async def post(connections: Connections, body: bytes = b"{}") -> bytes:
    return (await connections.send("POST", "/v1/completions", body)).content


async def test_a_request_is_sent_whole_and_a_connection_is_used_again() -> None:
    server = Server([HELLO] * 3)
    async with served(server) as connections:
        assert [await post(connections, body) for body in (b"a", b"bc", b"")] == [b"hello"] * 3
    assert server.num_connections == 1
    head, _, body = server.asked[1].partition(b"\r\n\r\n")
    assert body == b"bc"
    assert head.startswith(b"POST /v1/completions HTTP/1.1\r\n")
    assert b"\r\nHost: localhost:" in head
    assert b"\r\nAuthorization: Bearer key" in head


async def test_requests_at_once_have_connections_of_their_own() -> None:
    server = Server([HELLO] * 40)
    async with served(server) as connections:
        assert await asyncio.gather(*(post(connections) for _ in range(20))) == [b"hello"] * 20
        assert await asyncio.gather(*(post(connections) for _ in range(20))) == [b"hello"] * 20
    assert server.num_connections == 20


@pytest.mark.parametrize("ended", ["idle", "closed", "told"])
async def test_a_connection_that_may_have_ended_is_not_used_again(ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if ended == "idle":
        monkeypatch.setattr(connection, "IDLE_SECONDS", 0)
    told = HELLO.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) if ended == "told" else HELLO
    server = Server([told] * 2, ending=ended == "closed")
    async with served(server) as connections:
        assert await post(connections) == b"hello"
        await asyncio.sleep(0.05)
        assert await post(connections) == b"hello"
    assert server.num_connections == 2


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"


@pytest.mark.parametrize("reply", [CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO])
async def test_an_answer_in_chunks_or_after_an_interim_one_is_whole(reply: bytes) -> None:
    async with served(Server([reply, reply])) as connections:
        assert [await post(connections), await post(connections)] == [b"hello"] * 2


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async with served(Server([b"HTTP/1.1 200 OK\r\n\r\nhello"], ending=True)) as connections:
        assert await post(connections) == b"hello"


async def test_status_and_headers_are_told() -> None:
    async with served(Server([b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"])) as connections:
        answer = await connections.send("GET", "/")
    assert (answer.status, answer.header(b"retry-after"), answer.header(b"none"), answer.content) == (429, "7", "", b"")


@pytest.mark.parametrize("reply", [b"", HELLO[:-1], HELLO[:20], CHUNKED[:-5]])
async def test_a_connection_that_ends_too_early_is_an_error(reply: bytes) -> None:
    async with served(Server([reply], ending=True)) as connections:
        with pytest.raises(ConnectionError):
            await post(connections)


@pytest.mark.parametrize("reply", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello"])
async def test_what_is_not_http_is_told_from_a_lost_connection(reply: bytes) -> None:
    async with served(Server([reply])) as connections:
        with pytest.raises(NotHTTP):
            await post(connections)


@pytest.mark.parametrize("length", [1, 20, 42, 43])
async def test_an_answer_that_nobody_asked_for_answers_no_later_request(length: int) -> None:
    late = HELLO.replace(b"hello", b"stale")
    server = Server([HELLO + late[:length], late[length:] + HELLO])
    async with served(server) as connections:
        assert await post(connections) == b"hello"
        await asyncio.sleep(0.05)
        with suppress(NotHTTP):  # the rest of it comes first here, on a connection of its own
            assert await post(connections) == b"hello"
    assert server.num_connections == 2


async def test_a_cancelled_request_takes_its_connection_with_it() -> None:
    server = Server([HELLO, b"HTTP/1.1 200 OK\r\n", HELLO])
    async with served(server) as connections:
        await post(connections)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await post(connections)
        assert await post(connections) == b"hello"
    assert server.num_connections == 2


async def test_what_faults_mean_is_said_of_each_apart(certificate: tuple[Path, ssl.SSLContext]) -> None:
    moved = Server([b"HTTP/1.1 307 Moved\r\nLocation: https://other/v1\r\nContent-Length: 0\r\n\r\n"])
    async with served(moved) as connections:
        with pytest.raises(ServerError, match=r"elsewhere \(307: https://other/v1\)"):
            await fetch(f"http://localhost:{connections._port}/v1", {})
    async with served(Server([HELLO]), certificate[1]) as connections:
        with pytest.raises(ServerError, match="its certificate is not trusted"):
            await fetch(f"https://localhost:{connections._port}/v1", {})
    with pytest.raises(ServerError, match="that is no url"):
        await fetch("http://[bad/v1", {})
    with pytest.raises(UnicodeEncodeError):
        await fetch("http://127.0.0.1:9/v1", {"prompt": "\ud800"})
    with pytest.raises(TryAgain, match="connection"):
        await fetch("http://127.0.0.1:9/v1", {})


async def test_a_host_with_several_addresses_is_found_at_the_one_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def addresses(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(0, 0, 0, "", (address, 0)) for address in ("127.0.0.9", "127.0.0.1")]

    server = Server([HELLO] * 2, ending=True)
    async with served(server) as connections:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses)
        connections._addresses = await connections._look_up()
        assert await post(connections) == b"hello"
        assert connections._addresses[0] == "127.0.0.1"
        await asyncio.sleep(0.05)
        assert await post(connections) == b"hello"
    assert asked == ["localhost"]


async def test_a_port_where_nobody_listens_is_an_os_error() -> None:
    with pytest.raises(OSError, match=r".*"):
        await post(Connections("http://127.0.0.1:9/v1", {}))


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
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Connections(url, {})


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for localhost that nobody has signed, and the context of a server that shows it."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    asked = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*asked.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    return cert, tls


async def test_https_is_spoken_with_servers_whose_certificate_is_trusted_and_with_no_others(
    certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, tls = certificate
    async with served(Server([HELLO]), tls) as connections:
        with pytest.raises(OSError, match="certificate"):
            await post(connections)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    async with served(Server([HELLO]), tls) as connections:
        assert await post(connections) == b"hello"

"""By which way servers are asked: proxies, certificates, redirects; by real sockets and a real proxy."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from yarl import URL

from gainloop.methods.pipeline import Pipeline
from gainloop.methods.rephrase import Rephrase
from gainloop.serving.driver import Driver
from gainloop.serving.embeddings import Vectors, embed_at_servers
from gainloop.serving.endpoint import Endpoint
from gainloop.serving.opening import connect_servers
from gainloop.serving.session import find_proxy
from gainloop.store.replies import ReplyLog
from schemas.errors import ServerError
from schemas.profile import EmbeddingServers, Generation, Servers
from schemas.recipe import Sampling
from schemas.rows import Anchor
from tests.serving.embedding_stub import embedding_stub, vector_of
from tests.serving.odd_server import OddServer, listening
from tests.serving.stub_server import StubOptions, stub_server

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
ELSEWHERE = "127.1"
"""This machine by a name that is not known for it: what is asked by another is asked through no proxy."""

ANCHORS = [Anchor(f"The mill number {row} grinds rye for the towns by the river.") for row in range(30)]
TEXTS = [f"text {number}" for number in range(12)]


@pytest.fixture(autouse=True)
def no_way_but_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate for this machine that nobody has signed, and the context of a server that shows it."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing, which makes the certificate: apt-get install openssl")
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "cert.pem", folder / "key.pem"
    names = f"subjectAltName=IP:127.0.0.1,DNS:{ELSEWHERE}"
    asked = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext {names}"
    subprocess.run([*asked.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    return cert, tls


@dataclass(frozen=True)
class Proxy:
    """A running proxy: its url, and the requests that it was sent so far, ``CONNECT`` among them."""

    url: str
    log: Path

    @property
    def asked(self) -> list[str]:
        lines = self.log.read_text().splitlines()
        return [line.partition("): ")[2] for line in lines if "Request (file descriptor" in line]


@contextmanager
def running_proxy(folder: Path) -> Iterator[Proxy]:
    """Run tinyproxy on a free port, for a user with a password."""
    program = shutil.which("tinyproxy")
    if not program:
        pytest.skip("tinyproxy is missing: apt-get install tinyproxy")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings, log = folder / "tinyproxy.conf", folder / "tinyproxy.log"
    lines = f'Port {port}\nListen 127.0.0.1\nLogFile "{log}"\nMaxClients 200\nBasicAuth user pass-word\n'
    settings.write_text(lines)
    with subprocess.Popen([program, "-d", "-c", settings]) as process:
        try:
            _wait_for(port)
            yield Proxy(f"http://user:pass-word@127.0.0.1:{port}", log)
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    with running_proxy(tmp_path) as proxy:
        yield proxy


def elsewhere(url: str) -> str:
    return url.replace("127.0.0.1", ELSEWHERE)


async def run(folder: Path, url: str) -> int:
    """Make a record of every anchor, and return how many there are."""
    async with connect_servers(Servers(urls=[url]), Generation(max_in_flight=8), "stub") as pool:
        await pool.check()
        driver = Driver(Pipeline(Rephrase(styles=("easy",))), pool, Sampling(max_tokens=64), 0, ReplyLog(str(folder)))
        outcomes = await driver.run(ANCHORS)
    return sum(len(outcome.records) for outcome in outcomes.values())


async def embed(url: str) -> Vectors:
    place = EmbeddingServers(urls=[url], texts_per_request=3, attempts=2)
    return await asyncio.to_thread(embed_at_servers, TEXTS, "stub", place, lambda _done, _total: None)


async def fetch(url: str, path: str = "completions", body: dict[str, object] | None = None, key: str = "key") -> bytes:
    endpoint = Endpoint(url, key)
    try:
        return await endpoint.fetch(path, body)
    finally:
        await endpoint.close()


async def test_a_run_and_an_embedding_go_through_the_proxy_that_the_environment_names(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    with stub_server() as stub, embedding_stub() as embedder:
        assert await run(tmp_path, elsewhere(stub.url)) == len(ANCHORS)
        assert await embed(elsewhere(embedder.url)) == pytest.approx(np.array([vector_of(t) for t in TEXTS]), abs=1e-6)
    for path in ("/v1/models", "/v1/chat/completions", "/v1/embeddings"):
        assert any(f"{ELSEWHERE}:" in asked and f"{path} HTTP" in asked for asked in proxy.asked)


async def test_https_goes_through_a_proxy_too_to_a_server_whose_certificate_is_trusted(
    proxy: Proxy, certificate: tuple[Path, ssl.SSLContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, tls = certificate
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    with stub_server(StubOptions(tls=tls)) as stub, embedding_stub(tls=tls) as embedder:
        assert await run(tmp_path, elsewhere(stub.url)) == len(ANCHORS)
        assert len(await embed(elsewhere(embedder.url))) == len(TEXTS)
    assert {asked.split()[0] for asked in proxy.asked} == {"CONNECT"}


@pytest.mark.parametrize(
    ("scheme", "known", "found"),
    [
        ("http", "user:secret@", "it or the proxy refuses the key"),
        ("https", "user:secret@", "the proxy refuses"),
        ("https", "", "the proxy refuses"),
    ],
)
async def test_a_proxy_that_refuses_is_an_error_that_shows_no_password(
    scheme: str, known: str, found: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", proxy.url.replace("user:pass-word@", known))
    with pytest.raises(ServerError, match=rf"through the proxy http://127.*: {found} \(40[17]\)") as caught:
        await fetch(f"{scheme}://{ELSEWHERE}:9/v1")
    assert "secret" not in str(caught.value)


async def test_a_proxy_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@127.0.0.1:9")
    endpoint = Endpoint(f"http://{ELSEWHERE}:8000/v1", "key")
    with pytest.raises(ServerError, match=r"8000/v1 through the proxy http://127.0.0.1:9 for its models: no conn"):
        await endpoint.patiently("its models", "models", None, bytes)
    await endpoint.close()


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "http://host/v1", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://host/v1", "http://p:1"),
        ({"http_proxy": "p:1"}, "http://host/v1", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://host/v1", None),
        ({"HTTPS_PROXY": "http://q:1", "ALL_PROXY": "http://p:1"}, "https://host/v1", "http://q:1"),
        ({"ALL_PROXY": "http://p:1"}, "https://host/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "other, .inner.net"}, "http://gpu.inner.net:8000/v1", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "host:8000"}, "http://host:8000/v1", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "host:8000"}, "http://host:8001/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "*"}, "http://host/v1", None),
        ({"ALL_PROXY": "http://p:1"}, "http://localhost:8000/v1", None),
        ({"ALL_PROXY": "http://p:1"}, "http://127.0.0.1:8000/v1", None),
        ({"ALL_PROXY": "http://p:1"}, "http://[::1]:8000/v1", None),
    ],
)
def test_the_environment_names_a_proxy_for_some_hosts_and_none_for_this_machine(
    environment: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = find_proxy(URL(url))
    assert (None if found is None else str(found)) == proxy


def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@p:1080")
    with pytest.raises(ServerError, match=r"is no http proxy; one such as .* NO_PROXY") as caught:
        find_proxy(URL("https://host/v1"))
    assert "secret" not in str(caught.value)


async def test_a_certificate_that_nobody_signed_is_an_error_until_ssl_cert_file_names_it(
    certificate: tuple[Path, ssl.SSLContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, tls = certificate
    with stub_server(StubOptions(tls=tls)) as stub, embedding_stub(tls=tls) as embedder:
        with pytest.raises(ServerError, match=r"not trusted .*self-signed.* in SSL_CERT_FILE \(now: not set\)"):
            await run(tmp_path, stub.url)
        with pytest.raises(ServerError, match=r"not trusted .*self-signed.* in SSL_CERT_FILE \(now: not set\)"):
            await embed(embedder.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert await run(tmp_path, stub.url) == len(ANCHORS)
        assert len(await embed(embedder.url)) == len(TEXTS)


async def test_a_run_and_an_embedding_go_where_a_redirect_sends_them_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with stub_server() as stub, embedding_stub() as embedder, ExitStack() as doors:
        door, other = (doors.enter_context(stub_server(StubOptions(sends_on=to))) for to in (stub.url, embedder.url))
        assert await run(tmp_path, door.url) == len(ANCHORS)
        assert await embed(other.url) == pytest.approx(np.array([vector_of(t) for t in TEXTS]), abs=1e-6)
        assert door.requests == []
        assert len(stub.requests) == 2 + len(ANCHORS)
    assert caplog.text.count(f"{door.url} sends on to {stub.url}: every request goes twice") == 1


def moved(status: int, to: str) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


async def test_a_redirect_that_keeps_the_request_is_followed_and_the_key_stays_with_its_own_host() -> None:
    other = OddServer([HELLO])
    async with listening(other) as there:
        door = OddServer([moved(307, "/v2/completions"), moved(308, f"http://127.0.0.1:{there}/v3")])
        async with listening(door) as here:
            assert await fetch(f"http://127.0.0.1:{here}/v1", body={"n": 1}) == b"hello"
    assert door.asked[1].startswith(b"POST /v2/completions HTTP")
    assert other.asked[0].startswith(b"POST /v3 HTTP")
    assert {asked.partition(b"\r\n\r\n")[2] for asked in (*door.asked, *other.asked)} == {b'{"n":1}'}
    assert [b"Bearer key" in asked for asked in (*door.asked, *other.asked)] == [True, True, False]


async def test_where_the_key_does_not_go_and_is_wanted_the_error_names_the_other_url() -> None:
    async with listening(OddServer([REFUSED])) as there:
        to = f"http://127.0.0.1:{there}/v1/completions"
        async with listening(OddServer([moved(308, to)])) as here:
            with pytest.raises(ServerError, match=rf"sends on to {to}, which refuses it \(401\); the key goes to no"):
                await fetch(f"http://127.0.0.1:{here}/v1", body={})


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_would_lose_what_is_posted_is_an_error_that_names_the_url(status: int) -> None:
    other = OddServer([HELLO] * 2)
    async with listening(other) as there:
        to = f"http://127.0.0.1:{there}/v1/completions"
        async with listening(OddServer([moved(status, to)] * 2)) as here:
            with pytest.raises(ServerError, match=rf"it is elsewhere \({status}: {to}\).*Put the one it names"):
                await fetch(f"http://127.0.0.1:{here}/v1", body={})
            assert await fetch(f"http://127.0.0.1:{here}/v1", "/health") == b"hello"


@pytest.mark.parametrize("to", ["/v1/completions", "ftp://host/", "http://[bad/"])
async def test_a_redirect_in_a_circle_or_to_no_url_is_an_error(to: str) -> None:
    async with listening(OddServer([moved(307, to)] * 12)) as here:
        with pytest.raises(ServerError, match="it sends on to what is no url, or in a circle"):
            await fetch(f"http://127.0.0.1:{here}/v1", body={})

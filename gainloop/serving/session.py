"""Connections to one server, kept open, by the way that the environment names: aiohttp's, as few requests need them."""

import ssl
from ipaddress import ip_address
from urllib.request import getproxies, proxy_bypass

from aiohttp import (
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
)
from aiohttp.connector import Connection
from yarl import URL

from gainloop.serving import TryAgain
from schemas.errors import ServerError

CONNECT_SECONDS = 5

IDLE_SECONDS = 4
"""uvicorn closes what is idle for 5 s: a connection must not be taken up in that very moment."""

ADDRESS_SECONDS = 60
"""How long the addresses of a host are remembered."""

MOST_BYTES = 256 * 2**20
"""Longest answer. A reply of 1,000 tokens with log-probabilities has 0.2 MB; the longest answers there are, the 20
likeliest tokens at each place of eight prompts of 10,000 tokens, have 150 MB."""


def read_url(url: str) -> URL:
    """Return a server's url without a slash at its end, nor user and password, which a server's key takes the place of.

    Raises:
        ServerError: It is no http or https url.
    """
    try:
        read = URL(url.rstrip("/"))
        (read.host or "").encode("idna")
        if read.scheme in ("http", "https") and read.host and not any(map(str.isspace, url)):
            return read.with_user(None)
    except ValueError:
        pass
    raise ServerError(
        f"asking {url}: that is no url; one such as http://localhost:8000/v1 is. Mend the profile's urls."
    )


def open_session(url: URL, headers: dict[str, str], proxy: URL | None) -> ClientSession:
    """Return a session for one server; it belongs to the running event loop.

    No cookie is kept. What it is to wait for, and how long, is its user's to say, but for a connection.
    """
    # Made now and not when aiohttp is imported: so it holds what SSL_CERT_FILE names now. It takes 10 ms.
    tls = ssl.create_default_context() if url.scheme == "https" else True
    return ClientSession(
        connector=TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS, ttl_dns_cache=ADDRESS_SECONDS, ssl=tls),
        timeout=ClientTimeout(connect=CONNECT_SECONDS),
        headers={**headers, "Accept-Encoding": "identity"},  # what is packed here costs more than its way
        cookie_jar=DummyCookieJar(),
        request_class=_Request,
        proxy=proxy,
    )


def find_proxy(url: URL) -> URL | None:
    """Return the proxy that the environment names for a url: HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, but for NO_PROXY.

    Requests to this machine itself never go through a proxy. It is looked up once: aiohttp's own ``trust_env`` does so
    at every request, in a thread, which takes as long as the request itself.

    Raises:
        ServerError: It is no http proxy.
    """
    host = url.host or ""
    if _is_here(host) or proxy_bypass(f"{host}:{url.port}"):
        return None
    proxies = getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    if not named:
        return None
    try:
        proxy = URL(named if "://" in named else f"http://{named}")
    except ValueError:
        proxy = URL()
    if proxy.scheme in ("http", "https") and proxy.host:
        return proxy
    raise ServerError(
        f"asking {url}: the proxy that {url.scheme.upper()}_PROXY or ALL_PROXY names is no http proxy; one such as "
        "http://proxy:3128 is. Mend the variable, or name this host in NO_PROXY."
    )


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class _Request(ClientRequest):
    """Is sent over no connection where something came that nobody asked for: it would be taken for the answer."""

    async def send(self, conn: Connection) -> ClientResponse:
        if conn.protocol is None or conn.protocol.should_close:
            raise ServerDisconnectedError
        return await super().send(conn)


async def read_whole(answer: ClientResponse, most_bytes: int = MOST_BYTES) -> bytes:
    """Return the body of an answer.

    Raises:
        TryAgain: ``endless``: it has more than so many bytes, or than ``MOST_BYTES``.
        aiohttp.ClientError: The connection ended before the body did.
    """
    length, most_bytes = answer.content_length, min(most_bytes, MOST_BYTES)
    if length is not None and length <= most_bytes and "Content-Encoding" not in answer.headers:
        return await answer.read()
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > most_bytes:
            answer.close()
            raise TryAgain("endless", said=f"more than {most_bytes:,} bytes")
    return bytes(body)

"""Connections to one server, kept open: HTTP/1.1 as httptools reads it, on the event loop's own transports.

A client library's sessions, redirects, cookies and timers cost five times what a request itself does
(benchmarks/engine.py measures both), and a generation server needs none of them.
"""

import asyncio
import socket
import ssl
import time
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

CONNECT_SECONDS = 5

IDLE_SECONDS = 4
"""uvicorn closes what is idle for 5 s: a connection must not be taken up in that very moment."""


class NotHTTP(Exception):
    """What came back is not HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, whole."""

    status: int
    headers: list[tuple[bytes, bytes]]
    content: bytes

    def header(self, name: bytes) -> str:
        """Return a header's value; empty if there is none. ``name`` in lower case."""
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == name), "")


class Connections:
    """All connections to one host, which belong to the event loop they are first used in.

    Args:
        url: Names scheme, host, port and the path that requests go below.
        headers: Sent with every request.

    Raises:
        ValueError: It is no http or https url.
    """

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or " " in url:
            raise ValueError(url)
        parts.hostname.encode("idna")
        self.path = parts.path
        self._is_secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port or (443 if self._is_secure else 80)
        self._addresses: list[str] = []
        self._looking = asyncio.Lock()
        named = {"Host": parts.netloc.rpartition("@")[2], "Accept": "*/*", **headers}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in named.items()).encode("latin-1")
        self._idle: list[_Connection] = []
        self._tls: ssl.SSLContext | None = None
        self._is_closed = False

    async def send(self, method: str, path: str, body: bytes = b"") -> Answer:
        """Return what is answered; a request that is cancelled takes its connection with it.

        Args:
            path: From the host's root, quoted.

        Raises:
            OSError: No connection after ``CONNECT_SECONDS``, or it broke before the answer was whole.
            ssl.SSLCertVerificationError: One of them: the host shows no certificate that is trusted.
            NotHTTP: What answers speaks something else.
        """
        request = f"{method} {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n".encode() + self._head + b"\r\n" + body
        connection = self._take() or await self._connect()
        try:
            answer = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        return answer

    async def close(self) -> None:
        self._is_closed = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # transports close in the loop's next turn

    def _take(self) -> "_Connection | None":
        """Return the connection that was used last, if any is fresh enough."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and time.monotonic() - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def _keep(self, connection: "_Connection") -> None:
        if connection.is_open and connection.may_stay and not self._is_closed:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()

    async def _connect(self) -> "_Connection":
        if self._is_secure and self._tls is None:
            self._tls = ssl.create_default_context()
        loop, error = asyncio.get_running_loop(), OSError(f"no address of {self._host}")
        named = self._host if self._is_secure else None
        for address in await self._look_up():
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    _, connection = await loop.create_connection(
                        _Connection, address, self._port, ssl=self._tls, server_hostname=named
                    )
            except OSError as failure:
                error = failure
                continue
            self._addresses = [address, *(other for other in self._addresses if other != address)]
            return connection
        self._addresses = []
        raise error

    async def _look_up(self) -> list[str]:
        """Return the host's addresses, the one that answered last first; asked for once, for as long as one works."""
        async with self._looking:
            if not self._addresses:
                asked = asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                found = await asyncio.wait_for(asked, CONNECT_SECONDS)
                self._addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
            return self._addresses


class _Connection(asyncio.Protocol):
    """One connection and the answer that is awaited there; its ``on_...`` methods are called by the parser."""

    def __init__(self) -> None:
        self.is_open, self.may_stay, self.idle_since = True, False, 0.0
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        self._waiting: asyncio.Future[Answer] | None = None
        self._begin()

    async def ask(self, request: bytes) -> Answer:
        self._waiting = self._loop.create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        self.is_open = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._fail(NotHTTP())

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if error is None and self._has_head and not self._tells_its_end():
            self.on_message_complete()
        self._fail(ConnectionResetError("the connection ended before the answer"))

    def on_message_begin(self) -> None:
        if self._waiting is None or self._waiting.done():
            self.close()  # nobody asked, and its rest must not answer who asks next

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        answer = Answer(status, self._headers, b"".join(self._pieces))
        self._begin()
        if status < 200:  # "go on" is no answer
            return
        self.may_stay = self._parser.should_keep_alive()
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(answer)

    def _begin(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._has_head = False

    def _tells_its_end(self) -> bool:
        """Tell whether an answer says itself where it ends, and not by the end of the connection."""
        told = {name.lower(): value.lower() for name, value in self._headers}
        return b"content-length" in told or b"chunked" in told.get(b"transfer-encoding", b"")

    def _fail(self, error: Exception) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(error)
        self.close()

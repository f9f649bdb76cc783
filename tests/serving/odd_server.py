"""A server that says what it is told to, byte by byte, and keeps what it was asked."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class OddServer:
    """Answers the n-th request it gets with the n-th of its replies, piece by piece; an empty one ends the connection.

    ``num_lost`` counts the connections that the other side has ended.
    """

    def __init__(self, replies: list[bytes], ending: bool = False, piece: int = 7) -> None:
        self.replies, self.ending, self.piece = iter(replies), ending, piece
        self.asked, self.num_connections, self.num_lost = list[bytes](), 0, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                _, _, told = head.lower().partition(b"content-length: ")
                length = int(told.split(b"\r\n")[0] or 0)
                self.asked.append(head + await reader.readexactly(length))
                reply = next(self.replies)
                for at in range(0, len(reply), self.piece):
                    writer.write(reply[at : at + self.piece])
                    await writer.drain()
                    await asyncio.sleep(0)
                if self.ending or not reply:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            self.num_lost += 1
        finally:
            writer.close()


@asynccontextmanager
async def listening(server: OddServer, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Let a server listen on this machine, and give its port."""
    running = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    async with running:
        yield running.sockets[0].getsockname()[1]

"""Real tools: servers that speak the Model Context Protocol, asked for their tools and called within a deadline."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from gainloop.tools.tool import Tool, read_tools
from schemas.errors import BadInput, ServerError, require_known
from schemas.profile import AnyToolServer, ToolCommand, ToolUrl

if TYPE_CHECKING:
    from mcp import Client

RESULT_CHARS = 100_000
"""Characters of a result's JSON, at most: it goes into every prompt that follows."""


_GONE = ("Session terminated", "Server returned an error response")
"""What the client says where a server, or what stands before it, answers HTTP with an error and no message of MCP."""


class Called(NamedTuple):
    """What a real tool gave: a value of JSON, with an ``error`` where it is one."""

    result: Any
    is_error: bool


ServerLike = AnyToolServer | Any
"""A server as a profile names it, or one in this process: an ``MCPServer`` object."""


@asynccontextmanager
async def connected(name: str, server: ServerLike, deadline_seconds: float) -> AsyncIterator["Client"]:
    """Give a client of a server, as long as the block lasts.

    Raises:
        BadInput: It cannot be started or reached within the deadline, or does not speak the protocol.
    """
    # Imported here: it takes 0.7 s, and most runs call no tool.
    from mcp import Client, StdioServerParameters

    target: Any = server
    if isinstance(server, ToolCommand):
        passed = {one: os.environ[one] for one in server.variables if one in os.environ}
        target = StdioServerParameters(command=server.command[0], args=server.command[1:], env=passed or None)
    elif isinstance(server, ToolUrl):
        target = server.url
    async with AsyncExitStack() as stack:
        try:
            client = Client(target, read_timeout_seconds=deadline_seconds)
            async with asyncio.timeout(deadline_seconds):
                await stack.enter_async_context(client)
        except Exception as error:
            found = "it did not answer in time" if isinstance(error, TimeoutError) else _said(error)
            raise BadInput(
                f"connecting tool server {name!r}: {found}; a server that speaks MCP must answer within "
                f"{deadline_seconds:g} s. Start it, or mend its command or url under tools in the profile."
            ) from error
        yield client


async def list_tools(name: str, server: ServerLike, deadline_seconds: float = 30) -> list[Tool]:
    """Return the tools that a server has.

    Raises:
        BadInput: It cannot be reached in time, or lists what cannot be a tool.
    """
    attempt = f"listing the tools of server {name!r}"
    async with connected(name, server, deadline_seconds) as client:
        listed: list[dict[str, Any]] = []
        cursor: str | None = None
        try:
            async with asyncio.timeout(deadline_seconds):
                while True:
                    page = await client.list_tools(cursor=cursor)
                    listed += [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in page.tools]
                    cursor = page.next_cursor
                    if not cursor:
                        break
        except TimeoutError as error:
            raise BadInput(
                f"{attempt}: no answer came in time; one within {deadline_seconds:g} s is needed. Look at the server."
            ) from error
    return read_tools(listed, attempt)


@dataclass
class ToolServers:
    """Servers of a run, each connected at the first call of it; an async context manager.

    Attributes:
        servers: Servers by name.
        deadline_seconds: Seconds that a connection or a call may take.
    """

    servers: Mapping[str, ServerLike]
    deadline_seconds: float = 30
    _clients: dict[str, "asyncio.Future[Client]"] = field(default_factory=dict)
    _keepers: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _lost: dict[str, str] = field(default_factory=dict)
    _left: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> "ToolServers":
        return self

    async def __aexit__(self, *_failure: object) -> None:
        self._left.set()
        for name, keeper in self._keepers.items():
            if not self._clients[name].done():
                keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)

    async def connect(self, server: str) -> "Client":
        """Return the client of a server, which is connected the first time.

        Raises:
            BadInput: There is no server of this name, or it cannot be reached.
            ServerError: Its connection was lost.
        """
        require_known("server of tools", server, list(self.servers), "the profile's tools")
        if server in self._lost:
            raise self._loss(server)
        if server not in self._keepers:
            self._clients[server] = asyncio.get_running_loop().create_future()
            self._keepers[server] = asyncio.create_task(self._keep(server))
        return await asyncio.shield(self._clients[server])  # others wait for it too

    async def call(self, server: str, name: str, arguments: Mapping[str, Any]) -> Called:
        """Return what a tool gives. What the tool refuses, and no answer in time, are results that say so.

        Raises:
            BadInput: As for ``connect``.
            ServerError: The connection was lost; whether the call was done is not known.
        """
        client = await self.connect(server)
        try:
            async with asyncio.timeout(self.deadline_seconds):
                given = await client.call_tool(name, dict(arguments))
        except TimeoutError:
            error = f"No answer came within {self.deadline_seconds:g} s; whether it was done is not known."
            return Called({"error": error}, is_error=True)
        except Exception as error:  # whatever a server raises, it was called, and its agent must learn of it
            if _is_loss(error):
                self._lost.setdefault(server, _said(error))
            if server in self._lost:
                raise self._loss(server) from error
            return Called({"error": _said(error)}, is_error=True)
        text = "\n".join(str(getattr(one, "text", "")) for one in given.content)
        if given.is_error:
            return Called({"error": text[:1000] or "The tool failed."}, is_error=True)
        result = {"text": text} if given.structured_content is None else given.structured_content
        if len(json.dumps(result)) > RESULT_CHARS:
            return Called({"error": f"The result has more than {RESULT_CHARS:,} characters."}, is_error=True)
        return Called(result, is_error=False)

    async def _keep(self, server: str) -> None:
        """Hold a connection until all are left, in a task of its own: only the task that opened it may close it."""
        opened = self._clients[server]
        try:
            async with connected(server, self.servers[server], self.deadline_seconds) as client:
                opened.set_result(client)
                await self._left.wait()
        except Exception as error:
            if opened.done():
                self._lost.setdefault(server, _said(error))
            else:
                opened.set_exception(error)
        finally:
            opened.cancel()

    def _loss(self, server: str) -> ServerError:
        return ServerError(
            f"calling tool server {server!r}: its connection was lost ({self._lost[server]}); it must be up as long as "
            "a run calls its tools. Start it, and run the same again: what landed is kept, and no call is made twice."
        )


def _is_loss(error: Exception) -> bool:
    # Imported here, as the client is.
    from anyio import BrokenResourceError, ClosedResourceError
    from mcp import MCPError
    from mcp_types import CONNECTION_CLOSED

    if isinstance(error, MCPError):
        return error.code == CONNECTION_CLOSED or error.message in _GONE
    return isinstance(error, BrokenResourceError | ClosedResourceError | ConnectionError)


def _said(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(f"{type(error).__name__} {error}".split())[:300]

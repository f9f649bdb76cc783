"""Real tools, by the Model Context Protocol: servers in this process, and one that is a process of its own."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from mcp.server import MCPServer

from gainloop.tools.servers import Called, ToolServers, list_tools
from schemas.errors import BadInput, ServerError
from schemas.profile import ToolCommand, ToolUrl

SERVER = """
import os
from mcp.server import MCPServer

server = MCPServer("ledger")

@server.tool()
def key() -> str:
    return os.environ.get("LEDGER_KEY", "none") + os.environ.get("OTHER_KEY", "none")

server.run()
"""


SERVED = """
import os, sys
import uvicorn
from mcp.server import MCPServer

server, shut = MCPServer("ledger"), []

@server.tool()
def key() -> str:
    return "none"

@server.tool()
def fail() -> str:
    raise ValueError("the ledger is shut")

@server.tool()
def close() -> str:
    shut.append(True)
    return "closed"

@server.tool()
def die() -> str:
    os._exit(1)

app = server.streamable_http_app()

async def behind_a_gateway(scope, receive, send):
    if shut:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"down"})
    else:
        await app(scope, receive, send)

uvicorn.run(behind_a_gateway, port=int(sys.argv[1]), log_level="warning")
"""


@pytest.fixture
def url() -> Iterator[ToolUrl]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = subprocess.Popen([sys.executable, "-c", SERVED, str(port)])
    try:
        while running.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield ToolUrl(url=f"http://127.0.0.1:{port}/mcp")
    finally:
        running.kill()
        running.wait()


@pytest.fixture
def ledger() -> MCPServer:
    server = MCPServer("ledger")

    @server.tool()
    def add(entry: str, amount: int) -> dict[str, int]:
        """Add an entry."""
        return {entry: amount}

    @server.tool()
    async def wait() -> str:
        await asyncio.sleep(60)
        return "late"

    @server.tool()
    def burst() -> str:
        return "x" * 200_000

    @server.tool()
    def fail() -> str:
        raise ValueError("the ledger is shut")

    return server


async def test_a_server_lists_its_tools_with_their_schemas(ledger: MCPServer) -> None:
    tools = {tool.name: tool for tool in await list_tools("ledger", ledger)}

    assert set(tools) == {"add", "wait", "burst", "fail"}
    assert tools["add"].description == "Add an entry."
    assert tools["add"].argument_fault({"entry": "rye", "amount": 3}) == ""
    assert (
        tools["add"].argument_fault({"entry": "rye", "amount": "three"}) == "amount: 'three' is not of type 'integer'"
    )


async def test_a_call_gives_what_the_tool_gives(ledger: MCPServer) -> None:
    async with ToolServers({"ledger": ledger}) as servers:
        assert await servers.call("ledger", "add", {"entry": "rye", "amount": 3}) == Called({"rye": 3}, is_error=False)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("add", {"entry": "rye"}), ("add", {"entry": "rye", "amount": "x"}), ("fly", {}), ("fail", {})],
)
async def test_what_a_tool_refuses_is_a_result_that_is_an_error(
    ledger: MCPServer, name: str, arguments: dict[str, object]
) -> None:
    async with ToolServers({"ledger": ledger}) as servers:
        called = await servers.call("ledger", name, arguments)
        assert called.is_error
        assert name in called.result["error"] or "ledger" in called.result["error"]
        assert not (await servers.call("ledger", "add", {"entry": "rye", "amount": 3})).is_error


async def test_a_call_that_does_not_answer_ends_at_its_deadline_and_the_next_is_answered(ledger: MCPServer) -> None:
    async with ToolServers({"ledger": ledger}, deadline_seconds=0.3) as servers:
        begun = time.monotonic()
        late = await servers.call("ledger", "wait", {})
        assert time.monotonic() - begun < 3
        assert late.is_error
        assert "within 0.3 s" in late.result["error"]
        assert not (await servers.call("ledger", "add", {"entry": "rye", "amount": 3})).is_error


async def test_a_result_too_long_for_any_prompt_is_an_error(ledger: MCPServer) -> None:
    async with ToolServers({"ledger": ledger}) as servers:
        assert "characters" in (await servers.call("ledger", "burst", {})).result["error"]


async def test_a_server_that_is_not_connected_is_refused_by_name(ledger: MCPServer) -> None:
    async with ToolServers({"ledger": ledger}) as servers:
        with pytest.raises(BadInput, match="'shop' not found in the profile's tools: known are ledger"):
            await servers.call("shop", "add", {})


@pytest.mark.parametrize(
    "server",
    [
        ToolUrl(url="http://127.0.0.1:9/mcp"),
        ToolCommand(command=["no-such-command"]),
        ToolCommand(command=[sys.executable, "-c", "import time; time.sleep(60)"]),
    ],
    ids=["nobody", "no command", "silent"],
)
async def test_a_server_that_cannot_be_reached_in_time_is_bad_input(server: ToolUrl | ToolCommand) -> None:
    begun = time.monotonic()
    with pytest.raises(BadInput, match=r"connecting tool server 'ledger'.*under tools in the profile"):
        await list_tools("ledger", server, deadline_seconds=1)
    assert time.monotonic() - begun < 15


async def test_a_command_gets_the_variables_that_are_named_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_KEY", "rye")
    monkeypatch.setenv("OTHER_KEY", "oats")
    command = ToolCommand(command=[sys.executable, "-c", SERVER], variables=("LEDGER_KEY",))

    assert [tool.name for tool in await list_tools("ledger", command, 60)] == ["key"]
    async with ToolServers({"ledger": command}, 60) as servers:
        assert (await servers.call("ledger", "key", {})).result == {"result": "ryenone"}


async def test_where_a_server_at_a_url_dies_all_calls_under_way_and_after_fail_at_once(url: ToolUrl) -> None:
    async with ToolServers({"ledger": url}, 60) as servers:
        assert (await servers.call("ledger", "key", {})).result == {"result": "none"}
        assert (await servers.call("ledger", "fail", {})).is_error
        begun = time.monotonic()
        for name in ("die", "key"):
            with pytest.raises(ServerError, match=r"'ledger': its connection was lost .*run the same again"):
                await servers.call("ledger", name, {})
        assert time.monotonic() - begun < 20


async def test_an_answer_of_a_gateway_is_no_answer_of_a_tool(url: ToolUrl) -> None:
    async with ToolServers({"ledger": url}, 60) as servers:
        for name in ("key", "close"):
            assert not (await servers.call("ledger", name, {})).is_error
        with pytest.raises(ServerError, match="its connection was lost"):
            await servers.call("ledger", "key", {})


async def test_a_server_is_connected_at_its_first_call_and_left_with_the_others(ledger: MCPServer) -> None:
    silent = ToolCommand(command=[sys.executable, "-c", "import time; time.sleep(60)"])
    async with ToolServers({"ledger": ledger, "silent": silent}, 60) as servers:
        begun = time.monotonic()
        waiting = asyncio.create_task(servers.call("silent", "add", {}))
        calls = [servers.call("ledger", "add", {"entry": "rye", "amount": number}) for number in range(8)]
        assert [one.result for one in await asyncio.gather(*calls)] == [{"rye": number} for number in range(8)]
        waiting.cancel()
    assert time.monotonic() - begun < 20

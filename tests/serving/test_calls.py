"""Calls of real tools by the driver: each once, its result on disk before the method sees it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from mcp.server import MCPServer

from gainloop.methods.rephrase import Rephrase
from gainloop.methods.tool_play import ask_call
from gainloop.methods.tool_use import ToolUse
from gainloop.serving.calls import Caller, calling, is_interrupted
from gainloop.serving.driver import name_request
from gainloop.store.calls import CallMarks
from gainloop.store.replies import ReplyLog, Span
from gainloop.tools.servers import ToolServers
from schemas.conversation import ToolCall
from schemas.errors import BadInput, ServerError
from schemas.profile import ToolCommand
from schemas.recipe import Sampling
from schemas.rows import Anchor, Drop, Reply, Request, content_hash

ANCHOR = Anchor("A task.")
REQUEST = ask_call(ANCHOR, "call", "ledger", ToolCall("note", {"entry": "rye"}), 1)


DYING = """
import os
from mcp.server import MCPServer

server = MCPServer("ledger")

@server.tool()
def note(entry: str) -> str:
    os._exit(1)

server.run()
"""


class Ledger(list[str]):
    """What was noted; ``server`` notes it, and waits for ``seconds``."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.server = MCPServer("ledger")

        @self.server.tool()
        async def note(entry: str) -> str:
            self.append(entry)
            await asyncio.sleep(self.seconds)
            return "noted"


@asynccontextmanager
async def caller_of(ledger: Ledger, seconds: float = 30) -> AsyncIterator[Caller]:
    async with ToolServers({"ledger": ledger.server}, seconds) as tools:
        yield Caller(tools)


async def make(caller: Caller, folder: Path, request: Request = REQUEST, name: str = "q1") -> Reply | Drop:
    async with ReplyLog(str(folder)) as replies:
        return await caller.make(ANCHOR, request, name, replies)


async def test_a_call_is_made_and_its_result_lies_among_the_replies(tmp_path: Path) -> None:
    ledger = Ledger()
    async with caller_of(ledger) as caller:
        reply = await make(caller, tmp_path)

    assert isinstance(reply, Reply)
    assert json.loads(reply.text) == {"result": {"result": "noted"}, "is_error": False}
    assert ReplyLog.open(str(tmp_path), Span(), [ANCHOR.anchor_id]).take("q1") == reply
    assert ledger == ["rye"]


async def test_a_call_whose_result_is_there_is_not_made_again_though_its_reply_was_lost(tmp_path: Path) -> None:
    ledger = Ledger()
    async with caller_of(ledger) as caller:
        first = await make(caller, tmp_path)
        for part in tmp_path.glob("*.parquet"):
            part.unlink()
        again = await make(caller, tmp_path)

    assert isinstance(first, Reply)
    assert isinstance(again, Reply)
    assert again.text == first.text
    assert ledger == ["rye"]


async def test_a_call_that_was_begun_and_has_no_result_is_a_drop_however_often_it_is_tried(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.seconds = 60
    async with caller_of(ledger) as caller:
        under_way = asyncio.create_task(make(caller, tmp_path))
        while not ledger:
            await asyncio.sleep(0.01)
        under_way.cancel()
        await asyncio.gather(under_way, return_exceptions=True)
    ledger.seconds = 0
    async with caller_of(ledger) as caller:
        for _ in range(3):
            assert await make(caller, tmp_path) == Drop(ANCHOR.anchor_id, "call", "tool_interrupted", "q1")

    assert ledger == ["rye"]


async def test_equal_calls_of_other_requests_are_made_each(tmp_path: Path) -> None:
    ledger = Ledger()
    async with caller_of(ledger) as caller:
        await make(caller, tmp_path)
        await make(caller, tmp_path, name="q2")

    assert ledger == ["rye", "rye"]


async def test_a_call_past_its_deadline_is_a_result_that_says_so_and_stays_one(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.seconds = 60
    async with caller_of(ledger, 0.2) as caller:
        late = await make(caller, tmp_path)
        again = await make(caller, tmp_path)

    assert isinstance(late, Reply)
    assert isinstance(again, Reply)
    assert "No answer came" in late.text
    assert again.text == late.text
    assert ledger == ["rye"]


async def test_where_nothing_may_be_called_a_call_is_refused_before_it_is_begun(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"calling 'note' of server 'ledger'.*no server is connected"):
        await make(Caller(), tmp_path)
    assert CallMarks(f"{tmp_path}/calls").begin("q1") is None


def test_only_a_call_is_taken_for_one() -> None:
    assert Caller().takes(REQUEST)
    assert not Caller().takes(Request("A mill.", role="agent"))


def test_a_role_is_part_of_a_requests_id_only_where_there_is_one() -> None:
    request, sampling = Request("A mill.", draw=3), Sampling().model_dump(mode="json")
    before = content_hash("request", "m", "r", [request.prompt_id, 3, sampling, 0])  # as it was before there were roles

    assert name_request("m", "r", request, sampling, 0) == before
    assert name_request("m", "r", replace(request, role="agent"), sampling, 0) != before


async def test_servers_are_there_for_a_method_that_calls_tools_alone_and_connected_where_one_is_called(
    tmp_path: Path,
) -> None:
    ledger = Ledger()
    async with calling(Rephrase(), {"ledger": ledger.server}, 30) as none, calling(ToolUse(), {}, 30) as nobody:
        assert none == nobody == Caller()
    servers = {"ledger": ledger.server, "gone": ToolCommand(command=["no-such-command"])}
    async with calling(ToolUse(), servers, 30) as caller:
        assert isinstance(await make(caller, tmp_path), Reply)


async def test_a_call_whose_server_cannot_be_reached_is_not_begun(tmp_path: Path) -> None:
    async with calling(ToolUse(), {"ledger": ToolCommand(command=["no-such-command"])}, 30) as caller:
        for _ in range(2):
            with pytest.raises(BadInput, match="connecting tool server 'ledger'"):
                await make(caller, tmp_path)
    ledger = Ledger()
    async with caller_of(ledger) as caller:
        assert isinstance(await make(caller, tmp_path), Reply)
    assert ledger == ["rye"]


async def test_a_result_that_is_there_needs_no_server(tmp_path: Path) -> None:
    async with caller_of(Ledger()) as caller:
        first = await make(caller, tmp_path)
    async with calling(ToolUse(), {"ledger": ToolCommand(command=["no-such-command"])}, 30) as caller:
        again = await make(caller, tmp_path)

    assert isinstance(first, Reply)
    assert isinstance(again, Reply)
    assert again.text == first.text


async def test_where_a_server_dies_the_call_under_way_is_interrupted_and_later_ones_are_not_begun(
    tmp_path: Path,
) -> None:
    dying = ToolCommand(command=[sys.executable, "-c", DYING])
    async with calling(ToolUse(), {"ledger": dying}, 60) as caller:
        for name in ("q1", "q2"):
            with pytest.raises(ServerError, match=r"calling tool server 'ledger': its connection was lost"):
                await make(caller, tmp_path, name=name)
    ledger = Ledger()
    async with caller_of(ledger) as caller:
        assert await make(caller, tmp_path) == Drop(ANCHOR.anchor_id, "call", "tool_interrupted", "q1")
        assert isinstance(await make(caller, tmp_path, name="q2"), Reply)
    assert is_interrupted(REQUEST, "q1", str(tmp_path))
    assert not is_interrupted(REQUEST, "q2", str(tmp_path))
    assert not is_interrupted(REQUEST, "never", str(tmp_path))
    assert ledger == ["rye"]

"""Calls of real tools: each is made once, at most, whatever is killed meanwhile."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gainloop.methods.method import Method
from gainloop.store.calls import CallMarks
from gainloop.store.replies import ReplyLog
from gainloop.tools.servers import ServerLike, ToolServers
from schemas.errors import BadInput
from schemas.rows import CALL, Anchor, Drop, Reply, Request

INTERRUPTED = "tool_interrupted"


@asynccontextmanager
async def calling(method: Method, servers: Mapping[str, ServerLike] | None, seconds: float) -> AsyncIterator["Caller"]:
    """Give what makes a method's calls; a server is connected from the first call of it until the block is left.

    Args:
        servers: Servers of tools by name.
        seconds: Seconds that a connection or a call may take.
    """
    if not servers or not method.calls_tools:
        yield Caller()
        return
    async with ToolServers(servers, seconds) as tools:
        yield Caller(tools)


@dataclass(frozen=True, slots=True)
class Caller:
    """What makes the calls among a method's requests.

    Attributes:
        tools: Servers of the run; None where nothing may be called, as in a preview.
    """

    tools: ToolServers | None = None

    def takes(self, request: Request) -> bool:
        """Tell whether a request is a call, not a prompt."""
        return request.role == CALL

    async def make(self, anchor: Anchor, request: Request, request_id: str, replies: ReplyLog) -> Reply | Drop:
        """Return what a call gave, which is on disk, or the drop of one that was begun before and has no result.

        A mark is on disk before the call is made, and its result before the method sees it: in the mark at once, then
        among the replies, as whoever replays them needs it. What a kill leaves between mark and result may have had
        its effect or not: it is not made again.

        Raises:
            BadInput: There is no server of the name, or it cannot be reached.
            ServerError: The connection of the server was lost.
            StoreError: Mark or result cannot be written.
        """
        assert isinstance(request.prompt, str)
        call = json.loads(request.prompt)
        if self.tools is None:
            raise BadInput(
                f"calling {call['name']!r} of server {call['server']!r} for anchor {anchor.anchor_id}: no server is "
                "connected; a run that makes records may call tools, a preview may not. Name the server under tools in "
                "the profile, and run generate."
            )
        marks, begun = marks_of(replies.folder), time.monotonic()
        text = await asyncio.to_thread(marks.find, request_id)
        if text is None:
            await self.tools.connect(call["server"])  # a call that cannot reach its server is not even begun
            text = await asyncio.to_thread(marks.begin, request_id)
        if text is None:
            given = await self.tools.call(call["server"], call["name"], call["arguments"])
            text = json.dumps(given._asdict(), ensure_ascii=False)
            await asyncio.to_thread(marks.finish, request_id, text)
        elif not text:
            return Drop(anchor.anchor_id, request.facet, INTERRUPTED, request_id)
        seconds = time.monotonic() - begun
        reply = Reply(request_id, request.prompt_id, text, (), (), "stop", 0, 0, seconds, call["server"])
        await replies.land(reply, anchor.anchor_id, request.facet)
        return reply


def marks_of(folder: str) -> CallMarks:
    """Return the marks of the calls of a batch whose replies are in a folder."""
    return CallMarks(f"{folder}/calls")


def is_interrupted(request: Request, request_id: str, folder: str) -> bool:
    """Tell whether a request is a call that was begun and has no result: it is never made again."""
    return request.role == CALL and marks_of(folder).find(request_id) == ""

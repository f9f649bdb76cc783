"""Verdicts of this machine's programs: each is given once, and on the disk before a method sees it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gainloop.solutions.verifying import give_verdict
from gainloop.store.replies import ReplyLog
from schemas.rows import Anchor, Reply, Request

SERVER = "this machine"


@dataclass
class Verdicts:
    """What gives the verdicts that a shard asks for, beside the replies that are on their way.

    Attributes:
        replies: Log of the shard's replies, beside which verdicts are kept; None where nothing is verified.
    """

    replies: ReplyLog | None
    _log: ReplyLog | None = None
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(thread_name_prefix="verdicts"))

    @asynccontextmanager
    async def of(self, anchors: Sequence[Anchor]) -> AsyncIterator[None]:
        """Keep the verdicts about some anchors until the block is left; those that landed before stand."""
        if self.replies is None:
            yield
            return
        self._log = await asyncio.to_thread(self.replies.of_verdicts, [anchor.anchor_id for anchor in anchors])
        async with self._log:
            yield

    async def give(self, anchor: Anchor, request: Request, request_id: str) -> Reply:
        """Return a verdict, which is on disk: the one that was given before, if there is one.

        Raises:
            BadInput: A program cannot be kept apart here.
            VerifierError: The verifier does not work here.
            StoreError: The verdict cannot be written.
        """
        assert self._log
        if landed := self._log.take(request_id):
            return landed
        begun = time.monotonic()
        verdict = await asyncio.get_running_loop().run_in_executor(self._threads, give_verdict, request)
        seconds = time.monotonic() - begun
        reply = Reply(request_id, request.prompt_id, verdict, (), (), "stop", 0, 0, seconds, SERVER)
        await self._log.land(reply, anchor.anchor_id, request.facet)
        return reply

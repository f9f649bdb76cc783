"""The pen that writes rows as they come, many at a time: a crash loses less than a second of them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Row = TypeVar("Row")

COMMIT_SECONDS = 0.4

# Of their own: a shard that waits for the store's file must keep no row from the disk. Few: each keeps 12 MB.
_WRITERS = ThreadPoolExecutor(2, "rows")


@dataclass
class GroupCommit(Generic[Row]):
    """Rows on their way to the disk; an async context manager.

    A row is on disk within ``COMMIT_SECONDS`` and a write of its arrival.

    Attributes:
        write: Function that writes some rows, whole or not at all.
    """

    write: Callable[[list[Row]], None]
    _pending: list[tuple[Row, asyncio.Future[None]]] = field(default_factory=list)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "GroupCommit[Row]":
        self._closing.clear()
        self._writer = asyncio.create_task(self._commit_often())
        return self

    async def __aexit__(self, *_failure: object) -> None:
        self._closing.set()
        if self._writer:
            await self._writer

    async def land(self, row: Row) -> None:
        """Return once the row is on disk.

        Raises:
            StoreError: It cannot be written.
        """
        landed = asyncio.get_running_loop().create_future()
        self._pending.append((row, landed))
        await landed

    async def _commit_often(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), COMMIT_SECONDS)
            await self._commit()
        await self._commit()  # what came during the last one

    async def _commit(self) -> None:
        pending, self._pending = self._pending, []
        if not pending:
            return
        error = None
        try:
            await asyncio.get_running_loop().run_in_executor(_WRITERS, self.write, [row for row, _ in pending])
        except Exception as failure:  # whatever it is, it belongs to those who wait
            error = failure
        for _, landed in pending:
            if not landed.done():  # a cancelled waiter is done already
                landed.set_exception(error) if error else landed.set_result(None)

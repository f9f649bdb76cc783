"""The pen that writes replies down as they come, by group commit: a crash loses less than a second."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import polars as pl

from schemas.rows import Reply
from tasks.store.replies import REPLY_FIELDS, Row, Span, as_frame, read_replies, write_replies

COMMIT_SECONDS = 0.4

# Of their own: a shard that waits for the store's file must keep no reply from the disk. Few: each keeps 12 MB.
_WRITERS = ThreadPoolExecutor(2, "replies")


@dataclass
class ReplyLog:
    """The replies to the requests of some anchors: those that landed before, and the pen that lands more.

    Used as an async context manager. A reply is on disk within ``COMMIT_SECONDS`` and a write of its arrival.
    """

    folder: str
    span: Span = field(default_factory=Span)
    _frame: pl.DataFrame = field(default_factory=lambda: as_frame([]))
    _rows: dict[str, int] = field(default_factory=dict)
    _pending: list[tuple[Row, asyncio.Future[None]]] = field(default_factory=list)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _writer: asyncio.Task[None] | None = None

    @classmethod
    def open(cls, folder: str, span: Span, anchor_ids: Iterable[str]) -> "ReplyLog":
        """Read the landed replies of some anchors of a span; all others stay on disk."""
        frame = read_replies(folder, anchor_ids, span)
        return cls(folder, span, frame, {request_id: row for row, request_id in enumerate(frame["request_id"])})

    @property
    def landed(self) -> list[str]:
        """The requests whose replies landed before and were not taken since."""
        return list(self._rows)

    def take(self, request_id: str) -> Reply | None:
        """Return a reply that landed before, once."""
        row = self._rows.pop(request_id, None)
        return None if row is None else _as_reply(self._frame.row(row, named=True))

    async def __aenter__(self) -> "ReplyLog":
        self._closing.clear()
        self._writer = asyncio.create_task(self._commit_often())
        return self

    async def __aexit__(self, *_failure: object) -> None:
        self._closing.set()
        if self._writer:
            await self._writer

    async def land(self, reply: Reply, anchor_id: str, facet: str) -> None:
        """Return once the reply is on disk.

        Raises:
            StoreError: The folder cannot be written.
        """
        landed = asyncio.get_running_loop().create_future()
        self._pending.append(((reply, anchor_id, facet), landed))
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
            rows = [row for row, _ in pending]
            await asyncio.get_running_loop().run_in_executor(_WRITERS, write_replies, self.folder, rows, self.span)
        except Exception as failure:  # whatever it is, those who wait must hear of it
            error = failure
        for _, landed in pending:
            if not landed.done():  # a cancelled waiter no longer asks
                landed.set_exception(error) if error else landed.set_result(None)


def _as_reply(row: dict[str, object]) -> Reply:
    row["token_ids"] = tuple(row["token_ids"])  # type: ignore[arg-type]
    row["token_logprobs"] = tuple(row["token_logprobs"])  # type: ignore[arg-type]
    return Reply(**{name: row[name] for name in REPLY_FIELDS})  # type: ignore[arg-type]

"""The replies to some anchors' requests: those that landed before, and the pen that lands more."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl

from schemas.rows import Reply
from tasks.store.group_commit import GroupCommit
from tasks.store.replies import REPLY_FIELDS, Row, Span, as_frame, read_replies, write_replies


@dataclass
class ReplyLog:
    """The replies to the requests of some anchors. Used as an async context manager."""

    folder: str
    span: Span = field(default_factory=Span)
    _frame: pl.DataFrame = field(default_factory=lambda: as_frame([]))
    _rows: dict[str, int] = field(default_factory=dict)
    _pen: GroupCommit[Row] = field(init=False)

    def __post_init__(self) -> None:
        self._pen = GroupCommit(lambda rows: write_replies(self.folder, rows, self.span))

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
        return None if row is None else as_reply(self._frame.row(row, named=True))

    async def __aenter__(self) -> "ReplyLog":
        await self._pen.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._pen.__aexit__(*failure)

    async def land(self, reply: Reply, anchor_id: str, facet: str) -> None:
        """Return once the reply is on disk.

        Raises:
            StoreError: The folder cannot be written.
        """
        await self._pen.land((reply, anchor_id, facet))


def as_reply(row: dict[str, object]) -> Reply:
    """Return a row of replies as the reply it is."""
    row["token_ids"] = tuple(row["token_ids"])  # type: ignore[arg-type]
    row["token_logprobs"] = tuple(row["token_logprobs"])  # type: ignore[arg-type]
    return Reply(**{name: row[name] for name in REPLY_FIELDS})  # type: ignore[arg-type]

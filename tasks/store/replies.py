"""Replies on disk: Parquet parts that grow by group commit, so that a crash loses at most half a second."""

import asyncio
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import fsspec
import polars as pl

from schemas.identity import content_hash
from schemas.rows import Reply
from tasks.store.files import list_files, write_file

COMMIT_SECONDS = 0.5

_TYPES: dict[str, pl.DataType] = {
    "request_id": pl.String(),
    "prompt_id": pl.String(),
    "anchor_id": pl.String(),
    "facet": pl.String(),
    "text": pl.String(),
    "token_ids": pl.List(pl.Int32),
    "token_logprobs": pl.List(pl.Float32),
    "finish_reason": pl.String(),
    "prompt_tokens": pl.Int64(),
    "seconds": pl.Float64(),
    "server": pl.String(),
}
COLUMNS = pl.Schema(_TYPES)


@dataclass
class ReplyLog:
    """The replies of one batch that have landed, and the pen that lands more.

    Used as an async context manager; ``landed`` maps request ids to replies of the anchors given.
    """

    folder: str
    landed: dict[str, Reply] = field(default_factory=dict)
    _pending: list[tuple[dict[str, object], asyncio.Future[None]]] = field(default_factory=list)
    _writer: asyncio.Task[None] | None = None

    @classmethod
    def open(cls, folder: str, anchor_ids: Iterable[str]) -> "ReplyLog":
        """Read the landed replies of some anchors; the other replies of the batch stay on disk."""
        replies = read_replies(folder, anchor_ids).drop("anchor_id", "facet")
        return cls(folder, {row["request_id"]: _as_reply(row) for row in replies.iter_rows(named=True)})

    async def __aenter__(self) -> "ReplyLog":
        self._writer = asyncio.create_task(self._commit_often())
        return self

    async def __aexit__(self, *_failure: object) -> None:
        if self._writer:
            self._writer.cancel()
        self._commit()

    async def land(self, reply: Reply, anchor_id: str, facet: str) -> None:
        """Return once the reply is on disk.

        Raises:
            StoreError: The folder cannot be written.
        """
        landed = asyncio.get_running_loop().create_future()
        self._pending.append((asdict(reply) | {"anchor_id": anchor_id, "facet": facet}, landed))
        await landed
        self.landed[reply.request_id] = reply

    async def _commit_often(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            self._commit()

    def _commit(self) -> None:
        pending, self._pending = self._pending, []
        if not pending:
            return
        try:
            write_replies(self.folder, [row for row, _ in pending])
            error = None
        except Exception as failure:  # whatever it is, those who wait must hear of it
            error = failure
        for _, landed in pending:
            if not landed.done():  # a cancelled waiter no longer asks
                landed.set_exception(error) if error else landed.set_result(None)


def write_replies(folder: str, rows: list[dict[str, object]]) -> None:
    """Write one part, named by the requests it answers, whole or not at all."""
    part = io.BytesIO()
    pl.DataFrame(rows, schema=COLUMNS).write_parquet(part)
    name = content_hash([row["request_id"] for row in rows])
    write_file(f"{folder}/part-{name}.parquet", part.getvalue())


def read_replies(folder: str, anchor_ids: Iterable[str] | None = None) -> pl.DataFrame:
    """Return the landed replies, once each, ordered by request id; of some anchors if given."""
    kept = []
    wanted = None if anchor_ids is None else pl.Series(list(anchor_ids), dtype=pl.String).implode()
    for url in list_files(folder, ".parquet"):
        with fsspec.open(url, "rb") as file:
            part = pl.read_parquet(file)
        kept.append(part if wanted is None else part.filter(pl.col("anchor_id").is_in(wanted)))
    return pl.concat([COLUMNS.to_frame(), *kept]).unique("request_id", keep="first").sort("request_id")


def compact_replies(folder: str) -> None:
    """Make one part of many: a long batch lands thousands, and every later reader would open each."""
    urls = list_files(folder, ".parquet")
    if len(urls) < 2:
        return
    whole = io.BytesIO()
    replies = read_replies(folder)
    replies.write_parquet(whole)
    target = f"{folder}/part-{content_hash(replies['request_id'].to_list())}.parquet"
    write_file(target, whole.getvalue())
    system, _ = fsspec.url_to_fs(folder)
    for url in urls:
        if url.rsplit("/", 1)[-1] != target.rsplit("/", 1)[-1]:
            system.rm(url)


def _as_reply(row: dict[str, object]) -> Reply:
    row["token_ids"] = tuple(row["token_ids"])  # type: ignore[arg-type]
    row["token_logprobs"] = tuple(row["token_logprobs"])  # type: ignore[arg-type]
    return Reply(**row)  # type: ignore[arg-type]

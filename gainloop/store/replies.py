"""Replies on disk: Parquet parts, each whole or set aside; a complete batch has few."""

import io
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from gainloop.store.files import clear_scraps, list_files, whole_file, write_file
from gainloop.store.group_commit import GroupCommit
from schemas.rows import Reply, content_hash

MANY_PARTS = 32
"""Parts above which a shard is compacted when it is done; other shards are compacted with the batch."""

WHOLE_BYTES = 256 * 2**20
"""Bytes of a compacted part, at most: compaction needs no more memory for a larger batch."""

ROW_GROUP_ROWS = 512

COLUMNS = pa.schema(
    [
        ("request_id", pa.string()),
        ("prompt_id", pa.string()),
        ("anchor_id", pa.string()),
        ("facet", pa.string()),
        ("text", pa.string()),
        ("token_ids", pa.list_(pa.int32())),
        ("token_logprobs", pa.list_(pa.float32())),
        ("finish_reason", pa.string()),
        ("prompt_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("server", pa.string()),
        ("attempt", pa.int32()),
    ]
)

REPLY_FIELDS = tuple(one.name for one in fields(Reply))

WRITING = {
    "compression": "lz4",
    "write_page_checksum": True,
    "use_dictionary": False,
}
"""Parquet settings of a part that will be compacted: little CPU."""

KEEPING = {
    "compression": "zstd",
    "write_page_checksum": True,
    "use_dictionary": ["anchor_id", "facet", "finish_reason", "server"],
}
"""Parquet settings of a compacted part: little room."""

Row = tuple[Reply, str, str]
"""A reply, its anchor's id, and its facet."""

# Arrow's own allocator keeps what each of the threads that write has ever needed.
pa.set_memory_pool(pa.system_memory_pool())

logger = logging.getLogger("gainloop.replies")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Anchors ``begin`` to ``end - 1`` in a batch's order. The name of a part has its span."""

    begin: int = 0
    end: int = 2**31

    def part(self, made_of: list[str]) -> str:
        """Return the name of a part: of the requests it answers, or of the parts it is made of."""
        return f"part-{self.begin:010d}-{self.end:010d}-{content_hash(made_of)}.parquet"

    def overlaps(self, other: "Span") -> bool:
        return self.begin < other.end and other.begin < self.end


def spans_of(num_anchors: int, shard_anchors: int) -> list[Span]:
    """Cut a batch's anchors into shards, one Prefect task run each.

    >>> spans_of(5, 2)
    [Span(begin=0, end=2), Span(begin=2, end=4), Span(begin=4, end=5)]
    """
    return [Span(begin, min(begin + shard_anchors, num_anchors)) for begin in range(0, num_anchors, shard_anchors)]


def span_of(url: str) -> Span:
    """Return the span in the name of a part.

    >>> span_of("data/batches/b/replies/part-0000000256-0000000512-0123456789abcdef.parquet")
    Span(begin=256, end=512)
    """
    named = url.rsplit("/", 1)[-1].split("-")
    return Span(int(named[1]), int(named[2])) if len(named) == 4 else Span()  # an earlier version named none


def write_replies(folder: str, rows: list[Row], span: Span) -> None:
    """Write one part, named by the requests it answers, whole or not at all."""
    part = io.BytesIO()
    pq.write_table(_as_table(rows), part, **WRITING)
    write_file(f"{folder}/{span.part([reply.request_id for reply, _, _ in rows])}", part.getvalue())


def read_replies(
    folder: str,
    anchor_ids: Iterable[str] | None = None,
    span: Span | None = None,
    columns: list[str] | None = None,
    shorten: Callable[[pl.DataFrame], pl.DataFrame] = lambda replies: replies,
) -> pl.DataFrame:
    """Return the landed replies, once each, ordered by request id.

    Args:
        anchor_ids: Anchors whose replies are read, or None for all.
        span: Span whose parts are read, or None for all.
        columns: Names of columns, or None for all.
        shorten: Function from the replies of one part to what is kept of them, request_id at least: texts and tokens of
            a large batch are gigabytes.
    """
    wanted = None if anchor_ids is None else pl.Series(list(anchor_ids), dtype=pl.String).implode()
    kept = [shorten(as_frame([], columns))]
    if wanted is None or wanted.list.len().item():
        for url in _parts(folder, span):
            for table in read_part(url, columns):
                part = _from_arrow(table)
                kept.append(shorten(part if wanted is None else part.filter(pl.col("anchor_id").is_in(wanted))))
    return pl.concat(kept).unique("request_id", keep="first").sort("request_id")


def landed_tokens(folder: str) -> tuple[int, int]:
    """Return the tokens of prompts and of completions of all replies of a batch that have landed."""
    columns = ["prompt_tokens", "completion_tokens"]
    landed = read_replies(folder, columns=["request_id", *columns])
    return int(landed[columns[0]].sum()), int(landed[columns[1]].sum())


def read_answers(folder: str, anchor_ids: Iterable[str] | None = None, span: Span | None = None) -> dict[str, Reply]:
    """Return the landed replies and verdicts by request id, as a replay needs them; see ``read_replies``."""
    ids = None if anchor_ids is None else list(anchor_ids)
    parts = [read_replies(one, ids, span) for one in (folder, verdicts_folder(folder))]
    return {row["request_id"]: as_reply(row) for part in parts for row in part.iter_rows(named=True)}


def verdicts_folder(folder: str) -> str:
    """Return where the verdicts of a batch lie whose replies are in a folder."""
    return f"{folder}/verdicts"


def read_part(url: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield a part's rows; one that is torn or damaged yields nothing and is set aside, never trusted.

    Its replies count as not landed: their requests are sent again.
    """
    try:
        with fsspec.open(url, "rb") as file:
            part = pq.ParquetFile(file, page_checksum_verification=True)
            table = part.read(columns, use_threads=False)
    except TimeoutError:
        raise
    except (pa.ArrowException, OSError) as error:  # a wrong checksum is an OSError without a number
        if isinstance(error, OSError) and error.errno is not None:
            raise
        system, path = fsspec.url_to_fs(url)
        system.mv(path, f"{path}.torn")
        logger.warning("set aside %s: %s; its replies count as not landed", url, str(error).splitlines()[0])
        return
    yield _with_all(table, _schema(columns))


def _with_all(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a part with every column; one that an earlier version did not write is null."""
    arrays = [
        table[column.name] if column.name in table.column_names else pa.nulls(len(table), column.type)
        for column in schema
    ]
    return pa.table(arrays, names=schema.names).cast(schema)


def compact_replies(folder: str, span: Span | None = None) -> None:
    """Make few parts of many, of replies and verdicts: a long batch lands thousands, and every reader would open each.

    Args:
        span: Span whose parts are compacted if there are more than ``MANY_PARTS``, or None for all parts.
    """
    for one in (folder, verdicts_folder(folder)):
        _compact(one, span)


def _compact(folder: str, span: Span | None) -> None:
    urls = [url for url in list_files(folder, ".parquet") if span is None or span_of(url) == span]
    if span and len(urls) <= MANY_PARTS:
        return
    if span is None:
        clear_scraps(folder)
    system, _ = fsspec.url_to_fs(folder)
    group: list[str] = []
    num_bytes = 0
    for url in [*urls, ""]:
        size = int(system.size(url)) if url else WHOLE_BYTES
        if num_bytes + size > WHOLE_BYTES or not url:
            _merge(folder, group)
            group, num_bytes = [], 0
        group.append(url)
        num_bytes += size


def _merge(folder: str, urls: list[str]) -> None:
    """Write the rows of some parts as one part, in the order of the parts, and remove the others."""
    if len(urls) < 2:
        return
    spans = [span_of(url) for url in urls]
    whole = Span(min(span.begin for span in spans), max(span.end for span in spans))
    target = f"{folder}/{whole.part([url.rsplit('/', 1)[-1] for url in urls])}"
    with whole_file(target) as sink, pq.ParquetWriter(sink, COLUMNS, **KEEPING) as writer:
        for table in _row_groups(urls):
            writer.write_table(table)
    system, _ = fsspec.url_to_fs(folder)
    for url in urls:
        if url.rsplit("/", 1)[-1] != target.rsplit("/", 1)[-1] and system.exists(url):
            system.rm(url)


def _row_groups(urls: list[str]) -> Iterator[pa.Table]:
    """Yield the rows of parts, each request once, some thousand at a time."""
    seen: set[str] = set()
    group: list[pa.Table] = []
    for url in urls:
        for table in read_part(url):
            ids = table["request_id"].to_pylist()
            new = [request_id not in seen for request_id in ids]
            seen.update(ids)
            group.append(table if all(new) else table.filter(pa.array(new)))
            if sum(map(len, group)) >= ROW_GROUP_ROWS:
                yield pa.concat_tables(group)
                group = []
    yield pa.concat_tables([COLUMNS.empty_table(), *group])


def _parts(folder: str, span: Span | None) -> list[str]:
    return [url for url in list_files(folder, ".parquet") if span is None or span_of(url).overlaps(span)]


def _as_table(rows: list[Row]) -> pa.Table:
    columns = {name: [getattr(reply, name) for reply, _, _ in rows] for name in REPLY_FIELDS}
    columns |= {"anchor_id": [anchor_id for _, anchor_id, _ in rows], "facet": [facet for *_, facet in rows]}
    return pa.table([pa.array(columns[column.name], column.type) for column in COLUMNS], schema=COLUMNS)


def as_frame(rows: list[Row], columns: list[str] | None = None) -> pl.DataFrame:
    """Return replies as the frame that ``read_replies`` returns."""
    return _from_arrow(_as_table(rows).select(columns or COLUMNS.names))


def _from_arrow(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _schema(columns: list[str] | None) -> pa.Schema:
    return pa.schema([COLUMNS.field(name) for name in columns or COLUMNS.names])


@dataclass
class ReplyLog:
    """The replies of some anchors: those that landed before, and a pen for new ones. An async context manager."""

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

    def of_verdicts(self, anchor_ids: Iterable[str]) -> "ReplyLog":
        """Read the landed verdicts of some anchors of the same span, and return their log."""
        return ReplyLog.open(verdicts_folder(self.folder), self.span, anchor_ids)

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
    """Return the reply of a row."""
    row["token_ids"] = tuple(row["token_ids"])  # type: ignore[arg-type]
    row["token_logprobs"] = tuple(row["token_logprobs"])  # type: ignore[arg-type]
    return Reply(**{name: row[name] for name in REPLY_FIELDS})  # type: ignore[arg-type]

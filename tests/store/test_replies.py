import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gainloop.store import replies
from gainloop.store.replies import COLUMNS, MANY_PARTS, ReplyLog, Span, compact_replies, read_replies, write_replies
from schemas.errors import StoreError
from schemas.rows import Reply
from tests.conftest import ROOT

ALL = Span(0, 100)
NAMES = [f"anchor {n}" for n in range(3)]

LAND_AND_DIE = """
import asyncio, os, signal, sys
from gainloop.store.replies import ReplyLog
from tests.store.test_replies import make_reply

async def main(folder):
    async with ReplyLog(folder) as log:
        await asyncio.gather(*(log.land(make_reply(number), "anchor", "easy") for number in range(8)))
        late = asyncio.create_task(log.land(make_reply(8), "anchor", "easy"))
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(sys.argv[1]))
"""


def make_reply(number: int, text: str = "") -> Reply:
    """Return a reply whose log-probabilities are exact in 32 bits, as replies on disk are."""
    return Reply(
        request_id=f"{number:016x}",
        prompt_id=f"{number // 2:016x}",
        text=text or f"reply {number}\n\x00 \U0001f980",
        token_ids=(number, 0),
        token_logprobs=(-0.5, -2.0 * number),
        finish_reason="stop",
        prompt_tokens=7,
        completion_tokens=2,
        seconds=0.25,
        server="embedded",
        attempt=1 + number % 2,
    )


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "replies")


async def land(folder: str, numbers: range, span: Span = ALL) -> None:
    async with ReplyLog(folder, span) as log:
        await asyncio.gather(*(log.land(make_reply(number), f"anchor {number % 3}", "easy") for number in numbers))


def names(folder: str) -> list[str]:
    return sorted(os.listdir(folder))


def ids(*numbers: int) -> list[str]:
    return [f"{number:016x}" for number in numbers]


def landed(log: ReplyLog) -> list[str]:
    """Take every reply that a log has; return the ids of their requests."""
    return [request_id for request_id in ids(*range(100)) if log.take(request_id)]


async def test_landed_replies_are_read_back_equal_and_given_once(folder: str) -> None:
    await land(folder, range(5))

    log = ReplyLog.open(folder, ALL, NAMES)
    assert [log.take(request_id) for request_id in ids(*range(5))] == list(map(make_reply, range(5)))
    assert [log.take(request_id) for request_id in ids(*range(6))] == [None] * 6
    assert landed(ReplyLog.open(folder, ALL, NAMES)) == ids(*range(5))
    assert dict(read_replies(folder).schema) == {
        "request_id": pl.String,
        "prompt_id": pl.String,
        "anchor_id": pl.String,
        "facet": pl.String,
        "text": pl.String,
        "token_ids": pl.List(pl.Int32),
        "token_logprobs": pl.List(pl.Float32),
        "finish_reason": pl.String,
        "prompt_tokens": pl.Int64,
        "completion_tokens": pl.Int64,
        "seconds": pl.Float64,
        "server": pl.String,
        "attempt": pl.Int32,
    }


async def test_replies_of_other_anchors_stay_on_disk(folder: str) -> None:
    await land(folder, range(6))

    assert landed(ReplyLog.open(folder, ALL, ["anchor 1", "unknown"])) == ids(1, 4)
    assert landed(ReplyLog.open(folder, ALL, [])) == []


async def test_parts_of_other_spans_are_not_opened(folder: str) -> None:
    await land(folder, range(3), Span(0, 8))
    await land(folder, range(3, 6), Span(16, 32))
    (other,) = Path(folder).glob("part-0000000016-0000000032-*.parquet")
    other.write_bytes(b"no Parquet")

    assert landed(ReplyLog.open(folder, Span(0, 16), NAMES)) == ids(0, 1, 2)
    assert landed(ReplyLog.open(folder, Span(7, 9), NAMES)) == ids(0, 1, 2)
    assert landed(ReplyLog.open(folder, Span(8, 16), NAMES)) == []
    assert other.exists()


async def test_only_the_columns_asked_for_are_read(folder: str) -> None:
    await land(folder, range(3))

    few = read_replies(folder, columns=["request_id", "attempt"])
    assert few.equals(read_replies(folder).select("request_id", "attempt"))
    assert read_replies(f"{folder}/nowhere", columns=["request_id", "attempt"]).schema == few.schema


def test_a_batch_without_replies_reads_as_none(folder: str) -> None:
    assert read_replies(folder).is_empty()
    assert landed(ReplyLog.open(folder, ALL, ["anchor"])) == []
    compact_replies(folder)


async def test_what_a_kill_left_half_written_is_gone_once_the_batch_is_compacted(folder: str) -> None:
    await land(folder, range(3))
    (part,) = Path(folder).glob("*.parquet")
    scrap = part.with_name(f"{part.name}.0123abcd.partial")
    scrap.write_bytes(part.read_bytes()[:100])
    compact_replies(folder, Span(0, 3))
    assert scrap.exists(), "another shard may be writing"
    compact_replies(folder)
    assert not scrap.exists()
    assert read_replies(folder).height == 3


async def test_a_reply_counts_as_landed_once_it_is_on_disk(folder: str) -> None:
    async with ReplyLog(folder) as log:
        landing = asyncio.create_task(log.land(make_reply(1), "anchor", "easy"))
        await asyncio.sleep(0)
        assert read_replies(folder).is_empty()
        await landing
        assert read_replies(folder)["request_id"].to_list() == ids(1)


async def test_replies_that_come_together_are_one_part(folder: str) -> None:
    await land(folder, range(50))

    assert len(names(folder)) == 1


async def test_a_log_that_closes_lands_what_was_pending(folder: str) -> None:
    async with ReplyLog(folder) as log:
        landing = asyncio.create_task(log.land(make_reply(1), "anchor", "easy"))
        await asyncio.sleep(0)
        landing.cancel()

    assert read_replies(folder).height == 1


async def test_a_log_that_closes_during_a_write_lands_what_came_meanwhile(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, let_go = threading.Event(), threading.Event()

    def write_slowly(folder: str, rows: list[replies.Row], span: Span) -> None:
        writing.set()
        let_go.wait(5)
        write_replies(folder, rows, span)

    monkeypatch.setattr(replies, "write_replies", write_slowly)
    async with ReplyLog(folder, ALL) as log:
        early = asyncio.create_task(log.land(make_reply(1), "anchor", "easy"))
        await asyncio.to_thread(writing.wait, 5)
        late = asyncio.create_task(log.land(make_reply(2), "anchor", "easy"))
        await asyncio.sleep(0)
        late.cancel()
        asyncio.get_running_loop().call_later(0.05, let_go.set)
    await early

    assert read_replies(folder)["request_id"].to_list() == ids(1, 2)


def test_a_crash_loses_only_what_was_pending(folder: str) -> None:
    died = subprocess.run([sys.executable, "-c", LAND_AND_DIE, folder], cwd=ROOT, env=os.environ, check=False)

    assert died.returncode == -signal.SIGKILL
    assert landed(ReplyLog.open(folder, ALL, ["anchor"])) == ids(*range(8))


async def test_a_part_that_was_being_written_is_never_seen(folder: str) -> None:
    await land(folder, range(3))
    (part,) = names(folder)
    Path(folder, f"{part}.0a1b2c3d.partial").write_bytes(Path(folder, part).read_bytes()[:100])

    assert read_replies(folder).height == 3
    compact_replies(folder)
    assert read_replies(folder).height == 3


def tear(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-100])


def flip_a_byte(part: Path) -> None:
    """Change one byte of a text: only its page's checksum can tell."""
    column = pq.ParquetFile(part).metadata.row_group(0).column(COLUMNS.get_field_index("text"))
    content = bytearray(part.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 3] ^= 1
    part.write_bytes(content)


def empty(part: Path) -> None:
    part.write_bytes(b"")


@pytest.mark.parametrize("spoil", [tear, flip_a_byte, empty])
async def test_a_damaged_part_is_set_aside_and_its_replies_have_not_landed(
    folder: str, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    await land(folder, range(3))
    (part,) = Path(folder).iterdir()
    await land(folder, range(3, 6))
    spoil(part)

    with caplog.at_level(logging.WARNING, "gainloop.replies"):
        assert landed(ReplyLog.open(folder, ALL, NAMES)) == ids(3, 4, 5)
    (said,) = (record.getMessage() for record in caplog.records)
    assert said.startswith(f"set aside {part}: ")
    assert said.endswith("; its replies count as not landed")
    assert [path.name for path in Path(folder).glob("*.torn")] == [f"{part.name}.torn"]
    assert not part.exists()
    await land(folder, range(3))
    assert landed(ReplyLog.open(folder, ALL, NAMES)) == ids(*range(6))
    assert len(caplog.records) == 1


@pytest.mark.parametrize("spoil", [tear, flip_a_byte, empty])
async def test_a_damaged_part_takes_no_other_along_when_parts_are_compacted(
    folder: str, spoil: Callable[[Path], None]
) -> None:
    await land(folder, range(3, 6))
    (damaged,) = Path(folder).iterdir()
    await land(folder, range(3))
    await land(folder, range(6, 9))
    spoil(damaged)

    compact_replies(folder)
    assert read_replies(folder)["request_id"].to_list() == ids(0, 1, 2, 6, 7, 8)
    assert len(list(Path(folder).glob("*.parquet"))) == 1
    assert [path.name for path in Path(folder).glob("*.torn")] == [f"{damaged.name}.torn"]


async def test_two_replies_to_one_request_are_one(folder: str) -> None:
    await land(folder, range(3))
    await land(folder, range(2, 4))

    replies = read_replies(folder)
    assert replies["request_id"].to_list() == ids(*range(4))


async def test_compacting_keeps_every_reply_and_leaves_one_part(folder: str) -> None:
    for start in range(0, 12, 4):
        await land(folder, range(start, start + 5))
    before = read_replies(folder)
    assert len(names(folder)) == 3

    compact_replies(folder)
    assert len(names(folder)) == 1
    assert read_replies(folder).equals(before)
    compact_replies(folder)
    assert read_replies(folder).equals(before)


async def test_a_shard_is_compacted_alone_and_only_if_its_parts_are_many(folder: str) -> None:
    one, other = Span(0, 16), Span(16, 32)
    for number in range(MANY_PARTS):
        write_replies(folder, [(make_reply(number), "anchor", "easy")], one)
    write_replies(folder, [(make_reply(1000), "anchor", "easy")], other)
    compact_replies(folder, one)
    assert len(names(folder)) == MANY_PARTS + 1

    write_replies(folder, [(make_reply(MANY_PARTS), "anchor", "easy")], one)
    before = read_replies(folder)
    compact_replies(folder, one)
    assert [name[:26] for name in names(folder)] == ["part-0000000000-0000000016", "part-0000000016-0000000032"]
    assert read_replies(folder).equals(before)
    compact_replies(folder)
    assert [name[:26] for name in names(folder)] == ["part-0000000000-0000000032"]
    assert read_replies(folder).equals(before)


async def test_compacting_makes_no_part_larger_than_a_bound(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        write_replies(folder, [(make_reply(number, os.urandom(5000).hex()), "anchor", "easy")], ALL)
    before = read_replies(folder)
    monkeypatch.setattr(replies, "WHOLE_BYTES", 4 * max(path.stat().st_size for path in Path(folder).iterdir()))

    compact_replies(folder)
    assert len(names(folder)) == 3
    assert read_replies(folder).equals(before)


async def test_compacting_that_crashed_half_way_loses_nothing(folder: str) -> None:
    for start in (0, 3):
        await land(folder, range(start, start + 3))
    before = read_replies(folder)
    parts = {name: Path(folder, name).read_bytes() for name in names(folder)}
    compact_replies(folder)
    for name, content in parts.items():
        Path(folder, name).write_bytes(content)

    assert read_replies(folder).equals(before)
    compact_replies(folder)
    assert read_replies(folder).equals(before)
    assert len(names(folder)) == 1


async def test_replies_lie_in_object_storage_too() -> None:
    folder = "memory://bucket/replies"
    for start in (0, 4):
        await land(folder, range(start, start + 4))
    compact_replies(folder)

    assert landed(ReplyLog.open(folder, ALL, ["anchor 1"])) == ids(1, 4, 7)
    system = fsspec.filesystem("memory")
    (part,) = system.ls("/bucket/replies", detail=False)
    system.pipe_file(part, system.cat_file(part)[:-100])
    assert landed(ReplyLog.open(folder, ALL, ["anchor 1"])) == []
    assert system.ls("/bucket/replies", detail=False) == [f"{part}.torn"]
    system.rm("/bucket", recursive=True)


async def test_everyone_who_waits_is_told_that_the_disk_is_full(small_disk: Path) -> None:
    noise = [make_reply(number, os.urandom(500_000).hex()) for number in range(10)]

    async with ReplyLog(str(small_disk)) as log:
        answers = await asyncio.gather(*(log.land(reply, "anchor", "") for reply in noise), return_exceptions=True)
        assert {type(answer) for answer in answers} == {StoreError}
        assert read_replies(str(small_disk)).is_empty()
        await log.land(make_reply(99), "anchor", "")
    assert read_replies(str(small_disk))["request_id"].to_list() == ids(99)


async def test_a_reply_that_cannot_be_written_down_is_an_error_and_not_a_wait_without_end(folder: str) -> None:
    async with ReplyLog(folder) as log, asyncio.timeout(5):
        with pytest.raises(UnicodeEncodeError):
            await log.land(make_reply(1, text="\ud800"), "anchor", "")


def test_token_log_probabilities_keep_seven_digits(folder: str) -> None:
    values = -np.random.default_rng(0).exponential(3, 100)

    write_replies(folder, [(replace(make_reply(1), token_logprobs=tuple(values.tolist())), "anchor", "")], ALL)
    (read,) = read_replies(folder)["token_logprobs"].to_list()
    assert read == pytest.approx(values.tolist(), rel=1e-7)
    assert COLUMNS.field("token_logprobs").type == pa.list_(pa.float32())


def test_a_part_that_an_earlier_version_wrote_is_read_and_not_set_aside(folder: str) -> None:
    write_replies(folder, [(make_reply(1), "anchor", "easy")], ALL)
    (part,) = Path(folder).iterdir()
    older = part.with_name("part-0123456789abcdef.parquet")
    pl.read_parquet(part).drop("attempt", "completion_tokens").write_parquet(older)
    part.unlink()

    assert read_replies(folder, span=Span(5, 6))["text"].to_list() == [make_reply(1).text]
    assert read_replies(folder)["attempt"].to_list() == [None]
    assert [path.name for path in Path(folder).iterdir()] == [older.name]

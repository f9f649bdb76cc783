import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from schemas.errors import StoreError
from schemas.rows import Reply
from tasks.store.replies import COLUMNS, ReplyLog, compact_replies, read_replies, write_replies
from tests.conftest import ROOT

LAND_AND_DIE = """
import asyncio, os, signal, sys
from tasks.store.replies import ReplyLog
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
        seconds=0.25,
        server="embedded",
    )


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "replies")


async def land(folder: str, numbers: range) -> None:
    async with ReplyLog(folder) as log:
        await asyncio.gather(*(log.land(make_reply(number), f"anchor {number % 3}", "easy") for number in numbers))


def names(folder: str) -> list[str]:
    return sorted(os.listdir(folder))


async def test_landed_replies_are_read_back_equal(folder: str) -> None:
    await land(folder, range(5))

    replies = ReplyLog.open(folder, ["anchor 0", "anchor 1", "anchor 2"]).landed
    assert replies == {reply.request_id: reply for reply in map(make_reply, range(5))}
    assert read_replies(folder).schema == COLUMNS


async def test_replies_of_other_anchors_stay_on_disk(folder: str) -> None:
    await land(folder, range(6))

    assert set(ReplyLog.open(folder, ["anchor 1", "unknown"]).landed) == {f"{n:016x}" for n in (1, 4)}
    assert ReplyLog.open(folder, []).landed == {}


def test_a_batch_without_replies_reads_as_none(folder: str) -> None:
    assert read_replies(folder).is_empty()
    assert ReplyLog.open(folder, ["anchor"]).landed == {}
    compact_replies(folder)


async def test_a_reply_counts_as_landed_once_it_is_on_disk(folder: str) -> None:
    async with ReplyLog(folder) as log:
        landing = asyncio.create_task(log.land(make_reply(1), "anchor", "easy"))
        await asyncio.sleep(0)
        assert log.landed == {}
        await landing
        assert read_replies(folder)["request_id"].to_list() == list(log.landed)


async def test_replies_that_come_together_are_one_part(folder: str) -> None:
    await land(folder, range(50))

    assert len(names(folder)) == 1


async def test_a_log_that_closes_lands_what_was_pending(folder: str) -> None:
    async with ReplyLog(folder) as log:
        landing = asyncio.create_task(log.land(make_reply(1), "anchor", "easy"))
        await asyncio.sleep(0)
        landing.cancel()

    assert read_replies(folder).height == 1


def test_a_crash_loses_only_what_was_pending(folder: str) -> None:
    died = subprocess.run([sys.executable, "-c", LAND_AND_DIE, folder], cwd=ROOT, env=os.environ, check=False)

    assert died.returncode == -signal.SIGKILL
    assert ReplyLog.open(folder, ["anchor"]).landed.keys() == {f"{n:016x}" for n in range(8)}


async def test_a_part_that_was_being_written_is_never_seen(folder: str) -> None:
    await land(folder, range(3))
    (part,) = names(folder)
    Path(folder, "part-later.parquet.0a1b2c3d.partial").write_bytes(Path(folder, part).read_bytes()[:100])

    assert read_replies(folder).height == 3
    compact_replies(folder)
    assert read_replies(folder).height == 3


async def test_two_replies_to_one_request_are_one(folder: str) -> None:
    await land(folder, range(3))
    await land(folder, range(2, 4))

    replies = read_replies(folder)
    assert replies["request_id"].to_list() == [f"{n:016x}" for n in range(4)]


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

    assert ReplyLog.open(folder, ["anchor 1"]).landed.keys() == {f"{n:016x}" for n in (1, 4, 7)}


async def test_everyone_who_waits_is_told_that_the_disk_is_full(small_disk: Path) -> None:
    noise = [make_reply(number, os.urandom(500_000).hex()) for number in range(10)]

    async with ReplyLog(str(small_disk)) as log:
        answers = await asyncio.gather(*(log.land(reply, "anchor", "") for reply in noise), return_exceptions=True)
        assert {type(answer) for answer in answers} == {StoreError}
        assert log.landed == {}
        await log.land(make_reply(99), "anchor", "")
    assert read_replies(str(small_disk))["request_id"].to_list() == [f"{99:016x}"]


async def test_a_reply_that_cannot_be_written_down_is_an_error_and_not_a_wait_without_end(folder: str) -> None:
    async with ReplyLog(folder) as log, asyncio.timeout(5):
        with pytest.raises(UnicodeEncodeError):
            await log.land(make_reply(1, text="\ud800"), "anchor", "")


def test_token_log_probabilities_keep_seven_digits(folder: str) -> None:
    values = -np.random.default_rng(0).exponential(3, 100)
    row = dict.fromkeys(COLUMNS) | {"request_id": "a", "token_logprobs": values.tolist()}

    write_replies(folder, [row])
    (read,) = read_replies(folder)["token_logprobs"].to_list()
    assert read == pytest.approx(values.tolist(), rel=1e-7)
    assert COLUMNS["token_logprobs"] == pl.List(pl.Float32)

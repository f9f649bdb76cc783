"""Two thousand rows against a server that fails in every way there is: the right rows, and every drop counted."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.stub import StubOptions, read_stats, running_stub
from gainloop.methods.pipeline import Pipeline
from gainloop.methods.rephrase import Rephrase
from gainloop.serving.driver import Driver, Progress
from gainloop.serving.opening import connect_servers
from gainloop.serving.pool import Pool
from gainloop.store.replies import ReplyLog, read_replies
from schemas.errors import ServerError
from schemas.profile import Generation, Servers
from schemas.recipe import Sampling
from schemas.rows import Anchor

ROWS = 2000
TOKENS = 24
PLAIN = StubOptions(tokens=TOKENS)
ANCHORS = [Anchor(f"The mill number {row} grinds rye for the towns by the river.") for row in range(ROWS)]

Told = Callable[[Progress], None]


@dataclass(frozen=True)
class Run:
    """What a run of one request per anchor came to."""

    texts: dict[str, str]
    drops: Counter[str]
    progress: Progress
    seconds: float


@asynccontextmanager
async def pool_of(urls: list[str], **bounds: float) -> AsyncIterator[Pool]:
    async with connect_servers(Servers(urls=urls), Generation(**({"max_in_flight": 128} | bounds)), "stub") as pool:
        await pool.check()
        yield pool


async def run(folder: Path, *urls: str, told: Told = lambda _progress: None, **bounds: float) -> Run:
    async with pool_of(list(urls), **bounds) as pool:
        method, sampling = Rephrase(styles=("easy",)), Sampling(max_tokens=TOKENS)
        driver = Driver(Pipeline(method), pool, sampling, 0, ReplyLog(str(folder)), told)
        begun = time.monotonic()
        outcomes = await driver.run(ANCHORS)
    records = [record for outcome in outcomes.values() for record in outcome.records]
    drops = Counter(drop.reason for outcome in outcomes.values() for drop in outcome.drops)
    assert outcomes.keys() == {anchor.anchor_id for anchor in ANCHORS}
    assert len(records) + drops.total() == ROWS
    return Run({r.anchor_id: r.text for r in records}, drops, driver.progress, time.monotonic() - begun)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with running_stub(PLAIN) as url:
        return asyncio.run(run(tmp_path_factory.mktemp("plain"), url))


def test_a_sound_server_answers_every_request_once(expected: Run) -> None:
    sent = expected.progress.requests_sent - expected.progress.hedges  # a stall of the machine sends one twice
    assert len(expected.texts) == sent == ROWS
    assert len(set(expected.texts.values())) > 40


@pytest.mark.parametrize("fault", [{"error_share": 0.05}, {"reset_share": 0.02}, {"malformed_share": 0.02}], ids=str)
async def test_faults_that_pass_cost_a_retry_and_no_row(fault: dict[str, float], tmp_path: Path, expected: Run) -> None:
    with running_stub(replace(PLAIN, **fault)) as url:
        made = await run(tmp_path, url)
        stats = read_stats(url)

    assert made.texts == expected.texts
    assert made.drops == {}
    (num_faults,) = stats["faults"].values()
    assert made.progress.retries == num_faults > 20
    assert stats["requests"] == made.progress.requests_sent == ROWS + num_faults + made.progress.hedges


async def test_replies_are_written_down_with_the_attempt_that_gave_them(tmp_path: Path) -> None:
    with running_stub(replace(PLAIN, error_share=0.05)) as url:
        made = await run(tmp_path, url)
    replies = read_replies(str(tmp_path))

    assert int((replies["attempt"] - 1).sum()) == made.progress.retries
    assert set(replies["completion_tokens"]) == {TOKENS}
    assert set(replies["server"]) == {url}
    assert replies["seconds"].min() >= 0.02  # type: ignore[operator]


async def test_empty_and_cut_off_replies_are_drops_and_are_not_asked_for_again(tmp_path: Path, expected: Run) -> None:
    with running_stub(replace(PLAIN, empty_share=0.02, cut_share=0.02)) as url:
        made = await run(tmp_path, url)
        stats = read_stats(url)

    assert made.drops == {"empty": stats["faults"]["empty"], "cut_off": stats["faults"]["cut"]}
    assert min(made.drops.values()) > 20
    assert made.texts.items() < expected.texts.items()
    assert stats["requests"] == ROWS


async def test_a_server_that_refuses_above_64_in_flight_is_given_what_it_takes(tmp_path: Path, expected: Run) -> None:
    with running_stub(replace(PLAIN, refuse_above=64, latency_seconds=0.1)) as url:
        made = await run(tmp_path, url, max_in_flight=512)
        stats = read_stats(url)

    assert made.texts == expected.texts
    assert made.progress.refusals == stats["refused"] < ROWS / 10
    assert stats["most_open"] == 64


async def test_a_server_that_asks_for_time_is_given_it(tmp_path: Path, expected: Run) -> None:
    with running_stub(replace(PLAIN, refuse_above=32, retry_after_seconds=0.3)) as url:
        made = await run(tmp_path, url)

    assert made.texts == expected.texts
    assert 0 < made.progress.refusals < ROWS / 10


async def test_requests_that_hang_once_are_sent_again_before_their_deadline(tmp_path: Path, expected: Run) -> None:
    with running_stub(replace(PLAIN, hang_share=0.002)) as url:
        made = await run(tmp_path, url, deadline_seconds=60)
        num_hanging = read_stats(url)["faults"]["hang"]

    assert made.texts == expected.texts
    assert made.progress.hedges >= num_hanging > 0
    assert made.seconds < 30


async def test_requests_that_hang_for_ever_are_dropped_at_their_deadline(tmp_path: Path, expected: Run) -> None:
    with running_stub(replace(PLAIN, lasting_hang_share=0.001)) as url:
        made = await run(tmp_path, url, deadline_seconds=8)

    assert made.texts.items() < expected.texts.items()
    assert made.drops == {"deadline": ROWS - len(made.texts)}
    assert 8 <= made.seconds <= 1.5 * 8 + expected.seconds  # one deadline, not one for each attempt


async def test_a_server_that_is_killed_and_comes_back_loses_no_request(tmp_path: Path, expected: Run) -> None:
    slow = replace(PLAIN, latency_seconds=0.4)
    changed: list[asyncio.Task[None]] = []
    with ExitStack() as others, ExitStack() as mortal:
        urls = [others.enter_context(running_stub(slow)) for _ in range(2)]
        killed = mortal.enter_context(running_stub(slow))
        port = int(killed.rsplit(":", 1)[1].removesuffix("/v1"))

        def come_back() -> None:
            mortal.enter_context(running_stub(replace(slow, port=port)))

        def kill_then_revive(progress: Progress) -> None:
            if progress.anchors_done == ROWS // 3:
                mortal.close()
            if progress.anchors_done == 2 * ROWS // 3:
                changed.append(asyncio.create_task(asyncio.to_thread(come_back)))

        made = await run(tmp_path, *urls, killed, told=kill_then_revive)
        await asyncio.gather(*changed)
        again = read_stats(killed)["requests"]

    assert made.texts == expected.texts
    assert made.drops == {}
    assert made.progress.requests_sent <= ROWS + 128
    assert again > 10


async def test_a_server_that_names_another_model_is_left_out(tmp_path: Path, expected: Run) -> None:
    with running_stub(PLAIN) as good, running_stub(replace(PLAIN, named="another")) as wrong:
        made = await run(tmp_path, good, wrong)

    assert made.texts == expected.texts
    assert set(read_replies(str(tmp_path))["server"]) == {good}


async def test_and_alone_it_stops_the_run_with_nothing_kept(tmp_path: Path) -> None:
    with running_stub(replace(PLAIN, named="another")) as wrong, pytest.raises(ServerError, match="model 'another'"):
        await run(tmp_path, wrong)
    assert read_replies(str(tmp_path)).is_empty()


async def test_when_no_server_is_left_the_run_stops_and_goes_on_later(tmp_path: Path, expected: Run) -> None:
    with ExitStack() as mortal:
        url = mortal.enter_context(running_stub(replace(PLAIN, latency_seconds=0.1)))

        def kill(progress: Progress) -> None:
            if progress.anchors_done == ROWS // 2:
                mortal.close()

        with pytest.raises(ServerError, match=f"asking {url}: no request was answered for 1 s"):
            await run(tmp_path, url, told=kill, outage_seconds=1)
    assert ROWS // 2 <= read_replies(str(tmp_path)).height < ROWS
    assert len(expected.texts) == ROWS

"""What the pool does about time: deadlines, stragglers, servers that fall silent, replies that end the wait."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gainloop.serving import Refused, TryAgain, Unreachable, watch
from gainloop.serving.pool import Pool
from gainloop.serving.watch import Tally
from schemas.errors import ServerError
from schemas.profile import Generation
from schemas.recipe import Sampling
from schemas.rows import Reply, Request
from tests.serving.test_driver import make_reply

SAMPLING = Sampling(max_tokens=64)

Rule = Callable[[int], float]
"""The seconds that the n-th request to a generator takes, from 1; it may raise."""


class Timed:
    """A generator whose replies take the time that a rule says, and that can be told to be down."""

    model, revision, logprob_semantics = "model", "1", "processed"

    def __init__(self, name: str = "one", rule: Rule = lambda _number: 0.001) -> None:
        self.name, self.rule = name, rule
        self.num_asked = self.num_open = self.num_checks = 0
        self.up = True

    async def check(self) -> None:
        self.num_checks += 1
        if not self.up:
            raise Unreachable(f"asking {self.name}: no connection; it must be there. Start it.")

    async def is_up(self) -> bool:
        return self.up

    async def close(self) -> None: ...

    async def score(self, prompt: str, text: str) -> tuple[float, ...]:
        return ()

    async def complete(self, request_id: str, request: Request, sampling: Sampling) -> Reply:
        self.num_asked += 1
        self.num_open += 1
        try:
            await asyncio.sleep(self.rule(self.num_asked))
            return make_reply(request_id, request, f"from {self.name}")
        finally:
            self.num_open -= 1


@asynccontextmanager
async def pool_of(*generators: Timed, **bounds: float) -> AsyncIterator[Pool]:
    async with Pool(generators, Generation(**bounds)) as pool:  # type: ignore[arg-type]
        await pool.check()
        yield pool


async def ask(pool: Pool, number: int = 0, tally: Tally | None = None) -> Reply:
    return await pool.complete(f"{number:016x}", Request(f"Once {number}"), SAMPLING, tally=tally)


async def ask_many(pool: Pool, count: int, tally: Tally | None = None) -> list[Reply]:
    return await asyncio.gather(*(ask(pool, number, tally) for number in range(count)))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_the_deadline_counts_the_time_at_generators_and_not_the_wait_for_a_place() -> None:
    one = Timed(rule=lambda _number: 0.3)
    async with pool_of(one, max_in_flight=1, deadline_seconds=0.6) as pool:
        assert len(await ask_many(pool, 6)) == 6


async def test_a_request_is_given_up_at_its_deadline_if_others_are_answered() -> None:
    async with pool_of(Timed(rule=lambda number: 3600 if number == 1 else 0.01), deadline_seconds=0.5) as pool:
        hanging = asyncio.create_task(ask(pool))
        await asyncio.sleep(0)
        begun = time.monotonic()
        await ask_many(pool, 5)
        with pytest.raises(Refused, match="deadline"):
            await hanging
        assert time.monotonic() - begun < 1.5


async def test_a_generator_that_answers_nothing_stops_the_run_instead_of_turning_it_into_drops() -> None:
    one = Timed(rule=lambda _number: 3600)
    async with pool_of(one, deadline_seconds=0.3) as pool:
        one.up = False
        with pytest.raises(ServerError, match="asking one: no connection"):
            await ask(pool)


async def test_a_straggler_is_sent_a_second_time_and_the_first_reply_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "STRAGGLER_SECONDS", 0.3)
    slow, quick = Timed("slow", lambda number: 3600 if number == 1 else 0.01), Timed("quick", lambda _number: 0.01)
    tally = Tally()
    async with pool_of(slow, quick) as pool:
        replies = await ask_many(pool, 60, tally)
        assert tally.hedges == 1
        assert [(reply.text, reply.attempt) for reply in replies if reply.attempt > 1] == [("from quick", 2)]
        await asyncio.sleep(0)
        assert slow.num_open == quick.num_open == 0
        assert [desk.num_open for desk in pool.desks] == [0, 0]


async def test_a_slow_reply_that_comes_before_its_double_is_the_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "STRAGGLER_SECONDS", 0.3)
    slow, quick = Timed("slow", lambda number: 0.9 if number == 1 else 0.01), Timed("quick", lambda _number: 0.01)
    async with pool_of(slow, quick) as pool:
        first = asyncio.create_task(ask(pool))
        await asyncio.sleep(0)
        await ask_many(pool, 60)
        quick.rule = lambda _number: 3600
        reply = await first
        assert (reply.text, reply.attempt) == ("from slow", 1)
        await asyncio.sleep(0.01)
        assert quick.num_open == 0


async def test_a_generator_that_falls_silent_and_deaf_loses_what_it_had_to_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(watch, "DEAF_CHECKS", 1)
    mute, other = Timed("mute", lambda _number: 3600), Timed("other")
    async with pool_of(mute, other) as pool:
        asked = asyncio.create_task(ask_many(pool, 8))
        await asyncio.sleep(0)
        mute.up = False
        assert {reply.text for reply in await asked} == {"from other"}
        assert mute.num_open == 0


async def test_a_generator_that_is_only_slow_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SILENT_SECONDS", 0.1)
    slow = Timed("slow", lambda _number: 0.8)
    async with pool_of(slow) as pool:
        assert (await ask(pool)).attempt == 1
        assert slow.num_asked == 1


async def test_one_that_is_down_at_first_joins_once_it_is_up(caplog: pytest.LogCaptureFixture) -> None:
    one, late = Timed("one", lambda _number: 0.05), Timed("late", lambda _number: 0.05)
    late.up = False
    async with pool_of(one, late, max_in_flight=4) as pool:
        assert "late: no connection" in caplog.text
        assert pool.state == "1 of 2 servers up, 0 open"
        assert {reply.text for reply in await ask_many(pool, 4)} == {"from one"}
        late.up = True
        await until(lambda: pool.state == "2 of 2 servers up, 0 open")
        assert late.num_checks == 2
        assert {reply.text for reply in await ask_many(pool, 4)} == {"from one", "from late"}


async def test_one_that_comes_back_with_other_weights_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    def lose_connection(number: int) -> float:
        if number > 1:
            raise TryAgain("connection")
        return 0.01

    one, changed = Timed("one", lambda _number: 0.01), Timed("changed", lose_connection)
    async with pool_of(one, changed) as pool:
        await ask_many(pool, 2)
        changed.up, changed.revision = False, "2"
        await ask_many(pool, 4)
        changed.up = True
        await until(lambda: "different weights" in caplog.text)
        assert "they name different weights (2 at changed, 1 elsewhere)" in caplog.text
        assert pool.state == "1 of 2 servers up, 0 open"
        assert {reply.text for reply in await ask_many(pool, 8)} == {"from one"}


async def test_a_pool_that_is_left_has_nothing_under_way() -> None:
    async with pool_of(Timed()) as pool:
        await ask_many(pool, 4)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_request_that_is_always_refused_is_given_up_while_others_are_answered() -> None:
    class Picky(Timed):
        async def complete(self, request_id: str, request: Request, sampling: Sampling) -> Reply:
            if request.prompt == "Once 0":
                raise TryAgain("overloaded")
            return await super().complete(request_id, request, sampling)

    async with pool_of(Picky(rule=lambda _number: 0.05), deadline_seconds=1) as pool:
        refused = asyncio.create_task(ask(pool))
        while not refused.done():
            await ask(pool, 1)
        with pytest.raises(Refused, match="overloaded"):
            await refused


async def test_a_hedge_that_is_cancelled_before_it_begins_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "STRAGGLER_SECONDS", 0.2)
    monkeypatch.setattr(watch, "TICK_SECONDS", 0.01)
    one, other = Timed("one"), Timed("other")
    async with pool_of(one, other) as pool:
        await ask_many(pool, 60)
        one.rule = other.rule = lambda number: 0.2 + 0.0001 * (number % 100)
        await ask_many(pool, 200)
        await asyncio.sleep(0.05)
        assert [desk.num_open for desk in pool.desks] == [0, 0]


async def test_a_hedge_is_sent_once_even_where_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_later(number: int) -> float:
        if number > 30:
            raise TryAgain("server_error")
        return 0.01

    monkeypatch.setattr(watch, "STRAGGLER_SECONDS", 0.2)
    slow, broken = Timed("slow", lambda number: 1.5 if number == 31 else 0.01), Timed("broken", fail_later)
    tally = Tally()
    async with pool_of(slow, broken) as pool:
        await ask_many(pool, 60)
        broken.num_asked = 30
        while slow.num_asked < 30:
            await ask(pool)
        assert (await ask(pool, 99, tally)).text == "from slow"
    assert tally.hedges <= 1

import asyncio

import pytest

from gainloop.serving.queue import SLACK, Desk, Limit, Queue
from schemas.errors import ServerError
from tests.serving.test_driver import Model


def make_queue(*places: int) -> tuple[Queue, list[Desk]]:
    """Return a queue before desks with so many places each."""
    desks = [Desk(Model(), Limit(number, 0.0)) for number in places]
    return Queue(desks), desks


async def take_all(queue: Queue, *nears: str) -> list[Desk]:
    return [await queue.take(near) for near in nears]


def start(queue: Queue, near: str = "") -> "asyncio.Task[Desk]":
    return asyncio.create_task(queue.take(near))


async def test_the_least_busy_desk_is_next() -> None:
    queue, (one, other) = make_queue(2, 2)

    assert await take_all(queue, "", "", "", "") == [one, other, one, other]
    queue.give_back(other)
    assert await queue.take() is other


async def test_what_shares_a_prefix_goes_to_one_desk() -> None:
    queue, (one, other) = make_queue(8, 8)
    taken = await take_all(queue, "a", "b", "a", "a", "b", "a")

    assert taken == [one, other, one, one, other, one]


async def test_but_not_where_far_more_wait_than_elsewhere() -> None:
    queue, (one, other) = make_queue(64, 64)
    taken = await take_all(queue, *["a"] * (SLACK + 3))

    assert taken == [one] * (SLACK + 1) + [other, one]


async def test_who_waits_is_served_in_turn_and_by_prefix() -> None:
    queue, (one, other) = make_queue(1, 1)
    assert await take_all(queue, "a", "b") == [one, other]
    waiting = [start(queue, near) for near in ("a", "a", "b", "b")]
    await asyncio.sleep(0)
    assert queue.num_waiting == 4

    queue.give_back(other)
    assert await waiting[2] is other
    queue.give_back(one)
    assert await waiting[0] is one
    assert not waiting[1].done()


async def test_a_desk_with_nothing_to_do_takes_over_what_waits_for_another() -> None:
    queue, (_, other) = make_queue(1, 1)
    await take_all(queue, "a", "b")
    waiting = [start(queue, "a") for _ in range(2)]
    await asyncio.sleep(0)

    queue.give_back(other)
    assert await waiting[1] is other


async def test_what_is_asked_again_goes_first() -> None:
    queue, (one,) = make_queue(1)
    await queue.take()
    later = start(queue)
    await asyncio.sleep(0)
    again = asyncio.create_task(queue.take(again=True))
    await asyncio.sleep(0)

    queue.give_back(one)
    assert await again is one
    assert not later.done()


async def test_who_gives_up_waiting_takes_no_place() -> None:
    queue, (one,) = make_queue(1)
    await queue.take()
    gone, stays = start(queue), start(queue)
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)

    queue.give_back(one)
    assert await stays is one
    queue.give_back(one)
    assert one.num_open == 0


async def test_who_is_cancelled_with_a_place_in_hand_gives_it_back() -> None:
    queue, (one,) = make_queue(1)
    await queue.take()
    waiting = start(queue)
    await asyncio.sleep(0)
    queue.give_back(one)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert one.num_open == 0
    assert await queue.take() is one


async def test_a_desk_that_is_down_or_paused_gets_nothing_and_those_who_wait_go_elsewhere() -> None:
    queue, (one, other) = make_queue(1, 1)
    await take_all(queue, "a", "b")
    waiting = start(queue, "a")
    await asyncio.sleep(0)
    one.is_up = False
    queue.leave(one)
    queue.give_back(one)
    assert not waiting.done()

    queue.give_back(other)
    assert await waiting is other


async def test_everyone_is_told_that_nothing_answers_any_more() -> None:
    queue, _ = make_queue(1)
    await queue.take()
    waiting = start(queue)
    await asyncio.sleep(0)
    queue.fail(ServerError("all are gone"))

    with pytest.raises(ServerError, match="all are gone"):
        await waiting
    with pytest.raises(ServerError, match="all are gone"):
        await queue.take()
    with pytest.raises(ServerError, match="all are gone"):
        await queue.quiet()


async def test_nothing_new_is_begun_while_many_wait() -> None:
    queue, (one,) = make_queue(4)
    await take_all(queue, "", "", "", "")
    await queue.quiet()
    waiting = [start(queue) for _ in range(2)]
    await asyncio.sleep(0)
    quiet = asyncio.create_task(queue.quiet())
    await asyncio.sleep(0)
    assert not quiet.done()

    queue.give_back(one)
    await asyncio.wait_for(quiet, 1)
    assert [task.done() for task in waiting] == [True, False]

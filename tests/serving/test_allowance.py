"""Tokens that requests may take: never more than there are, whatever lands when."""

import asyncio
import random

import pytest

from gainloop.serving.allowance import Allowance, Bill, most_tokens
from schemas.recipe import Sampling
from schemas.rows import Message, Reply, Request


def test_a_request_takes_no_more_than_a_token_for_each_byte_and_the_longest_reply() -> None:
    chat = Request((Message("system", "Ü"), Message("user", "ab")))
    assert most_tokens(chat, Sampling(max_tokens=10)) == 4 + 64 + 2 * 16 + 10


@pytest.mark.parametrize("seed", range(20))
def test_what_is_taken_and_set_aside_is_never_more_than_there_is(seed: int) -> None:
    rng = random.Random(seed)
    limit, worst = 2_000, [0]
    allowance = Allowance(limit, taken=rng.randrange(500))
    sent, refused = [], []

    async def request(number: int) -> None:
        most = rng.randrange(50, 400)
        if not await allowance.ask(most):
            refused.append(number)
            return
        worst[0] = max(worst[0], allowance.taken + allowance.set_aside)
        await asyncio.sleep(0)
        await allowance.settle(most, rng.randrange(most + 1))
        sent.append(number)

    async def run() -> None:
        await asyncio.gather(*map(request, range(60)))

    asyncio.run(run())
    assert worst[0] <= limit
    assert allowance.taken <= limit
    assert sorted(sent + refused) == list(range(60)), "each is sent or refused"
    assert refused
    assert allowance.set_aside == 0


def test_a_request_waits_for_what_may_come_back_and_is_refused_once_nothing_will() -> None:
    async def run() -> list[bool]:
        allowance = Allowance(100)
        assert await allowance.ask(80)
        waits = asyncio.ensure_future(allowance.ask(60))
        await asyncio.sleep(0)
        assert not waits.done()
        await allowance.settle(80, 30)
        taken = await waits
        await allowance.settle(60, 60)
        return [taken, await allowance.ask(20)]

    assert asyncio.run(run()) == [True, False]


def test_an_attempt_without_a_reply_counts_as_the_most_that_it_may_have_taken() -> None:
    reply = Reply("r", "p", "A mill.", (), (), "stop", 30, 20, 0.1, "here")

    async def run() -> tuple[int, int, int, bool]:
        allowance = Allowance(1_000)
        bill = Bill(allowance, 300)
        assert await bill()
        assert await bill(), "one more attempt"
        await bill.settle(reply)
        lost = Bill(allowance, 300)
        assert await lost()
        await lost.settle(None)
        return allowance.taken, bill.lost, lost.lost, await Bill(allowance, 400)()

    assert asyncio.run(run()) == (300 + 50 + 300, 300, 300, False)

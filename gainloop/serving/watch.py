"""Watch over generators and open requests: who is down, who is slow, and when nothing works any more."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gainloop.serving import Generator, Refused, TryAgain, Unreachable
from gainloop.serving.queue import Desk, Limit, Queue
from schemas.errors import ServerError
from schemas.profile import Generation

Ask = Callable[[Generator], Awaitable[Any]]
"""Sends one request to a generator; every generator, however often, gives the same answer."""

TICK_SECONDS = 0.2
"""Seconds between two looks at all desks."""

SILENT_SECONDS, DEAF_CHECKS = 10.0, 3
"""Seconds without a reply, requests being open, and health checks without an answer, after which a desk is down."""

STRAGGLER_SECONDS, STRAGGLER_TIMES = 2.0, 3
"""A request is a straggler after this many seconds, and this many times what 95 % of the last replies took."""

LONGEST_PAUSE = 2.0
"""Seconds between two questions to a server that refuses and does not say for how long."""

FEWEST_REPLIES = 20
"""Replies before which nothing counts as slow."""

logger = logging.getLogger("gainloop.pool")


@dataclass
class Tally:
    """What was sent, how often again (``retries``) or beside (``hedges``), and how often there was no room for it."""

    requests_sent: int = 0
    retries: int = 0
    refusals: int = 0
    hedges: int = 0


@dataclass(eq=False)
class Attempt:
    """One open request at one desk, until its deadline.

    Attributes:
        ask: Sends the request to a generator.
        desk: Desk that it was sent to first.
        begun: Time at which it was sent.
        until: Its deadline.
        is_alone: Whether it may not be sent a second time beside itself: a budget pays for one.
        answer: Reply that another desk gave first, or None.
        is_lost: Whether its desk went down.
        hedge: The same request at another desk, or None.
    """

    ask: Ask
    desk: Desk
    begun: float
    until: float
    tally: Tally
    is_alone: bool = False
    scope: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    answer: Any = None
    is_lost: bool = False
    hedge: "asyncio.Task[None] | None" = None

    def expire(self) -> None:
        """End it at once, as if its time were over."""
        with suppress(RuntimeError):  # it is ending already
            self.scope.reschedule(asyncio.get_running_loop().time())


class Watch:
    """Looks after a pool's desks five times a second, in its event loop.

    Args:
        admit: Finds out whether a generator that came up again is the one that is needed.
    """

    def __init__(self, queue: Queue, bounds: Generation, admit: Callable[[Desk], Awaitable[None]]) -> None:
        self._queue, self._bounds, self._admit = queue, bounds, admit
        self._open: dict[Attempt, None] = {}  # in the order they were sent
        self._seconds: deque[float] = deque(maxlen=512)
        self._checking: set[Desk] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._spawn(self._tick_often())

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @contextmanager
    def watched(self, one: Attempt) -> Iterator[None]:
        """Watch one request for as long as the block runs."""
        self._open[one] = None
        try:
            yield
        finally:
            del self._open[one]
            if one.hedge:
                one.hedge.cancel()

    def note_answer(self, desk: Desk, seconds: float) -> None:
        """Take note of an answer and how long it took, before its place is given to another."""
        now = time.monotonic()
        desk.answered_at, desk.away_since, desk.pauses = now, None, 0
        desk.proven_at, desk.num_withheld = max(desk.proven_at, now - seconds), 0
        desk.limit.answered(now, desk.num_open >= desk.limit.value)
        self._seconds.append(seconds)

    def faulted(self, desk: Desk, error: TryAgain, sent_at: float) -> None:
        """Take note of what a passing fault says about the desk."""
        if error.reason == "connection":
            self.suspect(desk)
        elif error.reason == "overloaded":
            desk.said = error.said
            if desk.limit.refused(time.monotonic(), sent_at, desk.num_open):
                desk.pauses += 1
            self._pause(desk, error.after_seconds or min(LONGEST_PAUSE, 0.01 * 2 ** min(desk.pauses, 10)))

    def _pause(self, desk: Desk, seconds: float) -> None:
        """Ask nothing of a desk for some time."""
        now = time.monotonic()
        desk.paused_until = max(desk.paused_until, now + seconds)
        if desk.num_open <= 1 and desk.away_since is None:
            desk.away_since = now
        asyncio.get_running_loop().call_later(seconds, self._queue.serve)

    def suspect(self, desk: Desk) -> None:
        """Ask nothing of a desk until it is found to be up."""
        if desk.is_usable:
            desk.is_up, desk.away_since = False, time.monotonic()
            self._queue.leave(desk)
            self._spawn(self._revive(desk))

    def exclude(self, desk: Desk, error: ServerError) -> None:
        """Ask nothing of a desk any more.

        Raises:
            ServerError: It was the last.
        """
        if desk.error is None:
            desk.error = error
            logger.warning("%s It is not asked any more in this run.", error)
            self._queue.leave(desk)
        if all(other.error for other in self._queue.desks):
            self._queue.fail(error)
            raise error

    async def _revive(self, desk: Desk) -> None:
        """Wait until a desk is up, and make sure that it is still what it was."""
        wait, was_away = 0.05, False
        while True:
            try:
                if await desk.generator.is_up():
                    if was_away or not desk.is_admitted:
                        await self._admit(desk)
                    break
            except Unreachable:
                pass
            except ServerError as error:
                with suppress(ServerError):  # everyone who waits was told
                    self.exclude(desk, error)
                return
            if not was_away:
                logger.warning("%s is down; what it had is asked elsewhere, or once it is up", desk.generator.name)
                self._cut(desk)
            was_away = True
            await asyncio.sleep(wait)
            wait = min(2 * wait, 1.0)
        now = time.monotonic()
        if was_away:
            logger.warning("%s is up", desk.generator.name)
            desk.limit = Limit(desk.limit.ceiling, now)
            desk.answered_at = now  # its check was answered; that it is up alone is no reply
        desk.is_up, desk.away_since = True, None
        self._queue.serve()

    def _cut(self, desk: Desk) -> None:
        """End what is open at a desk that is down: nothing would say so if its host is gone."""
        for one in list(self._open):
            if one.desk is desk:
                one.is_lost = True
                one.expire()

    async def _tick_often(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            for desk in self._queue.desks:
                desk.limit.waited(now, desk.num_open >= desk.limit.value)
                if desk.num_open and desk.is_usable and now - desk.answered_at > SILENT_SECONDS:
                    self._check(desk)
            self._queue.serve()
            self._end_late(now)
            self._hedge_stragglers(now)
            self._note_outage(now)

    def _end_late(self, now: float) -> None:
        """End what is past its deadline: a timer for each request would cost more than this look at all of them."""
        for one in list(self._open):
            if now >= one.until:
                one.expire()

    def _note_outage(self, now: float) -> None:
        desks = [desk for desk in self._queue.desks if desk.error is None]
        since = [desk.away_since for desk in desks if desk.away_since and (not desk.is_up or desk.num_open == 0)]
        if self._queue.num_waiting and len(since) == len(desks) and now - max(since) > self._bounds.outage_seconds:
            names = ", ".join(desk.generator.name for desk in desks)
            said = next((f" ({desk.said})" for desk in desks if desk.said), "")
            error = Unreachable(
                f"asking {names}: no request was answered for {self._bounds.outage_seconds:g} s{said}; one server at "
                "least must be up and have room. Start it, or mend the urls, then run the same again: what landed is "
                "kept."
            )
            self._queue.fail(error)

    def _check(self, desk: Desk) -> None:
        if desk not in self._checking:
            self._checking.add(desk)
            self._spawn(self._listen(desk))

    async def _listen(self, desk: Desk) -> None:
        """Take a desk for down if it is deaf several times in a row."""
        try:
            for _ in range(DEAF_CHECKS):
                if await desk.generator.is_up():
                    await asyncio.sleep(SILENT_SECONDS)  # it is only slow
                    return
                await asyncio.sleep(1)
            self.suspect(desk)
        finally:
            self._checking.discard(desk)

    def _hedge_stragglers(self, now: float) -> None:
        """Send what takes far too long a second time; the first reply counts, and both would be the same."""
        if len(self._seconds) < FEWEST_REPLIES:
            return
        usual = sorted(self._seconds)[len(self._seconds) * 95 // 100]
        oldest = now - max(STRAGGLER_SECONDS, STRAGGLER_TIMES * usual)
        allowed = 1 + len(self._open) // 50
        for one in list(self._open):
            if one.begun > oldest or allowed <= 0:
                return
            if one.hedge is None and not one.is_alone and (desk := self._spare(one, now)):
                allowed -= 1
                desk.num_open += 1
                one.tally.requests_sent += 1
                one.tally.hedges += 1
                one.hedge = self._spawn(self._ask_beside(one, desk))
                # Not in the coroutine: one that is cancelled before it begins runs none of it.
                one.hedge.add_done_callback(partial(self._leave, desk))

    def _leave(self, desk: Desk, _task: "asyncio.Task[None]") -> None:
        self._queue.give_back(desk)

    def _spare(self, one: Attempt, now: float) -> Desk | None:
        """Return where a request is sent a second time: another desk if there is one, full or not."""
        usable = [desk for desk in self._queue.desks if desk.is_usable and now >= desk.paused_until]
        return min(usable, key=lambda desk: (desk is one.desk, desk.num_open), default=None)

    async def _ask_beside(self, one: Attempt, desk: Desk) -> None:
        begun = time.monotonic()
        try:
            answer = await one.ask(desk.generator)
        except TryAgain as error:
            return self.faulted(desk, error, begun)
        except (Refused, ServerError):
            return  # the first attempt will say so too, or succeed
        self.note_answer(desk, time.monotonic() - begun)
        if one in self._open and one.answer is None:
            one.answer = answer
            one.expire()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("watching the servers failed", exc_info=error)
            self._queue.fail(ServerError(f"watching the servers: {error!r}; this is a fault of gainloop. Report it."))

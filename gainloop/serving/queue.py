"""Who goes next, and where: one queue in front of all generators of a model, and a limit on each that adapts to it."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from gainloop.serving import Generator
from schemas.errors import ServerError
from schemas.recipe import Sampling
from schemas.rows import Request

START = 128
"""Requests that a limit begins with. vLLM takes 256 at once unless set otherwise: one step from here."""

WINDOW_SECONDS = 1.0
"""Seconds after which a limit grows though nothing is known of its rate, because replies are long."""

PAYS = 1.05
"""Growth of the rate that a doubled limit must bring, or the smaller one is kept."""

HOLD_WINDOWS = 20
"""Windows before a larger limit is tried again."""

SLACK = 8
"""Requests that a generator may have open beyond the least busy and still get prompts whose prefix it has cached."""

CROWD = 64
"""Waiting requests from which on nothing new is begun, or half as many as may be open: so no place stays free."""

HOMES = 8192
"""Prefixes that are remembered; the oldest is forgotten first."""

Work = tuple[Request, Sampling]
"""A request for a reply, and how it is drawn."""


@dataclass
class Limit:
    """Requests that may be open at one generator: grows while throughput does, halves when the server refuses.

    It doubles window by window, a window being as many replies as it lets be open, until the rate of
    replies no longer rises or the server refuses one (429, 503). After a refusal it climbs quickly to
    nine tenths of where that was, and then one by one.

    Attributes:
        ceiling: The most that may be open, which the profile says.
        now: Time at which the window began.
        value: Requests that may be open now, at least 1.
    """

    ceiling: int
    now: float
    value: int = field(init=False)
    _refused_at: int = 0
    _cut_at: float = -1.0
    _answers: int = 0
    _was_full: bool = False
    _hold: int = 0
    _best: tuple[int, float] = (0, 0.0)

    def __post_init__(self) -> None:
        self.value = max(1, min(START, self.ceiling))

    def answered(self, now: float, is_full: bool) -> None:
        """Take note of a reply; ``is_full``: whether as many were open as may be."""
        self._answers += 1
        self._was_full |= is_full
        if self._answers >= max(self.value, 16) and now > self.now:
            self._end_window(now, self._answers / (now - self.now))

    def waited(self, now: float, is_full: bool) -> None:
        """Take note that time has passed, with or without replies."""
        self._was_full |= is_full
        if now - self.now >= WINDOW_SECONDS:
            self._end_window(now, None)

    def refused(self, now: float, sent_at: float, num_open: int) -> bool:
        """Halve, once for all the requests that were sent before the first refusal was known; tell whether it did."""
        if sent_at <= self._cut_at:
            return False
        self._cut_at, self._refused_at = now, num_open
        self.value = max(1, self.value // 2)
        self._begin_window(now)
        return True

    def _end_window(self, now: float, rate: float | None) -> None:
        was_full = self._was_full
        self._begin_window(now)
        if not was_full:
            return
        if self._refused_at:
            self._climb()
        elif rate is None:
            if self._best == (0, 0.0):
                self._double()
        elif self.value > self._best[0] and rate < PAYS * self._best[1]:
            self.value, self._hold = self._best[0], HOLD_WINDOWS
        elif self._hold:
            self._hold -= 1
            self._best = (self.value, (self._best[1] + rate) / 2)
        else:
            self._best = (self.value, rate)
            self._double()

    def _begin_window(self, now: float) -> None:
        self.now, self._answers, self._was_full = now, 0, False

    def _double(self) -> None:
        self.value = min(self.ceiling, 2 * self.value)

    def _climb(self) -> None:
        near = self._refused_at * 9 // 10
        step = min(max(1, self.value // 4), near - self.value) if self.value < near else 1
        self.value = min(self.ceiling, self.value + step)


@dataclass(eq=False)
class Desk:
    """One generator, and what is known of how it does.

    Attributes:
        num_open: Requests that are open there.
        is_admitted: Whether it was found to be what is needed.
        is_up: False from the first lost connection until it is found well again.
        error: Error that ended its use in this run, or None.
        paused_until: Time until which it asked to be left alone.
        pauses: Times in a row that it asked for that.
        answered_at: Time of its last reply.
        proven_at: Time at which the last of the requests that it answered was sent.
        said: Its own words to the last request that it had no room for.
        num_withheld: Replies that a filter withheld since its last.
        answered: The last request that it answered and its sampling, by whether the prompt was raw.
        doubting: Held while it is found out whether it refuses all work.
        away_since: Time since which it takes no request; None while it works.
    """

    generator: Generator
    limit: Limit
    num_open: int = 0
    is_admitted: bool = False
    is_up: bool = True
    error: ServerError | None = None
    paused_until: float = 0.0
    pauses: int = 0
    answered_at: float = 0.0
    proven_at: float = 0.0
    said: str = ""
    num_withheld: int = 0
    answered: dict[bool, Work] = field(default_factory=dict)
    doubting: asyncio.Lock = field(default_factory=asyncio.Lock)
    away_since: float | None = None
    waiting: "deque[Ticket]" = field(default_factory=deque)

    @property
    def is_usable(self) -> bool:
        return self.is_up and self.error is None

    def has_room(self, now: float) -> bool:
        return self.num_open < self.limit.value and self.is_usable and now >= self.paused_until


@dataclass(eq=False, slots=True)
class Ticket:
    """One request that waits for a place; ``near`` names the prefix that it shares with others."""

    near: str
    place: "asyncio.Future[Desk]"


class Queue:
    """Hands out places, the least busy generator first, and those of one prefix at one generator in a row.

    A server keeps the keys and values of prompts that it has read. So requests that share a prefix
    have a home, the generator that the first of them went to; another one takes them over only when
    it would have nothing to do, or when the home is down.
    """

    def __init__(self, desks: Sequence[Desk]) -> None:
        self.desks = desks
        self.num_waiting = 0
        self._crowd = max(1, min(CROWD, sum(desk.limit.ceiling for desk in desks) // 2))
        self._starters: list[asyncio.Future[None]] = []
        self._homeless: deque[Ticket] = deque()
        self._homes: dict[str, Desk] = {}
        self._error: ServerError | None = None

    async def take(self, near: str = "", *, again: bool = False) -> Desk:
        """Wait for a place and return where it is; ``give_back`` must follow.

        Args:
            again: The request has waited before: it goes first.

        Raises:
            ServerError: Nothing answers any more.
        """
        if self._error:
            raise self._error
        if not self.num_waiting and (desk := self._free_desk(near)):
            desk.num_open += 1
            return desk
        ticket = Ticket(near, asyncio.get_running_loop().create_future())
        self._line_up(ticket, again)
        self.serve()
        try:
            return await ticket.place
        except asyncio.CancelledError:
            if ticket.place.done() and not ticket.place.cancelled() and not ticket.place.exception():
                self.give_back(ticket.place.result())
            raise

    async def quiet(self) -> None:
        """Wait until so few wait that something new may be begun: open requests do not grow with the corpus.

        Raises:
            ServerError: Nothing answers any more.
        """
        while self.num_waiting >= self._crowd:
            starter = asyncio.get_running_loop().create_future()
            self._starters.append(starter)
            await starter
        if self._error:
            raise self._error

    def give_back(self, desk: Desk) -> None:
        desk.num_open -= 1
        if self.num_waiting:
            self.serve()

    def serve(self) -> None:
        """Hand out every free place that someone waits for."""
        while self.num_waiting:
            for desk in self._with_room():
                if ticket := self._next(desk):
                    desk.num_open += 1
                    ticket.place.set_result(desk)
                    break
            else:
                return

    def leave(self, desk: Desk) -> None:
        """Let those who wait at a desk that is down wait for any."""
        self._homeless.extendleft(reversed(desk.waiting))
        desk.waiting.clear()
        self.serve()

    def fail(self, error: ServerError) -> None:
        """Tell everyone who waits, or will wait, that nothing answers any more."""
        self._error = error
        for line in (self._homeless, *(desk.waiting for desk in self.desks)):
            for ticket in line:
                if not ticket.place.done():
                    ticket.place.set_exception(error)
            line.clear()
        self.num_waiting = 0
        self._wake_starters()

    def _wake_starters(self) -> None:
        for starter in self._starters:
            if not starter.done():
                starter.set_result(None)
        self._starters.clear()

    def _line_up(self, ticket: Ticket, again: bool) -> None:
        home = self._home(ticket.near)
        line = home.waiting if home else self._homeless
        if again:
            line.appendleft(ticket)
        else:
            line.append(ticket)
        self.num_waiting += 1

    def _next(self, desk: Desk) -> Ticket | None:
        """Return the ticket that a desk with room takes, if there is one for it."""
        while True:
            ticket = desk.waiting.popleft() if desk.waiting else self._homeless_for(desk) or self._taken_over()
            if ticket is None:
                return None
            self.num_waiting -= 1
            if self._starters and self.num_waiting <= self._crowd // 2:
                self._wake_starters()
            if not ticket.place.done():  # it is if who waited has gone
                return ticket

    def _homeless_for(self, desk: Desk) -> Ticket | None:
        while self._homeless:
            ticket = self._homeless.popleft()
            home = self._home(ticket.near)
            if home is None:
                self._settle(ticket.near, desk)
            elif home is not desk and home.num_open <= desk.num_open + SLACK:
                home.waiting.append(ticket)  # others of its prefix found a home while it waited
                continue
            return ticket
        return None

    def _taken_over(self) -> Ticket | None:
        """Return the last of those who wait at a desk that has no room."""
        now = time.monotonic()
        full = [desk for desk in self.desks if desk.waiting and not desk.has_room(now)]
        return max(full, key=lambda desk: len(desk.waiting)).waiting.pop() if full else None

    def _free_desk(self, near: str) -> Desk | None:
        now = time.monotonic()
        if len(self.desks) == 1:
            return self.desks[0] if self.desks[0].has_room(now) else None
        least = next(iter(self._with_room()), None)
        home = self._home(near)
        if least and home and home.has_room(now) and home.num_open <= least.num_open + SLACK:
            return home
        if least and not home:
            self._settle(near, least)
        return least

    def _with_room(self) -> list[Desk]:
        """Return the desks that can take one more, the least busy first."""
        now = time.monotonic()
        return sorted((desk for desk in self.desks if desk.has_room(now)), key=lambda desk: desk.num_open)

    def _home(self, near: str) -> Desk | None:
        home = self._homes.get(near)
        return home if home and home.is_usable else None

    def _settle(self, near: str, desk: Desk) -> None:
        if near:
            self._homes[near] = desk
            if len(self._homes) > HOMES:
                del self._homes[next(iter(self._homes))]

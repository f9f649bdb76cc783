"""One request under way, and what is counted of all that are."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tasks.serving import Generator
from tasks.serving.queue import Desk

Ask = Callable[[Generator], Awaitable[Any]]
"""Asks a generator for what is wanted of it; whoever is asked, and however often, the answer is the same."""


@dataclass
class Tally:
    """What was sent, how often again (``retries``) or beside (``hedges``), and how often there was no room for it."""

    requests_sent: int = 0
    retries: int = 0
    refusals: int = 0
    hedges: int = 0


@dataclass(eq=False)
class Attempt:
    """One request under way at one desk, until its deadline; ``answer`` is what came from elsewhere before."""

    ask: Ask
    desk: Desk
    begun: float
    until: float
    tally: Tally
    scope: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    answer: Any = None
    is_lost: bool = False
    hedge: "asyncio.Task[None] | None" = None

    def expire(self) -> None:
        """End it at once, as if its time were over."""
        with suppress(RuntimeError):  # it is ending already
            self.scope.reschedule(asyncio.get_running_loop().time())

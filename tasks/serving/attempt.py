"""One request under way, and what is counted of all that are."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from schemas.recipe import Sampling
from schemas.rows import Reply, Request
from tasks.serving.queue import Desk


@dataclass
class Tally:
    """What was sent, how often again (``retries``) or beside (``hedges``), and how often there was no room for it."""

    requests_sent: int = 0
    retries: int = 0
    refusals: int = 0
    hedges: int = 0


@dataclass(eq=False)
class Attempt:
    """One request under way at one desk, until its deadline; ``reply`` is what came from elsewhere before."""

    request_id: str
    request: Request
    sampling: Sampling
    desk: Desk
    begun: float
    until: float
    tally: Tally
    scope: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    reply: Reply | None = None
    is_lost: bool = False
    hedge: "asyncio.Task[None] | None" = None

    def expire(self) -> None:
        """End it at once, as if its time were over."""
        with suppress(RuntimeError):  # it is ending already
            self.scope.reschedule(asyncio.get_running_loop().time())

"""What requests may still take: tokens are set aside before each is sent, and what it did not need comes back."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.recipe import Sampling
from schemas.rows import Message, Reply, Request

OVER_BUDGET: Final = "over_budget"
"""Reason of a request that was not sent: what is left of the batch's tokens may not be enough for it."""

Pay = Callable[[], Awaitable[bool]]
"""Sets aside what one more attempt of a request may take; False if that is not there."""

AROUND_PROMPT: Final = 64
AROUND_MESSAGE: Final = 16
"""Tokens that a chat template puts around a prompt, and around each of its messages, at most."""


def most_tokens(request: Request, sampling: Sampling) -> int:
    """Return what a request may take at most: a token for each byte of its prompt, and the longest reply.

    >>> most_tokens(Request("A mill."), Sampling(max_tokens=100))
    171
    """
    messages: Sequence[Message] = () if isinstance(request.prompt, str) else request.prompt
    text = request.prompt if isinstance(request.prompt, str) else "".join(one.content for one in messages)
    return len(text.encode()) + AROUND_PROMPT + AROUND_MESSAGE * len(messages) + sampling.max_tokens


class Allowance:
    """The tokens that a shard's requests may take together; it belongs to the event loop that uses it.

    Args:
        tokens: Tokens that may be taken in all.
        taken: Tokens that were taken before: those of replies that landed.
    """

    def __init__(self, tokens: int, taken: int = 0) -> None:
        self.tokens, self.taken, self.set_aside = tokens, taken, 0
        self._came_back, self._turn = asyncio.Condition(), asyncio.Lock()

    async def ask(self, most: int) -> bool:
        """Set tokens aside for a request, once those that are open leave room; False if they never will.

        Requests have their turn in the order in which they ask.
        """
        async with self._turn, self._came_back:
            while self.taken + self.set_aside + most > self.tokens:
                if not self.set_aside:
                    return False
                await self._came_back.wait()
            self.set_aside += most
            return True

    async def settle(self, most: int, used: int) -> None:
        """Count what a request took; what was set aside for it comes back."""
        async with self._came_back:
            self.set_aside -= most
            self.taken += used
            self._came_back.notify_all()


@dataclass
class Bill:
    """What the attempts of one request were given; called before each, it tells whether it may be sent.

    Attributes:
        most: Tokens that an attempt may take, at most.
        attempts: Attempts that were paid for.
        lost: Tokens that attempts without a reply may have taken.
    """

    allowance: Allowance
    most: int
    attempts: int = 0
    lost: int = 0

    async def __call__(self) -> bool:
        is_paid = await self.allowance.ask(self.most)
        self.attempts += is_paid
        return is_paid

    async def settle(self, reply: Reply | None) -> None:
        """Count what was used: by what a reply tells, and of every other attempt as much as it may have taken."""
        used = reply.prompt_tokens + reply.completion_tokens if reply else 0
        self.lost = (self.attempts - (reply is not None)) * self.most
        await self.allowance.settle(self.attempts * self.most, used + self.lost)

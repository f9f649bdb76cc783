"""What requests may still take: tokens are set aside before each is sent, and what it did not need comes back."""

import asyncio
from collections.abc import Sequence
from typing import Final

from schemas.recipe import Sampling
from schemas.rows import Message, Request

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
        self._came_back = asyncio.Condition()

    async def ask(self, most: int) -> bool:
        """Set tokens aside for a request, once those that are open leave room; False if they never will."""
        async with self._came_back:
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

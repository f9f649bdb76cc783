"""The few questions that are repeated until they are answered: by the openai package, over connections of our own.

Requests by the thousand do not go through it: the package takes seven times the CPU (``python -m benchmarks.engine``).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Generic, TypeVar

import httpx2
from openai import AsyncOpenAI

from gainloop.serving import TryAgain
from gainloop.serving.endpoint import Endpoint

T = TypeVar("T")

MOST_ATTEMPTS = 1000
"""The most tries that the package can be set to: which attempts count is decided here."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Tries of a question, and how long an answer is waited for.

    Attributes:
        seconds: For all attempts together.
        attempt_seconds: For one; None if it may take them all.
        counts_refusals: Whether a refusal for want of room is an attempt.
    """

    attempts: int
    seconds: float
    attempt_seconds: float | None = None
    counts_refusals: bool = True


async def ask_patiently(
    endpoints: Sequence[Endpoint],
    path: str,
    body: dict[str, Any] | None,
    read: Callable[[bytes], T],
    patience: Patience,
) -> T:
    """Return what the first good answer says; each attempt goes to the next of the endpoints.

    The package keeps ``Retry-After``, and doubles its pauses with some jitter where there is none.

    Args:
        body: Posted; None gets the path.
        read: Returns what an answer says, and raises ``TryAgain`` if it says nothing that can be used.

    Raises:
        TryAgain: The fault of the last attempt; ``timeout``.
        Refused, ServerError: As ``Endpoint.fetch`` raises them: no attempt follows.
    """
    turns = _Turns(endpoints, read, patience)
    async with _package(turns) as package:
        try:
            async with asyncio.timeout(patience.seconds):
                if body is None:
                    await package.get(path, cast_to=httpx2.Response)
                else:
                    await package.post(path, body=body, cast_to=httpx2.Response)
        except TimeoutError:
            raise turns.fault from None
    return turns.said[0]


def _package(transport: httpx2.AsyncBaseTransport) -> AsyncOpenAI:
    # Url and key are the endpoints' own: they differ from attempt to attempt.
    return AsyncOpenAI(
        base_url="http://endpoint",
        api_key="none",
        max_retries=MOST_ATTEMPTS,
        timeout=None,
        http_client=httpx2.AsyncClient(transport=transport),
    )


class _Turns(httpx2.AsyncBaseTransport, Generic[T]):
    """Sends what the package asks to endpoints in turn, and shows it each passing fault as a server without room."""

    def __init__(self, endpoints: Sequence[Endpoint], read: Callable[[bytes], T], patience: Patience) -> None:
        self.fault, self.said = TryAgain("timeout"), list[T]()
        self._endpoints, self._read, self._patience = cycle(endpoints), read, patience
        self._attempts_left = patience.attempts

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            async with asyncio.timeout(self._patience.attempt_seconds):
                answer = await next(self._endpoints).send(request.url.path[1:], await request.aread() or None)
            self.said.append(self._read(answer))
            return httpx2.Response(200)
        except TryAgain as fault:
            self.fault = fault
        except TimeoutError:
            self.fault = TryAgain("timeout")
        self._attempts_left -= self._patience.counts_refusals or self.fault.reason != "overloaded"
        if not self._attempts_left:
            raise self.fault from None
        pause = self.fault.after_seconds
        return httpx2.Response(503, headers={"Retry-After": f"{pause:g}"} if pause else {})

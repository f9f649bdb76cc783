"""One server that speaks the OpenAI protocol: how to ask it, and what its faults mean."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx2
from openai import APIConnectionError, APIStatusError, APITimeoutError, AsyncOpenAI, DefaultAioHttpClient

from schemas.errors import ServerError
from tasks.serving import Refused, TryAgain, wire

CONNECTIONS = 1024
"""Open connections to one server; how many requests are under way is the driver's to say."""

AVOID_SECONDS = {"connection": 5.0, "timeout": 5.0, "overloaded": 1.0, "server_error": 1.0}
"""How long a server that failed so is passed over while another works."""

CHECK_ATTEMPTS = 3

FOUND = {
    "connection": "no connection; an OpenAI-compatible server must be running there. Start it, or mend the url",
    "timeout": "no answer in time; it must be ready for requests. Wait for its /health, or restart it",
    "overloaded": "it is overloaded; it must have room for a request. Wait, or add servers",
    "server_error": "it fails (5xx); it must answer a plain request. Read its log, and restart it",
    "malformed": "what came back is not of the OpenAI protocol; it must be. Check that the url ends in /v1",
    "refused": "it withholds the reply to a plain request; it must answer. Serve the model with vLLM",
    "rejected": "it rejects a plain request; fields that vLLM accepts must be accepted. Serve the model with vLLM",
}

T = TypeVar("T")
logger = logging.getLogger("gainloop.endpoint")


class Endpoint:
    """One url: its client, how many requests are open there, and until when it is passed over.

    The client runs on aiohttp: 1.1 ms of CPU a reply of 200 tokens at 128 or 512 in flight, where
    httpx's own connection pool takes 2.5 and 4.3.
    """

    def __init__(self, url: str, api_key: str, seconds: float) -> None:
        self.url, self.num_open, self.avoided_until = url, 0, 0.0
        self._rejected = False
        # uvicorn closes what is idle for 5 s: a connection must not be taken up in that very moment.
        limits = httpx2.Limits(max_connections=CONNECTIONS, keepalive_expiry=4)
        timeout = httpx2.Timeout(seconds, connect=min(seconds, 5))
        self.client = AsyncOpenAI(
            base_url=url,
            api_key=api_key,
            max_retries=0,
            timeout=timeout,
            http_client=DefaultAioHttpClient(limits=limits, timeout=timeout),
        )

    async def fetch(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        """Post a body, or get a path, and return the answer."""
        self.num_open += 1
        try:
            if body is None:
                answer = await self.client.get(path, cast_to=httpx2.Response)
            else:
                answer = await self.client.post(path, cast_to=httpx2.Response, body=body)
            return answer.content
        except APITimeoutError as error:  # aiohttp's lost connections come as connect timeouts
            lost = isinstance(error.__cause__, httpx2.ConnectTimeout)
            fault: Exception = TryAgain("connection" if lost else "timeout")
        except APIConnectionError:
            fault = TryAgain("connection")
        except APIStatusError as error:
            fault = self._judge(error.response)
        finally:
            self.num_open -= 1
        if isinstance(fault, TryAgain):
            self.avoided_until = time.monotonic() + max(fault.after_seconds, AVOID_SECONDS[fault.reason])
        raise fault  # outside the except clauses: the client's error, which knows the key, is not chained

    def _judge(self, answer: httpx2.Response) -> Exception:
        status = answer.status_code
        if status == 429 or status >= 500:
            return TryAgain("overloaded" if status == 429 else "server_error", _retry_after(answer))
        if status in (401, 403):
            return ServerError(
                f"asking {self.url}: it refuses the key ({status}); a key it knows is needed. "
                "Put it into the environment variable that serving.api_key_variable of the profile names."
            )
        if status == 404:
            return ServerError(
                f"asking {answer.request.url}: not found (404); this path of vLLM's server, with the model, is needed. "
                f"Give a url that ends in /v1, and a model that {self.url}/models lists."
            )
        if not self._rejected:
            logger.warning(
                "%s rejects a request (%d): %s; the next are only counted", self.url, status, answer.text[:500]
            )
        self._rejected = True
        return Refused("rejected")

    async def models(self) -> dict[str, str]:
        return wire.read_models(await self.fetch("models"))

    async def tokenize(self, model: str, text: str, *, special_tokens: bool) -> list[int]:
        body = {"model": model, "prompt": text, "add_special_tokens": special_tokens}
        return wire.read_tokens(await self.fetch(f"{self.url.removesuffix('/v1')}/tokenize", body))

    async def patiently(self, what: str, question: Callable[[], Awaitable[T]]) -> T:
        """Ask a few times where trying again can help, and turn what remains into an error for a person."""
        for attempt in range(1, CHECK_ATTEMPTS + 1):
            try:
                return await question()
            except (TryAgain, Refused) as error:
                if attempt == CHECK_ATTEMPTS or error.reason not in ("connection", "overloaded", "server_error"):
                    raise ServerError(f"asking {self.url} for {what}: {FOUND[error.reason]}.") from None
                await asyncio.sleep(max(getattr(error, "after_seconds", 0), 0.2 * attempt))
        raise AssertionError("the last attempt returns or raises")


def _retry_after(answer: httpx2.Response) -> float:
    """Return the seconds that an answer asks to wait, at most two minutes; 0 if it names none."""
    try:
        return min(max(0.0, float(answer.headers.get("retry-after", 0))), 120.0)
    except ValueError:
        return 0.0

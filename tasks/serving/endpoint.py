"""One server that speaks the OpenAI protocol: how to ask it, and what its faults mean."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp

from schemas.errors import ServerError
from tasks.serving import Refused, TryAgain, Unreachable, wire

CONNECT_SECONDS = 5

ASK_SECONDS = 60
"""Longest wait for the answer to a question that a server can answer at once, under load too."""

CHECK_ATTEMPTS = 3

PASSING = ("connection", "overloaded", "server_error", "timeout")
"""Faults of a server that may be back by itself."""

FOUND = {
    "connection": "no connection; an OpenAI-compatible server must be running there. Start it, or mend the url",
    "timeout": "no answer in time; it must be ready for requests. Wait for its /health, or restart it",
    "overloaded": "it is overloaded; it must have room for a request. Wait, or add servers",
    "server_error": "it fails (5xx); it must answer a plain request. Read its log, and restart it",
    "malformed": "what came back is not of the OpenAI protocol; it must be. Check that the url ends in /v1",
    "no_logprobs": (
        "the reply has no log-probability per token; every reply must have finite ones. Serve the model with vLLM, or "
        "set serving.logprobs of the profile to false: then no information is measured"
    ),
    "aborted": "it gives up half-way; it must answer a plain request. Read its log, and restart it",
    "refusal": "it withholds the reply to a plain request; it must answer. Serve the model with vLLM",
    "rejected": "it rejects a plain request; fields that vLLM accepts must be accepted. Serve the model with vLLM",
}

T = TypeVar("T")
logger = logging.getLogger("gainloop.endpoint")


class Endpoint:
    """One url and its connections, which belong to the event loop that is first used.

    aiohttp alone takes a fifth of the CPU that it takes with the openai package on top, or less
    (benchmarks/engine.py measures both), and the protocol's few fields are read by ``wire`` either way.
    """

    def __init__(self, url: str, api_key: str) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._session: aiohttp.ClientSession | None = None
        self._rejected = False

    async def fetch(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        """Post a body, or get a path, and return the answer.

        Args:
            path: Below the url, or a whole url.

        Raises:
            TryAgain: ``connection``, ``overloaded`` or ``server_error``.
            Refused: ``rejected``.
            ServerError: It refuses the key, or has no such path.
        """
        url = path if "://" in path else f"{self.url}/{path}"
        try:
            sent = None if body is None else aiohttp.BytesPayload(wire.as_bytes(body))
            async with self._open().request("POST" if sent else "GET", url, data=sent) as answer:
                content = await answer.read()
                if answer.status == 200:
                    return content
                fault = self._judge(answer, content)
        except aiohttp.InvalidURL:
            fault = ServerError(
                f"asking {self.url}: that is no url; one such as http://localhost:8000/v1 is. Mend the profile's urls."
            )
        except aiohttp.ClientResponseError:  # what answers does not speak HTTP
            fault = TryAgain("malformed")
        except (aiohttp.ClientError, TimeoutError, OSError):
            fault = TryAgain("connection")
        raise fault  # outside the except clauses: the client's error, which knows the key, is not chained

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # uvicorn closes what is idle for 5 s: a connection must not be taken up in that very moment.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def close(self) -> None:
        if self._session:
            await self._session.close()
        self._session = None

    def _judge(self, answer: aiohttp.ClientResponse, content: bytes) -> Exception:
        status = answer.status
        if status in (429, 503):
            return TryAgain("overloaded", _retry_after(answer))
        if status >= 500:
            return TryAgain("server_error")
        if status in (401, 403):
            return ServerError(
                f"asking {self.url}: it refuses the key ({status}); a key it knows is needed. "
                "Put it into the environment variable that serving.api_key_variable of the profile names."
            )
        if status == 404:
            return ServerError(
                f"asking {answer.url}: not found (404); this path of vLLM's server, with the model, is needed. "
                f"Give a url that ends in /v1, and a model that {self.url}/models lists."
            )
        if not self._rejected:
            said = content[:500].decode(errors="replace")
            logger.warning("%s rejects a request (%d): %s; the next are only counted", self.url, status, said)
        self._rejected = True
        return Refused("rejected")

    @property
    def root(self) -> str:
        """The url of what vLLM serves beside the OpenAI protocol: /health, /metrics, /tokenize."""
        return self.url.removesuffix("/v1")

    async def is_up(self) -> bool:
        """Tell whether ``/health`` answers. A server that has no such path is up if it says so."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self.fetch(f"{self.root}/health")
        except (TryAgain, TimeoutError):
            return False
        except (Refused, ServerError):
            return True
        return True

    async def models(self) -> dict[str, str]:
        return wire.read_models(await self.fetch("models"))

    async def tokenize(self, model: str, text: str, *, special_tokens: bool) -> list[int]:
        body = {"model": model, "prompt": text, "add_special_tokens": special_tokens}
        return wire.read_tokens(await self.fetch(f"{self.root}/tokenize", body))

    async def metrics(self) -> str:
        """Return what ``/metrics`` says; nothing if it does not answer."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return (await self.fetch(f"{self.root}/metrics")).decode(errors="replace")
        except (TryAgain, Refused, ServerError, TimeoutError):
            return ""

    async def patiently(self, what: str, question: Callable[[], Awaitable[T]]) -> T:
        """Ask a few times where trying again can help, and turn what remains into an error for a person.

        Raises:
            Unreachable: It is down, overloaded, silent or failing.
            ServerError: It is up, and is not what is needed.
        """
        for attempt in range(1, CHECK_ATTEMPTS + 1):
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    return await question()
            except TryAgain as error:
                reason, pause = error.reason, error.after_seconds
            except (Refused, TimeoutError) as error:
                reason = error.reason if isinstance(error, Refused) else "timeout"
                break
            await asyncio.sleep(max(pause, 0.2 * attempt) if attempt < CHECK_ATTEMPTS else 0)
        kind = Unreachable if reason in PASSING else ServerError
        raise kind(f"asking {self.url} for {what}: {FOUND[reason]}.")


def _retry_after(answer: aiohttp.ClientResponse) -> float:
    """Return the seconds that an answer asks to wait, at most two minutes; 0 if it names none."""
    try:
        return min(max(0.0, float(answer.headers.get("retry-after", 0))), 120.0)
    except ValueError:
        return 0.0

"""One server that speaks the OpenAI protocol: how to ask it, and what its faults mean."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from gainloop.serving import Refused, TryAgain, Unreachable, wire
from gainloop.serving.connection import CONNECT_SECONDS, Answer, Connections, NotHTTP
from schemas.errors import ServerError

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
    """One url: what is asked of it, below it and beside it.

    Args:
        setting: What the profile calls the place.
    """

    def __init__(self, url: str, api_key: str, setting: str = "serving") -> None:
        self.url, self._setting = url, setting
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._connections: Connections | None = None
        self._rejected = False

    async def fetch(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        """Post a body, or get a path, and return the answer.

        Args:
            path: Below the url; what begins with a slash is one of vLLM's own, beside the OpenAI protocol.

        Raises:
            TryAgain: ``connection``, ``malformed``, ``overloaded`` or ``server_error``.
            Refused: ``rejected``.
            ServerError: It refuses the key, has no such path, is elsewhere, or is not who it says it is.
        """
        sent = b"" if body is None else wire.as_bytes(body)
        connections = self._open()
        path = connections.path.removesuffix("/v1") + path if path.startswith("/") else f"{connections.path}/{path}"
        try:
            answer = await connections.send("GET" if body is None else "POST", path, sent)
        except NotHTTP:
            raise TryAgain("malformed") from None
        except ssl.SSLCertVerificationError as error:
            raise ServerError(
                f"asking {self.url}: its certificate is not trusted ({error.verify_message}); one that is and names "
                "this host is needed. Mend the url, or name the authority's file in SSL_CERT_FILE."
            ) from None
        except OSError:  # a TimeoutError among them
            raise TryAgain("connection") from None
        if answer.status == 200:
            return answer.content
        raise self._fault_of(answer, path)

    def _open(self) -> Connections:
        if self._connections is None:
            try:
                self._connections = Connections(self.url, self._headers)
            except ValueError:
                raise ServerError(
                    f"asking {self.url}: that is no url; one such as http://localhost:8000/v1 is. Mend the profile's "
                    "urls."
                ) from None
        return self._connections

    async def close(self) -> None:
        if self._connections:
            await self._connections.close()
        self._connections = None

    def _fault_of(self, answer: Answer, path: str) -> Exception:
        status = answer.status
        if status in (429, 503):
            return TryAgain("overloaded", _retry_after(answer))
        if status >= 500:
            return TryAgain("server_error")
        if 300 <= status < 400:
            where = answer.header(b"location") or "it does not say where"
            return ServerError(
                f"asking {self.url} for {path}: it is elsewhere ({status}: {where}); a url that answers itself is "
                "needed. Put the one it names into the profile."
            )
        if status in (401, 403):
            return ServerError(
                f"asking {self.url}: it refuses the key ({status}); a key it knows is needed. "
                f"Put it into the environment variable that {self._setting}.api_key_variable of the profile names."
            )
        if status == 404:
            return ServerError(
                f"asking {self.url} for {path}: not found (404); what vLLM serves there is needed, with the model. "
                f"Give a url that ends in /v1, and a model that {self.url}/models lists."
            )
        if not self._rejected:
            said = answer.content[:500].decode(errors="replace")
            logger.warning("%s rejects a request (%d): %s; the next are only counted", self.url, status, said)
        self._rejected = True
        return Refused("rejected")

    async def is_up(self) -> bool:
        """Tell whether ``/health`` answers. A server that has no such path is up if it says so."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self.fetch("/health")
        except (TryAgain, TimeoutError):
            return False
        except (Refused, ServerError):
            return True
        return True

    async def models(self) -> dict[str, str]:
        return wire.read_models(await self.fetch("models"))

    async def tokenize(self, asked: dict[str, Any]) -> list[int]:
        return wire.read_tokens(await self.fetch("/tokenize", asked))

    async def metrics(self) -> str:
        """Return what ``/metrics`` says; nothing if it does not answer."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return (await self.fetch("/metrics")).decode(errors="replace")
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


def _retry_after(answer: Answer) -> float:
    """Return the seconds that an answer asks to wait, at most two minutes; 0 if it names none."""
    try:
        return min(max(0.0, float(answer.header(b"retry-after") or 0)), 120.0)
    except ValueError:
        return 0.0

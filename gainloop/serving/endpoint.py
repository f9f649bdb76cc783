"""One server that speaks the OpenAI protocol: how to ask it, and what its faults mean."""

import asyncio
import base64
import logging
import os
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientError,
    ClientHttpProxyError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    InvalidURL,
    RedirectClientError,
    TooManyRedirects,
)
from yarl import URL

from gainloop.serving import Denied, Refused, TryAgain, Unreachable, wire
from gainloop.serving.session import CONNECT_SECONDS, MOST_BYTES, find_proxy, open_session, read_url, read_whole
from schemas.errors import ServerError

ASK_SECONDS = 60
"""Longest wait for the answer to a question that a server can answer at once, under load too."""

CHECK_ATTEMPTS = 3
"""Tries of a question before the first request: a fault that passes by itself has passed by then."""

MOST_SAID = 300
"""Characters of a server's own words that a message holds."""

SHORTEST_KEY, LONG_KEY = 4, 12
"""Characters of a key from which on messages leave it out, and from which on a reply that holds it cannot do so by
chance."""

PLAIN_BYTES, METRICS_BYTES = 2**20, 16 * 2**20
"""Longest answers of ``/health`` and ``/metrics``."""

PASSING = ("connection", "overloaded", "server_error", "timeout")
"""Faults of a server that may be back by itself."""

DENIED = (401, 402, 403)
"""Statuses that are of all requests, as a rule."""

NOT_THERE = (404, 405, 410, 501)
NOT_NOW = (408, 409, 425)

FOUND = {
    "connection": "no connection; an OpenAI-compatible server must be running there. Start it, or mend the url",
    "timeout": "no answer in time; it must be ready for requests. Wait for its /health, or restart it",
    "overloaded": "it is overloaded; it must have room for a request. Wait, or add servers",
    "server_error": "it fails (5xx); it must answer a plain request. Read its log, and restart it",
    "endless": f"its answer is longer than {MOST_BYTES / 2**20:.0f} MiB; an answer must have an end. Read its log, and "
    "restart it",
    "malformed": "what came back is not of the OpenAI protocol; it must be. Check that the url ends in /v1, and what "
    "stands before the server",
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
    """One url: what is asked of it, below it and beside it. It belongs to the event loop that it is first used in.

    Redirects are followed where the request stays what it is (307, 308; a path that is only got, by any); the key goes
    to no other scheme, host or port.

    Args:
        setting: Section of the profile that has the url, for messages.
    """

    def __init__(self, url: str, api_key: str, setting: str = "serving") -> None:
        # User and password are left out here: the url is in messages, in the log, and beside each reply in the store.
        self.url, self._setting = re.sub(r"(?<=//)[^/]*@", "", url).rstrip("/"), setting
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        is_secret = len(api_key) >= SHORTEST_KEY and api_key != "none"
        self._secrets = _spellings(api_key) if is_secret else ()
        self._session: ClientSession | None = None
        self._is_found = False
        self._base = self._root = self._way = self.url
        self._rejected = self._redirected = False

    async def fetch(self, path: str, body: dict[str, Any] | None = None, most_bytes: int = MOST_BYTES) -> bytes:
        """Post a body, or get a path, and return the answer.

        Args:
            path: Below the url; what begins with a slash is one of vLLM's own, beside the OpenAI protocol.
            most_bytes: Bytes of the answer, at most.

        Raises:
            TryAgain: ``connection``, ``malformed``, ``endless``, ``overloaded`` or ``server_error``.
            Refused: ``rejected``.
            Denied: It refuses key or budget, or has no such path.
            ServerError: It is elsewhere, or is not who it says it is.
        """
        return await self.send(path, None if body is None else wire.as_bytes(body), most_bytes)

    async def send(self, path: str, body: bytes | None, most_bytes: int = MOST_BYTES) -> bytes:
        """Do what ``fetch`` does with a body as it goes over the wire."""
        session = self._session or self._open()
        url = f"{self._root}{path}" if path.startswith("/") else f"{self._base}/{path}"
        try:
            async with session.request("GET" if body is None else "POST", url, data=body) as answer:
                content = await read_whole(answer, most_bytes)
        except (ClientError, OSError) as error:  # a TimeoutError among them
            raise self._fault_behind(error, url) from None
        if answer.history:
            self._note_redirect(answer, path)
        if answer.status != 200:
            raise self._fault_of(answer, answer.status, content, path)
        if content[:64].lstrip().startswith(b'{"error"'):  # as gateways write it whose provider failed
            raise self._fault_within(answer, content, path)
        self._is_found |= not path.startswith("/")
        return content

    def show(self, words: str) -> str:
        r"""Return a server's own words as messages hold them: one line without control characters and without the key.

        >>> Endpoint("http://h/v1", "sk-KEY42").show("bad \x1b[2J\nBearer sk-KEY42.")
        'bad [2J Bearer ***'
        """
        line = " ".join("".join(" " if one.isspace() else one for one in words if _is_seen(one)).split())
        for secret in self._secrets:
            line = re.sub(re.escape(secret), "***", line, flags=re.IGNORECASE)
        return line[:MOST_SAID].rstrip(" .")

    def holds_key(self, text: str) -> bool:
        """Tell whether a text has the key in it, in whatever case, which then must be kept nowhere."""
        folded = text.casefold()
        return any(secret.casefold() in folded for secret in self._secrets if len(secret) >= LONG_KEY)

    def _open(self) -> ClientSession:
        base = read_url(self.url)
        proxy = find_proxy(base)
        self._base = str(base)
        self._root = self._base.removesuffix("/v1")
        self._way = f"{self.url} through the proxy {proxy.with_user(None)}" if proxy else self.url
        self._session = open_session(base, self._headers, proxy)
        return self._session

    async def close(self) -> None:
        if self._session:
            await self._session.close()
        self._session = None

    def _fault_behind(self, error: Exception, url: str) -> Exception:
        """Return what a request without an answer means."""
        match error:
            case ClientConnectorCertificateError():
                given = os.environ.get("SSL_CERT_FILE", "not set")
                return ServerError(
                    f"asking {self.url}: the certificate of {error.host} is not trusted ({error.certificate_error}); "
                    "one that is and names this host is needed. Mend the url, or name the authority's file in "
                    f"SSL_CERT_FILE (now: {given})."
                )
            case InvalidURL() | RedirectClientError() | TooManyRedirects():
                return ServerError(
                    f"asking {url}: it sends on to what is no url, or in a circle; a url that answers itself is "
                    "needed. Put one into the profile."
                )
            case ClientHttpProxyError():
                return self._fault_of_proxy(error.status)
            case ClientResponseError():
                return TryAgain("malformed", said="it is no HTTP")
            case ClientConnectorError() if self._way == self.url and not self._is_at(error.host, error.port):
                return TryAgain("connection", said=self.show(f"it sends on to {error.host}:{error.port}"))
        return TryAgain("connection")

    def _is_at(self, host: str, port: int | None) -> bool:
        base = URL(self._base)
        return (host, port) == (base.host, base.port)

    def _fault_of_proxy(self, status: int) -> Exception:
        if status >= 500:
            return TryAgain("connection")
        return ServerError(
            f"asking {self._way}: the proxy refuses ({status}); it must let this host through. Put name and password "
            "into HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name the host in NO_PROXY."
        )

    def _note_redirect(self, answer: ClientResponse, path: str) -> None:
        """Make sure that what was answered elsewhere is what was asked here: a body does not survive every redirect.

        Raises:
            ServerError: It is not.
        """
        *_, last = answer.history
        if answer.method != answer.history[0].method:
            raise self._elsewhere(last, path)
        if not self._redirected:
            where = self.show(str(answer.url.with_user(None))).removesuffix("/" + path.lstrip("/"))
            logger.warning(
                "%s sends on to %s: every request goes twice. Put that url into the profile.", self.url, where
            )
        self._redirected = True

    def _elsewhere(self, answer: ClientResponse, path: str) -> ServerError:
        where = self.show(answer.headers.get("Location", "")) or "it does not say where"
        return ServerError(
            f"asking {self.url} for {path}: it is elsewhere ({answer.status}: {where}); a url that answers itself is "
            "needed, or a redirect that keeps the request (307, 308). Put the one it names into the profile."
        )

    def _fault_within(self, answer: ClientResponse, content: bytes, path: str) -> Exception:
        """Return what an error in place of an answer means: that of the status it names, if it names one."""
        try:
            status = int(msgspec.json.decode(content)["error"]["code"])
        except (ValueError, TypeError, KeyError, RecursionError):
            status = 0
        if 400 <= status < 600:
            return self._fault_of(answer, status, content, path)
        return TryAgain("malformed", said=self.show(wire.words_of(content)))

    def _fault_of(self, answer: ClientResponse, status: int, content: bytes, path: str) -> Exception:
        words = self.show(wire.words_of(content))
        told, how = (f"{status}: {words}", f"({status}), saying: {words}") if words else (f"{status}", f"({status})")
        if status in (429, 503):
            return TryAgain("overloaded", _retry_after(answer), told)
        if status in NOT_THERE:
            return self._missing(path, how)
        if status >= 500 or status in NOT_NOW:
            return TryAgain("server_error", said=told)
        if status < 300:
            return TryAgain("malformed", said=told)
        if status < 400:
            return self._elsewhere(answer, path)
        if status == 407:
            return self._fault_of_proxy(status)
        if status in DENIED:
            return self._denied(answer, status, how, path)
        if not self._rejected:
            logger.warning("%s rejects a request (%s); the next are only counted", self.url, told)
        self._rejected = True
        return Refused("rejected", told)

    def _denied(self, answer: ClientResponse, status: int, how: str, path: str) -> Denied:
        if answer.url.origin() != URL(self._base).origin():
            where = self.show(str(answer.url.with_user(None)))
            return Denied(
                f"asking {self.url} for {path}: it sends on to {where}, which refuses it {how}; the key goes "
                "to no other scheme, host or port than the profile names. Put that url into the profile."
            )
        if status == 402:
            return Denied(
                f"asking {self.url} for {path}: its budget is spent {how}; one that pays for the work is needed. "
                "Fill it up, or name another server, then run the same again: what landed is kept."
            )
        who = "it" if self._way == self.url else "it or the proxy"
        return Denied(
            f"asking {self._way}: {who} refuses the key {how}; a key it knows is needed. "
            f"Put it into the environment variable that {self._setting}.api_key_variable of the profile names."
        )

    def _missing(self, path: str, how: str) -> Denied:
        if self._is_found:
            return Denied(
                f"asking {self.url} for {path}: it has models, but no answer to this {how}; methods that chat "
                "need chat/completions, those that continue a raw prompt need completions, with the model. Serve it "
                "with vLLM, which has both, or choose another method.",
                is_missing=True,
            )
        return Denied(
            f"asking {self.url} for {path}: not found {how}; what vLLM serves there is needed, with the model. "
            f"Give a url that ends in /v1, and a model that {self.url}/models lists.",
            is_missing=True,
        )

    async def is_up(self) -> bool:
        """Tell whether ``/health`` answers. A server that has no such path is up if it says so."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self.fetch("/health", most_bytes=PLAIN_BYTES)
        except (TryAgain, TimeoutError):
            return False
        except (Refused, ServerError):
            return True
        return True

    async def tokenize(self, body: dict[str, Any]) -> list[int]:
        return wire.read_tokens(await self.fetch("/tokenize", body))

    async def metrics(self) -> str:
        """Return what ``/metrics`` says; nothing if it does not answer."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return (await self.fetch("/metrics", most_bytes=METRICS_BYTES)).decode(errors="replace")
        except (TryAgain, Refused, ServerError, TimeoutError):
            return ""

    async def patiently(self, what: str, path: str, body: dict[str, Any] | None, read: Callable[[bytes], T]) -> T:
        """Ask a few times where trying again can help, and turn what remains into an error for a person.

        Args:
            what: What is asked for, in words.
            path: As for ``fetch``, and so ``body``.
            read: Returns what an answer says, and raises ``TryAgain`` if it says nothing that can be used.

        Raises:
            Unreachable: It is down, overloaded, silent or failing.
            Denied: It refuses key or budget, or does not take such a question.
            ServerError: It is up, and is not what is needed.
        """
        from gainloop.serving.client import Patience, ask_patiently  # half a second, which not every command needs

        try:
            return await ask_patiently([self], path, body, read, Patience(CHECK_ATTEMPTS, ASK_SECONDS))
        except (TryAgain, Refused) as error:
            fault = error
        message = f"asking {self._way} for {what}: {found(fault.reason, self.show(fault.said))}."
        if fault.reason == "rejected":
            raise Denied(message, is_missing=True)
        raise Unreachable(message) if fault.reason in PASSING else ServerError(message)


def found(reason: str, said: str) -> str:
    """Return what a fault means for a person, with a server's own words, fit to be shown."""
    what, _, advice = FOUND[reason].partition(";")
    return f"{what} ({said});{advice}" if said else FOUND[reason]


def _is_seen(character: str) -> bool:
    return character.isprintable() or character.isspace()


def _spellings(key: str) -> tuple[str, ...]:
    """Return a key as it is, in a url, and in base64."""
    return tuple({key, quote(key, safe=""), base64.b64encode(key.encode()).decode().rstrip("=")})


def _retry_after(answer: ClientResponse) -> float:
    """Return the seconds that an answer asks to wait, at most two minutes; 0 if it names none."""
    try:
        return min(max(0.0, float(answer.headers.get("Retry-After") or 0)), 120.0)
    except ValueError:
        return 0.0

"""A server that speaks the OpenAI protocol, and answers every second document in one of many hostile ways.

Which way a prompt is answered in is decided when it first comes: the ways take turns, so that all of them come up.
A prompt keeps its way, however often it is asked.
"""

import asyncio
import base64
import json
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from tests.hostile_files import LOADS, ORDERS, PLANTED, prose
from tests.serving.stub_model import answer, prompt_text
from tests.serving.stub_server import Stub, StubOptions

KEY: Final = "sk-hostile/KEY+91%ab=Zq7"
"""The key that the server asks for; every character that urls and headers spell otherwise is in it."""

Body = dict[str, Any]
Send = Callable[[web.Request, Body, int], Awaitable[web.StreamResponse]]


async def send(_request: web.Request, body: Body, _times: int) -> web.StreamResponse:
    return web.Response(text=json.dumps(body), content_type="application/json")


@dataclass(frozen=True)
class Way:
    """One way to answer.

    Attributes:
        ends: What the run must make of it: ``reply``, or the reason why there is none.
        says: Text of the reply, by the prompt.
        edits: Changes the body before it is sent.
        sends: Sends the body, or anything in place of it; it is told how often the prompt has come.
    """

    ends: str = "reply"
    says: Callable[[str], str] = prose
    edits: Callable[[Body], object] = lambda _body: None
    sends: Send = send


def choice(**changes: Any) -> Callable[[Body], object]:
    return lambda body: body["choices"][0].update(changes)


def usage(**changes: Any) -> Callable[[Body], object]:
    return lambda body: body["usage"].update(changes)


def message(**changes: Any) -> Callable[[Body], object]:
    return lambda body: body["choices"][0]["message"].update(changes)


def finite_no_more(body: Body) -> None:
    body["choices"][0]["logprobs"]["content"][0]["logprob"] = math.nan


def text(said: str, content_type: str = "application/json", status: int = 200, **headers: str) -> Send:
    """Return a sender of this text."""

    async def send_text(_request: web.Request, _body: Body, _times: int) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(text=said, status=status, content_type=content_type, headers=named)

    return send_text


def refusing(status: int, said: str) -> Send:
    return text(json.dumps({"error": {"message": said, "code": status}}), status=status)


def at_first(other: Send) -> Send:
    """Return a sender that does otherwise at the first time alone."""

    async def send_later(request: web.Request, body: Body, times: int) -> web.StreamResponse:
        return await (other if times == 1 else send)(request, body, times)

    return send_later


async def half(_request: web.Request, body: Body, _times: int) -> web.StreamResponse:
    return web.Response(text=json.dumps(body)[:-40], content_type="application/json")


async def as_page(_request: web.Request, body: Body, _times: int) -> web.StreamResponse:
    return web.Response(text=json.dumps(body), content_type="text/html", charset="latin-1")


async def endless(request: web.Request, _body: Body, _times: int) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionError):  # who has had enough hangs up
        while True:
            await response.write(b'{"choices": [' + b" " * 2**18)
    return response


async def cut(request: web.Request, _body: Body, _times: int) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def half_sent(request: web.Request, body: Body, times: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "99999"})
    await response.prepare(request)
    await response.write(json.dumps(body).encode())
    return await cut(request, body, times)


async def slow(request: web.Request, body: Body, times: int) -> web.StreamResponse:
    await asyncio.sleep(1)
    return await send(request, body, times)


async def hang(request: web.Request, body: Body, times: int) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return await send(request, body, times)


async def overloaded(request: web.Request, body: Body, times: int) -> web.StreamResponse:
    wait = ("-5", "nan", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "1e-9", "9" * 4000 + "x")[len(str(body)) % 6]
    return await text("{}", status=429, Retry_After=wait)(request, body, times)


async def sent_on(request: web.Request, _body: Body, _times: int) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect(str(request.url.with_path(f"/v1/elsewhere{request.path.removeprefix('/v1')}")))


def copied(prompt: str) -> str:
    return prompt.partition("<document")[2].partition(">")[2].partition("</document")[0].strip() or prompt


WAYS: Final[dict[str, Way]] = {
    "usage null": Way(edits=lambda body: body.update(usage=None)),
    "control characters": Way(says=lambda prompt: prose(prompt).replace(" ", "\x1b[31m\x07 ", 3) + "\x00\x9b2J"),
    "planted marks": Way(says=lambda prompt: f"{PLANTED[len(prompt) % 12]} {prose(prompt)} {PLANTED[0]}{PLANTED[1]}"),
    "slow": Way(sends=slow),
    "usage negative": Way("malformed", edits=usage(prompt_tokens=-3)),
    "usage huge": Way("malformed", edits=usage(prompt_tokens=10**30)),
    "usage of words": Way("malformed", edits=usage(completion_tokens="many")),
    "no choices": Way("malformed", edits=lambda body: body.pop("choices")),
    "no message": Way(edits=lambda body: body["choices"][0].pop("message")),
    "no finish reason": Way("malformed", edits=choice(finish_reason=None)),
    "a message of another type": Way("malformed", edits=message(content={"a": [1]})),
    "log-probabilities not a number": Way("malformed", edits=finite_no_more),
    "log-probabilities above 0": Way("malformed", edits=choice(logprobs={"content": [{"logprob": 9.5}]})),
    "half a body": Way("malformed", sends=half),
    "deep JSON": Way("malformed", sends=text("[" * 100_000)),
    "a page": Way("malformed", sends=text(f"<html>{PLANTED[0]}</html>", "text/html")),
    "another content type": Way(sends=as_page),
    "endless": Way("endless", sends=endless),
    "a megabyte": Way("malformed", edits=message(content="a" * 2**20)),
    "half a character": Way("malformed", edits=message(content=f"\ud83d {prose('half')}")),
    "packed, it says": Way("connection", sends=text("no gzip", Content_Encoding="gzip")),
    "thoughts": Way(says=lambda prompt: f"<think>\nThey want it.\n</think>\n\n{prose(prompt)}"),
    "thoughts closed": Way(says=lambda prompt: f"They want it retold.\n</think>\n\n{prose(prompt)}"),
    "thoughts never closed": Way(says=lambda prompt: f"<think>\n{prose(prompt)}"),
    "the key": Way("holds_key", says=lambda prompt: f"{prose(prompt)} {KEY}"),
    "the key in a url": Way("holds_key", says=lambda prompt: f"{prose(prompt)} ?key={quote(KEY, safe='')}"),
    "the key in base64": Way("holds_key", says=lambda prompt: f"{base64.b64encode(KEY.encode()).decode()} {prompt}"),
    "the key in capitals": Way("holds_key", says=lambda prompt: f"{prose(prompt)} {KEY.upper()}"),
    "the key in a refusal": Way("rejected", sends=refusing(400, f"\x1b[2J bad header: Bearer {KEY}, {KEY.lower()}\n")),
    "quota": Way("rejected", sends=refusing(400, "You exceeded your quota")),
    "budget": Way("rejected", sends=refusing(402, "Budget has been exceeded")),
    "forbidden": Way("rejected", sends=refusing(403, PLANTED[0])),
    "overloaded once": Way(sends=at_first(overloaded)),
    "fails once": Way(sends=at_first(refusing(500, "EngineCore died"))),
    "fails": Way("server_error", sends=refusing(500, PLANTED[1])),
    "an error with status 200": Way("rejected", sends=text('{"error": {"message": "spent", "code": 402}}')),
    "cut once": Way(sends=at_first(cut)),
    "cut": Way("connection", sends=cut),
    "cut in the middle": Way("connection", sends=half_sent),
    "hangs": Way("deadline", sends=hang),
    "sent on": Way(sends=sent_on),
    "empty": Way(says=lambda _prompt: ""),
    "marks of a template": Way(says=lambda prompt: f"{ORDERS[0]}\n{prose(prompt)}{ORDERS[2]}{ORDERS[3]}"),
    "a copy of the document": Way(says=copied),
    "a copy of another reply": Way(says=lambda _prompt: prose("the same each time")),
    "a verdict": Way(says=lambda _prompt: ORDERS[6]),
    "withheld": Way("refusal", edits=choice(finish_reason="content_filter")),
    "given up": Way("aborted", edits=choice(finish_reason="abort")),
    "too short": Way("rejected", edits=choice(finish_reason="length")),
}

NAMES: Final = tuple(WAYS)

LASTING: Final[dict[str, Way]] = {
    "another model": Way(edits=lambda body: body.update(model=f"other \x1b[2J {PLANTED[0]}")),
    "moved": Way(sends=text("", status=302, Location=f"{LOADS}?api_key={quote(KEY, safe='')}")),
    "in a circle": Way(sends=text("", status=307, Location="/v1/chat/completions")),
    "budget": WAYS["budget"],
    "the key in a refusal": WAYS["the key in a refusal"],
    "endless": WAYS["endless"],
    "deep JSON": WAYS["deep JSON"],
    "cut": WAYS["cut"],
}
"""What no run can go on with, if all is answered so."""


class HostileServer(Stub):
    """A running server; ``ways`` has the way of each prompt about a document, empty for a sound answer.

    Where ``lasting`` is set, every chat is answered in that way.
    """

    def __init__(self) -> None:
        self.ways: dict[str, str] = {}
        self.lasting = ""
        self._times: Counter[str] = Counter()
        super().__init__(
            StubOptions(
                api_key=KEY, says=prose, paths=("completions", "chat/completions", "elsewhere/chat/completions")
            )
        )

    @property
    def ends(self) -> Counter[str]:
        """How many prompts must end as what, the sound ones among those with a reply."""
        return Counter(WAYS[way].ends if way else "reply" for way in self.ways.values())

    @property
    def num_asked(self) -> int:
        """How many requests for more than one token came."""
        return sum(asked.get("max_tokens", 2) > 1 for asked in self.requests)

    async def _answer(self, request: web.Request, asked: Body) -> web.StreamResponse:
        prompt = prompt_text(asked)
        is_hostile = self.lasting or "<document" in prompt
        if not is_hostile or "messages" not in asked or "prompt_logprobs" in asked:
            return await super()._answer(request, asked)
        way = LASTING[self.lasting] if self.lasting else self._way_of(prompt)
        self._times[prompt] += 1
        body = answer(asked, 0, self.options.context_tokens, False, way.says)
        way.edits(body)
        sends = send if "/elsewhere/" in request.path else way.sends
        return await sends(request, body, self._times[prompt])

    def _way_of(self, prompt: str) -> Way:
        number = len(self.ways)
        self.ways.setdefault(prompt, NAMES[number // 2 % len(NAMES)] if number % 2 else "")
        return WAYS.get(self.ways[prompt], Way())


@contextmanager
def hostile_server() -> Iterator[HostileServer]:
    """Run a server on a free port, in a thread."""
    server = HostileServer()
    try:
        yield server
    finally:
        server.stop()

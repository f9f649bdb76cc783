"""A server that speaks the OpenAI protocol as vLLM does, faults included, with no weights behind it.

``with stub_server(StubOptions(faults={"server_error": 0.3})) as stub:`` gives ``stub.url``.
"""

import asyncio
import json
import math
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from schemas.rows import unit_draw
from tests.serving.stub_model import END, answer, prompt_ids, score

FAULTS = {
    "server_error": "status 500",
    "overloaded": "status 429, with Retry-After if the options name one",
    "unavailable": "status 503",
    "hang": "no answer for an hour",
    "reset": "the connection is cut",
    "malformed": "the JSON ends half-way",
    "no_choice": "no choice in the reply",
    "no_logprobs": "no log-probabilities in the reply",
    "nan": "log-probabilities that are no numbers",
    "aborted": "finish reason abort",
    "filtered": "finish reason content_filter",
    "empty": "the end token alone",
    "other_model": "the reply names another model",
}


@dataclass(frozen=True)
class StubOptions:
    """What the stub serves, by name and root, and how badly.

    ``faults`` gives the share of requests that have each of ``FAULTS``. Whether a request has one
    depends on its body and on how often it came before: so a retry may succeed, and order plays no part.
    ``says`` gives the reply to a prompt, in place of words drawn from a few, ``draws`` that to a prompt and a seed.
    ``metrics`` is what /metrics says; a server without it has no such path. ``tls`` makes it speak https.
    ``sends_on`` names a url that it sends everybody on to. ``denies`` is a status and a body that every request for
    more than one token gets once so many were answered: ``denied_after``; status 200 is an error in place of an answer.
    ``edits`` changes an answer before it is sent. ``paths`` are those that it has below /v1.
    """

    models: dict[str, str] = field(default_factory=lambda: {"stub": "/models/stub"})
    reply_words: int = 12
    latency_seconds: float = 0.0
    faults: dict[str, float] = field(default_factory=dict)
    retry_after_seconds: float | None = None
    context_tokens: int = 4096
    processed_logprobs: bool = False
    api_key: str | None = None
    metrics: str = ""
    can_tokenize: bool = True
    says: Callable[[str], str] | None = None
    draws: Callable[[str, int], str] | None = None
    tls: ssl.SSLContext | None = None
    sends_on: str = ""
    denies: tuple[int, str] | None = None
    denied_after: int = 0
    edits: Callable[[dict[str, Any]], object] | None = None
    paths: tuple[str, ...] = ("completions", "chat/completions")


class Stub:
    """A running stub: its ``url``, the completion bodies it was sent (a check sends two), the most open at once."""

    def __init__(self, options: StubOptions) -> None:
        assert options.faults.keys() <= FAULTS.keys(), f"faults are {', '.join(FAULTS)}"
        self.options = options
        self.requests: list[dict[str, Any]] = []
        self.most_open = 0
        self._open = self._num_answered = 0
        self._seen: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http{'s' if options.tls else ''}://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Go down: open requests are cut off, and nothing connects any more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(middlewares=[self._at_the_door])
        app.router.add_get("/health", self._health)
        if self.options.metrics:
            app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/v1/models", self._models)
        if self.options.can_tokenize:
            app.router.add_post("/tokenize", self._tokenize)
        for path in self.options.paths:
            app.router.add_post(f"/v1/{path}", self._complete)
        runner = web.AppRunner(app, shutdown_timeout=0.05)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.SockSite(runner, self._socket, ssl_context=self.options.tls).start())
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        under_way = asyncio.all_tasks(self._loop)
        for task in under_way:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*under_way, return_exceptions=True))
        self._loop.close()

    @web.middleware
    async def _at_the_door(self, request: web.Request, handler: Any) -> web.StreamResponse:
        key = self.options.api_key
        if self.options.sends_on:
            return _error(307, "elsewhere", {"Location": self.options.sends_on + request.path.removeprefix("/v1")})
        if key and request.headers.get("Authorization") != f"Bearer {key}":
            return _error(401, "Unauthorized")
        answer = await handler(request)
        assert isinstance(answer, web.StreamResponse)
        return answer

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.options.metrics)

    async def _models(self, _request: web.Request) -> web.Response:
        served = [{"id": name, "object": "model", "root": root} for name, root in self.options.models.items()]
        return web.json_response({"object": "list", "data": served})

    async def _tokenize(self, request: web.Request) -> web.Response:
        asked = await request.json()
        return web.json_response({"tokens": prompt_ids(asked)})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.requests.append(asked)
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        try:
            await asyncio.sleep(self.options.latency_seconds)
            return await self._answer(request, asked)
        finally:
            self._open -= 1

    async def _answer(self, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        options, fault = self.options, self._draw_fault(asked)
        if fault == "server_error":
            return _error(500, "EngineCore encountered an issue")
        if fault == "overloaded":
            wait = options.retry_after_seconds
            return _error(429, "Too many requests", {} if wait is None else {"Retry-After": str(wait)})
        if fault == "unavailable":
            return _error(503, "Service unavailable")
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "reset":
            assert request.transport is not None
            request.transport.abort()
        if options.denies and asked.get("max_tokens", 2) > 1:
            self._num_answered += 1
            if self._num_answered > options.denied_after:
                status, said = options.denies
                return web.Response(status=status, text=said, content_type="application/json")
        if asked["model"] not in options.models:
            return _error(404, f"The model `{asked['model']}` does not exist.")
        scored = asked["prompt"] if "prompt_logprobs" in asked else [prompt_ids(asked)]
        if max(map(len, scored)) >= options.context_tokens:
            return _error(400, f"This model's maximum context length is {options.context_tokens} tokens.")
        if "prompt_logprobs" in asked:
            body = score(asked, options.context_tokens)
        else:
            says, draws = options.says, options.draws
            if draws:
                says = lambda prompt: draws(prompt, int(asked.get("seed") or 0))  # noqa: E731
            body = answer(asked, options.reply_words, options.context_tokens, options.processed_logprobs, says)
        if options.edits:
            options.edits(body)
        text = json.dumps(spoil(body, fault) if fault else body)
        return web.Response(text=text[:40] if fault == "malformed" else text, content_type="application/json")

    def _draw_fault(self, asked: dict[str, Any]) -> str:
        body = json.dumps(asked, sort_keys=True)
        self._seen[body] += 1
        draw = unit_draw("fault", body, self._seen[body])
        for fault, share in self.options.faults.items():
            if draw < share:
                return fault
            draw -= share
        return ""


@contextmanager
def stub_server(options: StubOptions | None = None) -> Iterator[Stub]:
    """Run a stub on a free port, in a thread."""
    stub = Stub(options or StubOptions())
    try:
        yield stub
    finally:
        stub.stop()


def spoil(body: dict[str, Any], fault: str) -> dict[str, Any]:
    """Return the body with a fault in it."""
    choice = body["choices"][0]
    logprobs = choice["logprobs"]
    if fault == "no_choice":
        body["choices"] = []
    elif fault == "no_logprobs":
        choice["logprobs"] = None
    elif fault == "nan":
        logprobs |= {"token_logprobs": [math.nan] * len(choice["token_ids"]), "content": [{"logprob": math.nan}]}
    elif fault == "aborted":
        choice["finish_reason"] = "abort"
    elif fault == "filtered":
        choice["finish_reason"] = "content_filter"
    elif fault == "other_model":
        body["model"] = "another"
    elif fault == "empty":
        logprobs |= {"token_logprobs": [-0.5], "content": [{"logprob": -0.5}]}
        choice |= {"text": "", "message": {"content": ""}, "token_ids": [END], "finish_reason": "stop"}
    return body


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"message": message, "code": status}}, status=status, headers=headers)

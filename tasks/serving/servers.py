"""A generator that is one or more servers speaking the OpenAI protocol, vLLM above all."""

import asyncio
import os
import time
from functools import partial
from typing import Self

from schemas.errors import ServerError
from schemas.profile import Servers
from schemas.recipe import Sampling
from schemas.rows import Reply, Request
from tasks.serving import Refused, TryAgain, wire
from tasks.serving.endpoint import Endpoint


def connect_servers(place: Servers, model: str, revision: str = "") -> "ServerGenerator":
    """Return the generator of a profile's servers, with the key from the environment variable it names."""
    return ServerGenerator(place.urls, model, revision, os.environ.get(place.api_key_variable) or "none")


class ServerGenerator:
    """Answers requests from several servers of one model, each from the least busy one.

    A request is seeded by its id: at float32 vLLM gives it the same reply at every attempt and on
    every server; at lower precision its neighbours in a batch can move a near tie. An async context
    manager; it belongs to the event loop that it is first used in.

    Args:
        urls: One per server, each ending in /v1.
        model: The name it is served under.
        revision: What tells two models of one name apart; if empty, ``check`` asks the servers.
        api_key: Sent to every server, never shown.
        attempt_seconds: Longest wait for one answer.
    """

    def __init__(
        self, urls: list[str], model: str, revision: str = "", api_key: str = "none", attempt_seconds: float = 600
    ) -> None:
        self.model, self.revision, self.logprob_semantics = model, revision, "unknown"
        self._endpoints = [Endpoint(url.rstrip("/"), api_key, attempt_seconds) for url in urls]
        self._names = {model}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await asyncio.gather(*(endpoint.client.close() for endpoint in self._endpoints))

    async def check(self) -> None:
        """Find out whether every server has the model and gives one log-probability per token; see the protocol.

        An empty revision becomes the root that the servers name for the model: where its weights lie.
        """
        roots = {endpoint.url: await self._find(endpoint) for endpoint in self._endpoints}
        if not self.revision:
            self.revision = _only_root(self.model, roots)
        kinds = {await self._try_out(endpoint) for endpoint in self._endpoints}
        self.logprob_semantics = kinds.pop() if len(kinds) == 1 else "unknown"

    async def complete(self, request_id: str, request: Request, sampling: Sampling) -> Reply:
        """Answer one request; see the protocol. A reply's text may be empty."""
        path, body = wire.ask(self.model, request, sampling, seed=int(request_id[:8], 16))
        endpoint, begun = self._least_busy(), time.monotonic()
        said = wire.read_reply(await endpoint.fetch(path, body), sampling.max_tokens)
        self._require_own(said.model, endpoint)
        return Reply(
            request_id=request_id,
            prompt_id=request.prompt_id,
            text=said.text,
            token_ids=said.token_ids,
            token_logprobs=said.token_logprobs,
            finish_reason=said.finish_reason,
            prompt_tokens=said.prompt_tokens,
            seconds=time.monotonic() - begun,
            server=endpoint.url,
        )

    async def score(self, prompt: str, text: str) -> tuple[float, ...]:
        """Return log q(token | prompt and the tokens before it) of each token of ``text``, in nats.

        Prompt and text are tokenised apart, the prompt with the special tokens that a completion of
        it gets and the text with none, and scored as one sequence of ids. So a text has the same
        tokens after every prompt. No end token is added; no temperature is applied. Only vLLM
        answers this (``/tokenize``, ``prompt_logprobs``), and it leaves its prefix cache aside for it.

        Raises:
            Refused: ``rejected``: the prompt has no token, or both together are longer than the context.
            TryAgain, ServerError: As for ``complete``.
        """
        endpoint = self._least_busy()
        before = await endpoint.tokenize(self.model, prompt, special_tokens=True)
        after = await endpoint.tokenize(self.model, text, special_tokens=False)
        if not before:
            raise Refused("rejected")
        if not after:
            return ()
        body = {"model": self.model, "prompt": before + after, "prompt_logprobs": 0, "max_tokens": 1, "temperature": 0}
        return wire.read_prompt_logprobs(await endpoint.fetch("completions", body), after)

    def _least_busy(self) -> Endpoint:
        now = time.monotonic()
        return min(self._endpoints, key=lambda endpoint: (endpoint.avoided_until > now, endpoint.num_open))

    def _require_own(self, named: str, endpoint: Endpoint) -> None:
        if named not in self._names:
            raise ServerError(
                f"asking {endpoint.url} for {self.model!r}: the reply names the model {named!r}; it must be "
                f"{' or '.join(sorted(self._names))}. Give the url of a server that has the model."
            )

    async def _find(self, endpoint: Endpoint) -> str:
        """Return the root of the model on one server, and note the other names it has there."""
        roots = await endpoint.patiently("its models", endpoint.models)
        if self.model not in roots:
            raise ServerError(
                f"looking for the model {self.model!r} at {endpoint.url}: it is not served there; served are "
                f"{', '.join(sorted(roots)) or 'none'}. Set the model to one of them, or serve it under that name."
            )
        root = roots[self.model]
        self._names |= {name for name, other in roots.items() if root and other == root}
        return root

    async def _try_out(self, endpoint: Endpoint) -> str:
        """Ask for one token at temperature 1 and at 0.5, and tell what the log-probabilities are of."""

        async def likeliest(temperature: float) -> dict[str, float]:
            sampling = Sampling(temperature=temperature, max_tokens=1)
            path, body = wire.ask(self.model, Request("The"), sampling, seed=0)
            answer = await endpoint.fetch(path, body | {"logprobs": 5})
            self._require_own(_require_logprobs(answer, endpoint.url, self.model), endpoint)
            return wire.read_likeliest(answer)

        what = f"a token of {self.model!r}"
        warm, cool = [await endpoint.patiently(what, partial(likeliest, temperature)) for temperature in (1.0, 0.5)]
        return wire.tell_semantics(warm, cool)


def _require_logprobs(answer: bytes, url: str, model: str) -> str:
    """Return the model that a reply names."""
    try:
        return wire.read_reply(answer, max_tokens=1).model
    except TryAgain:
        raise ServerError(
            f"asking {url} for a token of {model!r}: the reply has no log-probability per token; every reply must "
            "have finite ones. Serve the model with vLLM, or with another server that gives log-probabilities."
        ) from None


def _only_root(model: str, roots: dict[str, str]) -> str:
    """Return the one root that all servers name, by url."""
    if len(set(roots.values())) > 1:
        listed = ", ".join(f"{root or 'none'} at {url}" for url, root in roots.items())
        raise ServerError(
            f"comparing the servers of {model!r}: they name different weights ({listed}); all must serve one model. "
            "Mend the urls, or set the revision if the weights are the same in different places."
        )
    return next(iter(roots.values()))

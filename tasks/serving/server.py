"""A generator that is one server speaking the OpenAI protocol, vLLM above all."""

import asyncio
import time
from functools import partial

from schemas.errors import ServerError
from schemas.recipe import Sampling
from schemas.rows import Reply, Request
from tasks.serving import Refused, TryAgain, wire
from tasks.serving.endpoint import Endpoint


class Server:
    """Answers requests from one server.

    A request is seeded by its id: at float32 vLLM gives it the same reply at every attempt and on
    every server; at lower precision its neighbours in a batch can move a near tie. It belongs to the
    event loop that it is first used in.

    Args:
        url: Ends in /v1.
        model: The name it is served under.
        revision: What tells two models of one name apart; if empty, ``check`` asks the server.
        api_key: Sent to the server, never shown.
        logprobs: Whether log-probabilities are asked for.
    """

    def __init__(self, url: str, model: str, revision: str = "", api_key: str = "none", logprobs: bool = True) -> None:
        self.model, self.revision, self.logprob_semantics = model, revision, "unknown"
        self._endpoint, self._logprobs = Endpoint(url.rstrip("/"), api_key), logprobs
        self.name = self._endpoint.url
        self._names = {model}

    async def close(self) -> None:
        await self._endpoint.close()

    async def is_up(self) -> bool:
        return await self._endpoint.is_up()

    async def check(self) -> None:
        """Find out whether it has the model and gives one log-probability per token; see the protocol.

        An empty revision becomes the root that the server names for the model: where its weights lie.
        """
        roots = await self._endpoint.patiently("its models", self._endpoint.models)
        if self.model not in roots:
            raise ServerError(
                f"looking for the model {self.model!r} at {self.name}: it is not served there; served are "
                f"{', '.join(sorted(roots)) or 'none'}. Set the model to one of them, or serve it under that name."
            )
        root = roots[self.model]
        self._names |= {name for name, other in roots.items() if root and other == root}
        self.revision = self.revision or root
        self.logprob_semantics = await self._try_out()

    async def complete(self, request_id: str, request: Request, sampling: Sampling) -> Reply:
        """Answer one request; see the protocol. A reply's text may be empty."""
        begun = time.monotonic()
        path, body = wire.ask(self.model, request, sampling, int(request_id[:8], 16), self._logprobs)
        said = wire.read_reply(await self._endpoint.fetch(path, body), sampling.max_tokens, self._logprobs)
        self._require_own(said.model)
        return Reply(
            request_id=request_id,
            prompt_id=request.prompt_id,
            text=said.text,
            token_ids=said.token_ids,
            token_logprobs=said.token_logprobs,
            finish_reason=said.finish_reason,
            prompt_tokens=said.prompt_tokens,
            completion_tokens=said.completion_tokens,
            seconds=time.monotonic() - begun,
            server=self.name,
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
        before = await self._endpoint.tokenize(self.model, prompt, special_tokens=True)
        after = await self._endpoint.tokenize(self.model, text, special_tokens=False)
        if not before:
            raise Refused("rejected")
        if not after:
            return ()
        body = {"model": self.model, "prompt": before + after, "prompt_logprobs": 0, "max_tokens": 1, "temperature": 0}
        return wire.read_prompt_logprobs(await self._endpoint.fetch("completions", body), after)

    async def cache_counts(self) -> tuple[float, float] | None:
        """Return the prompt tokens found in the prefix cache and those looked for since the server started."""
        return wire.read_cache_counts(await self._endpoint.metrics())

    def _require_own(self, named: str) -> None:
        if named not in self._names:
            raise ServerError(
                f"asking {self.name} for {self.model!r}: the reply names the model {named!r}; it must be "
                f"{' or '.join(sorted(self._names))}. Give the url of a server that has the model."
            )

    async def _try_out(self) -> str:
        """Ask for one token at temperature 1 and at 0.5, and tell what the log-probabilities are of."""

        async def likeliest(temperature: float) -> dict[str, float]:
            sampling = Sampling(temperature=temperature, max_tokens=1)
            path, body = wire.ask(self.model, Request("The"), sampling, 0, self._logprobs)
            wanted = {"logprobs": 5} if self._logprobs else {}
            answer = await self._endpoint.fetch(path, body | wanted)
            self._require_own(self._read_token(answer))
            return wire.read_likeliest(answer)

        what = f"a token of {self.model!r}"
        warm, cool = await asyncio.gather(
            *(self._endpoint.patiently(what, partial(likeliest, temperature)) for temperature in (1.0, 0.5))
        )
        return wire.tell_semantics(warm, cool)

    def _read_token(self, answer: bytes) -> str:
        """Return the model that a reply of one token names."""
        try:
            return wire.read_reply(answer, max_tokens=1, logprobs=self._logprobs).model
        except TryAgain:
            if not self._logprobs:
                raise
            raise TryAgain("no_logprobs") from None  # one body may be spoilt on its way; all are not

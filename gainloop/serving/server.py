"""A generator that is one server speaking the OpenAI protocol, vLLM above all."""

import asyncio
import time
from collections.abc import Sequence

from gainloop.measures.entropy import temper
from gainloop.serving import UNFIT, CannotScore, Refused, Score, TryAgain, wire
from gainloop.serving.endpoint import Endpoint
from schemas.errors import ServerError
from schemas.recipe import Sampling
from schemas.rows import Prompt, Reply, Request

LIKELIEST = 20
"""Likeliest tokens that a server gives beside each token of a text: vLLM's most by default (``--max-logprobs``)."""

MOST_TOKENS = 2**18
"""No vocabulary is larger; a server does not tell its own."""

REMEMBERED = 4096
"""Prompts whose tokens are kept."""


class Server:
    """Answers requests from one server.

    A request is seeded by its id: at float32 vLLM gives it the same reply at every attempt and on
    every server; at lower precision its neighbours in a batch can move a near tie. It belongs to the
    event loop that it is first used in.

    Args:
        url: Url that ends in /v1.
        model: Name that the model is served under.
        revision: Revision of the model; if empty, ``check`` asks the server.
        api_key: Key that is sent to the server, never shown.
        logprobs: Whether log-probabilities are asked for.
    """

    def __init__(self, url: str, model: str, revision: str = "", api_key: str = "none", logprobs: bool = True) -> None:
        self.model, self.revision, self.logprob_semantics = model, revision, "unknown"
        self._endpoint, self._logprobs = Endpoint(url, api_key), logprobs
        self.name = self._endpoint.url
        self._names = {model}
        self._encoded: dict[Prompt, list[int]] = {}

    async def close(self) -> None:
        await self._endpoint.close()

    async def is_up(self) -> bool:
        return await self._endpoint.is_up()

    async def check(self) -> None:
        """Find out whether it has the model and gives one log-probability per token; see the protocol.

        An empty revision becomes the root that the server names for the model: where its weights lie.
        """
        roots = await self._endpoint.patiently("its models", "models", None, wire.read_models)
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

    async def score(self, prompts: Sequence[Prompt], token_ids: tuple[int, ...], sampling: Sampling) -> list[Score]:
        """Return how likely sampling is to draw a text after each prompt; see the protocol.

        All prompts go in one request, as ids. Only vLLM answers it (``/tokenize``, ``prompt_logprobs``), and it leaves
        its prefix cache aside for it. What it gives is raw: at another temperature or top_p it is repaired from the
        likeliest tokens, which leaves a bracket.
        """
        if not token_ids:
            return [Score(0.0, 0.0)] * len(prompts)
        try:
            encoded = [await self._encode(prompt) for prompt in prompts]
        except ServerError:  # it was found well: only this path is missing
            raise CannotScore("cannot_score") from None
        try:
            return await self._score(encoded, token_ids, sampling)
        except Refused:  # one that does not fit spoils them all
            return [await self._score_alone(one, token_ids, sampling) for one in encoded]

    async def _score(self, prompts: Sequence[list[int]], token_ids: tuple[int, ...], sampling: Sampling) -> list[Score]:
        is_plain = (sampling.temperature, sampling.top_p) == (1, 1)
        likeliest = 0 if is_plain else LIKELIEST
        body = wire.ask_scores(self.model, prompts, token_ids, likeliest)
        scores = wire.read_scores(await self._endpoint.fetch("completions", body), token_ids, len(prompts), likeliest)
        if is_plain:
            return [Score(sum(own), sum(own)) for own, _ in scores]
        ends = [temper(own, top, sampling.temperature, sampling.top_p, MOST_TOKENS) for own, top in scores]
        return [Score(float(low.sum()), float(high.sum())) for low, high in ends]

    async def _score_alone(self, prompt: list[int], token_ids: tuple[int, ...], sampling: Sampling) -> Score:
        try:
            return (await self._score([prompt], token_ids, sampling))[0] if prompt else UNFIT
        except Refused:
            return UNFIT

    async def _encode(self, prompt: Prompt) -> list[int]:
        if prompt not in self._encoded:
            if len(self._encoded) >= REMEMBERED:
                self._encoded.clear()
            self._encoded[prompt] = await self._endpoint.tokenize(wire.ask_tokens(self.model, prompt))
        return self._encoded[prompt]

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
            return await self._endpoint.patiently(f"a token of {self.model!r}", path, body | wanted, self._read_token)

        warm, cool = await asyncio.gather(likeliest(1.0), likeliest(0.5))
        return wire.semantics_of(warm, cool)

    def _read_token(self, answer: bytes) -> dict[str, float]:
        """Return the log-probabilities of the likeliest tokens that a reply of one token tells."""
        try:
            said = wire.read_reply(answer, max_tokens=1, logprobs=self._logprobs)
        except TryAgain:
            if not self._logprobs:
                raise
            raise TryAgain("no_logprobs") from None  # one body may be spoilt on its way; all are not
        self._require_own(said.model)
        return wire.read_likeliest(answer)

"""A generator that is one server speaking the OpenAI protocol, vLLM above all."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from gainloop.asking.conversation import alone
from gainloop.measures.entropy import temper
from gainloop.serving import UNFIT, CannotScore, Denied, Refused, Score, TryAgain, wire
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

NOT_FINITE = re.compile(rb"-?\b(?:NaN|Infinity)\b")
"""Numbers that JSON has not, and some servers write."""

logger = logging.getLogger("gainloop.server")


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
        self._is_uncounted = False

    async def close(self) -> None:
        await self._endpoint.close()

    async def is_up(self) -> bool:
        return await self._endpoint.is_up()

    async def check(self) -> None:
        """Find out whether it has the model and gives one log-probability per token; see the protocol.

        An empty revision becomes the root that the server names for the model: where its weights lie. A root that may
        not be told, because it has the key or what cannot be seen in it, is none.
        """
        roots = await self._endpoint.patiently("its models", "models", None, wire.read_models)
        if self.model not in roots:
            served = self._endpoint.show(", ".join(sorted(roots)))
            raise ServerError(
                f"looking for the model {self.model!r} at {self.name}: it is not served there; served are "
                f"{served or 'none'}. Set the model to one of them, or serve it under that name."
            )
        root = roots[self.model]
        if self._endpoint.show(root) != root.rstrip(" ."):
            logger.warning(
                "%s names a root of %r that may not be told: its revision is left empty", self.name, self.model
            )
            root = ""
        self._names |= {name for name, other in roots.items() if root and other == root}
        self.revision = self.revision or root
        self.logprob_semantics = await self._try_out()

    async def complete(self, request_id: str, request: Request, sampling: Sampling) -> Reply:
        """Answer one request; see the protocol. A reply's text may be empty."""
        begun = time.monotonic()
        path, body = wire.ask(self.model, request, sampling, int(request_id[:8], 16), self._logprobs)
        most_bytes = wire.most_bytes(sampling.max_tokens)
        said = self._read(await self._endpoint.fetch(path, body, most_bytes), sampling.max_tokens)
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
            try:
                return await self._score(encoded, token_ids, sampling)
            except Refused:  # one that does not fit spoils them all
                return [await self._score_alone(one, token_ids, sampling) for one in encoded]
        except Denied as error:
            if error.is_missing:  # it was found well: only this path is not there
                raise CannotScore("cannot_score") from None
            raise

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

    def _read(self, answer: bytes, max_tokens: int) -> wire.Said:
        """Return what a reply says; see ``complete``."""
        try:
            said = wire.read_reply(answer, max_tokens, self._logprobs)
        except (TryAgain, Refused) as fault:
            fault.said = self._endpoint.show(fault.said)
            raise
        if said.model not in self._names:
            named = self._endpoint.show(said.model)
            raise ServerError(
                f"asking {self.name} for {self.model!r}: the reply names the model {named!r}; it must be "
                f"{' or '.join(sorted(self._names))}. Give the url of a server that has the model."
            )
        if self._endpoint.holds_key(said.text):
            raise Refused("holds_key")
        return said

    async def _try_out(self) -> str:
        """Ask for one token at temperature 1 and at 0.5, and tell what the log-probabilities are of.

        Some servers only chat: then one is asked for in a chat.
        """
        try:
            return await self._try_out_with(Request("The"), {"logprobs": 5}, wire.read_likeliest)
        except Denied as error:
            if not error.is_missing:
                raise
            try:
                chat = Request(alone("Say one word."))
                return await self._try_out_with(chat, {"logprobs": True, "top_logprobs": 5}, wire.read_ranked)
            except ServerError:
                raise error from None

    async def _try_out_with(
        self, request: Request, likeliest: dict[str, Any], read: Callable[[bytes], dict[str, float]]
    ) -> str:
        def read_token(answer: bytes) -> dict[str, float]:
            self._read_token(answer)
            return read(answer)

        async def ask(temperature: float) -> dict[str, float]:
            sampling = Sampling(temperature=temperature, max_tokens=1)
            path, body = wire.ask(self.model, request, sampling, 0, self._logprobs)
            wanted = likeliest if self._logprobs else {}
            return await self._endpoint.patiently(f"a token of {self.model!r}", path, body | wanted, read_token)

        return wire.semantics_of(*await asyncio.gather(ask(1.0), ask(0.5)))

    def _read_token(self, answer: bytes) -> None:
        """Make sure that a reply of one token tells what replies must."""
        try:
            said = self._read(answer, 1)
        except TryAgain:
            if self._logprobs:
                wire.read_reply(NOT_FINITE.sub(b"0", answer), 1, logprobs=False)  # raises what else is wrong with it
                raise TryAgain("no_logprobs") from None  # one body may be spoilt on its way; all are not
            raise
        if not said.prompt_tokens and not self._is_uncounted:
            self._is_uncounted = True
            logger.warning("%s does not tell how many tokens a prompt has: prompt tokens count as 0", self.name)

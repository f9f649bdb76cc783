"""Vectors of texts from servers that speak the OpenAI protocol for embeddings: vLLM, and others."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence

import numpy as np

from gainloop.methods.sbp import TFIDF
from gainloop.models.embedding import OnText, Vectors, embed_here, embed_words, unit_rows
from gainloop.serving import Refused, TryAgain, wire
from gainloop.serving.endpoint import FOUND, Endpoint
from gainloop.serving.opening import read_key
from schemas.errors import ServerError
from schemas.profile import AnyEmbedding, EmbeddingServers, LocalEmbedding

MOST_SECONDS = 10
"""Longest pause between two attempts, unless a server asks for a longer one."""

MOST_CUTS = 8
"""Halvings of a text that a server calls too long: what is left then is shorter than any context."""

logger = logging.getLogger("gainloop.embeddings")


def embed(
    texts: Sequence[str],
    model: str = TFIDF,
    revision: str = "",
    embedding: AnyEmbedding = LocalEmbedding(),  # noqa: B008
    on_text: OnText = lambda _done, _total: None,
) -> Vectors:
    """Return one unit vector per text.

    Args:
        model: ``tfidf``, or the name of an embedding model: of the hub, a folder, or as servers have it.
        revision: Of a hub model that runs in this process.
        embedding: Where the model runs. The same model gives the same vectors up to rounding wherever that is.
        on_text: Told how many texts have a vector, and of how many.

    Returns:
        [len(texts), dimensions], float32.

    Raises:
        BadInput: No text has a word, or there is no such model.
        ServerError: The servers do not answer.
    """
    if not texts:
        return np.zeros((0, 0), dtype=np.float32)
    if model == TFIDF:
        return embed_words(texts, on_text)
    if isinstance(embedding, EmbeddingServers):
        return unit_rows(embed_at_servers(texts, model, embedding, on_text))
    return embed_here(texts, model, revision, embedding, on_text)


def embed_at_servers(
    texts: Sequence[str], model: str, embedding: EmbeddingServers, on_text: Callable[[int, int], None]
) -> Vectors:
    """Return one vector per text, as the servers give it.

    Requests go to the servers in turn, and to the next one when one of them stumbles. A text that is too long for the
    model is halved until it fits, as models in this process read the beginning alone; the log says how many were.

    Args:
        on_text: Told how many texts have a vector, and of how many.

    Returns:
        [len(texts), dimensions].

    Raises:
        BadInput: The key cannot be sent.
        ServerError: A request is answered by no server, or servers have different models.
    """
    return asyncio.run(_Embedding(texts, model, embedding, on_text).run())


class _Embedding:
    """One corpus on its way through the servers."""

    def __init__(
        self, texts: Sequence[str], model: str, embedding: EmbeddingServers, on_text: Callable[[int, int], None]
    ) -> None:
        self._texts, self._model, self._place, self._on_text = texts, model, embedding, on_text
        key = read_key(embedding)
        self._endpoints = [Endpoint(url.rstrip("/"), key, "embedding") for url in embedding.urls]
        self._vectors = np.zeros((0, 0), dtype=np.float32)
        self._kind = ("", 0)
        self._num_done, self._num_cut = 0, 0

    async def run(self) -> Vectors:
        starts = iter(range(0, len(self._texts), self._place.texts_per_request))

        async def work() -> None:
            for start in starts:  # all workers take from one iterator
                await self._embed(start)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._place.max_in_flight):
                    group.create_task(work())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints))
        if self._num_cut:
            logger.warning(
                "%d of %d texts are longer than %s reads: their beginning stands for them.",
                self._num_cut,
                len(self._texts),
                self._model,
            )
        return self._vectors

    async def _embed(self, start: int) -> None:
        turn, size = start // self._place.texts_per_request, self._place.texts_per_request
        texts = list(self._texts[start : start + size])
        try:
            vectors = await self._ask(texts, turn)
        except Refused:  # one that is too long spoils them all
            vectors = [await self._embed_alone(text, turn) for text in texts]
        self._vectors[start : start + len(vectors)] = vectors
        self._num_done += len(vectors)
        self._on_text(self._num_done, len(self._texts))

    async def _embed_alone(self, text: str, turn: int) -> list[float]:
        kept = text
        for _ in range(MOST_CUTS):
            try:
                (vector,) = await self._ask([kept], turn)
            except Refused:
                kept = kept[: max(1, len(kept) // 2)]
                continue
            self._num_cut += len(kept) < len(text)
            return vector
        raise ServerError(
            f"embedding a text of {len(text):,} characters with {self._model!r} at {self._endpoints[0].url}: it is "
            "rejected, and so is its beginning; a plain text must be accepted. Read the warning above, which says why."
        )

    async def _ask(self, texts: list[str], turn: int) -> list[list[float]]:
        """Return the vectors of some texts, asked for as often as may help; a refusal for want of room is no attempt.

        Raises:
            Refused: ``rejected``.
            ServerError: No server answers, or servers differ.
        """
        place, body = self._place, {"model": self._model, "input": texts, "encoding_format": "float"}
        until, attempt, pauses = time.monotonic() + place.deadline_seconds, 1, 0
        while True:
            endpoint = self._endpoints[turn % len(self._endpoints)]
            try:
                async with asyncio.timeout(place.deadline_seconds / place.attempts):
                    answer = await endpoint.fetch("embeddings", body)
                model, vectors = wire.read_embeddings(answer, len(texts))
            except TryAgain as error:
                reason, asked_pause = error.reason, error.after_seconds
            except TimeoutError:
                reason, asked_pause = "timeout", 0.0
            else:
                self._require_one_kind(endpoint, model, len(vectors[0]))
                return vectors
            # Full jitter, doubling: a server that stumbles is not hit by all at once.
            pauses += 1
            pause = max(asked_pause, random.uniform(0, min(MOST_SECONDS, 0.25 * 2**pauses)))  # noqa: S311
            if attempt == place.attempts or time.monotonic() + pause > until:
                raise ServerError(f"embedding texts with {self._model!r} at {endpoint.url}: {FOUND[reason]}.")
            attempt, turn = attempt + (reason != "overloaded"), turn + 1
            await asyncio.sleep(pause)

    def _require_one_kind(self, endpoint: Endpoint, model: str, width: int) -> None:
        """Refuse vectors of two models: they cannot be compared."""
        if not self._kind[1]:
            self._kind = (model, width)
            self._vectors = np.zeros((len(self._texts), width), dtype=np.float32)
        if self._kind != (model, width):
            raise ServerError(
                f"embedding texts with {self._model!r} at {endpoint.url}: a vector of {width} numbers by {model!r}, "
                f"and others are of {self._kind[1]} by {self._kind[0]!r}; all must be of one model. "
                "Serve one and the same model at all embedding.urls of the profile."
            )

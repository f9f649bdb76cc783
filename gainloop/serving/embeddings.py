"""Vectors of texts from servers that speak the OpenAI protocol for embeddings: vLLM, and others."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from gainloop.methods.sbp import RANDOM, TFIDF
from gainloop.models.embedding import OnText, Vectors, embed_by_chance, embed_here, embed_words, unit_rows
from gainloop.serving import Refused, TryAgain, wire
from gainloop.serving.client import Patience, ask_patiently
from gainloop.serving.endpoint import Endpoint, found
from gainloop.serving.opening import read_key
from schemas.errors import ServerError
from schemas.profile import AnyEmbedding, EmbeddingServers, LocalEmbedding

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
        model: ``tfidf``, ``random``, or the name of an embedding model: of the hub, a folder, or as servers have it.
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
    if model == RANDOM:
        return embed_by_chance(texts)
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
        self._texts, self._model, self._servers, self._on_text = texts, model, embedding, on_text
        key = read_key(embedding)
        self._endpoints = [Endpoint(url, key, "embedding") for url in embedding.urls]
        self._urls = ", ".join(endpoint.url for endpoint in self._endpoints)
        self._vectors = np.zeros((0, 0), dtype=np.float32)
        self._kind = ("", 0)
        self._num_done, self._num_cut = 0, 0

    async def run(self) -> Vectors:
        starts = iter(range(0, len(self._texts), self._servers.texts_per_request))

        async def work() -> None:
            for start in starts:  # all workers take from one iterator
                await self._embed(start)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._servers.max_in_flight):
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
        turn, size = start // self._servers.texts_per_request, self._servers.texts_per_request
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
            f"embedding a text of {len(text):,} characters with {self._model!r} at {self._urls}: it is "
            "rejected, and so is its beginning; a plain text must be accepted. Read the warning above, which says why."
        )

    async def _ask(self, texts: list[str], turn: int) -> list[list[float]]:
        """Return the vectors of some texts; their turn says which server is asked first.

        Raises:
            Refused: ``rejected``.
            ServerError: No server answers, or servers differ.
        """
        servers, first = self._servers, turn % len(self._endpoints)
        endpoints = [*self._endpoints[first:], *self._endpoints[:first]]
        body = {"model": self._model, "input": texts, "encoding_format": "float"}
        read, seconds = partial(self._read, num_texts=len(texts)), servers.deadline_seconds
        patience = Patience(servers.attempts, seconds, seconds / servers.attempts, counts_refusals=False)
        try:
            return await ask_patiently(endpoints, "embeddings", body, read, patience)
        except TryAgain as error:
            fault = found(error.reason, self._endpoints[0].show(error.said))
        raise ServerError(f"embedding texts with {self._model!r} at {self._urls}: {fault}.")

    def _read(self, answer: bytes, num_texts: int) -> list[list[float]]:
        """Return the vectors that an answer gives, all of one model: those of two cannot be compared."""
        model, vectors = wire.read_embeddings(answer, num_texts)
        width = len(vectors[0])
        if not self._kind[1]:
            self._kind = (model, width)
            self._vectors = np.zeros((len(self._texts), width), dtype=np.float32)
        if self._kind != (model, width):
            raise ServerError(
                f"embedding texts with {self._model!r} at {self._urls}: a vector of {width} numbers by {model!r}, "
                f"and others are of {self._kind[1]} by {self._kind[0]!r}; all must be of one model. "
                "Serve one and the same model at all embedding.urls of the profile."
            )
        return vectors

"""A transformers model in this process that answers requests: continuous batching over rows of their own length.

transformers' own continuous batching is not used: it draws all requests from one random stream and reads them in one
matrix, so that a reply depends on which others are in flight.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from gainloop.models.loading import context_of, end_tokens, load_model, load_tokenizer, num_logits
from gainloop.models.prompts import encode_prompt
from gainloop.serving import UNFIT, Refused, Score
from gainloop.serving.attention import Prefixes, Row, advance, attend_by_rows, independent_shapes, read
from gainloop.serving.sampling import Draw, Grammar, log_likelihoods
from schemas.recipe import Sampling
from schemas.rows import Prompt, Reply, Request

SLOTS = 32
"""Requests that are answered side by side, at most."""

ROW_BYTES = 1_500_000_000
"""Keys and values of requests that are answered side by side, at most: what no longer fits waits its turn."""

PREFIX_BYTES = 100_000_000
"""Keys and values that are kept of how prompts begin."""

SCORED_BYTES = 32_000_000
"""Logits of a forward pass where texts are scored, at most, but for one text that is longer."""

SCORED_AT_ONCE = 2
"""Such passes side by side: more would only need more memory."""


class EmbeddedEngine:
    """Answers requests with a local checkpoint.

    Only what is in flight is computed, over the tokens that are there. A prompt is read alone; then a forward pass adds
    one token to every request, each of which reads its own keys and values. Matrix products have shapes in which a
    row's result has been found to be the same whatever stands beside it, and each reply draws from its own random
    stream. So on one kind of machine a reply depends on its request alone: not on its neighbours, on how many are in
    flight, on which prompts were read before, or on a crash in between.
    """

    name = "embedded"
    logprob_semantics = "processed"

    def __init__(self, folder: str, model: str, revision: str, device: str = "cpu") -> None:
        self.model, self.revision = model, revision
        self.tokenizer = load_tokenizer(folder)
        self.network = load_model(folder, device).eval()
        self._num_logits, self._end_tokens = num_logits(self.network), end_tokens(self.network, self.tokenizer)
        self.context = context_of(self.network.config)
        self._waiting: deque[_Seat] = deque()
        self._seats: list[_Seat] = []
        self._prefixes = Prefixes(PREFIX_BYTES)
        self._grammar = Grammar(self.tokenizer, self._num_logits)
        self._stepping: asyncio.Task[None] | None = None
        self._scoring = threading.Semaphore(SCORED_AT_ONCE)
        self._token_bytes = attend_by_rows(self.network)
        self._num_threads = torch.get_num_threads() if self.network.device.type == "cpu" else 1
        self._threads = ThreadPoolExecutor(self._num_threads, "pass")

    async def check(self) -> None:
        """The model is loaded: nothing is left to find out."""

    async def is_up(self) -> bool:
        return True

    async def close(self) -> None:
        """The model stays loaded for the next shard."""

    async def complete(self, request_id: str, request: Request, sampling: Sampling) -> Reply:
        """Answer one request; see the protocol."""
        prompt = self._encode(request.prompt)
        if not 0 < len(prompt) < self.context:
            raise Refused("rejected")
        draw = Draw(request_id, sampling, self._grammar.matcher(request.json_schema))
        seat = _Seat(prompt, draw, self.context - len(prompt), asyncio.get_running_loop().create_future())
        self._waiting.append(seat)
        if self._stepping is None or self._stepping.done():
            self._stepping = asyncio.create_task(self._step_while_busy())
        await seat.done
        if seat.finish_reason == "full":
            raise Refused("rejected")
        return self._as_reply(request_id, request, seat)

    async def score(self, prompts: Sequence[Prompt], token_ids: tuple[int, ...], sampling: Sampling) -> list[Score]:
        """Return how likely sampling is to draw a text after each prompt; see the protocol."""
        encoded = [self._encode(prompt) for prompt in prompts]
        fitting = {n: ids for n, ids in enumerate(encoded) if 0 < len(ids) <= self.context - len(token_ids)}
        found = await asyncio.to_thread(self._score, list(fitting.values()), list(token_ids), sampling)
        scores = dict(zip(fitting, found, strict=True))
        return [Score(scores[number], scores[number]) if number in scores else UNFIT for number in range(len(prompts))]

    def _encode(self, prompt: Prompt) -> list[int]:
        return encode_prompt(self.tokenizer, prompt)

    async def _step_while_busy(self) -> None:
        try:
            while self._waiting or self._seats:
                for seat in await asyncio.to_thread(self._step):
                    if not seat.done.done():
                        seat.done.set_result(None)
        except Exception as error:
            for seat in [*self._waiting, *self._seats]:
                if not seat.done.done():
                    seat.done.set_exception(error)
            raise

    @torch.inference_mode()
    def _step(self) -> list["_Seat"]:
        """Seat who waits, give every seated request one more token, return those that are finished."""
        self._seats = [seat for seat in self._seats if not seat.is_abandoned]
        while seat := self._next():
            self._seats.append(seat)
            read(self.network, seat.row, seat.prompt[:-1], self._prefixes)
        list(self._threads.map(self._advance, self._parts()))
        finished = [seat for seat in self._seats if seat.finish_reason]
        self._seats = [seat for seat in self._seats if not seat.finish_reason]
        return finished

    def _next(self) -> "_Seat | None":
        """Return who may be seated now: as long as a place is free, and room for all that it may write."""
        while self._waiting:
            seat = self._waiting[0]
            room = ROW_BYTES // self._token_bytes - sum(one.most_tokens for one in self._seats)
            if not seat.is_abandoned and (len(self._seats) == SLOTS or (self._seats and seat.most_tokens > room)):
                return None
            self._waiting.popleft()
            if not seat.is_abandoned:
                return seat
        return None

    def _parts(self) -> Iterator[list["_Seat"]]:
        """Yield the seated requests in parts of one forward pass each: as many as threads, none of few rows.

        A pass of few rows keeps one core busy, whatever torch's threads: passes side by side keep them all.
        """
        even = -(-len(self._seats) // self._num_threads)
        size = next((shape for shape in self._shapes if shape >= even), self._shapes[-1])
        yield from (self._seats[first : first + size] for first in range(0, len(self._seats), size))

    @torch.inference_mode()
    def _advance(self, seats: list["_Seat"]) -> None:
        """Give every one of these requests one more token."""
        num_places = next(shape for shape in self._shapes if shape >= len(seats))
        rows, tokens = [seat.row for seat in seats], [seat.last_token for seat in seats]
        for seat, logits in zip(seats, advance(self.network, rows, tokens, num_places).cpu(), strict=True):
            seat.take(logits.double().numpy(), self._end_tokens)

    @cached_property
    def _shapes(self) -> list[int]:
        return independent_shapes(self.network)

    def _as_reply(self, request_id: str, request: Request, seat: "_Seat") -> Reply:
        assert seat.finish_reason is not None
        return Reply(
            request_id=request_id,
            prompt_id=request.prompt_id,
            text=str(self.tokenizer.decode(seat.tokens, skip_special_tokens=True)),
            token_ids=tuple(seat.tokens),
            token_logprobs=tuple(seat.logprobs),
            finish_reason=seat.finish_reason,  # type: ignore[arg-type]
            prompt_tokens=len(seat.prompt),
            completion_tokens=len(seat.tokens),
            seconds=time.monotonic() - seat.begun,
            server="embedded",
        )

    @torch.inference_mode()
    def _score(self, prompts: list[list[int]], text: list[int], sampling: Sampling) -> list[float]:
        """Return log q of a text after each prompt; a causal model does not see what pads the shorter ones."""
        with self._scoring:
            return self._score_some(prompts, text, sampling)

    def _score_some(self, prompts: list[list[int]], text: list[int], sampling: Sampling) -> list[float]:
        scores = [0.0] * len(prompts)
        for batch in self._batches(prompts, len(text)):
            longest = max(len(prompts[number]) for number in batch)
            rows = [prompts[number] + text + [0] * (longest - len(prompts[number])) for number in batch]
            kept = longest + len(text) + 1 - min(len(prompts[number]) for number in batch)
            ids = torch.tensor(rows, device=self.network.device)
            logits = self.network(input_ids=ids, use_cache=False, logits_to_keep=kept).logits
            for number, row in zip(batch, logits, strict=True):
                first = len(prompts[number]) - 1 - (ids.shape[1] - kept)
                scores[number] = self._log_likelihood(row[first : first + len(text)], text, sampling)
        return scores

    def _batches(self, prompts: list[list[int]], num_tokens: int) -> Iterator[list[int]]:
        """Yield numbers of prompts, the shortest first, whose logits side by side stay within bounds."""
        batch: list[int] = []
        for number in sorted(range(len(prompts)), key=lambda number: len(prompts[number])):
            kept = len(prompts[number]) + num_tokens + 1 - len(prompts[batch[0] if batch else number])
            if batch and (len(batch) + 1) * kept * self._num_logits * 4 > SCORED_BYTES:
                yield batch
                batch = []
            batch.append(number)
        if batch:
            yield batch

    def _log_likelihood(self, logits: torch.Tensor, text: list[int], sampling: Sampling) -> float:
        """Return log q of a text, some tokens at a time: sorting a large vocabulary takes ten times its bytes."""
        at_once = max(1, SCORED_BYTES // (64 * self._num_logits))
        ids = torch.tensor(text, dtype=torch.long, device=logits.device)
        parts = zip(torch.split(logits, at_once), torch.split(ids, at_once), strict=True)
        return float(sum(log_likelihoods(some.double(), next_ids, sampling).sum() for some, next_ids in parts))


@dataclass
class _Seat:
    """One open request: the tokens it has read and drawn, and how it ended.

    A reply that the context has no ``room`` for ends as ``full``: neither complete nor as long as was asked.
    """

    prompt: list[int]
    draw: Draw
    room: int
    done: asyncio.Future[None]
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    row: Row = field(default_factory=Row)
    finish_reason: str | None = None
    begun: float = field(default_factory=time.monotonic)

    @property
    def is_abandoned(self) -> bool:
        """Tell whether nobody waits for it any more."""
        return self.done.done()

    @property
    def last_token(self) -> int:
        return self.tokens[-1] if self.tokens else self.prompt[-1]

    @property
    def most_tokens(self) -> int:
        """Tokens whose keys and values may lie in its row at its end."""
        return len(self.prompt) + min(self.draw.sampling.max_tokens, self.room)

    def take(self, logits: np.ndarray[Any, Any], end_tokens: set[int]) -> None:
        token, logprob = self.draw.next(logits)
        self.tokens.append(token)
        self.logprobs.append(logprob)
        if token in end_tokens:
            self.finish_reason = "stop"
        elif len(self.tokens) == self.draw.sampling.max_tokens:
            self.finish_reason = "length"
        elif len(self.tokens) == self.room:
            self.finish_reason = "full"

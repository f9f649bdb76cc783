"""A transformers model in this process that answers requests: continuous batching over fixed slots."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

from gainloop.models.loading import context_of, load_model, load_tokenizer
from gainloop.models.prompts import encode_prompt
from gainloop.serving import UNFIT, Refused, Score
from gainloop.serving.sampling import Draw, Grammar, log_likelihoods
from schemas.recipe import Sampling
from schemas.rows import Prompt, Reply, Request

SLOTS = 32
"""Rows of every forward pass, filled or not. Fixed, because a matrix product's last bits depend on its shape."""

SCORED_TOKENS = 2048
"""Tokens per forward pass where texts are scored: the logits of a small vocabulary then stay below 64 MB."""

SCORED_AT_ONCE = 2
"""Such passes side by side: more would only need more memory."""


class SlotCache(Cache):
    """A key-value cache whose rows are at different lengths: ``positions``, [slots], is where each writes next."""

    def __init__(self, like: DynamicCache, slots: int, context: int) -> None:
        self.slots = [_Layer(self, keys, slots, context) for keys, _ in _tensors(like)]
        self.positions = torch.zeros(slots, dtype=torch.long)
        super().__init__(layers=list(self.slots))

    def lay(self, row: int, read: DynamicCache) -> None:
        """Copy the keys and values of one prompt, read alone, to the start of a row."""
        for layer, (keys, values) in zip(self.slots, _tensors(read), strict=True):
            layer.laid_keys[row, :, : keys.shape[2]] = keys[0]
            layer.laid_values[row, :, : keys.shape[2]] = values[0]


class _Layer(CacheLayerMixin):
    """Keys and values of one layer, [slots, heads, context, head size]; each row is written at its own position."""

    def __init__(self, cache: "SlotCache", like: torch.Tensor, slots: int, context: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        shape = (slots, like.shape[1], context, like.shape[3])
        self.cache = cache
        self.rows = torch.arange(slots, device=like.device)
        self.laid_keys, self.laid_values = like.new_zeros(shape), like.new_zeros(shape)
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """The tensors are there from the start."""

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_a: Any, **_k: Any) -> Any:
        self.laid_keys[self.rows, :, self.cache.positions] = key_states[:, :, 0]
        self.laid_values[self.rows, :, self.cache.positions] = value_states[:, :, 0]
        return self.laid_keys, self.laid_values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_max_length(), 0

    def get_seq_length(self) -> int:
        return int(self.cache.positions.max())

    def get_max_length(self) -> int:
        return int(self.laid_keys.shape[2])


def _tensors(cache: DynamicCache) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the keys and values of every layer, [1, heads, tokens, head size]."""
    return [(layer.keys, layer.values) for layer in cache.layers]  # type: ignore[union-attr, misc]


class EmbeddedEngine:
    """Answers requests with a local checkpoint.

    Every forward pass has the same shape, ``SLOTS`` rows over the whole context, and each reply draws
    from its own random stream. So on one kind of machine a reply depends on its request alone:
    not on its neighbours, on how many are in flight, or on a crash in between.
    """

    name = "embedded"
    logprob_semantics = "processed"

    def __init__(self, folder: str, model: str, revision: str, device: str = "cpu") -> None:
        self.model, self.revision = model, revision
        self.tokenizer = load_tokenizer(folder)
        self.network = load_model(folder, device).eval()
        self.context = min(context_of(self.network.config), 4096)
        self._waiting: deque[_Seat] = deque()
        self._seats: list[_Seat | None] = [None] * SLOTS
        self._cache: SlotCache | None = None
        self._grammar = Grammar(self.tokenizer, self.network.config.get_text_config().vocab_size)
        self._stepping: asyncio.Task[None] | None = None
        self._scoring = threading.Semaphore(SCORED_AT_ONCE)

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
            while self._waiting or any(self._seats):
                for seat in await asyncio.to_thread(self._step):
                    if not seat.done.done():
                        seat.done.set_result(None)
        except Exception as error:
            for seat in [*self._waiting, *filter(None, self._seats)]:
                if not seat.done.done():
                    seat.done.set_exception(error)
            raise

    @torch.inference_mode()
    def _step(self) -> list["_Seat"]:
        """Seat who waits, give every seated request one more token, return those that are finished."""
        for row, seat in enumerate(self._seats):
            if seat is None or seat.is_abandoned:
                self._seats[row] = self._seat_next(row)
        seated = [(row, seat) for row, seat in enumerate(self._seats) if seat is not None]
        if not seated:
            return []
        last = torch.zeros(SLOTS, 1, dtype=torch.long)
        length = torch.zeros(SLOTS, dtype=torch.long)
        for row, seat in seated:
            last[row], length[row] = seat.last_token, seat.length
        logits = self._forward(last, length)
        finished = []
        for row, seat in seated:
            seat.take(logits[row], self._end_tokens)
            if seat.finish_reason:
                self._seats[row] = None
                finished.append(seat)
        return finished

    def _seat_next(self, row: int) -> "_Seat | None":
        while self._waiting:
            seat = self._waiting.popleft()
            if not seat.is_abandoned:
                return self._prefill(row, seat)
        return None

    def _forward(self, last: torch.Tensor, length: torch.Tensor) -> np.ndarray[Any, Any]:
        assert self._cache is not None
        device = self.network.device
        length = self._cache.positions = length.to(device)
        hidden = torch.arange(self.context, device=device) > length[:, None]
        mask = torch.zeros(hidden.shape, device=device).masked_fill(hidden, torch.finfo(torch.float32).min)
        output = self.network(
            input_ids=last.to(device),
            position_ids=length[:, None],
            attention_mask=mask[:, None, None, :],
            past_key_values=self._cache,
        )
        logits: np.ndarray[Any, Any] = output.logits[:, -1].cpu().double().numpy()
        return logits

    def _prefill(self, row: int, seat: "_Seat") -> "_Seat":
        """Read all of a prompt but its last token, alone, and lay its keys and values into the row."""
        cache = DynamicCache()
        head = torch.tensor([seat.prompt[:-1] or seat.prompt], device=self.network.device)
        self.network(input_ids=head, past_key_values=cache, logits_to_keep=1)
        if self._cache is None:
            self._cache = SlotCache(cache, SLOTS, self.context)
        self._cache.lay(row, cache)
        return seat

    @property
    def _end_tokens(self) -> set[int]:
        ends = self.network.generation_config.eos_token_id
        return set(ends if isinstance(ends, list) else [ends])

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
        scores: list[float] = []
        longest = max(map(len, prompts), default=0) + len(text)
        at_once = max(1, SCORED_TOKENS // max(1, longest))
        for first in range(0, len(prompts), at_once):
            batch = prompts[first : first + at_once]
            rows = [prompt + text + [0] * (longest - len(prompt) - len(text)) for prompt in batch]
            logits = self.network(input_ids=torch.tensor(rows, device=self.network.device)).logits
            for row, prompt in zip(logits, batch, strict=True):
                before = row[len(prompt) - 1 : len(prompt) - 1 + len(text)].double()
                scores.append(float(log_likelihoods(before, torch.tensor(text, device=row.device), sampling).sum()))
        return scores


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
    def length(self) -> int:
        """Tokens whose keys and values lie in the cache: all but the last."""
        return len(self.prompt) + len(self.tokens) - 1

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

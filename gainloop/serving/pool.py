"""Generators of one model, kept full: the one place that knows limits, retries, deadlines and outages."""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

from gainloop.serving import Generator, Refused, Score, TryAgain, Unreachable
from gainloop.serving.queue import Desk, Limit, Queue
from gainloop.serving.watch import Ask, Attempt, Tally, Watch
from schemas.errors import ServerError
from schemas.profile import Generation
from schemas.recipe import Sampling
from schemas.rows import Prompt, Reply, Request

logger = logging.getLogger("gainloop.pool")


class Pool:
    """Answers requests with several generators of one model; an async context manager.

    Args:
        generators: Servers or engines that have the same weights.
        bounds: ``max_in_flight`` is shared out among them evenly.
    """

    def __init__(self, generators: Sequence[Generator], bounds: Generation) -> None:
        now, ceiling = time.monotonic(), -(-bounds.max_in_flight // len(generators))
        self.bounds = bounds
        self.desks = [Desk(generator, Limit(ceiling, now), answered_at=now) for generator in generators]
        self.model, self.revision = generators[0].model, generators[0].revision
        self.logprob_semantics = generators[0].logprob_semantics
        self._queue = Queue(self.desks)
        self._watch = Watch(self._queue, bounds, self._admit)
        self._checking = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._watch.start()
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await self._watch.stop()
        await asyncio.gather(*(desk.generator.close() for desk in self.desks))

    async def check(self) -> None:
        """Find out which generators can answer; those that are only down are asked again until they are up.

        Raises:
            Unreachable: All are down.
            ServerError: One has another model, other weights, or no log-probabilities.
        """
        checks = [desk.generator.check() for desk in self.desks]
        errors = dict(zip(self.desks, await asyncio.gather(*checks, return_exceptions=True), strict=True))
        for error in errors.values():
            if isinstance(error, BaseException) and not isinstance(error, Unreachable):
                raise error
        up = [desk for desk, error in errors.items() if error is None]
        if not up:
            raise next(error for error in errors.values() if isinstance(error, Unreachable))
        self.revision = up[0].generator.revision
        for desk, error in errors.items():
            if isinstance(error, Unreachable):
                logger.warning("%s It is asked again until it is up; %d others work.", error, len(up))
                self._watch.suspect(desk)
            else:
                self._require_same(desk)
        kinds = {desk.generator.logprob_semantics for desk in up}
        self.logprob_semantics = kinds.pop() if len(kinds) == 1 else "unknown"

    async def complete(
        self, request_id: str, request: Request, sampling: Sampling, near: str = "", tally: Tally | None = None
    ) -> Reply:
        """Answer one request, at whichever generator has room, as often as may help.

        The deadline counts the time at generators and between attempts, not the time in the queue. A refusal for
        want of room is no attempt.

        Args:
            near: Names what it shares a prefix with.

        Raises:
            Refused: No reply will come; ``deadline``, or the fault of the last attempt.
            ServerError: No request can be answered any more.
        """
        reply: Reply
        reply, attempt = await self._answer(
            lambda generator: generator.complete(request_id, request, sampling), near, tally or Tally()
        )
        return reply if attempt == 1 else replace(reply, attempt=attempt)

    async def score(
        self, prompts: Sequence[Prompt], token_ids: tuple[int, ...], sampling: Sampling, near: str = ""
    ) -> list[Score]:
        """Return how likely a text is after each prompt, found where ``complete`` would be; see the protocol.

        Raises:
            Refused, ServerError: As for ``complete``.
        """
        scores, _ = await self._answer(lambda generator: generator.score(prompts, token_ids, sampling), near, Tally())
        return list(scores)

    async def _answer(self, ask: Ask, near: str, tally: Tally) -> tuple[Any, int]:
        """Return what a generator answered, and at which attempt."""
        left, attempt = self.bounds.deadline_seconds, 1
        again, refused_since = False, 0.0
        while True:
            desk = await self._queue.take(near, again=again)
            tally.requests_sent += 1
            sent_at = time.monotonic()
            one = Attempt(ask, desk, sent_at, sent_at + left, tally)
            try:
                answer = await self._ask(one)
                return answer, max(attempt, 1 if one.answer is None else 2)
            except TryAgain as error:
                reason = error.reason
            except ServerError as error:
                self._watch.exclude(desk, error)
                reason = "excluded"
            again = True
            left -= time.monotonic() - sent_at
            if reason == "overloaded":
                tally.refusals += 1
                self._require_room(sent_at, refused_since)
                refused_since = refused_since or sent_at
            if reason in ("overloaded", "excluded"):
                continue
            # Full jitter, doubling: a server that stumbles is not hit by all at once.
            pause = random.uniform(0, 0.25 * 2**attempt)  # noqa: S311
            if attempt == self.bounds.attempts or left <= pause:
                await self._require_working(sent_at)
                raise Refused(reason if attempt == self.bounds.attempts else "deadline")
            attempt, left = attempt + 1, left - pause
            tally.retries += 1
            await asyncio.sleep(pause)

    async def quiet(self) -> None:
        """Wait until so few requests wait that something new may be begun.

        Raises:
            ServerError: Nothing answers any more.
        """
        await self._queue.quiet()

    @property
    def state(self) -> str:
        """How the generators do, in a few words for a line of progress."""
        up = sum(desk.is_usable for desk in self.desks)
        servers = f"{up} of {len(self.desks)} servers up" if len(self.desks) > 1 or not up else "server up"
        return f"{servers}, {sum(desk.num_open for desk in self.desks):,} open"

    async def _ask(self, one: Attempt) -> Any:
        desk = one.desk
        try:
            with self._watch.watched(one):
                async with one.scope:
                    answer = await one.ask(desk.generator)
            self._watch.note_answer(desk, time.monotonic() - one.begun)
        except TimeoutError:
            if one.answer is not None:
                return one.answer
            raise TryAgain("connection" if one.is_lost else "deadline") from None
        except TryAgain as error:
            self._watch.faulted(desk, error, one.begun)
            raise
        finally:
            self._queue.give_back(desk)
        return answer

    async def _admit(self, desk: Desk) -> None:
        """Find out whether a generator that came up is the one that is needed."""
        await desk.generator.check()
        self._require_same(desk)

    def _require_same(self, desk: Desk) -> None:
        if desk.generator.revision != self.revision:
            raise ServerError(
                f"comparing the servers of {self.model!r}: they name different weights "
                f"({desk.generator.revision or 'none'} at {desk.generator.name}, {self.revision or 'none'} elsewhere); "
                "all must serve one model. Mend the urls, or set the revision if the weights are the same."
            )
        desk.is_admitted = True

    def _require_room(self, now: float, refused_since: float) -> None:
        """Give up a request that is refused for as long as its deadline while others are answered."""
        is_late = refused_since and now - refused_since > self.bounds.deadline_seconds
        if is_late and max(desk.answered_at for desk in self.desks) > refused_since:
            raise Refused("overloaded")

    async def _require_working(self, since: float) -> None:
        """Make sure that a request is at fault and not its generator, which would turn a whole corpus into drops.

        Raises:
            ServerError: Nothing was answered since then, and a plain question is not answered either.
        """
        async with self._checking:
            if max(desk.answered_at for desk in self.desks) > since:
                return
            usable = [desk for desk in self.desks if desk.error is None]
            found = await asyncio.gather(*(desk.generator.check() for desk in usable), return_exceptions=True)
            for desk, error in zip(usable, found, strict=True):
                if error is None:
                    desk.answered_at = time.monotonic()
            errors = [error for error in found if isinstance(error, BaseException)]
            if len(errors) == len(found):
                raise errors[0]

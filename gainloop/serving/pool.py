"""Generators of one model, kept full: the one place that knows limits, retries, deadlines and outages."""

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self

from gainloop.asking.conversation import alone
from gainloop.serving import Denied, Generator, Refused, Score, TryAgain, Unreachable
from gainloop.serving.allowance import OVER_BUDGET, Allowance, Pay
from gainloop.serving.queue import Desk, Limit, Queue, Work
from gainloop.serving.watch import Ask, Attempt, Tally, Watch
from schemas.errors import ServerError
from schemas.profile import Generation
from schemas.recipe import Sampling
from schemas.rows import Prompt, Reply, Request

PROVING_SECONDS, PROVING_ATTEMPTS = 60.0, 3
"""How long a generator that is doubted has for one reply, at least, and its tries where a fault may pass."""

MANY_WITHHELD = 16
"""Replies withheld in a row from which on it may be all: a filter looks at each for itself."""

PASSING = ("connection", "overloaded", "server_error")
"""Faults of a generator that may be back by itself."""

PLAIN = "Write one sentence about a mill."

logger = logging.getLogger("gainloop.pool")


class Pool:
    """Answers requests with several generators of one model; an async context manager.

    Args:
        generators: Servers or engines that have the same weights.
        bounds: ``max_in_flight`` is shared out among them evenly.
        players: Pools of the models that play a part in this one's place, by role; they live as long as this one.
    """

    def __init__(
        self, generators: Sequence[Generator], bounds: Generation, players: Mapping[str, "Pool"] | None = None
    ) -> None:
        now, ceiling = time.monotonic(), -(-bounds.max_in_flight // len(generators))
        self.bounds = bounds
        self.desks = [Desk(generator, Limit(ceiling, now), answered_at=now) for generator in generators]
        self.model, self.revision = generators[0].model, generators[0].revision
        self.logprob_semantics = generators[0].logprob_semantics
        self._queue = Queue(self.desks)
        self._watch = Watch(self._queue, bounds, self._admit)
        self._checking = asyncio.Lock()
        self._num_proofs = 0
        self._allowances: dict[str, Allowance] = {}
        self.driven: list[Tally] = []  # what its drivers count, in their order
        self._players = dict(players or {})
        self._others = list(dict.fromkeys(self._players.values()))

    async def __aenter__(self) -> Self:
        self._watch.start()
        for other in self._others:
            await other.__aenter__()
        return self

    async def __aexit__(self, *_failure: object) -> None:
        for other in self._others:
            await other.__aexit__()
        await self._watch.stop()
        await asyncio.gather(*(desk.generator.close() for desk in self.desks))

    def of(self, role: str) -> "Pool":
        """Return the pool that answers requests of a role: this one, where no other model plays it."""
        return self._players.get(role, self)

    async def check(self) -> None:
        """Find out which generators can answer; those that are only down are asked again until they are up.

        So are those of the models that play a part; ``logprob_semantics`` is of all.

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
        for other in self._others:
            await other.check()
        kinds = {desk.generator.logprob_semantics for desk in up} | {one.logprob_semantics for one in self._others}
        self.logprob_semantics = kinds.pop() if len(kinds) == 1 else "unknown"

    async def complete(
        self,
        request_id: str,
        request: Request,
        sampling: Sampling,
        near: str = "",
        tally: Tally | None = None,
        pay: Pay | None = None,
    ) -> Reply:
        """Answer one request, at whichever generator has room, as often as may help.

        The deadline counts the time at generators and between attempts, not the time in the queue. A refusal for
        want of room is no attempt.

        Args:
            near: Names what it shares a prefix with.
            pay: Tells whether one more attempt may be sent, where a budget bounds them; none is sent beside another.

        Raises:
            Refused: No reply will come; ``deadline``, ``over_budget``, or the fault of the last attempt.
            ServerError: No request can be answered any more.
        """
        reply: Reply
        work = request, sampling
        reply, attempt = await self._answer(
            lambda generator: generator.complete(request_id, request, sampling), near, tally or Tally(), work, pay
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

    async def _answer(
        self, ask: Ask, near: str, tally: Tally, work: Work | None = None, pay: Pay | None = None
    ) -> tuple[Any, int]:
        """Return what a generator answered, and at which attempt.

        Args:
            work: Request and sampling of a reply.
            pay: As for ``complete``.
        """
        left, attempt = self.bounds.deadline_seconds, 1
        again, owes, refused_since = False, False, 0.0
        while True:
            if owes and pay and not await pay():
                raise Refused(OVER_BUDGET)
            owes = False
            desk = await self._queue.take(near, again=again)
            tally.requests_sent += 1
            sent_at = time.monotonic()
            one = Attempt(ask, desk, sent_at, sent_at + left, tally, is_alone=pay is not None)
            try:
                answer = await self._ask(one)
                if work and one.answer is None:
                    desk.answered[isinstance(work[0].prompt, str)] = work
                return answer, max(attempt, 1 if one.answer is None else 2)
            except TryAgain as error:
                reason = error.reason
            except (Refused, Denied) as error:
                reason = await self._doubt(desk, error, sent_at, work)
                if not reason:
                    raise error if isinstance(error, Refused) else Refused("rejected") from None
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
                await self._require_working(sent_at, work)
                raise Refused(reason if attempt == self.bounds.attempts else "deadline")
            attempt, left, owes = attempt + 1, left - pause, True
            tally.retries += 1
            await asyncio.sleep(pause)

    def allowance(self, batch_id: str, tokens: int, taken: int) -> Allowance:
        """Return what the requests of a batch may take together, whichever shard of this process sends them.

        Args:
            tokens: Tokens of the whole batch.
            taken: Tokens of the replies that landed before.
        """
        return self._allowances.setdefault(batch_id, Allowance(tokens, taken))

    def find_allowance(self, batch_id: str) -> Allowance | None:
        """Return what the requests of a batch may take together, or None if no shard of this process has asked yet."""
        return self._allowances.get(batch_id)

    async def quiet(self) -> None:
        """Wait until so few requests wait that something new may be begun.

        Raises:
            ServerError: Nothing answers any more.
        """
        await self._queue.quiet()
        for other in self._others:
            await other.quiet()

    @property
    def state(self) -> str:
        """How the generators and the models that play a part do, in a few words for a line of progress.

        A server that has two of the models counts twice.
        """
        pools = self.pools
        up, servers = sum(one.num_up for one in pools), sum(len(one.desks) for one in pools)
        told = f"{up} of {servers} servers up" if servers > 1 or not up else "server up"
        return f"{told}, {sum(one.num_open for one in pools):,} open"

    @property
    def pools(self) -> list["Pool"]:
        """This one, and those of the models that play a part in its place."""
        return [self, *self._others]

    @property
    def num_up(self) -> int:
        """Generators that can be asked; none of those that play a part."""
        return sum(desk.is_usable for desk in self.desks)

    @property
    def num_open(self) -> int:
        """Requests that are open at all generators; at none of those that play a part."""
        return sum(desk.num_open for desk in self.desks)

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

    async def _doubt(self, desk: Desk, error: Refused | Denied, sent_at: float, work: Work | None) -> str:
        """Find out who is at fault that a request was refused, and exclude a generator that refuses all work.

        A spent budget or a lost key would turn a whole corpus into drops, one by one.

        Returns:
            Nothing if it is the request; why it must be asked again otherwise.
        """
        if isinstance(error, Refused):
            desk.num_withheld += error.reason == "refusal"
            if not error.said or (error.reason == "refusal" and desk.num_withheld < MANY_WITHHELD):
                return ""
        async with desk.doubting:
            if desk.proven_at > sent_at:
                return ""
            if desk.error is not None:
                return "excluded"
            try:
                await self._prove(desk, work)
                return ""
            except Unreachable:
                return "server_error"
            except ServerError as failure:
                found = failure
        self._watch.exclude(desk, error if isinstance(error, Denied) else found)
        return "excluded"

    async def _require_working(self, since: float, work: Work | None) -> None:
        """Make sure that a request is at fault and not its generator, which would turn a whole corpus into drops.

        Raises:
            ServerError: Nothing that was sent since then was answered, and neither is what was answered before.
        """
        async with self._checking:
            if max(desk.proven_at for desk in self.desks) > since:
                return
            usable = [desk for desk in self.desks if desk.error is None]
            found = await asyncio.gather(*(self._check(desk, work) for desk in usable), return_exceptions=True)
            errors = [error for error in found if isinstance(error, BaseException)]
            if len(errors) == len(found):
                raise errors[0]

    async def _check(self, desk: Desk, work: Work | None) -> None:
        await desk.generator.check()  # it knows best what is wrong, if it finds it
        await self._prove(desk, work)

    async def _prove(self, desk: Desk, work: Work | None) -> None:
        """Have a generator answer once more what was answered before, or a plain request of the same kind.

        Its seed is another one: no cache knows the reply.

        Args:
            work: Request that was not answered, and its sampling.

        Raises:
            ServerError: It does not.
        """
        begun = time.monotonic()
        answered = desk.answered.get(isinstance(work[0].prompt, str)) if work else None
        known = answered or (work and (_plain(work[0]), work[1]))
        if known is None:
            await desk.generator.check()
        elif fault := await self._ask_for_proof(desk.generator, *known):
            kind = Unreachable if fault.reason in PASSING else ServerError
            what = "what it answered before" if answered else "a plain request"
            raise kind(
                f"asking {desk.generator.name}: it does not answer {what} ({fault.said or fault.reason}); a server "
                "must answer work of this kind. Mend what it says is wrong, its budget or settings, or give another "
                "url, then run the same again: what landed is kept."
            )
        desk.proven_at = desk.answered_at = max(begun, desk.proven_at)

    async def _ask_for_proof(
        self, generator: Generator, request: Request, sampling: Sampling
    ) -> TryAgain | Refused | None:
        """Return the fault of the last try; None if it answered. Want of room is no try."""
        fault: TryAgain | Refused = TryAgain("deadline")
        tries = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(max(PROVING_SECONDS, self.bounds.deadline_seconds)):
                while tries < PROVING_ATTEMPTS:
                    self._num_proofs += 1  # what one draw did not pass, another may
                    try:
                        await generator.complete(f"{self._num_proofs:08x}", request, sampling)
                        return None
                    except (Refused, TryAgain) as error:
                        if isinstance(error, Refused) and not error.said:
                            return None  # it answers: a draw of this request was cut off, say, and another was not
                        fault = error
                    tries += fault.reason != "overloaded"
                    await asyncio.sleep(getattr(fault, "after_seconds", 0) or 0.25 * 2**tries)
        return fault


def _plain(like: Request) -> Request:
    """Return a short request of the same kind: a chat, or a raw prompt."""
    return Request(PLAIN if isinstance(like.prompt, str) else alone(PLAIN))

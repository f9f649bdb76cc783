"""The one place that runs methods: it alone knows concurrency, retries, deadlines and resume."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from random import Random

from schemas.identity import content_hash
from schemas.profile import Generation
from schemas.recipe import Sampling
from schemas.rows import Anchor, Answer, Drop, Outcome, Reply, Request
from tasks.methods.method import Method
from tasks.serving import Generator, Refused, TryAgain
from tasks.store.replies import ReplyLog

Rows = list[dict[str, object]]


@dataclass
class Progress:
    """What the driver has done so far in this run."""

    anchors_total: int
    anchors_done: int = 0
    requests_sent: int = 0
    replies_reused: int = 0
    retries: int = 0
    drops: int = 0
    records: int = 0


@dataclass
class Driver:
    """Steps every anchor of a shard on its own and keeps the generator busy.

    A request's id is the hash of everything that decides its reply. So a rerun finds the replies
    that landed, sends only what is missing, and ends with the same records.
    """

    method: Method
    generator: Generator
    sampling: Sampling
    seed: int
    bounds: Generation
    replies: ReplyLog
    on_progress: Callable[[Progress], None] = lambda _progress: None
    progress: Progress = field(init=False)
    _open: asyncio.Semaphore = field(init=False)

    async def run(self, anchors: list[Anchor]) -> dict[str, Outcome]:
        """Return what came of every anchor, by anchor id.

        Raises:
            ServerError: No request can be answered; what has landed stays.
            StoreError: Replies cannot be written down.
        """
        self.progress = Progress(len(anchors))
        self._open = asyncio.Semaphore(self.bounds.max_in_flight)
        outcomes: dict[str, Outcome] = {}
        try:
            async with self.replies, asyncio.TaskGroup() as under_way:
                for anchor in anchors:
                    # An anchor begins when a request could be sent: those under way do not grow with the corpus.
                    async with self._open:
                        under_way.create_task(self._work(anchor, outcomes))
                    await asyncio.sleep(0)  # lets it ask before the next begins
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        return outcomes

    async def _work(self, anchor: Anchor, outcomes: dict[str, Outcome]) -> None:
        outcome = outcomes[anchor.anchor_id] = await self._step(anchor)
        self.progress.anchors_done += 1
        self.progress.records += len(outcome.records)
        self.progress.drops += len(outcome.drops)
        self.on_progress(self.progress)

    async def _step(self, anchor: Anchor) -> Outcome:
        rounds = self.method.rounds(anchor, Random(f"{self.seed}/{anchor.anchor_id}"))  # noqa: S311
        try:
            requests = next(rounds)
            while True:
                async with asyncio.TaskGroup() as round_:
                    asked = [round_.create_task(self._answer(anchor, request)) for request in requests]
                requests = rounds.send([answer.result() for answer in asked])
        except StopIteration as end:
            outcome = end.value
            assert isinstance(outcome, Outcome)
            return outcome

    async def _answer(self, anchor: Anchor, request: Request) -> Answer:
        request_id = name_request(self.generator, request, self.sampling, self.seed)
        if landed := self.replies.landed.get(request_id):
            self.progress.replies_reused += 1
            return landed
        async with self._open:
            answer = await self._ask(anchor, request_id, request)
        if isinstance(answer, Reply):
            await self.replies.land(answer, anchor.anchor_id, request.facet)
        return answer

    async def _ask(self, anchor: Anchor, request_id: str, request: Request) -> Answer:
        """Return the reply, or the drop that stands for it when the deadline or the attempts are used up.

        A request is at fault only if the generator still answers others: one that is down would turn
        a whole corpus into drops, so it is asked, and stops the run if it is.
        """
        try:
            async with asyncio.timeout(self.bounds.deadline_seconds):
                return await self._attempt(request_id, request)
        except Refused as error:
            return Drop(anchor.anchor_id, request.facet, error.reason, request_id)
        except (TimeoutError, TryAgain) as error:
            reason = error.reason if isinstance(error, TryAgain) else "deadline"
        await self.generator.check()
        return Drop(anchor.anchor_id, request.facet, reason, request_id)

    async def _attempt(self, request_id: str, request: Request) -> Reply:
        for attempt in range(1, self.bounds.attempts + 1):
            try:
                self.progress.requests_sent += 1
                return await self.generator.complete(request_id, request, self.sampling)
            except TryAgain as error:
                if attempt == self.bounds.attempts:
                    raise
                self.progress.retries += 1
                # Full jitter, doubling from half a second: restarted servers are not hit by all at once.
                await asyncio.sleep(max(error.after_seconds, random.uniform(0, 0.5 * 2**attempt)))  # noqa: S311
        raise AssertionError("a driver with no attempts sends nothing")


def name_request(generator: Generator, request: Request, sampling: Sampling, seed: int) -> str:
    """Return the request's id: the hash of everything that decides its reply."""
    asked = [request.prompt_id, request.draw, sampling.model_dump(mode="json"), seed]
    return content_hash("request", generator.model, generator.revision, asked)


def _first(failures: BaseExceptionGroup) -> BaseException:
    """Return the failure that came first: the others were cancelled for it."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def outcome_rows(batch_id: str, outcomes: dict[str, Outcome]) -> tuple[Rows, Rows]:
    """Return the rows of records and of drops, in an order that no schedule changes."""
    records, drops = [], []
    for _, outcome in sorted(outcomes.items()):
        for record in outcome.records:
            size = len(record.text.encode())
            records.append(asdict(record) | {"batch_id": batch_id, "record_id": record.record_id, "num_bytes": size})
        drops += [asdict(drop) | {"batch_id": batch_id} for drop in outcome.drops]
    return records, drops

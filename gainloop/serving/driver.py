"""The one place that runs methods and inquiries: every anchor steps on its own, and a rerun re-uses what landed.

A shard is one run of it over some anchors; a replay is one without a generator, over the replies that landed.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple, Protocol

from gainloop.methods.pipeline import advance, read_pipeline
from gainloop.serving import Refused
from gainloop.serving.allowance import OVER_BUDGET, Allowance, Bill, most_tokens
from gainloop.serving.calls import Caller, calling
from gainloop.serving.pool import Pool
from gainloop.serving.verdicts import Verdicts
from gainloop.serving.watch import Tally
from gainloop.store import Store
from gainloop.store.batches import open_anchors
from gainloop.store.replies import ReplyLog, Span, compact_replies, landed_tokens
from gainloop.tools.servers import ServerLike
from schemas.conversation import write_turns
from schemas.errors import ServerError
from schemas.recipe import Recipe, Sampling
from schemas.rows import VERIFY, Anchor, Answer, Drop, Outcome, Record, Reply, Request, Rounds, content_hash

Rows = list[dict[str, object]]

_RECORD_FIELDS = tuple(one.name for one in fields(Record))


@dataclass
class Progress(Tally):
    """What has been done so far in this run, of a shard or of several."""

    anchors_total: int = 0
    anchors_done: int = 0
    replies: int = 0
    replies_reused: int = 0
    records: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    lost_tokens: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    state: str = ""

    @property
    def sent(self) -> str:
        """How many requests were sent, and how many replies were there already."""
        return f"{self.requests_sent:,} requests sent, {self.replies_reused:,} replies from before"

    def add(self, other: "Progress") -> "Progress":
        """Return the sum of two; the state is the other's."""
        summed = {
            name: value + getattr(other, name) for name, value in vars(self).items() if name not in ("drops", "state")
        }
        reasons = {**self.drops, **other.drops}
        drops = {reason: self.drops.get(reason, 0) + other.drops.get(reason, 0) for reason in reasons}
        return Progress(**summed, drops=drops, state=other.state or self.state)


LeadsOn = Callable[[Anchor, Request, Answer], bool]


class Trial(NamedTuple):
    """What came of the first few anchors of a batch.

    Attributes:
        firsts: First request of each anchor and the answer to it, in the order of the anchors.
        outcomes: Outcome of each anchor that was worked to its end, by anchor id.
    """

    firsts: list[tuple[Request, Answer]]
    outcomes: dict[str, Outcome]


class Work(Protocol):
    """Requests about each anchor, and what comes of their replies: a recipe's pipeline, or a judge's inquiry."""

    def rounds(self, anchor: Anchor, seed: int) -> Rounds: ...


@dataclass
class Driver:
    """Steps every anchor of a shard on its own and keeps the pool busy.

    A request's id is the hash of everything that decides its reply. So a rerun finds the replies
    that landed, sends only what is missing, and ends with the same records.
    """

    pipeline: Work
    pool: Pool
    sampling: Sampling
    seed: int
    replies: ReplyLog
    on_progress: Callable[[Progress], None] = lambda _progress: None
    progress: Progress = field(default_factory=Progress)
    allowance: Allowance | None = None
    calls: Caller = field(default_factory=Caller)
    verdicts: Verdicts = field(init=False)
    _sampling: dict[str, Any] = field(init=False)
    _greedy: Sampling = field(init=False)

    def __post_init__(self) -> None:
        self.pool.driven.append(self.progress)
        self._greedy = self.sampling.model_copy(update={"temperature": 0.0})
        self._sampling = self.sampling.model_dump(mode="json")
        self.verdicts = Verdicts(self.replies if getattr(self.pipeline, "verifies", False) else None)

    async def run(self, anchors: Iterable[Anchor]) -> dict[str, Outcome]:
        """Return what came of every anchor, by anchor id.

        Raises:
            ServerError: No request can be answered; what has landed stays.
            StoreError: Replies cannot be written down.
        """
        anchors = list(anchors)
        self.progress.anchors_total = len(anchors)
        outcomes: dict[str, Outcome] = {}
        try:
            async with self.replies, self.verdicts.of(anchors), asyncio.TaskGroup() as running:
                for anchor in anchors:
                    await self.pool.quiet()
                    running.create_task(self._work(anchor, outcomes))
                    await asyncio.sleep(0)  # lets it ask before the next begins
        except BaseExceptionGroup as failures:
            raise first_failure(failures) from None
        return outcomes

    async def try_out(self, anchors: list[Anchor], num_whole: int, leads_on: LeadsOn) -> Trial:
        """Send the first request that the method has for each anchor, and work the first ``num_whole`` of those whose
        reply leads on to their end; none waits for the reply of another. All replies are kept for the run.

        Args:
            leads_on: Function that tells from an anchor, its first request and the answer whether that can be used.
        """
        requests = [next(self.pipeline.rounds(anchor, self.seed))[0] for anchor in anchors]
        firsts: list[Answer | None] = [None] * len(anchors)
        outcomes: dict[str, Outcome] = {}
        begun: set[int] = set()

        async def ask(number: int) -> None:
            anchor, request = anchors[number], requests[number]
            firsts[number] = await self._answer(anchor, request, self._name(request))
            for one in _leading(firsts, num_whole, lambda at, answer: leads_on(anchors[at], requests[at], answer)):
                if one not in begun:
                    begun.add(one)
                    running.create_task(finish(one, firsts[one]))

        async def finish(number: int, first: Answer | None) -> None:
            assert first is not None
            anchor, name = anchors[number], self._name(requests[number])
            outcomes[anchor.anchor_id] = await self._step(anchor, {name: first})

        try:
            async with self.replies, self.verdicts.of(anchors), asyncio.TaskGroup() as running:
                for number in range(len(anchors)):
                    running.create_task(ask(number))
        except BaseExceptionGroup as failures:
            raise first_failure(failures) from None
        answers = [answer for answer in firsts if answer is not None]
        return Trial(list(zip(requests, answers, strict=True)), outcomes)

    async def _work(self, anchor: Anchor, outcomes: dict[str, Outcome]) -> None:
        outcome = outcomes[anchor.anchor_id] = await self._step(anchor)
        progress = self.progress
        progress.anchors_done += 1
        progress.records += len(outcome.records)
        for drop in outcome.drops:
            progress.drops[drop.reason] = progress.drops.get(drop.reason, 0) + 1
        if progress.anchors_done % 32 == 1:
            progress.state = self.pool.state
        self.on_progress(progress)

    async def _step(self, anchor: Anchor, known: Mapping[str, Answer] | None = None) -> Outcome:
        """Work one anchor to its end.

        Args:
            known: Answers that are there already, by request id.
        """
        rounds = self.pipeline.rounds(anchor, self.seed)
        answers: dict[str, Answer] = dict(known or {})
        step = advance(rounds, None)
        while not isinstance(step, Outcome):
            names = [self._name(request) for request in step]
            await self._ask(anchor, dict(zip(names, step, strict=True)), answers)
            step = advance(rounds, [answers[name] for name in names])
        step.drops.extend(unanswered_drops(step, answers))
        return step

    async def _ask(self, anchor: Anchor, named: dict[str, Request], answers: dict[str, Answer]) -> None:
        """Send the requests that were not sent before: two records, or two rounds, may lead to the same one."""
        new = {name: request for name, request in named.items() if name not in answers}
        if not new:
            return
        if len(new) == 1:
            ((name, request),) = new.items()
            answers[name] = await self._answer(anchor, request, name)
            return
        async with asyncio.TaskGroup() as round_:
            sent = {name: round_.create_task(self._answer(anchor, request, name)) for name, request in new.items()}
        answers |= {name: task.result() for name, task in sent.items()}

    def _name(self, request: Request) -> str:
        asked = self.pool.of(request.role)
        return name_request(asked.model, asked.revision, request, self._sampling, self.seed)

    async def _answer(self, anchor: Anchor, request: Request, request_id: str) -> Answer:
        """Return the reply, which is on disk, or the drop that stands for it."""
        if request.role == VERIFY:
            return await self.verdicts.give(anchor, request, request_id)
        if landed := self.replies.take(request_id):
            self.progress.replies_reused += 1
            return landed
        if self.calls.takes(request):
            return await self.calls.make(anchor, request, request_id, self.replies)
        sampling = self._greedy if request.greedy else self.sampling
        pay = Bill(self.allowance, most_tokens(request, sampling)) if self.allowance else None
        if pay and not await pay():
            return Drop(anchor.anchor_id, request.facet, OVER_BUDGET, request_id)
        reply = None
        try:
            asked, near = self.pool.of(request.role), anchor.anchor_id
            reply = await asked.complete(request_id, request, sampling, near, self.progress, pay)
        except Refused as error:
            return Drop(anchor.anchor_id, request.facet, error.reason, request_id)
        finally:
            if pay:
                await pay.settle(reply)
                self.progress.lost_tokens += pay.lost
        await self.replies.land(reply, anchor.anchor_id, request.facet)
        self.progress.replies += 1
        self.progress.prompt_tokens += reply.prompt_tokens
        self.progress.completion_tokens += reply.completion_tokens
        return reply


def _leading(firsts: Sequence[Answer | None], most: int, leads_on: Callable[[int, Answer], bool]) -> Iterator[int]:
    """Yield the number of each answer that is among the first ``most`` to lead on, whatever those still out will say.

    So which anchors are worked to their end does not depend on whose reply was the quickest.
    """
    places = most
    for number, answer in enumerate(firsts):
        if not places:
            return
        if answer is None:
            places -= 1
        elif leads_on(number, answer):
            places -= 1
            yield number


def name_request(model: str, revision: str, request: Request, sampling: dict[str, Any], seed: int) -> str:
    """Return the request's id: the hash of everything that decides its reply; ``sampling`` as a dict."""
    if request.greedy:
        sampling = sampling | {"temperature": 0.0}
    role = [request.role] if request.role else []  # without one, ids are as they were before there were roles
    return content_hash("request", model, revision, [request.prompt_id, request.draw, sampling, seed, *role])


def unanswered_drops(outcome: Outcome, answers: Mapping[str, Answer]) -> list[Drop]:
    """Return the requests that got no reply and are in no drop of an outcome: a lost verdict, say, beside ``unjudged``.

    Args:
        answers: An anchor's answers, by request id.
    """
    dropped = {drop.request_id for drop in outcome.drops}
    return [one for name, one in answers.items() if isinstance(one, Drop) and name not in dropped]


def first_failure(failures: BaseExceptionGroup) -> BaseException:
    """Return the failure that came first: the others were cancelled for it."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


async def run_shard(
    store: Store,
    replies: str,
    recipe: Recipe,
    pool: Pool,
    span: Span,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
    servers: Mapping[str, ServerLike] | None = None,
    settled: Collection[int] | None = None,
) -> Progress:
    """Make the records of one shard; after a crash only what had not landed is asked for again.

    Args:
        replies: The folder of the batch's replies.
        span: The shard's anchors in the order of the batch.
        servers: Servers of real tools by name, for a method that calls them.
        settled: Places in the order of anchors that have an outcome. Default: they are looked for.

    Raises:
        ServerError: No request can be answered, or the shard took longer than ``shard_seconds``; what landed stays.
        StoreError: Replies or rows cannot be written.
    """
    anchors = await asyncio.to_thread(open_anchors, store, recipe.batch_id, span, settled)
    if not anchors:
        return Progress()
    log = await asyncio.to_thread(ReplyLog.open, replies, span, [anchor.anchor_id for anchor in anchors])
    allowance = None
    if recipe.budget_tokens is not None:
        allowance = pool.find_allowance(recipe.batch_id)
        if allowance is None:  # the first shard of this process reads what landed; the others count on
            taken = sum(await asyncio.to_thread(landed_tokens, replies))
            allowance = pool.allowance(recipe.batch_id, recipe.budget_tokens, taken)
    pipeline = read_pipeline(recipe)
    driver = Driver(pipeline, pool, recipe.sampling, recipe.seed, log, on_progress, allowance=allowance)
    try:
        async with calling(pipeline.method, servers, pool.bounds.tool_seconds) as driver.calls:
            async with asyncio.timeout(pool.bounds.shard_seconds):
                outcomes = await driver.run(anchors)
    except TimeoutError:
        raise ServerError(
            f"generating batch {recipe.batch_id}: anchors {span.begin} to {span.end} are not done after "
            f"{pool.bounds.shard_seconds:g} s, {driver.progress.anchors_done} of {len(anchors)} are; a shard has that "
            "long. Raise generation.shard_seconds or lower shard_anchors, and run the same again: what landed is kept."
        ) from None
    await asyncio.to_thread(compact_replies, replies, span)
    await asyncio.to_thread(insert_outcomes, store, recipe.batch_id, outcomes)
    return driver.progress


def insert_outcomes(store: Store, batch_id: str, outcomes: dict[str, Outcome]) -> None:
    """Write down what came of some anchors, in one transaction."""
    records, drops = outcome_rows(batch_id, outcomes)
    store.insert(**({"records": records} if records else {}), **({"drops": drops} if drops else {}))


def outcome_rows(batch_id: str, outcomes: dict[str, Outcome]) -> tuple[Rows, Rows]:
    """Return the rows of records and of drops, in an order that no schedule changes."""
    records, drops = [], []
    for _, outcome in sorted(outcomes.items()):
        records += [_as_row(record, batch_id) for record in outcome.records]
        drops += [asdict(drop) | {"batch_id": batch_id} for drop in outcome.drops]
    return records, drops


def _as_row(record: Record, batch_id: str) -> dict[str, object]:
    own = {name: getattr(record, name) for name in _RECORD_FIELDS}  # asdict copies deeply: 15 us a record
    made = {"batch_id": batch_id, "record_id": record.record_id, "num_bytes": len(record.text.encode())}
    return own | made | {"turns": write_turns(record.turns)}


def replay(recipe: Recipe, anchor: Anchor, replies: Mapping[str, Reply]) -> dict[str, Request]:
    """Return the requests of one anchor by their ids.

    Args:
        replies: Replies and verdicts by request id, see ``read_answers``; what is missing is replayed as a drop, and
            nothing is verified again.
    """
    sampling: dict[str, Any] = recipe.sampling.model_dump(mode="json")
    asked: dict[str, Request] = {}
    rounds = read_pipeline(recipe).rounds(anchor, recipe.seed)
    try:
        requests = next(rounds)
        while True:
            keys = [name_request(*recipe.played_by(one.role), one, sampling, recipe.seed) for one in requests]
            named = list(zip(keys, requests, strict=True))
            asked = dict(named) | asked  # a request that recurs was sent as what it was first
            requests = rounds.send(
                [replies.get(key) or Drop(anchor.anchor_id, one.facet, "unanswered", key) for key, one in named]
            )
    except StopIteration:
        return asked

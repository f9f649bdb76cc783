import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from gainloop.filters.solved import Solved
from gainloop.methods.entigraph import EntiGraph
from gainloop.methods.method import Method
from gainloop.methods.pipeline import Pipeline
from gainloop.methods.reasoning import Reasoning
from gainloop.methods.rephrase import Rephrase
from gainloop.methods.sbp import SBP
from gainloop.serving import Refused, TryAgain, Unreachable, verdicts
from gainloop.serving.driver import Driver, Progress, name_request, outcome_rows, replay
from gainloop.serving.pool import Pool
from gainloop.serving.server import Server
from gainloop.solutions.problem import Problem, write_problem
from gainloop.solutions.verdict import SolutionVerdict
from gainloop.solutions.verifying import give_verdict
from gainloop.store import group_commit
from gainloop.store.replies import ReplyLog, Span, compact_replies, read_answers, read_replies
from schemas.errors import BadInput, ServerError, StoreError
from schemas.profile import Generation
from schemas.recipe import Recipe, Sampling
from schemas.rows import Anchor, Answer, Drop, Message, Outcome, Reply, Request
from tests.serving.stub_server import Stub, StubOptions, stub_server

ANCHORS = [Anchor(f"The mill number {n} grinds rye for the towns by the river.", f"Mill {n}") for n in range(12)]
STYLES = Rephrase(styles=("easy", "hard"))
PAIRS = EntiGraph(max_entities=4, max_pairs=2, max_triples=1)
ALL = Span(0, len(ANCHORS))
HANG = "no answer for an hour"


@pytest.fixture(autouse=True)
def _quick_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "COMMIT_SECONDS", 0.02)


class Model:
    """A generator that answers by a rule, after a moment, and counts what it was asked.

    Args:
        rule: Given the request, the request's id and the attempt, from 1; it may raise.
    """

    name, model, revision, logprob_semantics = "model", "model", "1", "processed"

    def __init__(self, rule: Callable[[Request, str, int], str] = lambda _r, name, _n: f"text {name}") -> None:
        self.rule, self.attempts = rule, Counter[str]()
        self.open = self.most_open = 0
        self.seconds = 0.001

    async def check(self) -> None: ...

    async def is_up(self) -> bool:
        return True

    async def close(self) -> None: ...

    async def score(self, prompt: str, text: str) -> tuple[float, ...]:
        return ()

    async def complete(self, request_id: str, request: Request, sampling: Sampling) -> Reply:
        self.attempts[request_id] += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await asyncio.sleep(self.seconds)
            text = self.rule(request, request_id, self.attempts[request_id])
            if text == HANG:
                await asyncio.sleep(3600)
            return make_reply(request_id, request, text)
        finally:
            self.open -= 1


class Particular(Model):
    """A generator that refuses every other text, for a reason of its own."""

    def __init__(self, refused: int) -> None:
        super().__init__()
        self.refused = refused

    async def complete(self, request_id: str, request: Request, sampling: Sampling) -> Reply:
        last = str(request.prompt).rstrip("',)")[-1]
        if last.isdigit() and int(last) % 2 == self.refused:
            await asyncio.sleep(self.seconds)
            raise Refused("rejected", "not such a text")
        return await super().complete(request_id, request, sampling)


async def test_a_generator_is_asked_again_for_what_it_answered_itself_and_not_for_what_another_did() -> None:
    async with Pool([Particular(0), Particular(1)], Generation(max_in_flight=2)) as pool:

        async def one(number: int) -> str:
            request = Request((Message("user", f"Text {number}"),))
            try:
                return (await pool.complete(f"{number:016x}", request, Sampling(max_tokens=64))).text
            except Refused as error:
                return error.reason

        found = await asyncio.gather(*(one(number) for number in range(0, 80, 2)))
        assert [desk.error for desk in pool.desks] == [None, None]
    assert 0 < found.count("rejected") < len(found)


def make_reply(request_id: str, request: Request, text: str) -> Reply:
    reason = "length" if text.endswith("...") else "stop"
    return Reply(request_id, request.prompt_id, text, (1, 0), (-1.0, -0.5), reason, 9, 2, 0.1, "model")  # type: ignore[arg-type]


def drive(method: Method, model: Model | Server, folder: Path, **bounds: Any) -> Driver:
    log = ReplyLog.open(str(folder), ALL, [anchor.anchor_id for anchor in ANCHORS])
    return Driver(Pipeline(method), Pool([model], Generation(**bounds)), Sampling(max_tokens=64), 0, log)


async def run(driver: Driver, anchors: list[Anchor] = ANCHORS) -> dict[str, Outcome]:
    async with driver.pool:
        return await driver.run(anchors)


async def drops_of(model: Model, folder: Path, **bounds: Any) -> Counter[str]:
    outcomes = await run(drive(STYLES, model, folder, **bounds))
    return Counter(drop.reason for outcome in outcomes.values() for drop in outcome.drops)


async def with_stub(stub: Stub, method: Method, folder: Path, anchors: list[Anchor], **bounds: Any) -> Any:
    return outcome_rows("batch", await run(drive(method, Server(stub.url, "stub", "1"), folder, **bounds), anchors))


@pytest.mark.parametrize("method", [STYLES, PAIRS, SBP(draws=3)], ids=["rephrase", "entigraph", "sbp"])
async def test_neither_the_number_in_flight_nor_the_order_of_anchors_changes_a_record(
    method: Method, tmp_path: Path
) -> None:
    with stub_server() as stub:
        alone = await with_stub(stub, method, tmp_path / "1", ANCHORS, max_in_flight=1)
        assert await with_stub(stub, method, tmp_path / "64", ANCHORS, max_in_flight=64) == alone
        shuffled = Random(0).sample(ANCHORS, len(ANCHORS))
        assert await with_stub(stub, method, tmp_path / "shuffled", shuffled, max_in_flight=5) == alone
    records, drops = alone
    assert len(records) >= len(ANCHORS)
    assert drops == []


async def test_faults_that_pass_change_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, _high: low)
    faults = dict.fromkeys(("server_error", "overloaded", "reset", "malformed", "no_choice", "nan", "aborted"), 0.06)
    with stub_server() as sound, stub_server(StubOptions(faults=faults)) as faulty:
        clean = await with_stub(sound, PAIRS, tmp_path / "sound", ANCHORS)
        assert await with_stub(faulty, PAIRS, tmp_path / "faulty", ANCHORS, attempts=12) == clean
    assert len(faulty.requests) > 1.2 * len(sound.requests)


async def test_every_anchor_has_an_outcome_and_every_request_a_record_or_a_drop(tmp_path: Path) -> None:
    def moody(_request: Request, name: str, _attempt: int) -> str:
        match int(name, 16) % 5:
            case 0:
                raise Refused("rejected")
            case 1:
                raise TryAgain("malformed")
            case 2:
                return " \n"
        return "A text."

    outcomes = await run(drive(STYLES, Model(moody), tmp_path, attempts=1))
    assert outcomes.keys() == {anchor.anchor_id for anchor in ANCHORS}
    assert {len(outcome.records) + len(outcome.drops) for outcome in outcomes.values()} == {2}


async def test_no_more_is_open_than_max_in_flight_and_no_less(tmp_path: Path) -> None:
    model = Model()
    await run(drive(STYLES, model, tmp_path, max_in_flight=7))

    assert model.most_open == 7


async def test_replies_that_are_landing_keep_no_other_request_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "COMMIT_SECONDS", 0.3)
    model = Model()
    begun = time.monotonic()
    await run(drive(STYLES, model, tmp_path, max_in_flight=2))

    assert time.monotonic() - begun < 1.5


SUMS = [Anchor(write_problem(Problem(f"What is {n} + 4?", str(n + 4), "mathematics"))) for n in range(6)]
RIGHT = Reasoning(answers=2, keep="right")


def of_sums(request: Request, _name: str, _attempt: int) -> str:
    """Solve rightly in the first draw, and in the second where the sum is even."""
    number = int(str(request.prompt[-1]).partition("What is ")[2].split()[0])
    total = number + 4 + (request.draw if number % 2 else 0)
    return f"THOUGHT\nDraw {request.draw}.\nSOLUTION\nAnswer: {total}"


def solve(folder: Path, model: Model) -> Driver:
    """Drive the method that verifies, and behind it the filter that does."""
    log = ReplyLog.open(str(folder), Span(0, len(SUMS)), [anchor.anchor_id for anchor in SUMS])
    return Driver(Pipeline(RIGHT, (Solved(),)), Pool([model], Generation()), Sampling(max_tokens=64), 0, log)


async def test_verdicts_that_take_long_hold_up_no_other_anchor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(request: Request) -> SolutionVerdict:
        time.sleep(0.2)
        return give_verdict(request)

    quick = await run(solve(tmp_path / "quick", Model(of_sums)), SUMS)
    monkeypatch.setattr(verdicts, "give_verdict", slowly)
    running, longest = asyncio.create_task(run(solve(tmp_path / "slow", Model(of_sums)), SUMS)), 0.0
    while not running.done():
        begun = time.monotonic()
        await asyncio.sleep(0.005)
        longest = max(longest, time.monotonic() - begun)

    assert longest < 0.15
    assert running.result() == quick
    assert Counter(len(one.records) for one in quick.values()) == {1: 3, 2: 3}


async def test_a_verdict_once_given_stands_where_nothing_can_be_verified_or_would_end_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without namespaces, and one on which the clock would have said something else."""

    def too_slow(request: Request) -> SolutionVerdict:
        return "timeout" if "Answer: 4" in str(request.prompt) else give_verdict(request)

    def broken(_request: Request) -> SolutionVerdict:
        raise BadInput("verifying a program: nothing keeps it apart; namespaces are needed. Allow them.")

    monkeypatch.setattr(verdicts, "give_verdict", too_slow)
    first = await run(solve(tmp_path, Model(of_sums)), SUMS)
    reasons = Counter(drop.reason for one in first.values() for drop in one.drops)
    assert reasons == {"wrong": 3, "timeout": 2}
    kept = read_replies(f"{tmp_path}/verdicts")
    assert set(kept["text"]) == {"right", "wrong", "timeout"}
    assert set(kept["anchor_id"]) == {anchor.anchor_id for anchor in SUMS}
    assert not set(kept["request_id"]) & set(read_replies(str(tmp_path))["request_id"])

    monkeypatch.setattr(verdicts, "give_verdict", broken)
    again = solve(tmp_path, model := Model(of_sums))
    assert await run(again, SUMS) == first
    assert model.attempts.total() == again.progress.requests_sent == 0

    recipe = Recipe(
        method=RIGHT.model_dump(mode="json"),
        filters=({"kind": "solved"},),
        snapshot_id="s",
        model="model",
        revision="1",
        sampling=Sampling(max_tokens=64),
        seed=0,
    )
    compact_replies(str(tmp_path))
    landed = read_answers(str(tmp_path))
    asked = [replay(recipe, anchor, landed) for anchor in SUMS]
    assert {name for one in asked for name in one} == set(landed)
    shutil.rmtree(tmp_path / "verdicts")
    with pytest.raises(BadInput, match="nothing keeps it apart"):
        await run(solve(tmp_path, Model(of_sums)), SUMS)


async def test_a_full_rerun_sends_nothing_and_ends_with_the_same(tmp_path: Path) -> None:
    first = await run(drive(PAIRS, Model(_entities), tmp_path))
    model = Model(_entities)
    again = drive(PAIRS, model, tmp_path)

    assert await run(again) == first
    assert model.attempts.total() == again.progress.requests_sent == 0
    assert again.progress.replies_reused == read_replies(str(tmp_path)).height == len(ANCHORS) * 4


@pytest.mark.parametrize("after", [1, 13, 29, 40])
async def test_a_run_cancelled_in_the_middle_sends_again_no_more_than_was_in_flight(after: int, tmp_path: Path) -> None:
    whole = await run(drive(PAIRS, Model(_entities), tmp_path / "whole"))
    before, later = Model(_entities), Model(_entities)
    running = asyncio.create_task(run(drive(PAIRS, before, tmp_path / "cut", max_in_flight=4)))
    while before.attempts.total() < after:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert await run(drive(PAIRS, later, tmp_path / "cut", max_in_flight=4)) == whole
    assert sum(later.attempts[name] for name in before.attempts) <= 4


async def test_replies_of_a_damaged_part_are_asked_for_again_and_no_others(tmp_path: Path) -> None:
    first = await run(drive(PAIRS, Model(_entities), tmp_path))
    damaged, *others = sorted(tmp_path.glob("*.parquet"))
    lost = set(pl.read_parquet(damaged)["request_id"])
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert others

    model = Model(_entities)
    assert await run(drive(PAIRS, model, tmp_path)) == first
    assert set(model.attempts) == lost
    assert read_replies(str(tmp_path)).height == len(ANCHORS) * 4


async def test_first_requests_and_whole_anchors_are_tried_at_once_and_kept_for_the_run(tmp_path: Path) -> None:
    trying, model = drive(PAIRS, Model(_entities), tmp_path), Model(_entities)
    async with trying.pool:
        firsts, outcomes = await trying.try_out(
            ANCHORS[:8], 2, lambda _anchor, _request, answer: isinstance(answer, Reply)
        )
    assert [request.facet for request, _ in firsts] == ["entities"] * 8
    assert all(isinstance(answer, Reply) and answer.text.startswith("{") for _, answer in firsts)
    assert list(outcomes) == [anchor.anchor_id for anchor in ANCHORS[:2]]

    driver = drive(PAIRS, model, tmp_path)
    whole = await run(driver)
    assert whole == await run(drive(PAIRS, Model(_entities), tmp_path / "at once"))
    assert {name: whole[name] for name in outcomes} == outcomes
    assert driver.progress.replies_reused == trying.progress.requests_sent == 8 + 2 * 3
    assert driver.progress.requests_sent == model.attempts.total() == len(ANCHORS) * 4 - 14


async def test_whole_anchors_are_the_first_that_lead_on_whosever_reply_comes_first(tmp_path: Path) -> None:
    wanted = {ANCHORS[number].anchor_id for number in (1, 3)}

    def leads_on(anchor: Anchor, _request: Request, _answer: Answer) -> bool:
        return anchor.anchor_id in wanted | {ANCHORS[5].anchor_id}

    trying = drive(PAIRS, Model(_entities), tmp_path)
    async with trying.pool:
        _, outcomes = await trying.try_out(ANCHORS[:8], 2, leads_on)
    assert outcomes.keys() == wanted


async def test_a_whole_anchor_does_not_wait_for_the_slowest_first_reply(tmp_path: Path) -> None:
    class Slow(Model):
        later, last = Counter[str](), asyncio.Event()

        async def complete(self, request_id: str, request: Request, sampling: Sampling) -> Reply:
            if ANCHORS[7].text in str(request.prompt):
                await self.last.wait()
            elif request.facet != "entities":
                self.later[request_id] += 1
                if len(self.later) == 2 * 3:
                    self.last.set()
            return await super().complete(request_id, request, sampling)

    trying = drive(PAIRS, Slow(_entities), tmp_path)
    async with trying.pool, asyncio.timeout(20):
        firsts, outcomes = await trying.try_out(ANCHORS[:8], 2, lambda *_one: True)
    assert (len(firsts), len(outcomes)) == (8, 2)


def attempts_of(model: Model) -> set[int]:
    """Return how often requests of the work were sent, without those that only prove that it answers."""
    return {count for name, count in model.attempts.items() if len(name) == 16}


async def test_what_may_pass_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def third_time(_request: Request, name: str, attempt: int) -> str:
        if attempt < 3:
            raise TryAgain("malformed")
        return f"text {name}"

    monkeypatch.setattr("random.uniform", lambda low, _high: low)
    model = Model(third_time)
    driver = drive(STYLES, model, tmp_path / "third", attempts=3)

    assert await run(driver) == await run(drive(STYLES, Model(), tmp_path / "first"))
    assert set(model.attempts.values()) == {3}
    assert set(read_replies(str(tmp_path / "third"))["attempt"]) == {3}
    assert (driver.progress.requests_sent, driver.progress.retries) == (72, 48)


async def test_after_the_last_attempt_it_is_a_drop_with_the_last_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(request: Request, _name: str, attempt: int) -> str:
        if not request.facet:
            return "It answers a plain request."
        raise TryAgain("malformed" if attempt == 1 else "connection")

    monkeypatch.setattr("random.uniform", lambda low, _high: low)
    model = Model(down)

    assert await drops_of(model, tmp_path, attempts=2) == {"connection": 24}
    assert attempts_of(model) == {2}


async def test_a_generator_that_passes_its_check_and_fails_at_all_work_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_request: Request, _name: str, _attempt: int) -> str:
        raise TryAgain("malformed", said="no body")

    monkeypatch.setattr("random.uniform", lambda low, _high: low)
    driver = drive(STYLES, Model(fail), tmp_path, attempts=2)
    with pytest.raises(ServerError, match=r"asking model: it does not answer a plain request \(no body\)"):
        await run(driver)
    assert driver.progress.drops == {}


async def test_a_server_without_room_is_asked_again_until_it_has_some(tmp_path: Path) -> None:
    def full(_request: Request, name: str, attempt: int) -> str:
        if attempt <= 3:
            raise TryAgain("overloaded")
        return f"text {name}"

    driver = drive(STYLES, Model(full), tmp_path / "full", attempts=1)
    assert await run(driver) == await run(drive(STYLES, Model(), tmp_path / "free"))
    progress = driver.progress
    assert (progress.requests_sent, progress.refusals, progress.retries, progress.drops) == (96, 72, 0, {})
    assert set(read_replies(str(tmp_path / "full"))["attempt"]) == {1}


async def test_a_server_that_asks_for_time_is_given_it(tmp_path: Path) -> None:
    def soon(_request: Request, name: str, attempt: int) -> str:
        if attempt == 1:
            raise TryAgain("overloaded", after_seconds=0.3)
        return name

    begun = time.monotonic()
    assert not await drops_of(Model(soon), tmp_path)
    assert time.monotonic() - begun >= 0.3


async def test_a_refused_request_is_a_drop_at_once(tmp_path: Path) -> None:
    def refuse(_request: Request, _name: str, _attempt: int) -> str:
        raise Refused("rejected")

    model = Model(refuse)
    assert await drops_of(model, tmp_path) == {"rejected": 24}
    assert set(model.attempts.values()) == {1}


async def test_a_hanging_request_ends_at_its_deadline_and_the_others_go_on(tmp_path: Path) -> None:
    def hang(request: Request, name: str, _attempt: int) -> str:
        return HANG if request.facet == "easy" else name

    begun = time.monotonic()
    assert await drops_of(Model(hang), tmp_path, deadline_seconds=0.3) == {"deadline": 12}
    assert time.monotonic() - begun < 3
    assert read_replies(str(tmp_path)).height == 12


async def test_the_deadline_covers_all_attempts_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(request: Request, _name: str, _attempt: int) -> str:
        if not request.facet:
            return "It answers a plain request."
        raise TryAgain("malformed")

    monkeypatch.setattr("random.uniform", lambda low, _high: low)
    model = Model(stumble)
    model.seconds = 0.05
    assert await drops_of(model, tmp_path, deadline_seconds=0.12, attempts=1000) == {"deadline": 24}
    assert attempts_of(model) == {3}


async def test_time_without_room_does_not_count_towards_the_deadline(tmp_path: Path) -> None:
    def soon(_request: Request, name: str, attempt: int) -> str:
        if attempt == 1:
            raise TryAgain("overloaded", after_seconds=0.3)
        return name

    assert await drops_of(Model(soon), tmp_path, deadline_seconds=0.2) == {}


async def test_empty_and_cut_off_replies_are_dropped_not_kept(tmp_path: Path) -> None:
    def short(request: Request, _name: str, _attempt: int) -> str:
        return " \n" if request.facet == "easy" else "It goes on and on..."

    assert await drops_of(Model(short), tmp_path) == {"empty": 12, "cut_off": 12}
    assert read_replies(str(tmp_path)).height == 24


async def test_a_server_error_stops_the_run_and_keeps_what_landed(tmp_path: Path) -> None:
    landed = Model()
    await run(drive(STYLES, landed, tmp_path), ANCHORS[:5])

    def refuse(_request: Request, _name: str, _attempt: int) -> str:
        raise ServerError("asking http://x: it refuses the key (401); a key it knows is needed. Set it.")

    driver = drive(STYLES, Model(refuse), tmp_path, max_in_flight=2)
    with pytest.raises(ServerError, match=r"refuses the key \(401\)"):
        await run(driver)
    assert driver.progress.requests_sent <= 4
    assert read_replies(str(tmp_path))["request_id"].to_list() == sorted(landed.attempts)


async def test_a_generator_that_is_down_stops_the_run_instead_of_turning_it_into_drops(tmp_path: Path) -> None:
    with stub_server(StubOptions(latency_seconds=0.05)) as stub:
        driver = drive(STYLES, Server(stub.url, "stub", "1"), tmp_path, max_in_flight=2, outage_seconds=0.5)
        running = asyncio.create_task(run(driver))
        while len(read_replies(str(tmp_path))) < 4:
            await asyncio.sleep(0.02)
        stub.stop()
        with pytest.raises(Unreachable, match=rf"asking {stub.url}: no request was answered for 0.5 s"):
            await running
    assert 4 <= read_replies(str(tmp_path)).height < 24
    assert driver.progress.drops == {}


async def test_a_generator_that_begins_to_fail_stops_the_run_instead_of_turning_what_waits_into_drops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(_request: Request, name: str, _attempt: int) -> str:
        if len(model.attempts) > 10:
            raise TryAgain("server_error")
        return name

    async def say_so() -> None:
        raise Unreachable("asking model: it fails (5xx)")

    monkeypatch.setattr("random.uniform", lambda low, _high: low)
    model = Model(break_down)
    model.check = say_so  # type: ignore[method-assign]
    driver = drive(STYLES, model, tmp_path, max_in_flight=6, attempts=3)
    with pytest.raises(Unreachable, match="it fails"):
        await run(driver)
    assert driver.progress.drops == {}


async def test_a_generator_that_is_there_and_loses_every_connection_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(_request: Request, _name: str, _attempt: int) -> str:
        raise TryAgain("connection")

    async def say_so() -> None:
        if model.attempts:
            raise Unreachable("asking model for a token: no connection")

    monkeypatch.setattr("random.uniform", lambda low, _high: low)
    model = Model(lose)
    model.check = say_so  # type: ignore[method-assign]
    driver = drive(STYLES, model, tmp_path, attempts=2)
    async with driver.pool:
        await driver.pool.check()
        with pytest.raises(Unreachable, match="no connection"):
            await driver.run(ANCHORS)
    assert driver.progress.drops == {}


async def test_a_run_that_stopped_has_nothing_under_way_any_more(tmp_path: Path) -> None:
    def one_fails(request: Request, name: str, _attempt: int) -> str:
        if request.facet == "easy":
            raise ServerError("down")
        return name

    model = Model(one_fails)
    with pytest.raises(ServerError):
        await drive(Rephrase(styles=("easy", "medium", "hard")), model, tmp_path, max_in_flight=2).run(ANCHORS)
    sent = model.attempts.total()
    await asyncio.sleep(0.1)

    assert model.attempts.total() == sent
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_replies_that_cannot_be_written_down_stop_the_run(tmp_path: Path) -> None:
    driver = drive(STYLES, Model(), tmp_path / "replies")
    (tmp_path / "replies").write_text("no folder")

    with pytest.raises(StoreError, match=r"writing .*/replies/part-0+-0+12-\w+.parquet: File exists"):
        await run(driver)


async def test_progress_is_told_anchor_by_anchor(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    driver = drive(STYLES, Model(), tmp_path)
    driver.on_progress = lambda progress: told.append((progress.anchors_done, progress.records))

    await run(driver)
    assert told == [(n, 2 * n) for n in range(1, 13)]


async def test_what_shards_did_adds_up(tmp_path: Path) -> None:
    def moody(request: Request, name: str, _attempt: int) -> str:
        if int(name, 16) % 3 == 0:
            raise Refused("rejected")
        return " " if int(name, 16) % 3 == 1 else f"text {name}"

    parts = [drive(STYLES, Model(moody), tmp_path / str(n)) for n in range(3)]
    for driver, anchors in zip(parts, (ANCHORS, ANCHORS[:5], ANCHORS[5:]), strict=True):
        await run(driver, anchors)
    whole, one, other = (driver.progress for driver in parts)
    assert replace(one.add(other), state="") == replace(whole, state="")  # how the servers did last is no sum
    assert Progress().add(whole) == whole
    assert whole.drops.keys() == {"rejected", "empty"}
    assert whole.records + sum(whole.drops.values()) == whole.requests_sent == 24
    assert (whole.prompt_tokens, whole.completion_tokens) == (
        9 * (24 - whole.drops["rejected"]),
        2 * (24 - whole.drops["rejected"]),
    )


async def test_no_anchors_have_no_outcome(tmp_path: Path) -> None:
    assert await run(drive(STYLES, Model(), tmp_path), []) == {}


def test_a_requests_id_is_made_of_everything_that_decides_its_reply() -> None:
    request, sampling = Request((Message("user", "Once"),)), Sampling()
    pool, other = Pool([Model()], Generation()), Model()
    other.revision = "2"

    def name(request: Request, sampling: Sampling = sampling, seed: int = 0, pool: Pool = pool) -> str:
        return name_request(pool.model, pool.revision, request, sampling.model_dump(mode="json"), seed)

    names = [
        name(request),
        name(Request("Once")),
        name(Request(request.prompt, json_schema="{}")),
        name(Request(request.prompt, draw=1)),
        name(request, Sampling(temperature=0.5)),
        name(request, seed=1),
        name(request, pool=Pool([other], Generation())),
    ]
    assert len(set(names)) == len(names)
    assert names[0] == name(Request(request.prompt, facet="easy")) == "1b3dd23473b86e8f"


def test_rows_come_in_an_order_that_no_schedule_changes() -> None:
    drop = Drop("b", "easy", "empty", "1")
    some = {"b": Outcome(drops=[drop]), "a": Outcome(drops=[Drop("a", "easy", "empty", "2")])}

    records, drops = outcome_rows("batch", some)
    assert records == []
    assert [row["anchor_id"] for row in drops] == ["a", "b"]
    assert drops[1] == {"batch_id": "batch", "anchor_id": "b", "facet": "easy", "reason": "empty", "request_id": "1"}


def _entities(request: Request, name: str, _attempt: int) -> str:
    return (
        '{"summary": "Rye.", "entities": ["mill", "rye", "river", "town"]}' if request.json_schema else f"text {name}"
    )

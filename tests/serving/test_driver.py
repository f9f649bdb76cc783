import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from schemas.errors import ServerError, StoreError
from schemas.profile import Generation
from schemas.recipe import Sampling
from schemas.rows import Anchor, Drop, Message, Outcome, Reply, Request
from tasks.methods import SBP, EntiGraph, Method, Rephrase
from tasks.serving import Generator, Refused, TryAgain
from tasks.serving.driver import Driver, name_request, outcome_rows
from tasks.serving.servers import ServerGenerator
from tasks.store import replies as replies_module
from tasks.store.replies import ReplyLog, read_replies
from tests.serving.stub_server import Stub, StubOptions, stub_server

ANCHORS = [Anchor(f"The mill number {n} grinds rye for the towns by the river.", f"Mill {n}") for n in range(12)]
STYLES = Rephrase(styles=("easy", "hard"))
PAIRS = EntiGraph(max_entities=4, max_pairs=2, max_triples=1)
HANG = "no answer for an hour"


@pytest.fixture(autouse=True)
def _quick_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies_module, "COMMIT_SECONDS", 0.02)


class Model:
    """A generator that answers by a rule, after a moment, and counts what it was asked.

    Args:
        rule: Given the request, the request's id and the attempt, from 1; it may raise.
    """

    model, revision, logprob_semantics = "model", "1", "processed"

    def __init__(self, rule: Callable[[Request, str, int], str] = lambda _r, name, _n: f"text {name}") -> None:
        self.rule, self.attempts = rule, Counter[str]()
        self.open = self.most_open = 0
        self.seconds = 0.001

    async def check(self) -> None: ...

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


def make_reply(request_id: str, request: Request, text: str) -> Reply:
    reason = "length" if text.endswith("...") else "stop"
    return Reply(request_id, request.prompt_id, text, (1, 0), (-1.0, -0.5), reason, 9, 0.1, "model")  # type: ignore[arg-type]


def drive(method: Method, generator: Generator, folder: Path, **bounds: Any) -> Driver:
    log = ReplyLog.open(str(folder), [anchor.anchor_id for anchor in ANCHORS])
    return Driver(method, generator, Sampling(max_tokens=64), 0, Generation(**bounds), log)


async def drops_of(model: Model, folder: Path, **bounds: Any) -> Counter[str]:
    outcomes = await drive(STYLES, model, folder, **bounds).run(ANCHORS)
    return Counter(drop.reason for outcome in outcomes.values() for drop in outcome.drops)


async def with_stub(stub: Stub, method: Method, folder: Path, anchors: list[Anchor], **bounds: Any) -> Any:
    async with ServerGenerator([stub.url], "stub", revision="1", attempt_seconds=1) as generator:
        outcomes = await drive(method, generator, folder, **bounds).run(anchors)
    return outcome_rows("batch", outcomes)


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
                raise TryAgain("overloaded")
            case 2:
                return " \n"
        return "A text."

    outcomes = await drive(STYLES, Model(moody), tmp_path, attempts=1).run(ANCHORS)
    assert outcomes.keys() == {anchor.anchor_id for anchor in ANCHORS}
    assert {len(outcome.records) + len(outcome.drops) for outcome in outcomes.values()} == {2}


async def test_no_more_is_open_than_max_in_flight_and_no_less(tmp_path: Path) -> None:
    model = Model()
    await drive(STYLES, model, tmp_path, max_in_flight=7).run(ANCHORS)

    assert model.most_open == 7


async def test_replies_that_are_landing_keep_no_other_request_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies_module, "COMMIT_SECONDS", 0.3)
    model = Model()
    begun = time.monotonic()
    await drive(STYLES, model, tmp_path, max_in_flight=2).run(ANCHORS)

    assert time.monotonic() - begun < 1.5


async def test_a_full_rerun_sends_nothing_and_ends_with_the_same(tmp_path: Path) -> None:
    first = await drive(PAIRS, Model(_entities), tmp_path).run(ANCHORS)
    model = Model(_entities)
    again = drive(PAIRS, model, tmp_path)

    assert await again.run(ANCHORS) == first
    assert model.attempts.total() == again.progress.requests_sent == 0
    assert again.progress.replies_reused == read_replies(str(tmp_path)).height == len(ANCHORS) * 4


@pytest.mark.parametrize("after", [1, 13, 29, 40])
async def test_a_run_cancelled_in_the_middle_sends_again_no_more_than_was_in_flight(after: int, tmp_path: Path) -> None:
    whole = await drive(PAIRS, Model(_entities), tmp_path / "whole").run(ANCHORS)
    before, later = Model(_entities), Model(_entities)
    running = asyncio.create_task(drive(PAIRS, before, tmp_path / "cut", max_in_flight=4).run(ANCHORS))
    while before.attempts.total() < after:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert await drive(PAIRS, later, tmp_path / "cut", max_in_flight=4).run(ANCHORS) == whole
    assert sum(later.attempts[name] for name in before.attempts) <= 4


async def test_what_may_pass_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def third_time(_request: Request, name: str, attempt: int) -> str:
        if attempt < 3:
            raise TryAgain("overloaded")
        return f"text {name}"

    monkeypatch.setattr("random.uniform", lambda low, _high: low)
    model = Model(third_time)
    driver = drive(STYLES, model, tmp_path / "third", attempts=3)

    assert await driver.run(ANCHORS) == await drive(STYLES, Model(), tmp_path / "first").run(ANCHORS)
    assert set(model.attempts.values()) == {3}
    assert (driver.progress.requests_sent, driver.progress.retries) == (72, 48)


async def test_after_the_last_attempt_it_is_a_drop_with_the_last_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(_request: Request, _name: str, attempt: int) -> str:
        raise TryAgain("overloaded" if attempt == 1 else "connection")

    monkeypatch.setattr("random.uniform", lambda low, _high: low)
    model = Model(down)

    assert await drops_of(model, tmp_path, attempts=2) == {"connection": 24}
    assert set(model.attempts.values()) == {2}


async def test_a_server_that_asks_for_time_is_given_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def soon(_request: Request, name: str, attempt: int) -> str:
        if attempt == 1:
            raise TryAgain("overloaded", after_seconds=0.3)
        return name

    monkeypatch.setattr("random.uniform", lambda low, _high: low)
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


async def test_the_deadline_covers_all_attempts_together(tmp_path: Path) -> None:
    def wait(_request: Request, _name: str, _attempt: int) -> str:
        raise TryAgain("overloaded", after_seconds=60)

    assert await drops_of(Model(wait), tmp_path, deadline_seconds=0.1) == {"deadline": 24}


async def test_empty_and_cut_off_replies_are_dropped_not_kept(tmp_path: Path) -> None:
    def short(request: Request, _name: str, _attempt: int) -> str:
        return " \n" if request.facet == "easy" else "It goes on and on..."

    assert await drops_of(Model(short), tmp_path) == {"empty": 12, "cut_off": 12}
    assert read_replies(str(tmp_path)).height == 24


async def test_a_server_error_stops_the_run_and_keeps_what_landed(tmp_path: Path) -> None:
    landed = Model()
    await drive(STYLES, landed, tmp_path).run(ANCHORS[:5])

    def refuse(_request: Request, _name: str, _attempt: int) -> str:
        raise ServerError("asking http://x: it refuses the key (401); a key it knows is needed. Set it.")

    driver = drive(STYLES, Model(refuse), tmp_path, max_in_flight=2)
    with pytest.raises(ServerError, match=r"refuses the key \(401\)"):
        await driver.run(ANCHORS)
    assert driver.progress.requests_sent <= 4
    assert read_replies(str(tmp_path))["request_id"].to_list() == sorted(landed.attempts)


async def test_a_generator_that_is_down_stops_the_run_instead_of_turning_it_into_drops(tmp_path: Path) -> None:
    with stub_server(StubOptions(latency_seconds=0.05)) as stub:
        running = asyncio.create_task(with_stub(stub, STYLES, tmp_path, ANCHORS, max_in_flight=2, attempts=1))
        while len(read_replies(str(tmp_path))) < 4:
            await asyncio.sleep(0.02)
        stub.stop()
        with pytest.raises(ServerError, match=f"asking {stub.url} .*: no connection"):
            await running
    assert 4 <= read_replies(str(tmp_path)).height < 24


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

    with pytest.raises(StoreError, match=r"writing .*/replies/part-\w+.parquet: File exists"):
        await driver.run(ANCHORS)


async def test_progress_is_told_anchor_by_anchor(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    driver = drive(STYLES, Model(), tmp_path)
    driver.on_progress = lambda progress: told.append((progress.anchors_done, progress.records))

    await driver.run(ANCHORS)
    assert told == [(n, 2 * n) for n in range(1, 13)]


async def test_no_anchors_have_no_outcome(tmp_path: Path) -> None:
    assert await drive(STYLES, Model(), tmp_path).run([]) == {}


def test_a_requests_id_is_made_of_everything_that_decides_its_reply() -> None:
    request, sampling = Request((Message("user", "Once"),)), Sampling()
    other = Model()
    other.revision = "2"
    names = [
        name_request(Model(), request, sampling, 0),
        name_request(Model(), Request("Once"), sampling, 0),
        name_request(Model(), Request(request.prompt, json_schema="{}"), sampling, 0),
        name_request(Model(), Request(request.prompt, draw=1), sampling, 0),
        name_request(Model(), request, Sampling(temperature=0.5), 0),
        name_request(Model(), request, sampling, 1),
        name_request(other, request, sampling, 0),
    ]
    assert len(set(names)) == len(names)
    assert names[0] == name_request(Model(), Request(request.prompt, facet="easy"), sampling, 0) == "b98194e911765bfa"


def test_rows_come_in_an_order_that_no_schedule_changes() -> None:
    drop = Drop("b", "easy", "empty", "1")
    some = {"b": Outcome(drops=[drop]), "a": Outcome(drops=[Drop("a", "easy", "empty", "2")])}

    records, drops = outcome_rows("batch", some)
    assert records == []
    assert [row["anchor_id"] for row in drops] == ["a", "b"]
    assert drops[1] == {"batch_id": "batch", "anchor_id": "b", "facet": "easy", "reason": "empty", "request_id": "1"}


def _entities(request: Request, name: str, _attempt: int) -> str:
    return '{"entities": ["mill", "rye", "river", "town"]}' if request.json_schema else f"text {name}"

"""A whole pipeline, method, critic and filters, through the real driver: with a model at the border, and a server."""

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gainloop.filters.consistency import Consistency
from gainloop.filters.fidelity import Fidelity
from gainloop.filters.filter import Filter
from gainloop.filters.judge import Judge
from gainloop.filters.novelty import Novelty
from gainloop.filters.vote import Vote
from gainloop.methods.backtranslate import Backtranslate
from gainloop.methods.critic import Critic
from gainloop.methods.entigraph import EntiGraph
from gainloop.methods.k2_rephrase import K2Rephrase
from gainloop.methods.method import Method
from gainloop.methods.pipeline import Pipeline
from gainloop.methods.rephrase import Rephrase
from gainloop.serving import Refused
from gainloop.serving.driver import Driver, outcome_rows, replay
from gainloop.serving.pool import Pool
from gainloop.serving.server import Server
from gainloop.store import group_commit
from gainloop.store.replies import as_reply, read_replies
from schemas.recipe import Recipe, Sampling
from schemas.rows import Request
from tests.serving.stub_server import stub_server
from tests.serving.test_driver import ALL, ANCHORS, Generation, Model, ReplyLog, run

WORDS = ("mill", "river", "rye", "town", "sack", "stone", "water", "grain", "flour", "wheel")
CRITIC = Critic(max_turns=2, enough=4)
WHOLE: list[tuple[Method, tuple[Filter, ...]]] = [
    (Rephrase(styles=("easy", "qa")), (Judge(least=2), Vote(voters=3, least=0.5), Novelty())),
    (
        Rephrase(styles=("qa", "hard")),
        (Consistency(voters=3, least=0.3), Consistency(voters=2, open_book=False, least=0.1)),
    ),
    (EntiGraph(max_entities=4, max_pairs=2, max_triples=1), (Vote(voters=2, least=0.5),)),
    (Backtranslate(draws=2, attempts=2), (Judge(least=2),)),
]
whole = pytest.mark.parametrize(("method", "filters"), WHOLE, ids=["judged", "asked", "entigraph", "backtranslate"])


@pytest.fixture(autouse=True)
def _quick_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "COMMIT_SECONDS", 0.02)


def moody(request: Request, name: str, _attempt: int = 1) -> str:
    """Answer by chance that the request's name decides: good and bad verdicts, good and bad texts, some nonsense."""
    rng = Random(name)
    if rng.random() < 0.1:
        return rng.choice(["", "no JSON", "It goes on..."])
    if request.json_schema:
        return json.dumps(_value(json.loads(request.json_schema), rng))
    text = " ".join(rng.choices(WORDS, k=12))
    return f"Question: What is {text}?\nAnswer: {rng.choice(['rye', 'flour'])}"


def _value(schema: dict[str, Any], rng: Random) -> Any:
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if schema["type"] == "object":
        return {name: _value(part, rng) for name, part in schema["properties"].items()}
    if schema["type"] == "array":
        return [
            _value(schema["items"], rng) + str(n) for n in range(rng.randint(schema["minItems"], schema["maxItems"]))
        ]
    return rng.choice(["rye", "flour", "the river"])


def drive(
    method: Method,
    filters: tuple[Filter, ...],
    model: Any,
    folder: Path,
    sampling: Sampling = Sampling(max_tokens=64),  # noqa: B008
    **bounds: Any,
) -> Driver:
    log = ReplyLog.open(str(folder), ALL, [anchor.anchor_id for anchor in ANCHORS])
    pipeline = Pipeline(method, filters, CRITIC)
    return Driver(pipeline, Pool([model], Generation(**bounds)), sampling, 0, log)


def landed(folder: Path) -> dict[str, Any]:
    return {row["request_id"]: as_reply(row) for row in read_replies(str(folder)).iter_rows(named=True)}


def replayed(driver: Driver, replies: dict[str, Any]) -> dict[str, Request]:
    """Return what replies were asked for by, from the driver's recipe alone."""
    pipeline, pool = driver.pipeline, driver.pool
    recipe = Recipe(
        method=pipeline.method.model_dump(mode="json"),
        critic=CRITIC.model_dump(mode="json"),
        filters=tuple(one.model_dump(mode="json") for one in pipeline.filters),
        snapshot_id="s",
        model=pool.model,
        revision=pool.revision,
        sampling=driver.sampling,
    )
    return {key: one for anchor in ANCHORS for key, one in replay(recipe, anchor, replies).items()}


@whole
async def test_counts_add_up(method: Method, filters: tuple[Filter, ...], tmp_path: Path) -> None:
    model = Model(moody)
    driver = drive(method, filters, model, tmp_path)
    outcomes = await run(driver)

    assert outcomes.keys() == {anchor.anchor_id for anchor in ANCHORS}
    records = [record for outcome in outcomes.values() for record in outcome.records]
    drops = [drop for outcome in outcomes.values() for drop in outcome.drops]
    replies = [reply for record in records for reply in record.request_ids]
    replies += [drop.request_id for drop in drops if drop.request_id]
    assert len(set(replies)) == len(replies), "a reply is in one record, or one drop"
    assert set(replies) <= set(model.attempts)
    assert all(outcome.records or outcome.drops for outcome in outcomes.values())
    per_anchor = read_replies(str(tmp_path))["anchor_id"].value_counts()["count"]
    assert 1 <= per_anchor.min() <= per_anchor.max() <= driver.pipeline.max_requests  # type: ignore[operator]
    assert driver.progress.records == len(records) > 0
    assert sum(driver.progress.drops.values()) == len(drops) > 0
    assert driver.progress.requests_sent == model.attempts.total() == len(model.attempts), "no request is sent twice"
    rows, dropped = outcome_rows("batch", outcomes)
    keys = {tuple(row[name] for name in ("anchor_id", "facet", "reason", "request_id")) for row in dropped}
    assert (len(rows), len(keys)) == (len(records), len(drops))


@whole
async def test_neither_order_nor_the_number_in_flight_changes_anything(
    method: Method, filters: tuple[Filter, ...], tmp_path: Path
) -> None:
    alone = await run(drive(method, filters, Model(moody), tmp_path / "1", max_in_flight=1))
    shuffled = Random(0).sample(ANCHORS, len(ANCHORS))

    assert await run(drive(method, filters, Model(moody), tmp_path / "64", max_in_flight=64), shuffled) == alone
    assert landed(tmp_path / "1").keys() == landed(tmp_path / "64").keys()


@whole
async def test_a_full_rerun_sends_nothing_and_ends_with_the_same(
    method: Method, filters: tuple[Filter, ...], tmp_path: Path
) -> None:
    first = await run(drive(method, filters, Model(moody), tmp_path))
    model = Model(moody)
    again = drive(method, filters, model, tmp_path)

    assert await run(again) == first
    assert model.attempts.total() == again.progress.requests_sent == 0
    assert again.progress.replies_reused == len(landed(tmp_path))


@whole
@pytest.mark.parametrize("after", [30, 70])
async def test_a_run_cancelled_in_the_middle_ends_the_same(
    method: Method, filters: tuple[Filter, ...], after: int, tmp_path: Path
) -> None:
    undisturbed = await run(drive(method, filters, Model(moody), tmp_path / "whole"))
    before, later = Model(moody), Model(moody)
    running = asyncio.create_task(run(drive(method, filters, before, tmp_path / "cut", max_in_flight=4)))
    while before.attempts.total() < after:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert await run(drive(method, filters, later, tmp_path / "cut", max_in_flight=4)) == undisturbed
    assert sum(later.attempts[name] for name in before.attempts) <= 4


@whole
async def test_replay_gives_every_request_again_greedy_ones_included(
    method: Method, filters: tuple[Filter, ...], tmp_path: Path
) -> None:
    driver = drive(method, filters, Model(moody), tmp_path)
    await run(driver)
    replies = landed(tmp_path)
    asked = replayed(driver, replies)

    assert {key: one.prompt_id for key, one in asked.items()} == {key: one.prompt_id for key, one in replies.items()}
    assert any(one.greedy for one in asked.values())


async def test_verdicts_are_sampled_greedily_and_nothing_else_is(tmp_path: Path) -> None:
    with stub_server() as stub:
        warm = Sampling(max_tokens=64, temperature=0.7)
        await run(drive(*WHOLE[0], Server(stub.url, "stub", "1"), tmp_path, warm))
        sent = [body for body in stub.requests if "messages" in body]
    for body in sent:
        wish = body["messages"][-1]["content"]
        is_verdict = wish.endswith("then the score.")
        assert body["temperature"] == (0 if is_verdict else 0.7), wish
    assert {body["temperature"] for body in sent} == {0, 0.7}


async def test_records_with_one_question_have_it_asked_once(tmp_path: Path) -> None:
    def same(request: Request, name: str, _attempt: int) -> str:
        if request.greedy:
            return '{"problems": [], "score": 5}'
        return '{"answer": "rye"}' if request.json_schema else f"{request.facet}\nQuestion: What?\nAnswer: Rye"

    model = Model(same)
    driver = drive(Rephrase(styles=("easy", "hard")), (Consistency(voters=3),), model, tmp_path)
    outcomes = await run(driver)

    assert {len(outcome.records) for outcome in outcomes.values()} == {2}
    assert len(model.attempts) == model.attempts.total() == len(ANCHORS) * (2 + 2 + 3)
    assert replayed(driver, landed(tmp_path)).keys() == model.attempts.keys()


async def test_a_question_that_comes_up_again_in_a_later_round_is_asked_once_and_a_rerun_asks_nothing(
    tmp_path: Path,
) -> None:
    pipeline = Pipeline(K2Rephrase(rewrites=1), (Fidelity(), Fidelity()))  # the method has asked the same before
    counts = []
    for _ in range(2):
        model = Model(lambda request, name, _attempt: faithful(request, name))
        log = ReplyLog.open(str(tmp_path), ALL, [anchor.anchor_id for anchor in ANCHORS])
        driver = Driver(pipeline, Pool([model], Generation()), Sampling(max_tokens=64), 0, log)
        outcomes = await run(driver)
        assert all(len(outcome.records) == 1 for outcome in outcomes.values())
        counts.append(model.attempts.total())
    assert counts == [2 * len(ANCHORS), 0]


@pytest.mark.parametrize(
    ("filters", "lost"), [((Judge(),), ["judge easy"]), ((Vote(voters=2),), ["vote 0 easy", "vote 1 easy"])]
)
async def test_a_verdict_that_never_came_says_why_beside_the_record_that_it_refused(
    filters: tuple[Filter, ...], lost: list[str], tmp_path: Path
) -> None:
    def silent(request: Request, name: str, _attempt: int) -> str:
        if request.facet in lost:
            raise Refused("rejected")
        return '{"problems": [], "score": 5}' if request.greedy else name

    model = Model(silent)
    outcomes = await run(drive(Rephrase(styles=("easy",)), filters, model, tmp_path))

    for outcome in outcomes.values():
        told = [(drop.facet, drop.reason) for drop in outcome.drops]
        assert (outcome.records, told) == ([], [("easy", "unjudged"), *((facet, "rejected") for facet in lost)])
    dropped = {drop.request_id for outcome in outcomes.values() for drop in outcome.drops}
    assert dropped | landed(tmp_path).keys() == model.attempts.keys(), "every request is a reply, or a drop without"


def faithful(request: Request, name: str) -> str:
    return '{"statements": [], "meaning": "kept"}' if request.json_schema else f"Of rye and the mill: {name}."

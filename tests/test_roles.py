"""Conversations whose user and judge another model plays, on a server of its own: who is asked what, whatever dies."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from gainloop.methods import Making, require_generator
from gainloop.methods.rephrase import Rephrase
from gainloop.methods.tool_prompts import JUDGE
from gainloop.methods.tool_use import ToolUse
from gainloop.reports.dataset import read_rows
from gainloop.serving.metrics import Meter
from gainloop.serving.opening import open_pool
from gainloop.store import open_store
from gainloop.store.batches import replies_folder, stage_summary
from gainloop.store.replies import read_replies
from gainloop.tools.task import write_task
from schemas.curation import Curation
from schemas.errors import BadInput, ServerError
from schemas.plan import TrainingPlan
from schemas.profile import Prices, Profile, Servers, load_profile
from schemas.recipe import Player, Recipe, Served
from schemas.steering import Spending
from tasks.generate import reopen_unanswered
from tasks.improve import require_loop
from tasks.validate import validate_batch
from tests.ledger import write_tasks
from tests.serving.stub_model import prompt_text
from tests.serving.stub_server import Stub, StubOptions, stub_server
from tests.shop_batch import RECIPE, TASKS, says
from tests.small_run import ROOT, command, environment, write_profile
from tests.test_generate import finish, generate, made

PLAYED = RECIPE.model_copy(
    update={"players": {role: Player(model="big", revision="/models/big") for role in ("user", "judge")}}
)
METHOD = {"kind": "tool_use", "max_steps": 12}


@contextmanager
def two_servers(latency_seconds: float = 0.0) -> Iterator[tuple[Stub, Stub]]:
    """Run the generator's server, and that of a model which plays user and judge."""
    about = {"says": says, "context_tokens": 100_000, "latency_seconds": latency_seconds}
    with (
        stub_server(StubOptions(**about)) as own,
        stub_server(StubOptions(models={"big": "/models/big"}, **about)) as other,
    ):
        yield own, other


def served_by(profile: Profile, own: Stub, other: Stub) -> Profile:
    return profile.model_copy(update={"serving": Servers(urls=[own.url], others={"big": [other.url]})})


def parts_asked(stub: Stub) -> set[str]:
    """Return the parts that a server was asked to play, without what it was tried with."""
    prompts = [prompt_text(body) for body in stub.requests if body["max_tokens"] > 1]
    return {"judge" if one.endswith(JUDGE) else one.rpartition("\n\n")[2].split()[3].strip(".,") for one in prompts}


def bodies(stub: Stub) -> list[str]:
    return [prompt_text(body) for body in stub.requests if body["max_tokens"] > 1]


def test_each_server_gets_the_requests_of_its_roles_alone_and_its_ids_hold_who_answers(
    profile: Profile,
) -> None:
    with two_servers() as (own, other):
        place = served_by(profile, own, other)
        store = open_store(place)
        write_tasks(store, RECIPE.snapshot_id, TASKS)
        summary = finish(place, PLAYED, generate(place, PLAYED))

        assert (parts_asked(own), parts_asked(other)) == ({"agent"}, {"user", "judge"})
        assert {body["model"] for body in other.requests} == {"big"}
        assert summary["requests"] == len(bodies(own)) + len(bodies(other))
        replies = read_replies(replies_folder(store, PLAYED.batch_id))
        by_part = replies.group_by(pl.col("facet").str.split(": ").list.last()).agg(pl.col("server").unique())
        assert dict(by_part.rows()) == {"agent": [own.url], "user": [other.url], "judge": [other.url]}
        assert reopen_unanswered(store, PLAYED, ask_again=True) == "", "a replay names each request as it was sent"

        own_alone = finish(place, RECIPE, generate(place, RECIPE))
        assert (own_alone["records"], own_alone["drops"]) == (summary["records"], summary["drops"])
        alone = read_replies(replies_folder(store, RECIPE.batch_id))
        shared = alone.join(replies, on="request_id", how="semi")["facet"].str.split(": ").list.last()
        assert set(shared) == {"agent"}, "the id of a request holds the model that answers it"
    assert RECIPE.batch_id != PLAYED.batch_id
    assert RECIPE.model_copy(update={"players": {}}).batch_id == RECIPE.batch_id
    validate_batch(store, PLAYED.batch_id, Curation())
    told = read_rows(store, [PLAYED.batch_id])["model"].unique().to_list()
    assert told == ["stub (judge: big; user: big)"]


def test_a_model_that_no_server_has_is_an_error_before_anything_is_asked(profile: Profile) -> None:
    with two_servers() as (own, _):
        place = profile.model_copy(update={"serving": Servers(urls=[own.url])})
        write_tasks(open_store(place), RECIPE.snapshot_id, TASKS)
        with pytest.raises(ServerError, match=r"looking for the model 'big' at .*: it is not served there"):
            generate(place, PLAYED)
        assert bodies(own) == []


def test_a_part_that_a_method_has_not_is_refused_and_the_generator_is_no_other_player(profile: Profile) -> None:
    place = profile.model_copy(update={"serving": Servers(urls=["http://127.0.0.1:9/v1"])})
    generator = Served(model="stub", user="stub", judge="big")

    assert generator.players == {"judge": "big"}
    require_generator(place, Making(method=ToolUse()), generator)
    with pytest.raises(BadInput, match=r"generating by rephrase with generator\.judge: rephrase has no such part"):
        require_generator(place, Making(method=Rephrase()), generator)


def test_money_bounds_no_loop_whose_parts_several_models_play(profile: Profile) -> None:
    place, players = profile.model_copy(update={"prices": Prices(completion=1)}), {"judge": "big"}
    makings, plan = {"tool_use": Making(method=ToolUse())}, TrainingPlan(objective="conversation")

    require_loop(place, makings, Spending(tokens=1000), plan, players)
    require_loop(place, makings, Spending(tokens=1000, money=1), plan, {})
    with pytest.raises(BadInput, match=r"spending\.money 1 and generator\.judge: a profile's prices are of one model"):
        require_loop(place, makings, Spending(tokens=1000, money=1), plan, players)


def test_what_is_open_and_up_is_told_of_the_models_that_play_a_part_too(profile: Profile) -> None:
    async def look(profile: Profile) -> tuple[str, dict[str, float]]:
        meter = Meter()
        async with open_pool(profile, PLAYED, None) as pool:
            let_go = meter.watch(pool)
            found = {metric.name: metric.samples for metric in meter.collect()}["gainloop_servers_up"]
            let_go()
            pool.of("judge").desks[0].num_open = 3
            state = pool.state
            pool.of("judge").desks[0].num_open = 0
        return state, {one.labels["model"]: one.value for one in found}

    with two_servers() as (own, other):
        state, up = asyncio.run(look(served_by(profile, own, other)))
    assert state == "2 of 2 servers up, 3 open"
    assert up == {"stub": 1, "big": 1}


@pytest.mark.crash
def test_killed_in_the_middle_the_next_run_asks_each_server_for_what_is_missing(tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text("".join(f"{write_task(task)}\n" for task in TASKS))
    with two_servers(latency_seconds=0.05) as (own, other):
        serving = {"kind": "servers", "urls": [own.url], "others": {"big": [other.url]}}
        place = write_profile(tmp_path, serving=serving, generation={"max_in_flight": 2, "shard_anchors": 4})
        source = {"kind": "tool_tasks", "task_paths": str(tasks)}
        run(command("refresh", {"source": source, "heldout_fraction": 0, "profile": str(place)}), tmp_path)
        making = command(
            "generate",
            {
                "text": {"method": METHOD, "sampling": {"max_tokens": 300}},
                "generator": {"kind": "served", "model": "stub", "user": "big", "judge": "big"},
                "profile": str(place),
            },
        )
        killed = subprocess.Popen(making, cwd=ROOT, env=environment(tmp_path), start_new_session=True)
        while len(bodies(own)) + len(bodies(other)) < 60:
            assert killed.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        before = len(bodies(own)) + len(bodies(other))
        run(making, tmp_path)
        store = open_store(load_profile(str(place)))
        (recipe_json,) = store.query("select recipe from batches")["recipe"]
        recipe = Recipe.model_validate_json(recipe_json)
        summary = stage_summary(store, recipe.batch_id, "generate") or {}

        assert recipe.players == PLAYED.players
        assert (parts_asked(own), parts_asked(other)) == ({"agent"}, {"user", "judge"})
        again = len(bodies(own)) + len(bodies(other)) - summary["requests"]
        assert before >= 60
        assert 0 <= again <= 2 * 2 * 2, "only what was on its way, to each of two models, is asked for again"
        assert reopen_unanswered(store, recipe, ask_again=True) == ""

        whole = served_by(Profile(name="whole", folder=str(tmp_path / "whole")), own, other)
        whole = whole.model_copy(
            update={"store": whole.store.model_copy(update={"url": str(tmp_path / "whole.duckdb")})}
        )
        write_tasks(open_store(whole), recipe.snapshot_id, TASKS)
        finish(whole, recipe, generate(whole, recipe))
        columns = ("record_id", "text", "turns")
        assert (
            made(store, "records", recipe)
            .select(columns)
            .equals(made(open_store(whole), "records", recipe).select(columns))
        )


def run(words: list[str], folder: Path) -> None:
    done = subprocess.run(words, cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

"""A run that calls a real tool, killed 20 times in the middle of it: no call is made twice, and none is lost unseen."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
import yaml

from gainloop.methods.tool_use import ToolUse
from gainloop.store import Store, open_store
from gainloop.store.batches import count_settled, replies_folder
from gainloop.store.snapshots import PartWriter, insert_snapshot
from gainloop.tools.task import Scenario, ToolTask, write_task
from gainloop.tools.tool import Tool
from schemas.profile import load_profile
from schemas.recipe import Recipe, Sampling
from schemas.rows import Anchor
from tests.serving.stub_server import StubOptions, stub_server
from tests.small_run import ROOT

pytestmark = pytest.mark.crash

KILLS = 20
ANCHORS = 240
CALLS = 3
SNAPSHOT = "ledger"

NOTE = Tool("note", "Write an entry into the ledger.", {"type": "object", "properties": {"entry": {"type": "string"}}})
RECIPE = Recipe(
    method=ToolUse(judge=False).model_dump(mode="json"),
    snapshot_id=SNAPSHOT,
    model="stub",
    revision="/models/stub",
    sampling=Sampling(max_tokens=300),
)

RUN = """
import asyncio, os, sys
from concurrent.futures import ThreadPoolExecutor
from mcp.server import MCPServer
from gainloop.serving.driver import run_shard
from gainloop.serving.engine import engine
from gainloop.store import open_store
from gainloop.store.batches import replies_folder
from gainloop.store.draws import plan_batch
from gainloop.store.replies import spans_of
from schemas.profile import load_profile
from schemas.recipe import Recipe

profile, recipe, ledger = load_profile(sys.argv[1]), Recipe.model_validate_json(sys.argv[2]), sys.argv[3]
server = MCPServer("ledger")

@server.tool()
async def note(entry: str) -> str:
    await asyncio.sleep(0.004)
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (entry + "\\n").encode())
    os.close(file)
    await asyncio.sleep(0.004)
    return "noted"

store = open_store(profile)
replies = replies_folder(store, recipe.batch_id)
spans = spans_of(plan_batch(store, recipe), profile.generation.shard_anchors)
with engine(profile, recipe, None) as lent:
    for span in spans:
        lent.run(lambda pool: run_shard(store, replies, recipe, pool, span, servers={"ledger": server}))
"""


def says(prompt: str) -> str:
    """Play all parts: a user who wants an entry, an agent that notes it several times over, and then says so."""
    wish = prompt.rpartition("\n\n")[2]
    if "You are the user" in wish:
        entry = re.search(r"to note (entry-[a-z]+)", prompt)
        assert entry, prompt
        message = {"message": f"Please note {entry[1]}."}
        return json.dumps(message if "first message" in wish else message | {"next": "finished"})
    done = prompt.count('"assistant calls"')
    entry = re.search(r"Please note (entry-[a-z]+)", prompt)
    if entry is None:
        return "A mill grinds rye."  # to what a check of the server asks
    call = {"call": {"name": "note", "arguments": {"entry": f"{entry[1]} {done}"}}}
    return json.dumps({"say": "It is noted."} if done == CALLS else call)


def name_of(number: int) -> str:
    return "entry-" + "".join(chr(97 + int(digit)) for digit in str(number))


def fill(store: Store) -> None:
    writer = PartWriter(store, "ledger")
    for number in range(ANCHORS):
        scenario = Scenario("A clerk.", f"You want to note {name_of(number)}.")
        task = ToolTask(scenario, server="ledger", tools=(NOTE,), policy="Note what is wanted.", basis=("said",))
        writer.add_anchor("all", Anchor(write_task(task), f"Task {number}", f"task/{number}", revision="1"))
    writer.finish_part("all", "1", {"documents": ANCHORS, "anchors": ANCHORS, "too_short": 0})
    writer.write()
    about = {"source_id": "ledger", "source": "{}", "heldout_fraction": 0.0, "num_heldout": 0, "num_bytes": 0}
    insert_snapshot(store, {"snapshot_id": SNAPSHOT, "num_anchors": ANCHORS, **about}, {"all": "1"})


def lines(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines() if ledger.exists() else []


def test_killed_twenty_times_no_call_of_a_real_tool_is_made_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger, place, rng = tmp_path / "ledger.txt", tmp_path / "place.yaml", Random(0)
    with stub_server(StubOptions(says=says, latency_seconds=0.01, context_tokens=100_000)) as stub:
        profile = {
            "folder": str(tmp_path / "data"),
            "store": {"url": str(tmp_path / "store.duckdb")},
            "serving": {"kind": "servers", "urls": [stub.url]},
            "generation": {"max_in_flight": 4, "shard_anchors": 20},
        }
        place.write_text(yaml.safe_dump(profile))
        fill(open_store(load_profile(str(place))))

        def start() -> "subprocess.Popen[bytes]":
            command = [sys.executable, "-c", RUN, str(place), RECIPE.model_dump_json(), str(ledger)]
            return subprocess.Popen(command, cwd=ROOT, env=os.environ, start_new_session=True)

        marks = Path(replies_folder(open_store(load_profile(str(place))), RECIPE.batch_id)) / "calls"
        for _ in range(KILLS):
            run, before, more = start(), len(lines(ledger)), rng.randint(1, 12)
            while len(lines(ledger)) < before + more:
                assert run.poll() is None, "it ended before it was killed"
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.03))
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            assert len(lines(ledger)) <= len(list(marks.rglob("*.call")))
        assert start().wait() == 0
        store = open_store(load_profile(str(place)))
        noted, records = Counter(lines(ledger)), store.query("from records where batch_id = ?", RECIPE.batch_id)
        drops = store.query("from drops where batch_id = ? and reason = 'tool_interrupted'", RECIPE.batch_id)
        assert max(noted.values()) == 1
        assert count_settled(store, RECIPE.batch_id) == (ANCHORS, ANCHORS)
        lost = drops["anchor_id"].n_unique()
        assert records.height + lost == ANCHORS
        assert lost > 0
        for turns in records["turns"]:
            called = [
                call["function"]["arguments"]["entry"]
                for one in json.loads(turns)
                for call in one.get("tool_calls", ())
            ]
            assert len(called) == CALLS
            assert all(noted[entry] == 1 for entry in called)
        begun = len(list(marks.rglob("*.call")))
        assert begun - lost <= noted.total() <= begun
        assert start().wait() == 0, "a run of what is complete makes no call"
        assert Counter(lines(ledger)) == noted
    with capsys.disabled():
        print(
            f"\n{KILLS} kills: {noted.total()} effects of {begun} calls that were begun, each once; "
            f"{records.height} records, {lost} conversations interrupted"
        )

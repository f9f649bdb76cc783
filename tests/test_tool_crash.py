"""A run that calls a real tool, killed 20 times in the middle of it: no call is made twice, and none is lost unseen."""

import asyncio
import json
import os
import re
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
import yaml
from mcp.server import MCPServer

from gainloop.serving.driver import run_shard
from gainloop.serving.engine import engine
from gainloop.store import open_store
from gainloop.store.batches import count_settled, replies_folder
from gainloop.store.draws import plan_batch
from gainloop.store.replies import spans_of
from schemas.profile import load_profile
from tests.apart import Apart
from tests.ledger import RECIPE, fill
from tests.serving.stub_server import StubOptions, stub_server

pytestmark = pytest.mark.crash

KILLS = 20
ANCHORS = 240
CALLS = 3


def run(place: str, ledger: str) -> None:
    """Make the whole batch, whose tool's server runs in this process and writes into a file."""
    server = MCPServer("ledger")

    @server.tool()
    async def note(entry: str) -> str:
        await asyncio.sleep(0.004)
        file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{entry}\n".encode())
        os.close(file)
        await asyncio.sleep(0.004)
        return "noted"

    profile = load_profile(place)
    store = open_store(profile)
    replies = replies_folder(store, RECIPE.batch_id)
    spans = spans_of(plan_batch(store, RECIPE), profile.generation.shard_anchors)
    with engine(profile, RECIPE, None) as lent:
        for span in spans:
            lent.run(lambda pool, span=span: run_shard(store, replies, RECIPE, pool, span, servers={"ledger": server}))


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
        fill(open_store(load_profile(str(place))), [name_of(number) for number in range(ANCHORS)])

        def start() -> Apart:
            return Apart(run, str(place), str(ledger))

        marks = Path(replies_folder(open_store(load_profile(str(place))), RECIPE.batch_id)) / "calls"
        for _ in range(KILLS):
            running, before, more = start(), len(lines(ledger)), rng.randint(1, 12)
            while len(lines(ledger)) < before + more:
                assert running.poll() is None, "it ended before it was killed"
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.03))
            running.kill()
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

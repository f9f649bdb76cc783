"""Batches that call a real tool whose server dies: the run ends, the next goes on, and nothing is asked for ever."""

import json
import sys
from pathlib import Path

import pytest

from gainloop.store import Store, open_store
from gainloop.store.batches import count_settled, replies_folder
from gainloop.store.files import list_files
from schemas.errors import ServerError
from schemas.profile import Profile, ToolCommand
from tasks.generate import reopen_unanswered
from tests.ledger import RECIPE, fill
from tests.serving.stub_server import StubOptions, stub_server
from tests.test_generate import finish, generate, made, on_servers

ANCHORS, SHARD = 9, 6

SERVER = """
import os, sys
from mcp.server import MCPServer

server, dies = MCPServer("ledger"), len(sys.argv) > 2

@server.tool()
def note(entry: str) -> str:
    with open(sys.argv[1], "a") as ledger:
        ledger.write(entry + "\\n")
    if dies:
        os._exit(1)
    return "noted"

server.run()
"""


def says(prompt: str) -> str:
    """Play all parts: a user who wants an entry, and an agent that notes it and says so."""
    wish = prompt.rpartition("\n\n")[2]
    if "You are the user" in wish:
        message = {"message": "Please note rye."}
        return json.dumps(message if "first message" in wish else message | {"next": "finished"})
    if "Please note" not in prompt:
        return "A mill grinds rye."  # to what a check of the server asks
    call = {"call": {"name": "note", "arguments": {"entry": "rye"}}}
    return json.dumps({"say": "It is noted."} if '"assistant calls"' in prompt else call)


def test_a_batch_whose_server_of_tools_died_goes_on_and_what_was_interrupted_is_never_asked_for_again(
    profile: Profile, store: Store, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.txt"
    command = [sys.executable, "-c", SERVER, str(ledger)]
    with stub_server(StubOptions(says=says, context_tokens=100_000)) as stub:
        place = on_servers(profile, stub).model_copy(update={"tools": {"ledger": ToolCommand(command=command)}})
        dying = place.model_copy(update={"tools": {"ledger": ToolCommand(command=[*command, "dies"])}})
        fill(open_store(place), [f"rye for the {number}. time" for number in range(ANCHORS)])
        with pytest.raises(ServerError, match="calling tool server 'ledger': its connection was lost"):
            generate(dying, RECIPE)
        assert count_settled(store, RECIPE.batch_id) == (ANCHORS, 0)
        summary = finish(place, RECIPE, generate(place, RECIPE))
        reasons = set(made(store, "drops", RECIPE)["reason"])
        interrupted = made(store, "drops", RECIPE)["anchor_id"].n_unique()

        assert (summary["records"], reasons) == (ANCHORS - interrupted, {"tool_interrupted"})
        assert 1 <= interrupted <= SHARD
        for ask_again in (False, True):
            assert reopen_unanswered(store, RECIPE, ask_again) == ""

        for part in list_files(replies_folder(store, RECIPE.batch_id), ".parquet"):
            Path(part).unlink()
        noted = ledger.read_text()
        assert "replies are gone" in reopen_unanswered(store, RECIPE, ask_again=False)
        again = finish(place, RECIPE, generate(place, RECIPE))

    assert (again["records"], again["drops"]) == (summary["records"], summary["drops"])
    assert ledger.read_text() == noted

"""Validated batches of a few records, texts or conversations, to be exported."""

from pathlib import Path

from gainloop.serving.driver import insert_outcomes
from gainloop.store import Store
from gainloop.store.batches import begin_batch, complete_stage
from schemas.conversation import ToolCall, Turn
from schemas.recipe import Recipe
from schemas.rows import Outcome, Record

TALK = (Turn("user", "Grind | what?"), Turn("assistant", "Rye."))
CALLING = (
    *(Turn("user", "Is room 7 free?"), Turn("assistant", calls=(ToolCall("find", {"room": 7, "of": [1]}, "c1"),))),
    *(Turn("tool", '{"free": true}', call_id="c1"), Turn("assistant", "It is.", thought="Free.")),
)


def make_store(tmp_path: Path) -> Store:
    """Return a store with three documents under two licences."""
    store = Store(str(tmp_path / "x.duckdb"), str(tmp_path))
    about = {"title": "Mills", "revision": "1", "num_bytes": 1}
    store.insert(
        anchors=[
            about | {"anchor_id": one, "text": one, "uri": f"{one}.md", "licence": licence}
            for one, licence in (("mill", "MIT"), ("barn", "MIT"), ("room", "CC-BY-4.0"))
        ]
    )
    return store


def write(store: Store, name: str, *records: Record, refused: int = 0) -> str:
    """Insert a validated batch, the first few records of which were refused; return its id."""
    batch_id = begin_batch(store, Recipe(method={"kind": name}, snapshot_id="s", model="m", revision="r1"), "raw")
    insert_outcomes(store, batch_id, {str(number): Outcome([one]) for number, one in enumerate(records)})
    out = [{"batch_id": batch_id, "record_id": one.record_id, "reason": "repeats"} for one in records[:refused]]
    store.insert(**({"quarantine": out} if out else {}))
    complete_stage(store, batch_id, "validate", {})
    return batch_id


def text(anchor_id: str, said: str) -> Record:
    return Record(anchor_id, "rephrase", "style", said, (said,))


def talk(anchor_id: str, turns: tuple[Turn, ...]) -> Record:
    return Record.of_turns(anchor_id, "reasoning", "", turns, (anchor_id,))

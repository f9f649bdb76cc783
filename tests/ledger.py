"""A ledger that agents write into by the only tool of a real server: its tasks, as a snapshot has them."""

from collections.abc import Sequence

from gainloop.methods.tool_use import ToolUse
from gainloop.store import Store
from gainloop.store.snapshots import PartWriter, insert_snapshot
from gainloop.tools.task import Scenario, ToolTask, write_task
from gainloop.tools.tool import Tool
from schemas.recipe import Recipe, Sampling
from schemas.rows import Anchor

NOTE = Tool("note", "Write an entry into the ledger.", {"type": "object", "properties": {"entry": {"type": "string"}}})
RECIPE = Recipe(
    method=ToolUse(judge=False).model_dump(mode="json"),
    snapshot_id="ledger",
    model="stub",
    revision="/models/stub",
    sampling=Sampling(max_tokens=300),
)


def write_tasks(store: Store, snapshot_id: str, tasks: Sequence[ToolTask]) -> None:
    """Write tasks as the anchors of a snapshot of their own."""
    write_texts(store, snapshot_id, [write_task(task) for task in tasks])


def write_texts(store: Store, snapshot_id: str, texts: Sequence[str]) -> None:
    """Write texts as the anchors of a snapshot of their own."""
    writer = PartWriter(store, snapshot_id)
    for number, text in enumerate(texts):
        writer.add_anchor("all", Anchor(text, f"Text {number}", f"{snapshot_id}/{number}", revision="1"))
    writer.finish_part("all", "1", {"documents": len(texts), "anchors": len(texts), "too_short": 0})
    writer.write()
    about = {"source_id": snapshot_id, "source": "{}", "heldout_fraction": 0.0, "num_heldout": 0, "num_bytes": 0}
    insert_snapshot(store, {"snapshot_id": snapshot_id, "num_anchors": len(texts), **about}, {"all": "1"})


def fill(store: Store, entries: Sequence[str]) -> None:
    """Write a task for each entry that a clerk wants to have noted."""
    scenarios = [Scenario("A clerk.", f"You want to note {entry}.") for entry in entries]
    tasks = [
        ToolTask(one, server="ledger", tools=(NOTE,), policy="Note what is wanted.", basis=("said",))
        for one in scenarios
    ]
    write_tasks(store, RECIPE.snapshot_id, tasks)

"""What an export holds: kept records alone, in shapes that other libraries read, with whose they are."""

import json
from pathlib import Path
from typing import Any, cast

import datasets
import polars as pl
import pytest
import yaml

from gainloop.models.conversations import conversation_rows
from gainloop.reports.dataset import Format, export_batches
from gainloop.serving.driver import insert_outcomes
from gainloop.store import Store
from gainloop.store.batches import begin_batch, complete_stage
from schemas.conversation import ToolCall, Turn, read_messages
from schemas.errors import BadInput
from schemas.recipe import Recipe
from schemas.rows import Outcome, Record
from tests.tiny_model import tiny_tokenizer

TALK = (Turn("user", "Grind | what?"), Turn("assistant", "Rye."))
CALLING = (
    *(Turn("user", "Is room 7 free?"), Turn("assistant", calls=(ToolCall("find", {"room": 7, "of": [1]}, "c1"),))),
    *(Turn("tool", '{"free": true}', call_id="c1"), Turn("assistant", "It is.", thought="Free.")),
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
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


def read_back(path: str, form: Format) -> list[dict[str, Any]]:
    kind = {"jsonl": "json", "parquet": "parquet"}[form]
    found = datasets.load_dataset(kind, data_files=path, split="train", cache_dir=str(Path(path).parent / "cache"))
    return cast(list[dict[str, Any]], found.to_list())


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_kept_texts_come_back_with_their_documents_and_licences(store: Store, form: Format, tmp_path: Path) -> None:
    refused, kept = text("mill", "Refused."), text("mill", "It grinds rye, \u201cslowly\u201d.")
    first = write(store, "one", refused, kept, refused=1)
    second = write(store, "two", kept, text("barn", "It holds hay."))
    rows = read_back(export_batches(store, [first, second], str(tmp_path / "out"), form, False), form)

    assert sorted(row["text"] for row in rows) == ["It grinds rye, \u201cslowly\u201d.", "It holds hay."]
    (mill,) = [row for row in rows if row["anchor_id"] == "mill"]
    assert (mill["batch_id"], mill["document"], mill["licence"], mill["model"]) == (first, "mill.md", "MIT", "m")
    assert [row["record_id"] for row in rows] == sorted(row["record_id"] for row in rows)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("talks", [(TALK,), (TALK, CALLING)], ids=["talk", "calls"])
def test_conversations_come_back_as_messages_that_a_training_reads(
    store: Store, form: Format, talks: tuple[tuple[Turn, ...], ...], tmp_path: Path
) -> None:
    anchors = ("mill", "barn")
    batch_id = write(store, "one", *(talk(one, turns) for one, turns in zip(anchors, talks, strict=False)))
    rows = read_back(export_batches(store, [batch_id], str(tmp_path / "out"), form, False), form)

    found = {row["anchor_id"]: read_messages(row["messages"]) for row in rows}
    assert found == dict(zip(anchors, talks, strict=False))
    assert all(conversation_rows(tiny_tokenizer(), turns) for turns in found.values())
    has_calls = len(talks) > 1
    assert all(("tool_calls" in message) == has_calls for row in rows for message in row["messages"])


def test_the_card_says_whose_the_documents_are_and_how_the_records_were_made(store: Store, tmp_path: Path) -> None:
    batch_id = write(store, "one", text("mill", "Rye."), text("room", "Free."))
    with pytest.raises(BadInput, match=r"under CC-BY-4.0, MIT; one licence is allowed, .* --mixes-licences true"):
        export_batches(store, [batch_id], str(tmp_path / "out"), "jsonl", False)
    assert not (tmp_path / "out").exists()
    export_batches(store, [batch_id], str(tmp_path / "out"), "jsonl", True)
    _, head, body = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)

    assert yaml.safe_load(head)["license"] == "other"
    assert yaml.safe_load(head)["configs"] == [{"config_name": "default", "data_files": "records.jsonl"}]
    assert "| CC-BY-4.0 | 1 |\n| MIT | 1 |" in body
    assert f"| {batch_id} | one | m | r1 | 1.0 | 1.0 | 0 | 2 |" in body


def test_no_card_but_an_earlier_exports_is_written_over_and_no_other_form_stays_beside_it(
    store: Store, tmp_path: Path
) -> None:
    batch_id, out = write(store, "one", text("mill", "Rye.")), tmp_path / "out"
    for form in ("jsonl", "parquet"):
        export_batches(store, [batch_id], str(out), cast(Format, form), False)
        assert sorted(path.name for path in out.iterdir()) == ["README.md", f"records.{form}"]
    (out / "README.md").write_text("# My project")
    with pytest.raises(BadInput, match=r"has a README.md that no export wrote; .* Set --folder to another"):
        export_batches(store, [batch_id], str(out), "jsonl", False)
    assert (out / "README.md").read_text() == "# My project"


def test_texts_and_conversations_are_not_one_dataset_and_nothing_kept_is_none(store: Store, tmp_path: Path) -> None:
    first, second = write(store, "one", text("mill", "Rye.")), write(store, "two", talk("barn", TALK))
    with pytest.raises(BadInput, match=r"1 of 2 records are conversations and the others texts"):
        export_batches(store, [first, second], str(tmp_path / "out"), "jsonl", False)
    refused = write(store, "three", text("mill", "Oats."), refused=1)
    with pytest.raises(BadInput, match=f"exporting batches {refused}: validation kept none"):
        export_batches(store, [refused], str(tmp_path / "out"), "jsonl", False)


def test_a_conversation_in_a_dataset_is_what_the_store_has(store: Store, tmp_path: Path) -> None:
    batch_id = write(store, "one", talk("mill", CALLING))
    data = export_batches(store, [batch_id], str(tmp_path / "out"), "jsonl", False)

    (line,) = Path(data).read_text().splitlines()
    calls = json.loads(line)["messages"][1]["tool_calls"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"room": 7, "of": [1]}
    assert pl.read_ndjson(data).height == 1

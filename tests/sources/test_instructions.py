"""Groups of instructions: what rows are read, what is left out, and how groups are drawn."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from gainloop.sources import AnySource
from gainloop.sources.instructions import Instructions, read_instruction, read_instructions
from gainloop.store import Store
from gainloop.store.batches import complete_stage
from gainloop.store.snapshots import read_anchors
from schemas.conversation import ToolCall, Turn, as_messages, write_turns
from schemas.errors import BadInput, SourceChanged
from schemas.instruction import Instruction, read_group
from schemas.rows import Anchor, Record
from tasks.refresh import refresh_snapshot
from tests.test_validate import as_row, make_world

MOOD = Instruction("Name the mood of the sentence.", "It rained.", "sad")
ASKED = as_messages(MOOD.turns)


def seed(number: int) -> dict[str, Any]:
    instances = [{"input": f"number {number}", "output": f"answer {number}"}]
    return {"id": f"s{number}", "instruction": f"Do thing {number}.", "instances": instances}


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def groups(source: Instructions) -> list[list[Instruction]]:
    (part,) = source.parts()
    return [read_group(document.text) for document in source.read(part)]


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": MOOD.text, "instances": [{"input": MOOD.input, "output": MOOD.output}]},
        {
            "instruction": MOOD.text,
            "instances": [{"input": "", "output": " "}, 7, {"input": "It rained.", "output": "sad"}],
        },
        {"instruction": f" {MOOD.text}\n", "input": f"{MOOD.input}\n", "output": "\r\nsad "},
        {"messages": ASKED},
        {"messages": [{"role": "system", "content": "Be brief."}, *ASKED, *ASKED]},
        {"turns": write_turns(MOOD.turns)},
    ],
)
def test_rows_of_each_shape_are_read(row: dict[str, Any]) -> None:
    assert read_instruction(row) == MOOD


@pytest.mark.parametrize(
    ("row", "lacking"),
    [
        ({"instruction": " ", "output": "Rye"}, "no_instruction"),
        ({"instruction": 7, "output": "Rye"}, "no_instruction"),
        ({"messages": "[[["}, "no_instruction"),
        ({"messages": []}, "no_instruction"),
        ({"messages": [{"role": "user", "content": "Why?"}]}, "no_instruction"),
        ({"instruction": "Name a grain."}, "no_output"),
        ({"instruction": "Name a grain.", "instances": []}, "no_output"),
        ({"instruction": "Name a grain.", "output": None}, "no_output"),
        (
            {"messages": as_messages([Turn("user", "Go"), Turn("assistant", "", calls=(ToolCall("go", {}, "c1"),))])},
            "no_output",
        ),
    ],
)
def test_a_row_that_lacks_something_says_what(row: dict[str, Any], lacking: str) -> None:
    assert read_instruction(row) == lacking


def test_rows_that_are_left_out_are_counted_by_reason_and_an_instruction_counts_once() -> None:
    rows = [seed(1), {**seed(2), "instruction": "DO thing 1."}, {"text": "rye"}, {"instruction": "Name a grain."}]
    seen = {"do thing 3."}

    found, drops = read_instructions([*rows, seed(3)], seen)

    assert [one.text for one in found] == ["Do thing 1."]
    assert drops == {"repeat": 2, "no_instruction": 1, "no_output": 1}


def test_a_group_has_the_asked_number_of_instructions_each_once_and_at_most_two_that_a_model_wrote(
    tmp_path: Path,
) -> None:
    paths = [write(tmp_path / "seeds.jsonl", [seed(number) for number in range(40)])]
    made = [write(tmp_path / "made.jsonl", [{"messages": as_messages(MOOD.turns)}, seed(100), seed(101), seed(1)])]
    written_by_model = {MOOD.text, "Do thing 100.", "Do thing 101."}

    drawn = groups(Instructions(seed_paths=paths, made_paths=made, groups=30))

    for group in drawn:
        texts = {one.text for one in group}
        assert len(group) == len(texts) == 8
        assert len(texts & written_by_model) == 2
    assert len({tuple(group) for group in drawn}) == 30
    assert {one.text for group in drawn for one in group} == {f"Do thing {n}." for n in range(40)} | written_by_model


def test_groups_depend_on_the_seed_alone_and_more_of_them_only_add(tmp_path: Path) -> None:
    paths = [write(tmp_path / "seeds.jsonl", [seed(number) for number in range(20)])]
    few, more = groups(Instructions(seed_paths=paths, groups=3)), groups(Instructions(seed_paths=paths, groups=5))

    assert more[:3] == few == groups(Instructions(seed_paths=paths, groups=3))
    assert groups(Instructions(seed_paths=paths, groups=3, seed=1)) != few


def test_of_fewer_instructions_than_a_group_may_have_all_are_shown(tmp_path: Path) -> None:
    paths = [write(tmp_path / "seeds.jsonl", [seed(1), seed(2)])]

    assert [len(group) for group in groups(Instructions(seed_paths=paths, groups=2))] == [2, 2]


def test_what_is_too_long_for_its_part_of_a_group_is_shown_alone_or_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long_output = {"instruction": "Tell a story.", "output": "Rye. " * 200}
    paths = [write(tmp_path / "seeds.jsonl", [seed(1), long_output, {"instruction": "Rye " * 200, "output": "x"}, {}])]

    with caplog.at_level(logging.INFO, "gainloop.sources"):
        (group,) = groups(Instructions(seed_paths=paths, groups=1))

    assert {one.text: one.output for one in group} == {"Do thing 1.": "answer 1", "Tell a story.": ""}
    assert "Of 4 rows of" in caplog.text
    assert "no_instruction (1); shown without its output, which is too long (1); too_long (1)" in caplog.text


def test_groups_are_anchors_that_a_refresh_reads_once_and_again_when_a_file_is_another(
    store: Store, tmp_path: Path
) -> None:
    path = write(tmp_path / "seeds.jsonl", [seed(number) for number in range(20)])
    source = Instructions(seed_paths=[path], groups=5, licence="Apache-2.0")

    first = refresh_snapshot(store, source, 0)
    anchors = read_anchors(store, first.snapshot_id)
    assert sorted(anchors["uri"]) == [f"instructions#group-{n}" for n in range(1, 6)]
    assert all(len(read_group(text)) == 8 for text in anchors["text"])
    assert refresh_snapshot(store, source, 0).num_parts_read == 0

    write(tmp_path / "seeds.jsonl", [seed(number) for number in range(21)])
    assert refresh_snapshot(store, source, 0).num_parts_read == 1


def test_a_file_that_changes_before_it_is_read_is_told_not_taken_for_what_it_was(tmp_path: Path) -> None:
    source = Instructions(seed_paths=[write(tmp_path / "seeds.jsonl", [seed(1)])])
    (part,) = source.parts()
    write(tmp_path / "seeds.jsonl", [seed(1), seed(2)])

    with pytest.raises(SourceChanged):
        list(source.read(part))


def test_kept_records_of_an_earlier_batch_are_shown_as_what_a_model_wrote(store: Store, tmp_path: Path) -> None:
    world = make_world(store, {}, [Anchor("1. Do thing 1.")], "self_instruct")
    talk = Record.of_turns(world.anchors[0].anchor_id, "self_instruct", "f", MOOD.turns, ("q1",))
    text = Record(world.anchors[0].anchor_id, "self_instruct", "f", "A text is no conversation.", ("q2",))
    store.insert(records=[as_row(world.batch_id, one) for one in (talk, text)])
    complete_stage(store, world.batch_id, "validate", {})

    store.kept(world.batch_id).write_ndjson(tmp_path / "kept.jsonl")
    seeds = [write(tmp_path / "seeds.jsonl", [seed(1), seed(2)])]
    (group,) = groups(Instructions(seed_paths=seeds, made_paths=[str(tmp_path / "kept.jsonl")], groups=1))

    assert {one.text for one in group} == {MOOD.text, "Do thing 1.", "Do thing 2."}
    assert MOOD in group


def test_the_real_seeds_are_all_read_and_their_groups_are_read_back(shared_data: Path) -> None:
    path = str(shared_data / "self_instruct" / "seed_tasks.jsonl")
    drawn = groups(Instructions(seed_paths=[path], groups=200))

    assert {len(group) for group in drawn} == {8}
    assert len({one.text for group in drawn for one in group}) == 175


def test_files_without_an_instruction_are_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "seeds.jsonl", [{"text": "rye"}])

    with pytest.raises(
        BadInput, match=r"seeds\.jsonl: no row has an instruction and an output; .* Correct source\.seed_paths"
    ):
        groups(Instructions(seed_paths=[path]))
    with pytest.raises(BadInput, match="no file is there"):
        list(Instructions(seed_paths=[str(tmp_path / "none.jsonl")]).parts())


def test_a_source_of_instructions_is_given_as_a_person_writes_it() -> None:
    source = TypeAdapter(AnySource).validate_python({"kind": "instructions", "seed_paths": ["seeds.jsonl"]})

    assert TypeAdapter(AnySource).validate_json(source.model_dump_json()) == source

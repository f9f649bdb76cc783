import json
from pathlib import Path

import pytest

from gainloop.sources import Several
from gainloop.sources.source import Part
from gainloop.sources.tool_tasks import ToolTasks
from gainloop.tools.shop_tasks import make_tasks
from gainloop.tools.task import read_task, write_task
from schemas.errors import BadInput
from schemas.rows import Anchor, Document

TASKS = make_tasks(6, "file")


def documents(source: ToolTasks) -> list[Document]:
    return [piece for part in source.parts() for one in source.read(part) for piece in source.cut(part, one)]


def test_tasks_of_a_file_are_anchors_whole_however_long(tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text("\n".join(map(write_task, TASKS)))
    found = documents(ToolTasks(task_paths=[str(tmp_path)], licence="CC0-1.0"))

    assert [read_task(one.text) for one in found] == TASKS
    assert [one.uri for one in found] == [f"tasks.jsonl#{number}" for number in range(1, 7)]
    assert {one.licence for one in found} == {"CC0-1.0"}
    assert min(len(one.text) for one in found) > ToolTasks().max_chars


def test_tasks_are_made_by_a_seed_and_more_of_them_only_add() -> None:
    few, more, other = (
        documents(ToolTasks(number=number, seed=seed)) for number, seed in ((150, 1), (250, 1), (150, 2))
    )

    assert few == more[:150]
    assert not {one.text for one in few} & {one.text for one in other}
    assert len({Anchor(one.text).anchor_id for one in more}) == 250
    assert [task.level for one in few[:6] if (task := read_task(one.text))] == [1, 2, 3, 1, 2, 3]


def test_made_parts_are_read_again_only_where_they_are_others() -> None:
    marks = [[part.fingerprint for part in ToolTasks(number=number).parts()] for number in (200, 250, 300)]

    assert marks[0] == marks[1][:2] == marks[2][:2]
    assert marks[1][2] != marks[2][2]


def test_a_task_that_its_own_actions_do_not_solve_is_refused_by_its_line(tmp_path: Path) -> None:
    bad = json.loads(write_task(TASKS[1])) | {"actions": [{"name": "fly", "arguments": {}}]}
    (tmp_path / "tasks.jsonl").write_text(f"{write_task(TASKS[0])}\n{json.dumps(bad)}\n")
    source = ToolTasks(task_paths=[str(tmp_path)])
    (part,) = source.parts()

    assert isinstance(part, Part)
    with pytest.raises(BadInput, match=r"reading tool tasks, tasks\.jsonl, line 2: .*fly"):
        list(source.read(part))


def test_a_row_without_a_scenario_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text('{"text": "A shop."}')
    source = ToolTasks(task_paths=[str(tmp_path)])

    with pytest.raises(BadInput, match="field 'scenario' not found"):
        list(source.read(next(source.parts())))


def test_files_of_other_kinds_are_told_and_a_folder_without_tasks_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(BadInput, match=r"none that is read: not \.jsonl"):
        list(ToolTasks(task_paths=[str(tmp_path)]).parts())

    (tmp_path / "tasks.jsonl").write_text(write_task(TASKS[0]))
    with caplog.at_level("INFO", "gainloop.sources"):
        (part,) = ToolTasks(task_paths=[str(tmp_path)]).parts()
    assert part.name == "tasks.jsonl"
    assert "Skipped 1 of 2 files" in caplog.text
    assert "not .jsonl" in caplog.text


def test_tasks_made_by_two_seeds_are_one_corpus_whose_names_differ() -> None:
    source = Several(sources=[ToolTasks(number=150), ToolTasks(number=150, seed=1)])
    found = [one for part in source.parts() for one in source.read(part)]

    assert len({part.name for part in source.parts()}) == 4
    assert len({one.uri for one in found}) == 300


def test_a_form_that_sends_every_default_beside_files_is_accepted() -> None:
    sent = ToolTasks().model_dump() | {"task_paths": ["tasks"]}

    assert ToolTasks.model_validate(sent).task_paths == ["tasks"]


def test_tasks_are_read_or_made_not_both() -> None:
    with pytest.raises(ValueError, match="tasks are read or made"):
        ToolTasks(task_paths=["tasks"], number=7)

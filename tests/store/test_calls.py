from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gainloop.store.calls import CallMarks
from schemas.errors import StoreError


def test_a_call_is_new_once_and_has_its_result_ever_after(tmp_path: Path) -> None:
    marks = CallMarks(str(tmp_path / "calls"))

    assert marks.begin("q1") is None
    assert marks.begin("q1") == ""
    marks.finish("q1", '{"result": "caf\u00e9"}')
    assert marks.begin("q1") == '{"result": "caf\u00e9"}'
    assert marks.begin("q2") is None


def test_of_many_who_begin_a_call_at_once_one_makes_it(tmp_path: Path) -> None:
    marks = CallMarks(str(tmp_path))
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(marks.begin, ["q1"] * 200))

    assert found.count(None) == 1


def test_in_object_storage_a_call_has_a_mark_too() -> None:
    marks = CallMarks("memory://batch/calls")

    assert marks.begin("q1") is None
    marks.finish("q1", "{}")
    assert marks.begin("q1") == "{}"


def test_a_mark_that_cannot_be_written_is_an_error_before_any_call(tmp_path: Path) -> None:
    (tmp_path / "calls").write_text("no folder")

    with pytest.raises((StoreError, OSError)):
        CallMarks(str(tmp_path / "calls")).begin("q1")

import zipfile
from pathlib import Path

import pytest

from gainloop.sources.tables import Tables
from schemas.errors import BadInput

FILES = Tables("probes", "curation.probes.files")
ROW = '{"text": "a"}\n'


def rows(path: str) -> list[dict[str, str]]:
    return [row for url in FILES.find([path]) for _, row in FILES.read(url)]


@pytest.mark.parametrize("name", ["std::rows.jsonl", "[x].jsonl", "a#1.jsonl", "zip::rows.jsonl"])
def test_a_file_of_any_name_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(ROW)

    assert rows(str(tmp_path / name)) == rows(str(tmp_path / "*.jsonl")) == [{"text": "a"}]


def test_a_file_in_an_archive_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/rows.jsonl", ROW)

    assert rows(f"zip://in/*.jsonl::{tmp_path}/a.zip") == [{"text": "a"}]


@pytest.mark.parametrize("content", ["[" * 100_000, '{"n": ' + "9" * 5000 + "}"])
def test_json_that_cannot_be_followed_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)

    with pytest.raises(BadInput, match=r"a\.json, line 1: "):
        rows(str(tmp_path / "a.json"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(ROW)

    with pytest.raises(BadInput, match="no file is there; a file or a glob is allowed"):
        rows(str(tmp_path))

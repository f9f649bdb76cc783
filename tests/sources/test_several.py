from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from gainloop.sources import AnySource, Several
from gainloop.sources.files import Files
from gainloop.store import Store
from gainloop.store.snapshots import read_anchors
from schemas.errors import BadInput
from tasks.refresh import refresh_snapshot


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.md").write_text(f"The text of {folder}. " * 20)
    return str(tmp_path / "one"), str(tmp_path / "two")


def test_several_sources_are_one_corpus_each_with_its_own_parameters(store: Store, folders: tuple[str, str]) -> None:
    one, two = folders
    source = Several(sources=[Files(paths=[one], max_chars=250), Files(paths=[two], name="second")])
    refreshed = refresh_snapshot(store, source, 0)
    anchors = read_anchors(store, refreshed.snapshot_id)

    assert sorted(anchors["uri"]) == ["a.md;piece=1", "a.md;piece=2", "second/a.md"]
    assert refresh_snapshot(store, source, 0).num_parts_read == 0


def test_two_parts_of_one_name_are_told_apart_by_a_name_or_refused(folders: tuple[str, str]) -> None:
    source = Several(sources=[Files(paths=[folder]) for folder in folders])

    with pytest.raises(BadInput, match=r"numbers 1 and 2 both have a part 'a\.md'.*Set name of one"):
        list(source.parts())


def test_several_sources_are_given_as_a_person_writes_them(folders: tuple[str, str]) -> None:
    one, _ = folders
    written = {"kind": "several", "sources": [{"kind": "files", "paths": [one]}, {"kind": "python_docs"}]}
    source = TypeAdapter(AnySource).validate_python(written)

    assert next(part.name for part in source.parts()) == "a.md"
    assert TypeAdapter(AnySource).validate_json(source.model_dump_json()) == source
    with pytest.raises(ValidationError, match=r"source\.sources.kind 'dream' not found"):
        TypeAdapter(AnySource).validate_python({"kind": "several", "sources": [{"kind": "dream"}]})


def test_where_no_document_is_long_enough_the_least_of_each_source_is_told(
    store: Store, folders: tuple[str, str]
) -> None:
    one, two = folders
    source = Several(sources=[Files(paths=[one], min_chars=900), Files(paths=[two], name="second", min_chars=700)])

    with pytest.raises(BadInput, match=r"none of 2 documents .*\(files: 900; files: 700\).*lower its min_chars"):
        refresh_snapshot(store, source, 0)

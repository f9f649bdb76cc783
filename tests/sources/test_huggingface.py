import json
from pathlib import Path

import huggingface_hub
import pytest
from pydantic import TypeAdapter, ValidationError

from gainloop.sources import AnySource
from gainloop.sources.huggingface import HuggingFace
from schemas.errors import BadInput, SourceError


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    rows = [{"text": f"Text {n}", "title": f"Title {n}", "name": n} for n in range(3)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path)


def read(source: HuggingFace) -> list[tuple[str, str, str]]:
    (part,) = source.parts()
    return [
        (document.text, document.title, document.uri.removeprefix(source.dataset)) for document in source.read(part)
    ]


def test_a_split_is_streamed_as_documents(dataset: str) -> None:
    source = HuggingFace(dataset=dataset, revision="v1", title_field="title", id_field="name")

    assert read(source) == [(f"Text {n}", f"Title {n}", f"/default/train#{n}") for n in range(3)]


def test_a_split_is_read_again_when_the_revision_is_another(dataset: str) -> None:
    (part,) = HuggingFace(dataset=dataset, revision="v1").parts()

    assert (part.fingerprint, part.name) == ("v1", f"{dataset}/default/train")


@pytest.mark.parametrize("revision", ["", "main"])
def test_a_revision_must_be_pinned(revision: str) -> None:
    with pytest.raises(ValidationError, match="a commit or a tag is allowed, because what a branch names changes"):
        TypeAdapter(AnySource).validate_python({"kind": "huggingface", "dataset": "a/b", "revision": revision})


def test_what_is_not_there_is_named(dataset: str) -> None:
    with pytest.raises(BadInput, match=r"split 'test'.*Bad split: test. Available splits: \['train'\]"):
        read(HuggingFace(dataset=dataset, revision="v1", split="test"))
    with pytest.raises(BadInput, match="BuilderConfig 'x' not found"):
        read(HuggingFace(dataset=dataset, revision="v1", config="x"))
    with pytest.raises(BadInput, match="field 'body' not found; fields there are text, title, name"):
        read(HuggingFace(dataset=dataset, revision="v1", text_field="body"))
    with pytest.raises(BadInput, match="Couldn't find any data file"):
        read(HuggingFace(dataset=f"{dataset}/nowhere", revision="v1"))


def test_a_hub_out_of_reach_is_not_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(SourceError, match="the hub must be within reach"):
        read(HuggingFace(dataset="someone/something", revision="v1"))


@pytest.mark.parametrize(
    "named", ["../secret.jsonl", "{beside}/secret.jsonl", "http://127.0.0.1:9/secret.jsonl", "link.jsonl"]
)
def test_a_dataset_that_names_a_file_outside_of_it_is_refused(tmp_path: Path, named: str) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "secret.jsonl").write_text('{"text": "a secret of this machine"}\n')
    (folder / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    listed = f"configs:\n- config_name: default\n  data_files: {named.format(beside=tmp_path)}\n"
    (folder / "README.md").write_text(f"---\n{listed}---\n")

    with pytest.raises(BadInput, match=r"outside of it|Couldn't reach|Cannot connect|127.0.0.1:9") as caught:
        read(HuggingFace(dataset=str(folder), revision="v1"))
    assert "a secret of" not in str(caught.value)


def test_the_links_of_a_hub_cache_are_part_of_its_dataset(tmp_path: Path) -> None:
    blob, folder = tmp_path / "blobs" / "0a1b", tmp_path / "snapshots" / "v1"
    for made in (blob.parent, folder):
        made.mkdir(parents=True)
    blob.write_text('{"text": "Text 0"}\n')
    (folder / "train.jsonl").symlink_to("../../blobs/0a1b")

    assert [text for text, *_ in read(HuggingFace(dataset=str(folder), revision="v1"))] == ["Text 0"]

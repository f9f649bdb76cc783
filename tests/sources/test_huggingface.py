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


@pytest.mark.parametrize("named", ["../private.jsonl", "{outside}/private.jsonl", "link.jsonl"])
def test_a_folder_gives_no_file_outside_of_it(
    dataset: str, tmp_path_factory: pytest.TempPathFactory, named: str
) -> None:
    outside = Path(dataset).parent if named.startswith("..") else tmp_path_factory.mktemp("outside")
    (outside / "private.jsonl").write_text(json.dumps({"text": "private"}))
    (Path(dataset) / "link.jsonl").symlink_to(outside / "private.jsonl")
    files = named.format(outside=outside)
    (Path(dataset) / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files: {files}\n---\n")

    with pytest.raises(BadInput, match=r"it names '.*private\.jsonl', which is not its own|it names '.*link\.jsonl'"):
        read(HuggingFace(dataset=dataset, revision="v1"))


@pytest.mark.parametrize(
    "url",
    [
        "/etc/hostname",
        "hf://datasets/other/corpus@0a1b/train.jsonl",
        "https://elsewhere.example/train.jsonl",
        "zip://a.jsonl::https://elsewhere.example/a.zip",
        "hf://datasets/some/corpus-of-another@0a1b/train.jsonl",
    ],
)
def test_a_dataset_of_the_hub_gives_its_own_files_alone(url: str) -> None:
    source = HuggingFace(dataset="some/corpus", revision="v1")
    source._require_own_files({"train": ["hf://datasets/some/corpus@0a1b/train.jsonl"]}, "dataset")

    with pytest.raises(BadInput, match="which is not its own"):
        source._require_own_files({"train": ["hf://datasets/some/corpus@0a1b/train.jsonl", url]}, "dataset")


def test_a_hub_out_of_reach_is_not_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(SourceError, match="the hub must be within reach"):
        read(HuggingFace(dataset="someone/something", revision="v1"))

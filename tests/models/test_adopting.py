"""A model made elsewhere is named by what decides its replies, and taken over whole."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from gainloop.models.adopting import find_checkpoint
from gainloop.models.loading import load_model
from gainloop.store import Store
from gainloop.store.checkpoints import checkpoint_folder
from schemas.errors import BadInput
from schemas.plan import Checkpoint
from schemas.profile import Profile
from tasks.train import make_start
from tests.tiny_model import save_tiny_model

DECIDING = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(save_tiny_model(tmp_path / "model"))


def revision(folder: Path) -> str:
    return find_checkpoint(Checkpoint(model=str(folder))).revision


@pytest.mark.parametrize("name", [*DECIDING, "special_tokens_map.json", "added_tokens.json", "model.safetensors"])
def test_every_file_that_decides_a_reply_changes_the_revision(folder: Path, name: str) -> None:
    before = revision(folder)
    with (folder / name).open("a") as file:
        file.write(" ")

    assert revision(folder) != before


@pytest.mark.parametrize(
    "name", ["README.md", "training_args.bin", "optimizer.pt", "lineage.json", "trainer_state.json", "onnx/x.onnx"]
)
def test_nothing_else_does(folder: Path, name: str) -> None:
    before = revision(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("anything")

    assert revision(folder) == before


def test_only_the_weights_that_are_read_count(folder: Path) -> None:
    before = revision(folder)
    (folder / "pytorch_model.bin").write_bytes(b"of another format, not read")

    assert revision(folder) == before


def test_a_folder_is_taken_over_once_with_what_decides_its_replies(
    folder: Path, store: Store, profile: Profile
) -> None:
    (folder / "README.md").write_text("about")
    first = make_start(store, profile.training, "", Checkpoint(model=str(folder)), lambda *_: None)  # type: ignore[arg-type]
    moved = shutil.copytree(folder, folder.parent / "moved")
    again = make_start(store, profile.training, "", Checkpoint(model=str(moved)), lambda *_: None)  # type: ignore[arg-type]

    assert first == again
    taken = Path(checkpoint_folder(store, first))
    assert {path.name for path in taken.iterdir()} == {*DECIDING, "model.safetensors", "lineage.json"}
    one, other = load_model(str(folder)).state_dict(), load_model(str(taken)).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert make_start(store, profile.training, "", Checkpoint(model=first), lambda *_: None) == first  # type: ignore[arg-type]


def test_a_damaged_model_is_not_taken_over(folder: Path, store: Store, profile: Profile) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 128}))

    with pytest.raises(BadInput, match="opening the checkpoint"):
        make_start(store, profile.training, "", Checkpoint(model=str(folder)), lambda *_: None)  # type: ignore[arg-type]
    assert store.query("select * from checkpoints").is_empty()


def test_weights_that_hold_no_numbers_are_not_taken_over(folder: Path, store: Store, profile: Profile) -> None:
    model = load_model(str(folder))
    with torch.no_grad():
        next(model.parameters())[0, 0] = float("nan")
    model.save_pretrained(folder)

    with pytest.raises(
        BadInput, match=r"1 of its weights hold values that are no numbers, model\.embed_tokens\.weight"
    ):
        make_start(store, profile.training, "", Checkpoint(model=str(folder)), lambda *_: None)  # type: ignore[arg-type]
    assert store.query("select * from checkpoints").is_empty()


def test_an_adapter_alone_is_told_from_a_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(BadInput, match="it is an adapter alone, to be merged into its model first"):
        find_checkpoint(Checkpoint(model=str(tmp_path)))


@pytest.mark.parametrize("name", ["./nowhere", "some/file.gguf", "a/b/c"])
def test_a_name_of_nothing_is_an_error_that_says_what_may_be_named(name: str) -> None:
    with pytest.raises(BadInput, match=r"there is no such folder or file; .* a \.gguf file, or a hub id is needed"):
        find_checkpoint(Checkpoint(model=name))


def test_a_hub_that_is_not_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match=r"loading checkpoint 'nobody/nothing': .* or a hub id that this machine can"):
        find_checkpoint(Checkpoint(model="nobody/nothing"))
    with pytest.raises(BadInput, match=r"'nope': no model of the store has that id, and the hub cannot be reached; "):
        find_checkpoint(Checkpoint(model="nope"))

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gainloop.store import Store
from gainloop.store.checkpoints import Lineage, checkpoint_folder, checkpoint_metrics, make_once
from schemas.errors import BadInput
from schemas.profile import Profile

LINEAGE = Lineage("synthetic", "parent", {"budget_tokens": 4096}, ["batch"])


class Maker:
    """Writes weights in two goes, and may be stopped between them."""

    def __init__(self, stop: bool = False) -> None:
        self.stop, self.found, self.num_calls = stop, [""], 0

    def __call__(self, folder: str) -> dict[str, Any]:
        self.num_calls += 1
        self.found = os.listdir(folder)
        Path(folder, "state").touch()
        time.sleep(0.05)
        if self.stop:
            raise KeyboardInterrupt
        Path(folder, "model.safetensors").write_text("weights")
        return {"train_loss_nats": 2.5}


def test_a_checkpoint_is_made_once_and_found_by_its_id(store: Store, profile: Profile) -> None:
    make = Maker()
    checkpoint_id = make_once(store, LINEAGE, make)

    assert make_once(store, LINEAGE, make) == checkpoint_id == LINEAGE.checkpoint_id
    assert make.num_calls == 1
    assert Path(checkpoint_folder(store, checkpoint_id), "model.safetensors").read_text() == "weights"
    assert checkpoint_metrics(store, checkpoint_id) == {"train_loss_nats": 2.5}


def test_a_checkpoint_says_its_parent_batches_and_plan(store: Store, profile: Profile) -> None:
    checkpoint_id = make_once(store, LINEAGE, Maker())

    lineage = json.loads(Path(checkpoint_folder(store, checkpoint_id), "lineage.json").read_text())
    assert (lineage["role"], lineage["parent"], lineage["batch_ids"]) == ("synthetic", "parent", ["batch"])
    (row,) = store.query("select role, parent, batch_ids, plan from checkpoints").rows()
    assert row == ("synthetic", "parent", ["batch"], json.dumps(LINEAGE.plan))


def test_what_makes_a_checkpoint_names_it() -> None:
    others = [
        Lineage("baseline", "parent", LINEAGE.plan, ["batch"]),
        Lineage("synthetic", "other", LINEAGE.plan, ["batch"]),
        Lineage("synthetic", "parent", {"budget_tokens": 8192}, ["batch"]),
        Lineage("synthetic", "parent", LINEAGE.plan, []),
    ]
    assert len({lineage.checkpoint_id for lineage in (LINEAGE, *others)}) == 5
    assert LINEAGE.checkpoint_id == "756c2a74eaf0f790"


def test_making_that_was_interrupted_finds_what_it_had_and_is_no_checkpoint_before(
    store: Store, profile: Profile
) -> None:
    with pytest.raises(KeyboardInterrupt):
        make_once(store, LINEAGE, Maker(stop=True))
    with pytest.raises(BadInput, match="not found in the store; the latest are none"):
        checkpoint_folder(store, LINEAGE.checkpoint_id)

    again = Maker()
    make_once(store, LINEAGE, again)
    assert again.found == ["state"]


def test_a_crash_between_the_weights_and_the_row_costs_no_training(store: Store, profile: Profile) -> None:
    make_once(Store(f"{profile.folder}/other.duckdb", profile.folder), LINEAGE, Maker())

    make = Maker()
    checkpoint_id = make_once(store, LINEAGE, make)
    assert make.num_calls == 0
    assert checkpoint_metrics(store, checkpoint_id) == {"train_loss_nats": 2.5}


def test_of_several_runs_that_want_a_checkpoint_one_makes_it(store: Store, profile: Profile) -> None:
    makers = [Maker(), Maker(), Maker()]
    with ThreadPoolExecutor(3) as pool:
        made = set(pool.map(lambda make: make_once(store, LINEAGE, make), makers))

    assert made == {LINEAGE.checkpoint_id}
    assert sum(make.num_calls for make in makers) == 1


def test_a_store_and_its_folder_can_be_moved_together(store: Store, profile: Profile, tmp_path: Path) -> None:
    checkpoint_id = make_once(store, LINEAGE, Maker())
    there = replace(store, folder=str(tmp_path / "there" / "data"))
    shutil.copytree(store.folder, there.folder)
    shutil.rmtree(f"{store.folder}/checkpoints")

    assert Path(checkpoint_folder(there, checkpoint_id), "model.safetensors").exists()
    assert make_once(there, LINEAGE, Maker(stop=True)) == checkpoint_id


def test_rows_that_name_files_from_the_working_folder_on_are_understood(store: Store) -> None:
    assert store.locate("data/checkpoints/1a") == store.locate("checkpoints/1a") == f"{store.folder}/checkpoints/1a"
    assert store.locate("runs/data/scores/1a.parquet") == f"{store.folder}/scores/1a.parquet"
    assert store.locate("/elsewhere/1a") == "/elsewhere/1a"
    assert store.locate(store.keep("s3://bucket/1a")) == "s3://bucket/1a"


@pytest.mark.parametrize("name", ["scores", "checkpoints", "batches"])
def test_a_folder_named_like_one_of_its_own_is_no_exception(store: Store, name: str) -> None:
    there = replace(store, folder=f"/data/{name}")
    for url in (f"/data/{name}/{name}/1a", f"/data/{name}/batches/1a/contrasts/2b"):
        assert there.locate(there.keep(url)) == url


def test_weights_that_were_deleted_are_made_again(store: Store, profile: Profile) -> None:
    checkpoint_id = make_once(store, LINEAGE, Maker())
    shutil.rmtree(checkpoint_folder(store, checkpoint_id))

    make_once(store, LINEAGE, Maker())
    assert Path(checkpoint_folder(store, checkpoint_id), "model.safetensors").exists()


def test_an_unknown_checkpoint_is_an_error_that_lists_the_latest(store: Store, profile: Profile) -> None:
    checkpoint_id = make_once(store, LINEAGE, Maker())

    with pytest.raises(BadInput, match=f"'feed': not found in the store; the latest are {checkpoint_id}"):
        checkpoint_folder(store, "feed")


def test_object_storage_is_refused_before_anything_is_made(store: Store) -> None:
    make = Maker()

    with pytest.raises(BadInput, match="training in s3://bucket: it is not a local folder"):
        make_once(replace(store, folder="s3://bucket"), LINEAGE, make)
    assert make.num_calls == 0


def test_a_run_that_waits_for_another_that_makes_the_checkpoint_says_so(
    store: Store, profile: Profile, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gainloop.store.files.WAIT_SECONDS", 0.05)

    def make_slowly(folder: str) -> dict[str, float]:
        deadline = time.monotonic() + 60
        while "this one waits" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.02)
        return Maker()(folder)

    with ThreadPoolExecutor(2) as pool:
        made = set(pool.map(lambda _: make_once(store, LINEAGE, make_slowly), range(2)))
    assert made == {LINEAGE.checkpoint_id}
    assert "this one waits until that is done" in caplog.text

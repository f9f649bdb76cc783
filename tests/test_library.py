"""The library as a notebook uses it: import gainloop, and no Prefect."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gainloop
from gainloop.store import Store
from schemas.errors import BadInput
from schemas.profile import Profile
from tasks.report import save_report
from tests.evidence import make_evidence, save_evidence
from tests.small_run import ROOT
from tests.tiny_model import save_tiny_model


def test_the_library_is_imported_without_prefect_and_without_torch_until_it_is_needed() -> None:
    code = (
        "import sys, gainloop; assert not {'prefect', 'torch', 'polars'} & set(sys.modules), 'heavy'; "
        "gainloop.open_store, gainloop.conditional_entropy, gainloop.mutual_information, gainloop.score_text; "
        "assert 'prefect' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120)


def test_every_name_that_the_library_promises_is_there() -> None:
    assert all(getattr(gainloop, name) is not None for name in gainloop.__all__)
    with pytest.raises(AttributeError, match="no attribute 'opne_store'"):
        gainloop.opne_store  # noqa: B018


def test_a_store_gives_its_batches_kept_records_and_reports(store: Store, profile: Profile) -> None:
    evidence = make_evidence()
    save_evidence(store, profile, evidence)
    save_report(store, profile.gate, evidence.batch_id, evidence.training_id)
    there = gainloop.open_store(store.path)

    (batch,) = there.batches().iter_rows(named=True)
    kept = there.kept()
    assert (batch["batch_id"], batch["records"]) == (evidence.batch_id, evidence.records.height)
    assert {"generate", "validate", "train"} <= set(batch["stages"])
    assert set(kept["record_id"]) == set(evidence.records.filter("kept")["record_id"])
    assert there.report().batch == evidence.batch_id
    assert there.report(evidence.batch_id).training == evidence.training_id
    with pytest.raises(BadInput, match="finding batch 'no such batch'"):
        there.kept("no such batch")


def test_a_store_is_opened_by_a_profile_its_name_or_its_file(profile: Profile, tmp_path: Path) -> None:
    assert gainloop.open_store(profile).folder == profile.folder
    assert gainloop.open_store("embedded").path.endswith("gainloop.duckdb")
    with pytest.raises(BadInput, match="profile 'embeded' not found in profiles/"):
        gainloop.open_store("embeded")
    with pytest.raises(BadInput, match="there is no such file"):
        gainloop.open_store(str(tmp_path / "none.duckdb"))
    assert not (tmp_path / "none.duckdb").exists()


def test_measures_take_arrays_as_a_notebook_has_them() -> None:
    entropy = gainloop.conditional_entropy(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 0, 1, 1]))
    assert entropy.value == pytest.approx(2.5)


def test_a_text_is_scored_alone_and_after_another(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path)
    alone = gainloop.score_text(folder, "The same words.")
    after = gainloop.score_text(folder, "The same words.", before="Other words stand here.")

    assert alone.bits_per_byte == pytest.approx(alone.nats / np.log(2) / 15)
    assert after.num_bytes == alone.num_bytes == 15
    assert after.nats != alone.nats
    with pytest.raises(BadInput, match="it is empty"):
        gainloop.score_text(folder, "")

"""What many tests need: a place to run in, a store, real text."""

import os
from pathlib import Path

import pytest

from schemas.profile import Profile, StorePlace
from tasks.store import Store

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    """A profile whose every file lies in the test's own folder."""
    folder = tmp_path / "data"
    return Profile(
        name="test", folder=str(folder), store=StorePlace(url=str(folder / "gainloop.duckdb"), lock_seconds=20)
    )


@pytest.fixture
def store(profile: Profile) -> Store:
    return Store(profile.store.url, profile.store.lock_seconds)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real corpora; $GAINLOOP_TEST_DATA says where it lies."""
    folder = Path(os.environ.get("GAINLOOP_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real corpora in {folder}; set GAINLOOP_TEST_DATA to a folder that has them")
    return folder

"""What many tests need: a place to run in, a store, real text."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from gainloop.store import Store, open_store
from schemas.profile import Profile, StoreSettings
from tests.small_run import parameters, write_corpus, write_profile
from tests.whole_run import Place, prefect_server, start

ROOT = Path(__file__).resolve().parent.parent

# By the clock, an example takes what a crowded machine makes of it.
settings.register_profile("gainloop", deadline=None)
settings.load_profile("gainloop")


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    """A profile whose every file lies in the test's own folder."""
    folder = tmp_path / "data"
    return Profile(
        name="test", folder=str(folder), store=StoreSettings(url=str(folder / "gainloop.duckdb"), lock_seconds=20)
    )


@pytest.fixture
def store(profile: Profile) -> Store:
    return open_store(profile)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB; making one takes rights that not every user has."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no small file system to fill up: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real corpora; $GAINLOOP_TEST_DATA says where it lies."""
    folder = Path(os.environ.get("GAINLOOP_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real corpora in {folder}; set GAINLOOP_TEST_DATA to a folder that has them")
    return folder


@pytest.fixture(scope="session")
def smollm2() -> str:
    """The folder of a real instruct model of 135 million parameters, which `make model` makes."""
    folder = ROOT / "data" / "models" / "smollm2-135m-instruct"
    if not (folder / "config.json").is_file():
        pytest.skip(f"no model in {folder.relative_to(ROOT)}: `make model` makes it")
    return str(folder)


@pytest.fixture(scope="session")
def api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of a Prefect server that all whole runs share: each would start one of its own for 15 seconds."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corpus, and beside it texts that are all too short: they take a second or two to read."""
    folder = write_corpus(tmp_path_factory.mktemp("corpus"))
    (folder / "z.jsonl").write_text('{"text": "too short"}\n' * 120_000)
    return folder


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, corpus: Path, api_url: str) -> Place:
    """What a small cycle leaves that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    ended = start("cycle", parameters(corpus, write_profile(folder)), folder, api_url).wait()
    assert ended.status == 0, ended.err
    return Place(folder)

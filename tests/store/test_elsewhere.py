"""Stores that are no file: what a profile may say of them, and what is told where something is missing."""

import sys
from pathlib import Path

import duckdb
import pytest

from flows.__storing__ import copy_store, serve_store
from gainloop.store import Store, open_store, place
from gainloop.store.copying import COPIED
from gainloop.store.daily import bytes_by_kind
from gainloop.store.ducklake import Lake
from gainloop.store.maintenance import maintain_store
from gainloop.store.quack import Quack
from schemas.errors import BadInput
from schemas.profile import load_profile
from schemas.tables import KEYS
from tests.small_run import write_profile
from tests.store.writing import records
from tests.test_bad_input import HOUSE_FORM

LAKE = "ducklake:postgres:dbname=gainloop host=db user=me"


def test_a_profile_names_a_place_and_the_variable_of_its_secret(tmp_path: Path) -> None:
    lake = write_profile(tmp_path, store={"url": LAKE, "data_path": "lake", "password_variable": "LAKE_PASSWORD"})
    opened = open_store(str(lake))
    assert opened.place == Lake(LAKE, str(tmp_path / "lake"), "LAKE_PASSWORD")
    assert (opened.path, opened.opened_by) == (LAKE, str(lake))

    served = write_profile(tmp_path, store={"url": "quack://head:9494", "lock_seconds": 7})
    assert open_store(load_profile(str(served))).place == Quack("quack://head:9494", "GAINLOOP_STORE_TOKEN", 7)


@pytest.mark.parametrize(
    ("store", "found"),
    [
        ({"url": LAKE}, "store.data_path is not set"),
        ({"url": LAKE, "data_path": "."}, "holds the folder .*; a folder of its own is needed"),
        ({"url": "quack:head:9494"}, "the scheme 'quack' is not spoken"),
        ({"url": f"{LAKE} password=hunter2", "data_path": "/lake"}, "has a password or a token in it"),
        ({"url": "quack://me:hunter2@head:9494"}, "has a password or a token in it"),
    ],
)
def test_a_place_that_cannot_be_is_refused(tmp_path: Path, store: dict[str, str], found: str) -> None:
    with pytest.raises(BadInput, match=found) as caught:
        open_store(str(write_profile(tmp_path, store=store)))
    assert HOUSE_FORM.fullmatch(str(caught.value))
    assert "hunter2" not in str(caught.value)


def test_without_the_packages_the_error_says_how_to_install_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAINLOOP_STORE_TOKEN", "quack-quack")
    monkeypatch.setattr(place, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match=r"extension httpfs for version .*pip install -e '\.\[cluster\]'") as caught:
        open_store(str(write_profile(tmp_path, store={"url": "quack://127.0.0.1:1"}))).query("select 1")
    assert HOUSE_FORM.fullmatch(str(caught.value))

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BadInput, match=r"psycopg is needed for a DuckLake.*pip install -e '\.\[cluster\]'") as caught:
        open_store(str(write_profile(tmp_path, store={"url": LAKE, "data_path": "lake"}))).query("select 1")
    assert HOUSE_FORM.fullmatch(str(caught.value))


def test_what_is_served_has_an_address_and_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAINLOOP_STORE_TOKEN", raising=False)
    for store, found in (
        ({"url": str(tmp_path / "x.duckdb")}, "quack://host:port is allowed"),
        ({"url": "quack://head"}, "quack://host:port is allowed"),
        ({"url": "quack://127.0.0.1:9494"}, "environment variable GAINLOOP_STORE_TOKEN is not set"),
    ):
        with pytest.raises(BadInput, match=found) as caught:
            serve_store(str(write_profile(tmp_path, store=store)))
        assert HOUSE_FORM.fullmatch(str(caught.value))


def test_a_copy_says_what_it_copied_and_takes_files_along_only_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = Store(str(tmp_path / "one" / "x.duckdb"), str(tmp_path / "one"))
    one.insert(records=records("b", 0, 50))
    for name in ("batches/b/report.html", "batches/b/.lock"):
        Path(one.folder, name).parent.mkdir(parents=True, exist_ok=True)
        Path(one.folder, name).write_text(name)
    other = tmp_path / "other" / "y.duckdb"
    said = copy_store(one.path, str(other))
    assert said.startswith(
        f"50 rows of {one.path}, of which 50 were new to {other}; the files in {one.folder} were not"
    )
    assert "records: 50 rows, 50 new" in capsys.readouterr().out
    assert [path.name for path in other.parent.iterdir()] == ["y.duckdb"]

    assert copy_store(one.path, str(other), files=True).endswith(
        f"; 1 of 1 files of {one.folder} were new to {other.parent}"
    )
    assert (other.parent / "batches/b/report.html").read_text() == "batches/b/report.html"
    assert copy_store(one.path, str(other), files=True).startswith(f"50 rows of {one.path}, of which 0 were new")
    with pytest.raises(BadInput, match="they are one and the same"):
        copy_store(one.path, one.path)


def test_upkeep_of_a_file_gives_back_room_and_leaves_a_store(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "x.duckdb"), str(tmp_path))
    with pytest.raises(BadInput, match="there is none yet"):
        maintain_store(store)
    for call in range(8):
        store.insert(records=records(f"b{call % 2}", call, 2000))
    store.take_back(("delete from records where batch_id = ?", ["b0"]))
    with duckdb.connect(store.path) as connection:
        tables = connection.execute("select sql from duckdb_tables() order by sql").fetchall()
    rows = store.query("from records order by rowid")
    maintained = maintain_store(store)
    assert maintained.after.num_bytes < maintained.before.num_bytes
    assert store.query("from records order by rowid").equals(rows)
    with duckdb.connect(store.path) as connection:
        assert connection.execute("select sql from duckdb_tables() order by sql").fetchall() == tables


def test_rows_that_say_that_others_are_complete_are_copied_last() -> None:
    assert COPIED[-3:] == ("snapshots", "refreshes", "completions")
    assert {*COPIED} == {*KEYS} - {"schema_version"}


def test_the_disk_is_told_where_the_rows_lie_elsewhere_and_before_there_is_a_folder(tmp_path: Path) -> None:
    profile = write_profile(tmp_path, store={"url": LAKE, "data_path": "lake"})
    store = open_store(str(profile))
    assert set(bytes_by_kind(store).values()) == {0}
    Path(store.folder, "checkpoints", "c").mkdir(parents=True)
    Path(store.folder, "checkpoints", "c", "config.json").write_text("{}")
    assert bytes_by_kind(store)["checkpoints"] == 2

"""What a store promises, in each of its places: inserting what is there changes nothing, whoever does it at once."""

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from gainloop.store import Store
from gainloop.store.copying import COPIED, copy_rows
from gainloop.store.duck import now
from gainloop.store.ducklake import Lake
from gainloop.store.maintenance import maintain_store
from gainloop.store.snapshots import insert_snapshot, read_snapshot
from schemas.errors import BadInput, StoreError
from schemas.tables import VERSION
from tests.postgres import Postgres
from tests.store.places import PLACES, SECRETS, Ground, Writer, ground, lake_server, write_at_once
from tests.store.writing import records
from tests.test_bad_input import HOUSE_FORM

pytestmark = pytest.mark.crash

SCALE = int(os.environ.get("GAINLOOP_STORE_SCALE", "1"))
"""How many times larger than in CI."""

ROWS = 200 * SCALE
"""Rows of one call."""


@pytest.fixture(scope="module", autouse=True)
def secrets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres | None]:
    with lake_server() as server:
        yield server


@pytest.fixture(scope="module", params=PLACES)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Any:
    """One place for tests that leave it as it should be; each writes batches of its own."""
    with ground(request.param, tmp_path_factory.mktemp(request.param), postgres) as made:
        yield made


@pytest.fixture(params=PLACES)
def own(request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres) -> Iterator[Ground]:
    """A place that is the test's own."""
    with ground(request.param, tmp_path, postgres) as made:
        yield made


def counted(store: Store, batch_id: str) -> tuple[int, int]:
    """Return the rows of a batch, and how many different ones there are."""
    asked = "select count(*), count(distinct record_id) from records where batch_id = ?"
    return store.query(asked, batch_id).row(0)


def completion(batch_id: str, stage: str, summary: str = "{}") -> dict[str, Any]:
    return {"batch_id": batch_id, "stage": stage, "key": "", "summary": summary, "completed_at": now()}


def test_two_processes_that_insert_the_same_rows_at_once_insert_them_once(shared: Ground) -> None:
    writers = [Writer(shared.profile, "same", 10, ROWS) for _ in range(2)]

    added = write_at_once(writers)
    assert sum(added) == 10 * ROWS
    assert counted(shared.store, "same") == (10 * ROWS, 10 * ROWS)
    assert shared.store.query("select count(*) from drops where batch_id = 'same'").item() == 10


def test_four_writers_lose_nothing(shared: Ground) -> None:
    added = write_at_once([Writer(shared.profile, f"own{number}", 10, ROWS) for number in range(4)])

    assert added == [10 * ROWS] * 4
    assert [counted(shared.store, f"own{number}") for number in range(4)] == [(10 * ROWS, 10 * ROWS)] * 4


def test_what_is_read_is_what_was_written_in_the_order_in_which_it_came(shared: Ground) -> None:
    store, hostile = shared.store, 'it\'s "quoted" \\ \x00 \u2028 😀\n$$ -- /* {} ;'
    rows = records("read", 0, 3000).with_columns(text=pl.lit(hostile))
    sketch = {"document_id": "d", "version": "v", "low": 0.1, "high": 1e-300, "sketch": b"\x00\xff'\\a;"}
    store.insert(records=rows, documents=[sketch, sketch | {"document_id": "e", "sketch": None}])
    for stage in ("c", "a", "b"):
        store.insert(completions=[completion("read", stage, hostile)])

    read = store.query("select * from records where batch_id = 'read' order by rowid")
    assert read.equals(rows)
    assert store.query("from documents order by rowid").rows(named=True) == [
        sketch,
        sketch | {"document_id": "e", "sketch": None},
    ]
    stages = "select stage, summary from completions where batch_id = ? and stage in (select unnest(?::varchar[])) "
    assert store.query(f"{stages} order by rowid desc", "read", ["a", "b", "c", "it's"]).rows() == [
        (stage, hostile) for stage in "bac"
    ]
    asked = "select $1 = ($2 in (select 3)), $3::varchar, $4::double, $5 || 'x'"
    assert store.query(asked, True, 3, None, 0.1, "it's").row(0) == (True, None, 0.1, "it'sx")


def test_one_call_is_one_transaction_and_of_the_same_rows_the_first_stays(shared: Ground) -> None:
    store, wrong = (
        shared.store,
        pl.DataFrame({"batch_id": ["b"], "record_id": ["1"], "reason": ["r"], "no_column": [1]}),
    )
    with pytest.raises(Exception, match="no_column"):
        store.insert(completions=[completion("torn", "train")], quarantine=wrong)
    assert store.query("select count(*) from completions where batch_id = 'torn'").item() == 0

    twice = [completion("twice", "train", "first"), completion("twice", "train", "second")]
    assert store.insert(completions=twice, records=[]) == {"completions": 1, "records": 0}
    assert store.insert(completions=twice) == {"completions": 0}
    assert store.query("select summary from completions where batch_id = 'twice'").rows() == [("first",)]
    store.take_back(
        ("delete from completions where batch_id = ? and list_contains(?, stage)", ["twice", ["train"]]),
        ("delete from records where batch_id = ?", ["nowhere"]),
    )
    assert store.query("select count(*) from completions where batch_id = 'twice'").item() == 0


def test_the_latest_is_the_last_that_came_after_deletes_and_upkeep_too(own: Ground) -> None:
    store = own.store
    snapshot = {"source_id": "s", "source": "{}", "heldout_fraction": 0.1, "num_anchors": 0, "num_heldout": 0}
    for name in ("one", "two", "three", "two"):
        insert_snapshot(store, snapshot | {"snapshot_id": name, "num_bytes": 0}, {"part": name})
    for stage in "dacbe":
        store.insert(completions=[completion("b", stage)])
    store.take_back(("delete from completions where stage = ?", ["c"]))

    def stages() -> str:
        return "".join(store.query("select stage from completions order by rowid")["stage"])

    assert (stages(), read_snapshot(store)["snapshot_id"]) == ("dabe", "two")
    maintain_store(store, keep_days=0)
    store.insert(completions=[completion("b", "c"), completion("b", "a")])
    assert (stages(), read_snapshot(store)["snapshot_id"]) == ("dabec", "two")


def settled(store: Store, batch_id: str) -> tuple[int, int]:
    """Return what ``counted`` does once it stays so: a server may still be doing what a dead writer asked for."""
    before = counted(store, batch_id)
    time.sleep(0.5)
    while (now_there := counted(store, batch_id)) != before:
        before = now_there
        time.sleep(0.5)
    return before


def test_a_writer_that_is_killed_leaves_whole_calls_and_every_one_that_was_acknowledged(own: Ground) -> None:
    for round_ in range(3):
        writer = Writer(own.profile, "killed", 40, ROWS)
        writer.wait_ready()
        writer.go()
        writer.read(2 + round_)
        time.sleep(0.05 * round_)
        writer.kill()
        rows, different = settled(own.store, "killed")
        assert rows == different
        assert rows % ROWS == 0
        assert rows >= ROWS * len(writer.said)
        assert own.store.query("select count(*) from drops").item() * ROWS == rows
    assert sum(write_at_once([Writer(own.profile, "killed", 40, ROWS)])) == 40 * ROWS - rows
    assert counted(own.store, "killed") == (40 * ROWS, 40 * ROWS)


@pytest.mark.parametrize("kind", ["quack", "ducklake", "ducklake session"])
def test_a_server_that_is_killed_and_comes_back_loses_and_doubles_nothing(
    kind: str, tmp_path: Path, postgres: Postgres
) -> None:
    with ground(kind.split()[0], tmp_path, postgres) as place:
        writers = [Writer(place.profile, name, 15, ROWS) for name in ("same", "same", "own")]
        for writer in writers:
            writer.wait_ready()
        for writer in writers:
            writer.go()
        for _ in range(2):
            writers[-1].read(2)
            if kind == "ducklake session":
                assert postgres.kill_sessions() > 1
            else:
                place.kill()
                time.sleep(0.5)
                place.start()
        added = [writer.finish() for writer in writers]
        # Of a call that was cut off nobody knows whether it was done: it is sent again, and adds nothing then.
        assert added[0] + added[1] <= 15 * ROWS
        assert added[2] <= 15 * ROWS
        assert counted(place.store, "same") == counted(place.store, "own") == (15 * ROWS, 15 * ROWS)


def test_a_log_is_written_once_where_the_catalogue_had_ended_all_sessions(tmp_path: Path, postgres: Postgres) -> None:
    row = {"snapshot_id": "s", "source_id": "s", "refreshed_at": now()}
    with ground("ducklake", tmp_path, postgres) as place:
        for number in range(1, 4):
            place.store.insert(refreshes=[row])
            assert place.store.query("select count(*) from refreshes").item() == number
            assert postgres.kill_sessions() > 1


def test_a_store_of_an_earlier_version_is_brought_up_and_one_of_a_later_version_is_refused(own: Ground) -> None:
    own.store.insert(records=records("b", 0, 20))
    change(
        own,
        "delete from schema_version; insert into schema_version values (4)",
        "alter table records drop column turns",
    )
    assert own.store.query("select distinct turns from records").rows() == [("",)]
    assert own.store.insert(records=records("b", 0, 21)) == {"records": 1}

    own.store.insert(schema_version=[{"version": VERSION + 1}])
    for attempt in (lambda: own.store.insert(records=records("c", 0, 1)), lambda: own.store.query("from batches")):
        with pytest.raises(StoreError, match=f"its tables are of version {VERSION + 1}; this gainloop knows") as caught:
            attempt()
        assert HOUSE_FORM.fullmatch(str(caught.value))


def test_a_copy_has_the_rows_of_its_origin_in_their_order_and_is_made_again_for_nothing(
    shared: Ground, tmp_path: Path, undisturbed_rows: Store
) -> None:
    there = shared.store if shared.kind != "file" else Store(str(tmp_path / "there.duckdb"), str(tmp_path))
    back = Store(str(tmp_path / "back.duckdb"), str(tmp_path))
    copied = copy_rows(undisturbed_rows, there)
    assert sum(one.num_new for one in copied) == sum(one.num_rows for one in copied) > 1000
    assert not sum(one.num_new for one in copy_rows(undisturbed_rows, there))
    copy_rows(there, back)
    for table in COPIED:
        asked = f"select * from {table} order by rowid"
        rows = undisturbed_rows.query(asked)
        assert back.query(asked).tail(rows.height).equals(rows), table
    assert back.query("from refreshes").height >= 2


@pytest.fixture(scope="module")
def undisturbed_rows(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in a file that has rows of every kind."""
    folder = tmp_path_factory.mktemp("origin")
    store = Store(str(folder / "x.duckdb"), str(folder))
    snapshot = {"source_id": "s", "source": "{}", "heldout_fraction": 0.1, "num_anchors": 0, "num_heldout": 0}
    for name in ("copied", "copied too", "copied"):
        insert_snapshot(store, snapshot | {"snapshot_id": name, "num_bytes": 0}, {"part": name})
    store.insert(records=records("copied", 0, 1500))
    store.take_back(("delete from records where num_bytes % 7 = 3", []))
    sketch = {"document_id": "copied", "version": "v", "low": 0.1, "high": 0.3, "sketch": bytes(range(256))}
    store.insert(
        documents=[sketch, sketch | {"version": "w", "sketch": None}],
        completions=[completion("copied", stage, json.dumps({"it's": "\x00"})) for stage in "cab"],
        checkpoints=[
            {"checkpoint_id": "copied", "parent": "", "role": "r", "batch_ids": ["b", "c"], "url": "u", "plan": {}}
            | {"metrics": {}, "created_at": now()}
        ],
    )
    return store


def test_upkeep_gives_back_room_and_leaves_the_rows(own: Ground) -> None:
    store = own.store
    for call in range(12):
        store.insert(records=records("kept", call, 50), drops=[])
        store.insert(records=records("deleted", call, 400))
    store.take_back(("delete from records where batch_id = ?", ["deleted"]))
    rows = store.query("select * from records order by rowid")
    maintained = maintain_store(store, keep_days=0)
    print(maintained.summary)
    assert store.query("select * from records order by rowid").equals(rows)
    if own.kind == "ducklake":
        assert maintained.after.num_files <= 2 < 12 < maintained.before.num_files
        assert maintained.after.num_bytes < maintained.before.num_bytes / 2
    if own.kind == "file":  # in blocks of 256 KiB; a served one is only brought to the disk
        assert maintained.after.num_bytes < maintained.before.num_bytes
    assert store.insert(records=records("kept", 0, 51)) == {"records": 0}
    assert store.insert(records=records("kept", 12, 50)) == {"records": 50}


def test_a_place_that_lets_nobody_in_says_what_is_missing(
    own: Ground, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if own.kind == "file":
        pytest.skip("a file asks for no secret")
    variable = "GAINLOOP_STORE_TOKEN" if own.kind == "quack" else "LAKE_PASSWORD"
    for value in ("", "not that one"):
        monkeypatch.setenv(variable, value)
        with pytest.raises(BadInput, match=variable) as caught:
            own.store.query("from batches")
        assert HOUSE_FORM.fullmatch(str(caught.value)), caught.value
        assert "not that one" not in str(caught.value)


def test_a_lake_whose_folder_is_elsewhere_is_refused_and_another_process_makes_no_second_one(
    tmp_path: Path, postgres: Postgres
) -> None:
    with ground("ducklake", tmp_path, postgres) as place:
        assert not place.store.exists()
        place.store.insert(records=records("b", 0, 20))
        assert place.store.exists()
        lake = place.store.place
        assert isinstance(lake, Lake)
        with pytest.raises(BadInput, match="the folder that its rows were written to is needed") as caught:
            replace(lake, data_path=str(tmp_path / "elsewhere")).query("from batches", ())
        assert HOUSE_FORM.fullmatch(str(caught.value)), caught.value
        assert replace(lake, lock_seconds=7).query("select count(*) as n from records", ())["n"].item() == 20


def change(place: Ground, *statements: str) -> None:
    """Change a store behind its back, and have what keeps a connection make another, as a new process would."""
    if place.kind == "ducklake":
        lake = place.store.place
        assert isinstance(lake, Lake)
        for one in statements:
            lake.run(lambda duck, one=one: duck.execute(one))
        lake.leave()
        return
    if place.kind == "quack":
        place.others["server"].terminate()
        assert place.others["server"].wait() == 128 + signal.SIGTERM
    with duckdb.connect(str(place.profile.parent / "data" / "gainloop.duckdb")) as connection:
        connection.execute("; ".join(statements))
    place.start()

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from gainloop.serving.driver import insert_outcomes
from gainloop.store import Store, open_store
from gainloop.store.batches import read_records
from gainloop.store.duck import now
from gainloop.store.snapshots import read_anchors
from schemas.conversation import Turn, read_turns
from schemas.errors import BadInput, StoreError
from schemas.profile import Profile, StoreSettings
from schemas.rows import Outcome, Record
from schemas.tables import KEYS, VERSION
from tests.small_run import ROOT

HOLD = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


def completion(batch_id: str, stage: str, summary: str = "{}") -> dict[str, Any]:
    return {"batch_id": batch_id, "stage": stage, "key": "", "summary": summary, "completed_at": now()}


def count(store: Store, table: str = "completions") -> int:
    return int(store.query(f"select count(*) from {table}").item())


def insert_each(path: str, batch_id: str, num_calls: int) -> int:
    """Insert one row a call; return how many were new."""
    store = Store(path, "", 60)
    return sum(store.insert(completions=[completion(batch_id, str(n))])["completions"] for n in range(num_calls))


@contextmanager
def held_for(store: Store, seconds: float) -> Iterator[int]:
    """Have another process hold the file, and give its id."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, store.path, str(seconds)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"held\n"
        yield holder.pid
        holder.kill()


def test_a_fresh_store_has_every_table_that_has_a_key(store: Store) -> None:
    tables = store.query(
        "select table_name, list(column_name) from duckdb_columns() where not internal group by table_name"
    ).rows()

    assert {name for name, _ in tables} == KEYS.keys()
    assert all(set(KEYS[name]) <= set(columns) for name, columns in tables)


def test_a_store_of_the_first_version_is_brought_up_to_this_one_and_keeps_its_rows(store: Store) -> None:
    store.insert(completions=[completion("b", "train 1a"), completion("b", "generate")])
    with duckdb.connect(store.path) as connection:
        connection.execute("drop table schema_version; alter table completions drop column key")
        connection.execute("alter table anchors add column heldout_draw double")
        connection.execute("alter table part_anchors drop column uri")

    found = store.query("select stage, key from completions order by stage")
    assert found.rows() == [("generate", ""), ("train", "1a")]
    assert store.insert(completions=[completion("b", "generate")]) == {"completions": 0}
    assert store.query("select version from schema_version").rows() == [(VERSION,)]


def test_what_a_store_of_the_second_version_held_out_stays_held_out(store: Store) -> None:
    part, row = {"source_id": "s", "part": "p", "fingerprint": "1"}, {"title": "", "licence": "", "revision": "1"}
    anchors = [row | {"anchor_id": one, "text": one, "uri": f"p;piece={one}", "num_bytes": 1} for one in "123"]
    counts = {"num_anchors": 3, "num_heldout": 1, "num_bytes": 3, "created_at": now()}
    store.insert(
        anchors=anchors,
        part_anchors=[part | {"anchor_id": one, "uri": ""} for one in "123"],
        snapshots=[counts | {"snapshot_id": "x", "source_id": "s", "source": "{}", "heldout_fraction": 0.3}],
        snapshot_parts=[part | {"snapshot_id": "x"}],
        refreshes=[{"snapshot_id": "x", "source_id": "s", "refreshed_at": now()}],
    )
    with duckdb.connect(store.path) as connection:
        connection.execute("delete from schema_version; insert into schema_version values (2)")
        connection.execute("alter table anchors add column heldout_draw double")
        connection.execute("update anchors set heldout_draw = anchor_id::double / 4")
        connection.execute("alter table part_anchors drop column uri")

    assert read_anchors(store, "x", heldout=True)["anchor_id"].to_list() == ["1"]
    assert read_anchors(store, "x", heldout=False)["anchor_id"].to_list() == ["2", "3"]
    assert "heldout_draw" not in store.query("from anchors").columns
    assert store.query("select uri from part_anchors order by uri")["uri"][0] == "p;piece=1"


def test_the_records_of_a_store_of_the_fourth_version_are_texts(store: Store) -> None:
    record = {"batch_id": "b", "record_id": "r", "anchor_id": "a", "method": "m", "facet": "", "text": "A mill."}
    store.insert(records=[record | {"request_ids": ["q"], "num_bytes": 7, "turns": ""}])
    with duckdb.connect(store.path) as connection:
        connection.execute("delete from schema_version; insert into schema_version values (4)")
        connection.execute("alter table records drop column turns")

    assert read_records(store, "b").select("text", "turns").rows() == [("A mill.", "")]
    turns = (Turn("user", "What is it?"), Turn("assistant", "A mill."))
    insert_outcomes(store, "b", {"a": Outcome([Record.of_turns("a", "m", "", turns, ("q2",))])})
    (written,) = read_records(store, "b").filter(pl.col("turns") != "")["turns"]
    assert read_turns(written) == turns


def test_a_store_of_a_later_version_is_refused_and_left_as_it_is(store: Store) -> None:
    store.insert(schema_version=[{"version": VERSION + 1}])

    with pytest.raises(StoreError, match=f"its tables are of version {VERSION + 1}; this gainloop knows"):
        count(store)


def test_rows_inserted_twice_are_there_once(store: Store) -> None:
    rows = [completion("b", "generate"), completion("b", "train")]

    assert store.insert(completions=rows) == {"completions": 2}
    assert store.insert(completions=rows) == {"completions": 0}
    assert store.insert(completions=[*rows, completion("b", "validate")]) == {"completions": 1}
    assert count(store) == 3


def test_a_row_never_changes_the_first_stays(store: Store) -> None:
    store.insert(completions=[completion("b", "train", "first"), completion("b", "train", "second")])
    store.insert(completions=[completion("b", "train", "third")])

    assert store.query("select summary from completions").rows() == [("first",)]


def test_no_rows_are_inserted_as_none(store: Store) -> None:
    assert store.insert(records=[], drops=[]) == {"records": 0, "drops": 0}


def test_a_frame_is_inserted_by_the_names_of_its_columns(store: Store) -> None:
    rows = [{"reason": "r", "record_id": "1", "batch_id": "b"}]

    store.insert(quarantine=pl.DataFrame(rows))

    assert store.query("select batch_id, record_id, reason from quarantine").rows() == [("b", "1", "r")]


def test_one_call_is_one_transaction_if_it_fails_nothing_is_kept(store: Store) -> None:
    wrong = pl.DataFrame({"batch_id": ["b"], "record_id": ["1"], "reason": ["r"], "no_such_column": [1]})

    with pytest.raises(duckdb.BinderException, match="no_such_column"):
        store.insert(completions=[completion("b", "train")], quarantine=wrong)
    assert count(store) == 0


def test_a_file_freed_in_time_is_waited_for(store: Store) -> None:
    store.insert(completions=[completion("b", "train")])

    with held_for(store, seconds=0.7):
        begun = time.monotonic()
        assert count(store) == 1
        assert time.monotonic() - begun > 0.3


def test_a_file_held_past_the_deadline_is_an_error_that_names_the_holder(store: Store) -> None:
    impatient = Store(store.path, store.folder, lock_seconds=0.3)
    store.insert(completions=[completion("b", "train")])

    with held_for(store, seconds=60) as holder, pytest.raises(StoreError) as caught:
        count(impatient)
    assert str(caught.value).startswith(f"opening the store {store.path}: another process held it for 0.3 s")
    assert f"(PID {holder})" in str(caught.value)
    assert "raise store.lock_seconds" in str(caught.value)
    assert count(store) == 1


def test_many_processes_insert_at_once_and_nothing_is_lost(store: Store) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        added = list(pool.map(insert_each, [store.path] * 4, "aabb", [4] * 4))

    assert sum(added) == 8
    assert count(store) == 8


def test_many_threads_insert_at_once_and_nothing_is_lost(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        added = list(pool.map(insert_each, [store.path] * 4, "abcd", [5] * 4))

    assert added == [5] * 4
    assert count(store) == 20


def test_threads_that_insert_the_same_row_at_once_insert_it_once(store: Store) -> None:
    together = threading.Barrier(8)

    def insert(number: int) -> int:
        together.wait()
        return store.insert(completions=[completion("b", str(stage)) for stage in range(50)])["completions"]

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(insert, range(8))) == 50
    assert count(store) == 50


def test_a_place_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(StoreError, match=r"opening the store .*/file/x.duckdb: .*the folder must be writable"):
        count(Store(str(tmp_path / "file" / "x.duckdb"), ""))


def test_a_file_that_is_no_store_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.duckdb").write_text("no DuckDB file " * 1000)

    with pytest.raises(StoreError, match=r"opening the store .*x.duckdb"):
        count(Store(str(tmp_path / "x.duckdb"), ""))


def test_a_full_disk_is_an_error_and_the_earlier_rows_are_still_there(small_disk: Path) -> None:
    store = Store(str(small_disk / "x.duckdb"), "")
    store.insert(completions=[completion("early", "train")])
    noise = [completion(str(n), os.urandom(5000).hex()) for n in range(1000)]

    with pytest.raises(StoreError, match=r"x.duckdb: .*the disk must have room.* Free space"):
        store.insert(completions=noise)
    assert store.query("select batch_id from completions").rows() == [("early",)]
    assert store.insert(completions=[completion("late", "train")]) == {"completions": 1}


def test_a_url_that_is_no_path_is_refused(profile: Profile) -> None:
    place = profile.model_copy(update={"store": StoreSettings(url="quack:host:9494")})

    with pytest.raises(BadInput, match="the scheme 'quack' is not spoken"):
        open_store(place)


def test_an_interrupt_in_the_middle_of_an_insert_leaves_the_store_usable(store: Store) -> None:
    code = (
        "import random, signal, sys\n"
        "import polars as pl\n"
        "from gainloop.store import Store\n"
        "store, broken = Store(sys.argv[1], '', 2), 0\n"
        "def stop(*_): raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGALRM, stop)\n"
        "rng = random.Random(0)\n"
        "for run in range(40):\n"
        "    names = [f'{run}/{row}' for row in range(20_000)]\n"
        "    rows = pl.DataFrame({'batch_id': 'b', 'record_id': names, 'reason': 'r'})\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.001, 0.08))\n"
        "        store.insert(quarantine=rows)\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "    except KeyboardInterrupt: broken += 1\n"
        "counted = store.query('select count(*) from quarantine').item()\n"
        "assert counted % 20_000 == 0, counted\n"
        "print(broken)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, store.path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5
    assert store.query("select count(*) % 20000 from quarantine").item() == 0


def test_an_interrupt_is_one_also_where_the_shapes_of_tables_are_made_in_memory() -> None:
    code = (
        "import random, signal\n"
        "from gainloop.store import place\n"
        "def stop(*_): raise SystemExit(143)\n"
        "signal.signal(signal.SIGALRM, stop)\n"
        "rng, said = random.Random(0), []\n"
        "for shapes in 100 * [place._shapes, place.column_types]:\n"
        "    shapes.cache_clear()\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.001, 0.02))\n"
        "        shapes()\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "    except BaseException as error: said.append(type(error).__name__)\n"
        "print(*sorted(set(said)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "KeyboardInterrupt SystemExit\n"


def test_a_connection_of_ones_own_beside_the_store_is_told_of(store: Store) -> None:
    store.query("select 1")
    with duckdb.connect(store.path), pytest.raises(StoreError, match="this process has it open by a connection"):
        store.query("select 1")
    assert store.query("select 1").height == 1


def test_the_memory_limit_does_not_shrink_from_insert_to_insert(store: Store) -> None:
    limits = set()
    for number in range(30):
        store.insert(quarantine=[{"batch_id": "b", "record_id": str(number), "reason": "r"}])
        limits.add(store.query("select current_setting('memory_limit')").item())
    assert len(limits) == 1


@pytest.mark.parametrize("before", ["", "data/", "/srv/old/data/", "/opt/scores/data/", "s3://bucket/data/"])
def test_what_a_row_names_lies_in_the_folder_that_the_store_has_now(tmp_path: Path, before: str) -> None:
    store = Store(str(tmp_path / "x.duckdb"), str(tmp_path))
    for named in ("checkpoints/1a", "batches/2b/contrasts/3c", "scores/1a-4d.parquet", "exams/1a-5e.parquet"):
        assert store.locate(before + named) == f"{tmp_path}/{named}"
        assert store.keep(f"{tmp_path}/{named}") == named


def test_a_disk_that_is_full_when_a_store_is_made_leaves_no_torn_one(small_disk: Path) -> None:
    filler, path = small_disk / "filler", small_disk / "gainloop.duckdb"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    with pytest.raises(StoreError, match="No space left on device; the disk must have room"):
        Store(str(path), str(small_disk)).query("from batches")
    assert [one.name for one in small_disk.iterdir()] == ["filler"]
    filler.unlink()
    assert Store(str(path), str(small_disk)).query("from batches").is_empty()

"""A checkpoint that ends in the middle of writing a block: DuckDB refuses such a file, and the store goes back."""

import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from gainloop.store import Store
from gainloop.store.duck_file import NEVER_BY_ITSELF, DuckFile, attaching
from gainloop.store.journal import journal_of, log_of, roll_back, standing
from schemas.errors import StoreError
from tests.store.writing import records

BLOCKS_AT, BLOCK = 12_288, 262_144

CUT_OFF = "set debug_checkpoint_abort = 'after_free_list_write'"
"""DuckDB's own way to end a checkpoint when all blocks are written and the header is not."""

COUNT = "select count(*), count(distinct record_id), sum(length(text)) from records"


def tear(path: str, before: bytes) -> list[int]:
    """Leave of each block that a checkpoint has changed the first half as it is and the second as it was."""
    after = Path(path).read_bytes()
    torn = bytearray(after)
    changed = []
    for at in range(BLOCKS_AT, len(before), BLOCK):
        if before[at : at + BLOCK] != after[at : at + BLOCK]:
            torn[at + BLOCK // 2 : at + BLOCK] = before[at + BLOCK // 2 : at + BLOCK]
            changed.append(at)
    assert before[:BLOCKS_AT] == after[:BLOCKS_AT]
    Path(path).write_bytes(torn)
    return changed


def is_corrupt(path: str, folder: Path) -> bool:
    """Tell whether DuckDB by itself refuses a file or what it holds."""
    alone = folder / "alone.duckdb"
    shutil.copy(path, alone)
    shutil.copy(log_of(path), log_of(str(alone)))
    try:
        with duckdb.connect() as duck:
            duck.execute(f"{NEVER_BY_ITSELF}; {attaching(str(alone))}")
            duck.execute(COUNT).fetchall()
    except duckdb.Error as error:
        return "checksum" in str(error)
    return False


def in_a_process(code: str, *words: str) -> None:
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


WRITE_AND_CUT_OFF = f"""
import os, sys
from gainloop.store import Store, duck_file
from tests.store.writing import records
store = Store(sys.argv[1], "")
store.query("select 1")
duck_file._duck(store.path, os.getpid()).execute({CUT_OFF!r})
assert store.insert(records=records("b", int(sys.argv[2]), 200)) == {{"records": 200}}
os._exit(0)
"""


def test_a_checkpoint_that_ends_within_a_block_leaves_a_store_that_opens_with_every_row(
    store: Store, tmp_path: Path
) -> None:
    refused = 0
    for call in range(1, 9):
        store.insert(records=records("a", call, 200))
        before = Path(store.path).read_bytes()
        in_a_process(WRITE_AND_CUT_OFF, store.path, str(call))
        assert journal_of(store.path).exists()
        assert log_of(store.path).exists()
        tear(store.path, before)
        refused += is_corrupt(store.path, tmp_path)

        rows, different, _ = store.query(COUNT).row(0)
        assert rows == 2 * different == 400 * call
        assert not journal_of(store.path).exists()
        assert not log_of(store.path).exists()
    assert refused, "no block was torn that DuckDB needs: this test shows nothing"


def serve_and_be_cut_off(path: str, call: int) -> bytes:
    """Do as a server does that is checkpointed three times and ends in the third; return the file before that."""
    with duckdb.connect() as duck:
        duck.execute(NEVER_BY_ITSELF)
        DuckFile(path).attach(lambda: duck)
        with standing(duck, path):
            for batch_id in ("b", "c"):
                journal = journal_of(path).read_bytes()
                duck.register("new", records(batch_id, call, 200))
                duck.execute("insert into records by name from new; checkpoint store")
                wait_until_renewed(path, journal)
            before = Path(path).read_bytes()
            duck.register("new", records("d", call, 200))
            duck.execute(f"insert into records by name from new; {CUT_OFF}")
            with suppress(duckdb.Error):
                duck.execute("checkpoint store")
            return before


def test_a_server_that_is_cut_off_in_a_later_checkpoint_goes_back_to_the_one_before(tmp_path: Path) -> None:
    path = str(tmp_path / "x.duckdb")
    store, refused = Store(path, ""), 0
    store.insert(records=records("a", 0, 200))
    for call in range(1, 7):
        tear(path, serve_and_be_cut_off(path, call))
        refused += is_corrupt(path, tmp_path)
        assert store.query(COUNT).row(0)[0] == 200 + 600 * call
    assert refused, "no block was torn that DuckDB needs: this test shows nothing"


def wait_until_renewed(path: str, journal: bytes) -> None:
    for _ in range(200):
        if journal_of(path).read_bytes() != journal:
            return
        time.sleep(0.05)
    raise AssertionError(f"{journal_of(path)} is still of the state before")


def test_a_journal_of_a_state_that_has_passed_is_put_aside_and_so_is_half_a_one(store: Store) -> None:
    store.insert(records=records("a", 0, 200))
    in_a_process(WRITE_AND_CUT_OFF, store.path, "0")
    journal = journal_of(store.path).read_bytes()
    assert store.query(COUNT).row(0)[0] == 400
    for left in (journal, journal[: len(journal) // 2], b""):
        store.insert(records=records(f"b{len(left)}", 0, 200))
        held = store.query(COUNT).row(0)
        journal_of(store.path).write_bytes(left)
        assert store.query(COUNT).row(0) == held
        assert not journal_of(store.path).exists()


def test_the_journal_of_a_living_process_is_left(store: Store) -> None:
    store.insert(records=records("a", 0, 200))
    journal_of(store.path).write_bytes(b"of another")
    code = "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-uc", code, store.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"\n"
        roll_back(store.path)
        assert journal_of(store.path).exists()
        holder.communicate(b"\n")
    roll_back(store.path)
    assert not journal_of(store.path).exists()


def test_a_process_that_serves_a_store_and_opens_it_too_is_refused_and_keeps_file_and_journal(store: Store) -> None:
    store.insert(records=records("a", 0, 200))
    with duckdb.connect() as duck:
        duck.execute(NEVER_BY_ITSELF)
        DuckFile(store.path).attach(lambda: duck)
        with standing(duck, store.path):
            journal = journal_of(store.path).read_bytes()
            with pytest.raises(StoreError, match="this process has it open by a connection of its own"):
                store.query(COUNT)
            assert journal_of(store.path).read_bytes() == journal
            assert is_held(store.path)
    assert not is_held(store.path)
    assert not journal_of(store.path).exists()


def is_held(path: str) -> bool:
    """Tell whether another process than this cannot have the file now."""
    code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    return "BlockingIOError" in done.stderr


def test_a_file_that_is_a_link_is_checkpointed_and_rolled_back(tmp_path: Path) -> None:
    real, link = tmp_path / "real" / "x.duckdb", tmp_path / "x.duckdb"
    real.parent.mkdir()
    Store(str(real), "").insert(records=records("a", 0, 200))
    link.symlink_to(real)
    Store(str(link), "").insert(records=records("b", 0, 200))
    assert [one.name for one in real.parent.iterdir()] == ["x.duckdb"]

    before = real.read_bytes()
    in_a_process(WRITE_AND_CUT_OFF, str(link), "1")
    assert journal_of(str(real)).exists()
    tear(str(real), before)
    assert Store(str(real), "").query(COUNT).row(0)[0] == 600
    assert [one.name for one in real.parent.iterdir()] == ["x.duckdb"]


def test_rows_that_cannot_be_checkpointed_are_kept_in_the_log_and_that_is_said(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.insert(records=records("a", 0, 200))
    in_the_way = Path(f"{journal_of(store.path)}.new")
    in_the_way.mkdir()

    assert store.insert(records=records("b", 0, 200)) == {"records": 200}
    assert f"what was written is kept in {log_of(store.path)}, and the next checkpoint writes it" in caplog.text
    assert store.query(COUNT).row(0)[0] == 400
    assert log_of(store.path).exists()
    in_the_way.rmdir()
    assert store.query(COUNT).row(0)[0] == 400
    assert not log_of(store.path).exists()

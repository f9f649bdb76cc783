"""An error that stands for a limit of the machine names that limit, whichever library ran into it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gainloop.store.files import disk_errors, read_frame, read_parts, whole_file, write_frame
from gainloop.store.lacks import explain
from schemas.errors import BadInput, OutOfMemory, StoreError
from tests.conftest import ROOT
from tests.test_bad_input import HOUSE_FORM

TORCH = (
    "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
)
SAID = {
    "memory ran out": (
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError(TORCH),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 3 GiB"),
        RuntimeError("Out of Memory Error: failed to allocate data of size 16.0 MiB (1.2 GiB/1.2 GiB used)"),
        RuntimeError("Out of Memory Error: could not allocate block of size 256.0 KiB (1.2 GiB/1.2 GiB used)"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ),
    "No space left on device": (
        OSError(errno.ENOSPC, "No space left on device", "/x"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        RuntimeError("Out of Memory Error: failed to offload data block of size 256.0 KiB (8.0 MiB/8.0 MiB used)."),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),
    ),
    "File too large": (OSError(errno.EFBIG, "File too large"), RuntimeError("IO Error: ... File too large")),
    "Permission denied": (PermissionError(errno.EACCES, "Permission denied"),),
    "Read-only file system": (
        OSError(errno.EROFS, "Read-only file system"),
        RuntimeError('IO Error: Cannot open file "x": Read-only file system'),
    ),
    "Too many open files": (OSError(errno.EMFILE, "Too many open files"),),
    "can't start new thread": (RuntimeError("can't start new thread"),),
}


@pytest.mark.parametrize(("found", "error"), [(found, error) for found, errors in SAID.items() for error in errors])
def test_an_error_names_the_limit_that_is_there(found: str, error: Exception) -> None:
    said = explain("filling /x", error)
    assert str(said).startswith(f"filling /x: {found}"), said
    assert HOUSE_FORM.fullmatch(str(said)), said
    assert isinstance(said, OutOfMemory) == (found == "memory ran out")
    if found == "memory ran out":
        assert "disk" not in str(said)


def test_what_an_error_was_raised_from_counts_and_other_errors_are_left_as_they_are() -> None:
    wrapped, group = RuntimeError("the model cannot be loaded"), ExceptionGroup("shards", [KeyError(), MemoryError()])
    wrapped.__cause__ = MemoryError()
    assert isinstance(explain("a", wrapped), OutOfMemory)
    assert isinstance(explain("a", group), OutOfMemory)
    for other in (KeyError("memory"), FileNotFoundError(errno.ENOENT, "No such file"), BadInput("out of memory")):
        assert explain("a", other) is None


def test_want_of_memory_is_never_called_a_full_disk_by_files_and_folders(tmp_path: Path) -> None:
    for raised in (MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory")):
        with pytest.raises(OutOfMemory, match=r"writing .*: memory ran out"), whole_file(str(tmp_path / "a")):
            raise raised
        with pytest.raises(OutOfMemory, match="filling b: memory ran out"), disk_errors("filling b"):
            raise raised


LIMITED = """
import resource, sys
import duckdb, polars, pyarrow
from gainloop.store import Store
from schemas.errors import OutOfMemory
store = Store(sys.argv[1], "")
store.query("select 1")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, resource.RLIM_INFINITY))
try:
    store.query("select string_agg(repeat('x', 1000000), '') from range(400)")
except OutOfMemory as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert store.query("select 1 as one")["one"].to_list() == [1]
"""


def test_a_store_without_memory_says_so_and_works_again_when_there_is_some(tmp_path: Path) -> None:
    asked = [sys.executable, "-c", LIMITED, str(tmp_path / "x.duckdb")]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"using the store {tmp_path}/x.duckdb: memory ran out")


def test_a_damaged_frame_is_one_sentence_that_names_the_file(tmp_path: Path) -> None:
    for content in (b"", b"PAR1", os.urandom(500)):
        (tmp_path / "scores.parquet").write_bytes(content)
        with pytest.raises(StoreError, match=r"reading .*/scores.parquet: it is damaged") as caught:
            read_frame(str(tmp_path / "scores.parquet"))
        assert HOUSE_FORM.fullmatch(str(caught.value)), caught.value
        with pytest.raises(StoreError, match=r"reading .*/scores.parquet: it is damaged") as caught:
            list(read_parts(str(tmp_path / "scores.parquet"), ["nats"], 10))
        assert HOUSE_FORM.fullmatch(str(caught.value)), caught.value


def test_a_frame_is_read_in_parts_and_a_torn_page_of_it_is_told_as_damage(tmp_path: Path) -> None:
    url = str(tmp_path / "scores.parquet")
    frame = pl.DataFrame(
        {"text_id": [f"{row:05}" for row in range(5000)], "nats": np.random.default_rng(0).random(5000)}
    )
    write_frame(url, frame)
    parts = list(read_parts(url, ["nats"], 2000))
    assert [part.height for part in parts] == [2000, 2000, 1000]
    assert pl.concat(parts).equals(frame.select("nats"))
    content = bytearray(Path(url).read_bytes())
    content[len(content) // 2 - 2000 : len(content) // 2 + 2000] = bytes(4000)
    Path(url).write_bytes(content)
    with pytest.raises(StoreError, match="it is damaged"):
        list(read_parts(url, ["text_id", "nats"], 2000))

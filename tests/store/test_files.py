import errno
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from gainloop.store.files import exists, list_files, read_file, whole_folder, write_file
from schemas.errors import StoreError


def test_a_file_is_read_back_and_replaced_whole(tmp_path: Path) -> None:
    url = str(tmp_path / "new" / "folder" / "a.txt")
    write_file(url, b"one, and a longer text")
    write_file(url, b"two")

    assert read_file(url) == b"two"
    assert os.listdir(tmp_path / "new" / "folder") == ["a.txt"]


def test_files_lie_in_object_storage_by_the_same_calls() -> None:
    folder = "memory://bucket/folder"
    write_file(f"{folder}/b.txt", b"two")
    write_file(f"{folder}/a.txt", b"one")

    assert [read_file(url) for url in list_files(folder, ".txt")] == [b"one", b"two"]
    assert exists(folder)
    assert not exists(f"{folder}/c.txt")
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def test_files_are_listed_in_name_order_and_none_where_there_is_no_folder(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.md"):
        (tmp_path / name).touch()

    assert list_files(str(tmp_path), ".txt") == [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    assert list_files(str(tmp_path / "nowhere"), ".txt") == []


def test_a_write_that_is_broken_off_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "a.txt")
    write_file(url, b"old")

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match=r"writing .*a.txt: Input/output error"):
        write_file(url, b"new")
    assert read_file(url) == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_an_error_and_leaves_nothing_half_written(small_disk: Path) -> None:
    write_file(f"{small_disk}/a.bin", b"early")

    with pytest.raises(StoreError, match=r"No space left on device; .* room for 8,000,000 bytes. Free space"):
        write_file(f"{small_disk}/b.bin", bytes(8_000_000))
    assert os.listdir(small_disk) == ["a.bin"]
    assert read_file(f"{small_disk}/a.bin") == b"early"
    write_file(f"{small_disk}/b.bin", b"late")


def write_and_wait(url: str) -> subprocess.Popen[str]:
    """Start a process that has written some of a file and waits in the middle of it."""
    writing = (
        "import sys; from gainloop.store.files import whole_file\n"
        f"with whole_file({url!r}) as file:\n"
        "    file.write(b'a long beginning'); file.flush(); print('begun', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", writing], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    return process


def test_what_a_killed_writer_left_is_gone_when_the_file_is_written_again(tmp_path: Path) -> None:
    url = str(tmp_path / "a.txt")
    with write_and_wait(url) as process:
        process.kill()
    assert os.listdir(tmp_path) == ["a.txt.partial"]

    write_file(url, b"short")
    assert read_file(url) == b"short"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_two_that_write_one_file_take_turns_and_it_is_whole_each_time(tmp_path: Path) -> None:
    url = str(tmp_path / "a.txt")
    with write_and_wait(url) as process, ThreadPoolExecutor(1) as pool:
        second = pool.submit(write_file, url, b"second")
        time.sleep(0.2)
        assert not second.done()
        assert not exists(url)
        process.communicate("")
        second.result(timeout=30)
    assert read_file(url) == b"second"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_takes_its_name_when_all_of_it_is_there(tmp_path: Path) -> None:
    path = str(tmp_path / "model")

    def write(name: str) -> None:
        with whole_folder(path) as partial:
            Path(partial, name).touch(exist_ok=False)
            if name == "half":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write("half")
    assert not exists(path)
    write("rest")
    assert sorted(os.listdir(path)) == ["half", "rest"]
    assert os.listdir(tmp_path) == ["model"]

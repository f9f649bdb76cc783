import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from gainloop.sources.files import Files
from gainloop.sources.source import Part, Source
from gainloop.store import Store
from gainloop.store.snapshots import read_anchors, read_snapshot
from schemas.errors import BadInput
from schemas.rows import Document
from tasks.refresh import Refreshed, as_markdown, refresh_snapshot


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files of ten documents each; c repeats two of a's."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write(corpus / "a.jsonl", [f"document {n} of the first file" for n in range(10)])
    write(corpus / "b.jsonl", [f"document {n} of the second file" for n in range(9)] + ["short"])
    write(corpus / "c.jsonl", [f"document {n} of the first file" for n in range(2)] + ["the same"] * 8)
    return corpus


def write(path: Path, texts: list[str]) -> None:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def refresh(store: Store, folder: Path, heldout_fraction: float = 0.2) -> Refreshed:
    return refresh_snapshot(store, Files(paths=[str(folder)], max_chars=60, min_chars=8), heldout_fraction)


def test_a_refresh_keeps_distinct_texts_and_counts_the_rest(store: Store, folder: Path) -> None:
    refreshed = refresh(store, folder)

    assert refreshed.changed
    assert (refreshed.num_parts_read, refreshed.num_parts_kept, refreshed.num_new_anchors) == (3, 0, 20)
    assert (refreshed.corpus.num_documents, refreshed.corpus.num_anchors) == (30, 20)
    assert refreshed.corpus.drops == {"too_short": 1, "duplicate": 9}
    assert read_snapshot(store)["snapshot_id"] == refreshed.snapshot_id
    assert "| dropped as duplicate | 9 |" in as_markdown(refreshed)


def test_general_text_is_called_so_and_leaves_the_latest(store: Store, folder: Path) -> None:
    latest = refresh(store, folder)
    write(folder / "b.jsonl", ["general text of another kind altogether", "and some more general text"])
    general = refresh_snapshot(store, Files(paths=[str(folder / "b.jsonl")], min_chars=8), 0.0, is_latest=False)
    assert f"Snapshot {general.snapshot_id} is general text: 2 anchors" in general.summary
    assert read_snapshot(store)["snapshot_id"] == latest.snapshot_id


def test_nothing_new_reads_nothing_writes_nothing_and_keeps_the_snapshot(store: Store, folder: Path) -> None:
    first = refresh(store, folder)
    before = {
        table: store.query(f"from {table} order by all") for table in ("parts", "anchors", "part_anchors", "refreshes")
    }
    again = refresh(store, folder)

    assert (again.snapshot_id, again.changed, again.num_parts_read) == (first.snapshot_id, False, 0)
    for table, rows in before.items():
        assert store.query(f"from {table} order by all").equals(rows)


def test_only_a_changed_file_is_read_again(store: Store, folder: Path) -> None:
    first = refresh(store, folder)
    write(folder / "b.jsonl", ["document 0 of the second file", "something else"])
    second = refresh(store, folder)

    assert (second.num_parts_read, second.num_parts_kept, second.num_new_anchors) == (1, 2, 1)
    assert second.corpus.num_anchors == 13
    assert second.snapshot_id != first.snapshot_id


def test_a_touched_file_is_read_but_makes_no_snapshot(store: Store, folder: Path) -> None:
    first = refresh(store, folder)
    os.utime(folder / "a.jsonl", (1, 1))
    second = refresh(store, folder)

    assert (second.num_parts_read, second.changed, second.snapshot_id) == (1, False, first.snapshot_id)


def test_a_deleted_file_is_not_in_the_new_snapshot_and_stays_in_the_old_one(store: Store, folder: Path) -> None:
    first = refresh(store, folder)
    (folder / "b.jsonl").unlink()
    second = refresh(store, folder)

    assert second.corpus.num_anchors == 11
    assert read_anchors(store, first.snapshot_id).height == 20
    assert not [text for text in read_anchors(store)["text"] if "second" in text]


def test_a_snapshot_has_one_name_on_every_machine(store: Store, folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)
    other = Store(str(tmp_path / "other.duckdb"), "")

    assert refresh(other, elsewhere).snapshot_id == refresh(store, folder).snapshot_id


@pytest.mark.parametrize(
    ("texts", "heldout_fraction", "expected"),
    [
        (["short"], 0.1, "none of 1 documents has 8 characters; a snapshot needs one at least"),
        (["a long enough text"], 1.0, "none of 1 anchors is left to train on at heldout_fraction 1; one at least must"),
    ],
)
def test_a_corpus_without_training_text_makes_no_snapshot(
    store: Store, tmp_path: Path, texts: list[str], heldout_fraction: float, expected: str
) -> None:
    write(tmp_path / "a.jsonl", texts)
    with pytest.raises(BadInput, match=expected):
        refresh(store, tmp_path / "a.jsonl", heldout_fraction)

    assert store.query("from snapshots").is_empty()
    assert store.query("from refreshes").is_empty()


def test_a_file_that_cannot_be_read_is_left_out_named_and_counted(store: Store, folder: Path) -> None:
    whole = refresh(store, folder)
    write(folder / "d.jsonl", ["another document"])
    with (folder / "d.jsonl").open("a") as file:
        file.write("no json")
    refreshed = refresh(store, folder)

    assert (refreshed.snapshot_id, refreshed.num_parts_read) == (whole.snapshot_id, 0)
    assert "d.jsonl, line 2: " in refreshed.bad_parts["d.jsonl"]
    assert refreshed.summary.endswith("left out as unreadable: d.jsonl")
    assert "| parts left out as unreadable | 1 |" in as_markdown(refreshed)

    write(folder / "d.jsonl", ["another document"])
    assert refresh(store, folder).corpus.num_anchors == 21


def test_more_files_that_cannot_be_read_than_allowed_make_no_snapshot(store: Store, folder: Path) -> None:
    (folder / "b.jsonl").write_text("no json")
    with pytest.raises(BadInput, match=r"b\.jsonl, line 1"):
        refresh_snapshot(store, Files(paths=[str(folder)], min_chars=8, max_bad_share=0), 0.2)
    (folder / "c.jsonl").write_text("no json either")
    with pytest.raises(BadInput, match=r"2 of 3 files cannot be read, b\.jsonl, c\.jsonl; 1 may be") as refused:
        refresh(store, folder)

    assert store.query("from snapshots").is_empty()
    advice = r"To go on without them, set --source\.exclude (.+) or --source\.max-bad-share (.+)\."
    (excluded, share), corpus = re.findall(advice, str(refused.value))[0], [str(folder)]
    for way in ({"exclude": excluded.split()}, {"max_bad_share": float(share)}):
        files = Files.model_validate({"paths": corpus, "min_chars": 8, **way})
        assert refresh_snapshot(store, files, 0.2).corpus.num_documents == 10


class Edited(Files):
    """Files of which one is edited while it is read, as often as ``edits`` says."""

    kind: Literal["edited"] = "edited"  # type: ignore[assignment]
    edits: int = 1

    def read(self, part: Part) -> Iterator[Document]:
        for number, document in enumerate(super().read(part)):
            yield document
            done = Path(part.url).with_suffix(".done")
            count = len(done.read_text()) if done.exists() else 0
            if part.name == "a.jsonl" and number == 0 and count < self.edits:
                done.write_text("x" * (count + 1))
                write(Path(part.url), [f"edited {count + 1} times by now", f"{count} more documents"])


def test_a_file_that_is_edited_while_it_is_read_is_read_again(store: Store, folder: Path) -> None:
    refreshed = refresh_snapshot(store, Edited(paths=[str(folder / "*.jsonl")], min_chars=8), 0)
    texts = set(read_anchors(store, refreshed.snapshot_id)["text"])

    assert {"edited 1 times by now", "0 more documents"} <= texts
    # The second is in c.jsonl too, which nobody edited; the others were a.jsonl's before.
    assert {text for text in texts if "first file" in text} == {f"document {n} of the first file" for n in range(2)}
    assert not refreshed.bad_parts


def test_a_file_that_is_edited_all_the_time_is_left_out(store: Store, folder: Path) -> None:
    refreshed = refresh_snapshot(store, Edited(paths=[str(folder / "*.jsonl")], min_chars=8, edits=99), 0)

    assert "changed while it was read" in refreshed.bad_parts["a.jsonl"]
    assert not [text for text in read_anchors(store, refreshed.snapshot_id)["text"] if "edited" in text]


class Slow(Source):
    """A source whose every document takes a while."""

    kind: Literal["slow"] = "slow"
    seconds: float = 0.05

    def parts(self) -> Iterator[Part]:
        yield from (Part(f"part {n}", "1") for n in range(4))

    def read(self, part: Part) -> Iterator[Document]:
        for n in range(10):
            time.sleep(self.seconds)
            yield Document(f"document {n} of {part.name} " * 10, "", part.name, "")


def test_progress_is_told_about_once_a_second_and_at_the_end(store: Store) -> None:
    told: list[tuple[int, int, int]] = []
    refresh_snapshot(store, Slow(), 0.2, lambda *counts: told.append(counts))

    assert 2 <= len(told) <= 4
    assert told == sorted(told)
    assert told[-1] == (4, 4, 40)


def python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    tests = Path(__file__).parent
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=tests.parent,
        env=os.environ | {"PYTHONPATH": f"{tests.parent}:{tests}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


REFRESHING = """
import sys, test_refresh as t
t.refresh_snapshot(t.Store(sys.argv[1], ''), t.Slow(), 0.2)
"""


def test_documents_that_are_held_out_are_named(store: Store, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "gainloop.refresh"):
        refreshed = refresh(store, folder)
    rows = read_anchors(store, refreshed.snapshot_id, heldout=True)["uri"].to_list()
    assert rows
    assert f"Held out at heldout_fraction 0.2, to be measured on alone: {', '.join(sorted(rows))}" in caplog.text


def test_two_corpora_of_one_name_are_told_apart_by_the_parameter_that_differs(
    store: Store, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def read(licence: str) -> None:
        refresh_snapshot(store, Files(paths=[str(folder)], max_chars=60, min_chars=8, licence=licence), 0.2)
        read_snapshot(store)

    read("internal")
    read("")
    assert "is of the corpus" not in caplog.text  # they are one snapshot
    write(folder / "d.jsonl", ["another document"])
    read("")
    assert re.search(rf"is of the corpus files {folder} \(\w+, licence ''\), which was ref", caplog.text)
    assert re.search(rf"has files {folder} \(\w+, licence 'internal'\) too\. Set --snapshot-id to", caplog.text)


def test_a_killed_refresh_is_taken_up_where_it_was(store: Store, tmp_path: Path) -> None:
    process = python(REFRESHING, store.path)
    while process.poll() is None and store.query("from parts").is_empty():
        time.sleep(0.05)
    process.kill()
    process.communicate()
    resumed = refresh_snapshot(store, Slow(), 0.2)
    whole = refresh_snapshot(Store(str(tmp_path / "whole.duckdb"), ""), Slow(seconds=0), 0.2)

    assert 0 < resumed.num_parts_read < 4
    assert resumed.snapshot_id == whole.snapshot_id
    assert resumed.corpus == whole.corpus


INSERTING = """
import itertools, pathlib, sys
from gainloop.store import Store
for n in itertools.count():
    if pathlib.Path(sys.argv[2]).exists():
        break
    Store(sys.argv[1], '').insert(quarantine=[{"batch_id": "b", "record_id": str(n), "reason": "r"}])
    print(n + 1, flush=True)
"""


def test_a_refresh_runs_beside_another_process_that_keeps_inserting(store: Store, folder: Path, tmp_path: Path) -> None:
    process = python(INSERTING, store.path, str(tmp_path / "stop"))
    assert process.stdout
    process.stdout.readline()
    refreshed = refresh(store, folder)
    (tmp_path / "stop").touch()
    printed, errors = process.communicate(timeout=60)

    num_inserted = int((printed.split() or ["1"])[-1])

    assert (process.returncode, errors) == (0, "")
    assert store.query("from quarantine").height == num_inserted
    assert read_anchors(store).height == refreshed.corpus.num_anchors

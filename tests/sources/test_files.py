import csv
import gzip
import io
import json
import logging
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from gainloop.sources.files import Files
from gainloop.sources.pieces import split_document
from schemas.errors import BadInput, SourceChanged
from schemas.rows import Document, document_of

ROWS: list[dict[str, Any]] = [
    {"id": "a1", "head": "First", "body": 'One, "two"\nthree.'},
    {"id": "a2", "head": None, "body": "Café.\n\nNext paragraph."},
    {"id": "a3", "head": "Third", "body": None},
]


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path, row_group_size=2)
    elif path.suffix == ".csv":
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
        write(path, text.getvalue())
    else:
        write(path, "".join(json.dumps(row) + "\n" for row in rows))
    return path


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


def documents(source: Files) -> list[Document]:
    return [document for part in source.parts() for document in source.read(part)]


def failure(source: Files) -> str:
    with pytest.raises(BadInput) as caught:
        documents(source)
    return str(caught.value)


def test_a_folder_gives_its_files_under_names_that_no_machine_shapes(tmp_path: Path) -> None:
    for machine in ("one", "two/deeper"):
        write(tmp_path / machine / "docs" / "b.md", "# B")
        write(tmp_path / machine / "docs" / "sub" / "a.txt", "A")
    found = [
        documents(Files(paths=[str(tmp_path / machine / "docs")], licence="CC0-1.0"))
        for machine in ("one", "two/deeper")
    ]

    assert (
        found[0]
        == found[1]
        == [
            Document("# B", "b", "b.md", "CC0-1.0"),
            Document("A", "a", "sub/a.txt", "CC0-1.0"),
        ]
    )


def test_several_paths_are_named_from_the_folder_they_share(tmp_path: Path) -> None:
    write(tmp_path / "2023" / "a.txt", "A")
    write(tmp_path / "2024" / "a.txt", "B")
    source = Files(paths=[str(tmp_path / "2024"), str(tmp_path / "2023" / "a.txt"), str(tmp_path / "20*" / "*.txt")])

    assert [part.name for part in source.parts()] == ["2023/a.txt", "2024/a.txt"]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_kind_of_table_gives_the_same_documents(tmp_path: Path, suffix: str) -> None:
    write_rows(tmp_path / f"rows{suffix}", ROWS)
    found = documents(Files(paths=[str(tmp_path)], text_field="body", title_field="head", id_field="id"))

    assert [(document.text, document.title, document.uri) for document in found] == [
        (ROWS[0]["body"], "First", f"rows{suffix}#a1"),
        (ROWS[1]["body"], "", f"rows{suffix}#a2"),
        ("", "Third", f"rows{suffix}#a3"),
    ]


def test_compressed_files_read_like_plain_ones(tmp_path: Path) -> None:
    plain = "".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(3)).encode()
    write(tmp_path / "a" / "x.jsonl", plain)
    write(tmp_path / "b" / "x.jsonl.gz", gzip.compress(plain[:14]) + gzip.compress(plain[14:]))
    write(tmp_path / "c" / "x.jsonl.zst", zstd(plain[:14]) + zstd(plain[14:]))
    texts = [[document.text for document in documents(Files(paths=[str(tmp_path / folder)]))] for folder in "abc"]

    assert texts == [["text 0", "text 1", "text 2"]] * 3


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_truncated_file_is_an_error_not_a_shorter_corpus(tmp_path: Path, suffix: str) -> None:
    content = os.urandom(50_000).hex().encode()
    packed = gzip.compress(content) if suffix == ".gz" else zstd(content)
    source = Files(paths=[str(write(tmp_path / f"a.txt{suffix}", packed[:-100]))])

    assert "a file that is whole and not locked is read" in failure(source)


def test_one_document_a_line(tmp_path: Path) -> None:
    source = Files(paths=[str(write(tmp_path / "wiki.txt", "\ufeffFirst.\r\n\nSecond."))], one_per_line=True)

    assert [(document.text.strip(), document.uri) for document in documents(source)] == [
        ("First.", "wiki.txt#1"),
        ("Second.", "wiki.txt#3"),
    ]


def test_object_storage_reads_like_a_folder() -> None:
    system = fsspec.filesystem("memory")
    system.pipe({"/corpus/a.txt": b"A", "/corpus/sub/b.jsonl": b'{"text": "B"}\n'})
    source = Files(paths=["memory://corpus"])

    assert [(document.text, document.uri) for document in documents(source)] == [("A", "a.txt"), ("B", "sub/b.jsonl#1")]
    before = list(source.parts())
    system.pipe({"/corpus/a.txt": b"B"})
    assert [part.fingerprint == old.fingerprint for part, old in zip(source.parts(), before, strict=True)] == [
        False,
        True,
    ]


def test_a_changed_file_has_another_fingerprint(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "A")
    source = Files(paths=[str(path)])
    (before,) = source.parts()
    os.utime(path, (1, 1))
    (after,) = source.parts()

    assert before.name == after.name
    assert before.fingerprint != after.fingerprint


def test_a_file_name_that_is_not_utf8_is_read_under_one_that_is(tmp_path: Path) -> None:
    write(tmp_path / os.fsdecode(b"caf\xe9.txt"), "A")

    assert [document.uri for document in documents(Files(paths=[str(tmp_path)]))] == ["caf%E9.txt"]


def test_files_of_other_kinds_are_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.txt", "b.doc", "c", ".hidden.txt", ".git/d.md", "e.parquet.gz"):
        write(tmp_path / name, "A")
    with caplog.at_level(logging.INFO, "gainloop.sources"):
        assert [part.name for part in Files(paths=[str(tmp_path)]).parts()] == ["a.txt"]

    assert "Skipped 5 of 6 files" in caplog.text


def test_a_path_without_anything_to_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "others" / "a.doc", "")

    for path in ("nowhere", "*.txt"):
        assert f"nothing found at '{tmp_path / path}'" in failure(Files(paths=[str(tmp_path / path)]))
    assert f"no file is in the folder '{tmp_path / 'empty'}'" in failure(Files(paths=[str(tmp_path / "empty")]))
    for path in ("others", "others/a.doc"):
        assert "1 found at" in failure(Files(paths=[str(tmp_path / path)]))
    assert "Protocol not known" in failure(Files(paths=["nope://x"]))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"text": "b"\n', "a.jsonl, line 2: Expecting ',' delimiter at column 13"),
        ("a.jsonl", b"[1]\n", "a.jsonl, line 1: found a list; every line must be one JSON object"),
        ("a.jsonl", b'{"body": "a", "n": 1}\n', "a.jsonl, line 1: field 'text' not found; fields there are body, n."),
        ("a.jsonl", b'{"text": ["a"]}\n', "a.jsonl, row 1: field 'text' holds a list; text is allowed."),
        ("a.jsonl", b'{"text": "a", "text": "b"}\n', "a.jsonl, line 1: a name stands twice"),
        ("a.jsonl", b'{"text": "a"}\n{"n": ' + b"9" * 5000 + b"}", "a.jsonl, line 2: a number of thousands of digits"),
        ("a.jsonl", b'{"text": "a"}\n' + b"[" * 100_000, "a.jsonl, line 2: lists or objects in each other"),
        (
            "a.csv",
            b"text,n,text\na,1,b\n",
            "a.csv, line 1: 'text' is the name of several fields",
        ),
        ("a.csv", b"body,n\na,1\n", "a.csv: field 'text' not found; fields there are body, n."),
        ("a.csv", b"", "a.csv: field 'text' not found; fields there are none."),
        ("a.csv", b"n,text\n1,a\n2,b, c\n", "a.csv, line 3: 3 cells under 2 names; comma-separated rows"),
        ("a.csv", b'text\n"a\n', "a.csv, line 2: unexpected end of data"),
        ("a.parquet", b"PAR1 no", "a.parquet: "),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_place(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    assert expected in failure(Files(paths=[str(write(tmp_path / name, content))]))


def test_a_parquet_file_without_the_field_lists_those_it_has(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", ROWS)

    assert "field 'text' not found; fields there are id, head, body" in failure(Files(paths=[str(path)]))


def test_a_parquet_column_must_be_one(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "rows.parquet")

    assert "rows.parquet: 'text' is the name of several fields" in failure(Files(paths=[str(tmp_path)]))


def test_a_csv_cell_may_be_a_long_document(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.csv", [{"text": "long " * 100_000}])

    assert len(documents(Files(paths=[str(path)]))[0].text) == 500_000


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, suffix: str) -> None:
    path = write_rows(tmp_path / f"rows{suffix}", [{"text": f"{n} " + "text " * 400} for n in range(4000)])
    source = Files(paths=[str(path)])
    (part,) = source.parts()
    tracemalloc.start()
    num_documents = sum(1 for _ in source.read(part))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert num_documents == 4000
    assert peak_bytes < 6_000_000  # of 8 MB of text


ODD_NAMES = (
    *("std::vector.md", "zip::a.md", "[x].md", "a#1.md", "what?.md", "100%.md", "a b.md", "a  b.md", "tab\t.md"),
    *("cafe\u0301.md", "caf\u00e9.md", "x.jsonl#1.txt", "red\x1b[31m.md", os.fsdecode(b"caf\xe9.md"), "a;piece=2.md"),
    *("a\u200bb.md", "ab.md", "a\ufe0fb.md", "a\u202eb.md", "\u212b.md", "\u00c5.md"),
    *(os.fsdecode(name.encode("shift_jis")) for name in ("\u6771\u4eac.txt", "\u5927\u962a.txt")),
)


def test_every_name_that_a_disk_can_hold_is_read_under_one_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "corpus [1]"
    texts = {name: f"text number {number}" for number, name in enumerate(ODD_NAMES)}
    for name, text in texts.items():
        write(folder / name, text)
    pieces = [piece for document in documents(Files(paths=[str(folder)])) for piece in split_document(document, 200, 1)]

    assert sorted(piece.text for piece in pieces) == sorted(texts.values())
    assert len({document_of(piece.uri) for piece in pieces}) == len(ODD_NAMES)
    assert all((piece.uri + piece.title).isprintable() for piece in pieces)
    for name, text in texts.items():
        if name.encode(errors="surrogateescape").decode(errors="ignore") == name:
            assert [document.text for document in documents(Files(paths=[str(folder / name)]))] == [text]
        else:  # its folder reads it; a parameter of Prefect cannot hold it
            with pytest.raises(ValueError, match="which can stand in no name"):
                Files(paths=[str(folder / name)])


def test_a_folder_that_is_named_like_a_glob_is_itself(tmp_path: Path) -> None:
    write(tmp_path / "[ab]" / "x.md", "brackets")
    write(tmp_path / "a" / "x.md", "letter")

    assert [document.text for document in documents(Files(paths=[str(tmp_path / "[ab]" / "*.md")]))] == ["brackets"]
    assert [document.text for document in documents(Files(paths=[str(tmp_path / "[a]" / "*.md")]))] == ["letter"]


@pytest.mark.parametrize("inner", ["docs/*.md", "docs", "docs/std*.md", ""])
def test_an_archive_is_read_by_a_chained_url(tmp_path: Path, inner: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("docs/std::v.md", "In the archive.")
    source = Files(paths=[f"zip://{inner}::{tmp_path}/a.zip", str(write(tmp_path / "b.md", "Beside it."))])

    assert [(document.uri, document.text) for document in documents(source)] == [
        ("a.zip/docs/std::v.md", "In the archive."),
        ("b.md", "Beside it."),
    ]


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    write(tmp_path / "a.zip", b"PK no archive")

    assert "a.zip' cannot be opened (File is not a zip file)" in failure(Files(paths=[f"zip://*.md::{tmp_path}/a.zip"]))


def test_links_within_a_folder_or_into_its_store_are_read(tmp_path: Path) -> None:
    hub, annex, own = tmp_path / "datasets--a--b", tmp_path / "repository", tmp_path / "own"
    write(hub / "blobs" / "12ab", "blob")
    write(annex / ".git" / "annex" / "objects" / "1" / "2" / "k", "annexed")
    write(own / ".data" / "deep" / "a.md", "hidden")
    for link, target in {
        hub / "snapshots" / "7f" / "a.md": "../../blobs/12ab",
        annex / "texts" / "a.md": "../.git/annex/objects/1/2/k",
        own / "data": ".data/deep",
    }.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)

    assert [
        [document.text for document in documents(Files(paths=[str(folder)]))]
        for folder in (hub / "snapshots" / "7f", annex / "texts", own)
    ] == [["blob"], ["annexed"], ["hidden"]]


def test_links_that_are_not_read_are_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "private" / "secret.md", "secret")
    write(tmp_path / "c" / "own.md", "own")
    for name, target in {"out.md": "../private/secret.md", "far": "../private", "gone.md": "x", "loop": "."}.items():
        (tmp_path / "c" / name).symlink_to(target)
    (tmp_path / "c" / "circle.md").symlink_to("circle.md")
    os.mkfifo(tmp_path / "c" / "pipe.txt")
    source = Files(paths=[str(tmp_path / "c")])

    with caplog.at_level(logging.INFO, "gainloop.sources"):
        assert [document.text for document in documents(source)] == ["own"]
    assert "Skipped 6 of 7 files" in caplog.text
    for said in ("out.md: a link that leads out", "far: a link that leads out", "gone.md: a link that leads nowhere"):
        assert said in caplog.text
    assert "circle.md: a link that leads nowhere" in caplog.text
    assert "pipe.txt: no regular file" in caplog.text
    followed = source.model_copy(update={"follow_links": True})
    assert [part.name for part in followed.parts()] == ["far/secret.md", "out.md", "own.md"]


def test_what_was_edited_after_it_was_found_is_not_read_as_what_was_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "one")
    source = Files(paths=[str(path)])
    (part,) = source.parts()
    found = path.stat()
    path.write_text("two")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))  # same size, same time

    with pytest.raises(SourceChanged, match="it was changed while it was read"):
        list(source.read(part))
    (part,) = source.parts()
    reading = source.read(part)
    assert next(reading).text == "two"
    path.write_text("three")
    with pytest.raises(SourceChanged):
        next(reading)


def test_files_are_excluded_by_globs_of_names_and_folders(tmp_path: Path) -> None:
    for name in ("a.md", "drafts/b.md", "x/drafts/c.md", "x/d.log.md", "x/e.md"):
        write(tmp_path / name, name)
    source = Files(paths=[str(tmp_path)], exclude=["drafts", "*.log.md"])

    assert [part.name for part in source.parts()] == ["a.md", "x/e.md"]
    assert "excluded (5)" in failure(Files(paths=[str(tmp_path)], exclude=["*"]))


def test_each_pattern_has_its_own_text_field(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"text": "A"}])
    write_rows(tmp_path / "b" / "b.jsonl", [{"body": "B"}])
    write_rows(tmp_path / "c.csv", [{"article": "C"}])
    source = Files(paths=[str(tmp_path)], text_fields=["b=body", "*.csv=article"])

    assert [document.text for document in documents(source)] == ["A", "B", "C"]
    with pytest.raises(ValidationError, match=r"a glob of files and a field is allowed, for example \*\.csv=body"):
        Files(paths=["a"], text_fields=["body"])


@pytest.mark.parametrize("name", ["a.txt.gz", "a.jsonl.zst"])
def test_what_is_made_to_fill_a_memory_is_refused_before_it_does(tmp_path: Path, name: str) -> None:
    content = b"a" * 80_000_000
    write(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else zstd(content))

    assert "times its size and 67,108,864 bytes beyond that are allowed" in failure(Files(paths=[str(tmp_path)]))


def test_books_articles_and_encyclopedias_can_be_read(shared_data: Path) -> None:
    quality = Files(paths=[str(shared_data / "quality")], text_field="article", title_field="head", id_field="doc_id")
    squality = Files(paths=[str(shared_data / "squality" / "*.jsonl")], text_field="document")
    wikipedia = Files(paths=[str(shared_data / "wikipedia" / "wiki_demo.txt")], one_per_line=True)

    assert [len(documents(source)) for source in (quality, squality, wikipedia)] == [10, 100, 30]
    assert documents(quality)[0].uri == "quality.jsonl#leval-quality-00"

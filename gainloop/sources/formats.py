"""Files as rows: JSON lines, CSV and Parquet, streamed; and plain text.

Every reader takes an open binary file, the fields that must be there, and the file's name for messages.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import BadInput

Rows = Iterator[tuple[int, dict[str, Any]]]
"""Line or row numbers from 1, with the fields of each."""

_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}

KINDS = ".txt .md .jsonl .csv, each also with .gz or .zst, and .parquet"


def split_suffix(path: str) -> tuple[str, str | None]:
    """Return the suffix of a path, which says the kind of file, and its compression.

    >>> split_suffix("a/b.JSONL.gz"), split_suffix("c.txt"), split_suffix("README")
    (('.jsonl', 'gzip'), ('.txt', None), ('', None))
    """
    stem, dot, last = path.lower().rpartition(".")
    compression = _COMPRESSIONS.get(dot + last)
    if compression:
        stem, dot, last = stem.rpartition(".")
    return (dot + last if stem and "/" not in last else ""), compression


def decompressed(file: IO[bytes], compression: str | None) -> IO[bytes]:
    """Return the file's content; a truncated file raises OSError at its end, so that no text is lost in silence."""
    if not compression:
        return file
    return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), compression))


def read_text(file: IO[bytes], where: str) -> str:
    """Return a whole file as text."""
    return "".join(read_lines(file, where))


def read_lines(file: IO[bytes], where: str) -> Iterator[str]:
    """Yield lines with their ends.

    Raises:
        BadInput: A byte is not UTF-8; the message says which.
    """
    offset = 0
    for line in file:
        try:
            yield line.decode().removeprefix("" if offset else "\ufeff")
        except UnicodeDecodeError as error:
            raise BadInput(
                f"reading {where}: byte {offset + error.start} is not UTF-8; only UTF-8 is read. "
                "Convert the file, for example with iconv -f latin1 -t utf-8, or leave it out."
            ) from error
        offset += len(line)


def read_jsonl(file: IO[bytes], fields: list[str], where: str) -> Rows:
    for number, line in enumerate(read_lines(file, where), 1):
        if line.strip():
            row = _parse_object(line.strip(), f"{where}, line {number}")
            require_fields(fields, row, f"{where}, line {number}")
            yield number, row


def read_csv(file: IO[bytes], fields: list[str], where: str) -> Rows:
    csv.field_size_limit(2**31 - 1)  # a document may be longer than the 128 KiB that is the default
    reader = csv.reader(read_lines(file, where), strict=True)
    try:
        header = next(reader, [])
        require_fields(fields, header, where)
        for row in reader:
            if row and len(row) != len(header):
                raise csv.Error(f"{len(row)} cells under {len(header)} names")
            if row:
                yield reader.line_num, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise BadInput(
            f"reading {where}, line {reader.line_num}: {error}; comma-separated rows as long as the first are read, "
            'with "quotes" around cells that hold commas or line ends. Mend or remove that row.'
        ) from error


def read_parquet(file: IO[bytes], fields: list[str], where: str) -> Rows:
    try:
        table = pq.ParquetFile(file)
        require_fields(fields, table.schema_arrow.names, where)
        batches = table.iter_batches(batch_size=1024, columns=fields or None)
        yield from enumerate((row for batch in batches for row in batch.to_pylist()), 1)
    except pa.ArrowInvalid as error:
        raise BadInput(
            f"reading {where}: {error}; a whole Parquet file is allowed. Write it again or leave it out."
        ) from error


TABLES = {".jsonl": read_jsonl, ".csv": read_csv, ".parquet": read_parquet}
"""The reader of each kind of file that holds rows."""


def is_readable(name: str) -> bool:
    """Tell whether a file is of a kind that can be read.

    >>> is_readable("a.md.zst"), is_readable("a.parquet"), is_readable("a.parquet.gz"), is_readable("a.pdf")
    (True, True, False, False)
    """
    suffix, compression = split_suffix(name)
    return suffix in {".txt", ".md", ".jsonl", ".csv"} or (suffix == ".parquet" and not compression)


def require_fields(fields: list[str], found: Iterable[str], where: str) -> None:
    """Check that rows have every field.

    Raises:
        BadInput: A field is missing; the message lists those that are there.
    """
    for field in fields:
        if field not in found:
            listed = ", ".join(found) or "none"
            raise BadInput(
                f"reading {where}: field {field!r} not found; fields there are {listed}. "
                "Set text_field, title_field and id_field to fields that are there; the last two may be empty."
            )


def _parse_object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadInput(
            f"reading {where}: {error.msg} at column {error.colno}; every line must be one JSON object. "
            "Mend or remove that line."
        ) from error
    if not isinstance(row, dict):
        raise BadInput(
            f"reading {where}: found a {type(row).__name__}; every line must be one JSON object. "
            "Mend or remove that line."
        )
    return row

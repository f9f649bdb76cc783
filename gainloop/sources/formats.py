"""Files as rows: JSON lines, CSV and Parquet, streamed.

Every reader takes an open binary file, the fields that must be there, the file's name for messages, and the encoding of
text that is not UTF-8, if known.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from gainloop.sources.names import readable
from gainloop.sources.texts import FREE_BYTES, MAX_GROWTH, MAX_TEXT_BYTES, read_lines
from schemas.errors import BadInput

Rows = Iterator[tuple[int, dict[str, Any]]]
"""Line or row numbers from 1, with the fields of each."""

_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


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


def read_jsonl(file: IO[bytes], fields: list[str], where: str, encoding: str = "") -> Rows:
    for number, line in enumerate(read_lines(file, where, encoding), 1):
        if line.strip():
            place = f"{readable(where)}, line {number}"
            row = _parse_object(line.strip(), place)
            require_fields(fields, row, place)
            yield number, row


def read_csv(file: IO[bytes], fields: list[str], where: str, encoding: str = "") -> Rows:
    csv.field_size_limit(MAX_TEXT_BYTES)  # a document may be longer than the 128 KiB that is the default
    reader = csv.reader(read_lines(file, where, encoding), strict=True)
    try:
        header = next(reader, [])
        require_fields(fields, header, readable(where))
        _refuse_twice(filter(None, header), f"{readable(where)}, line 1")
        for row in reader:
            if row and len(row) != len(header):
                raise csv.Error(f"{len(row)} cells under {len(header)} names")
            if row:
                yield reader.line_num, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise BadInput(
            f"reading {readable(where)}, line {reader.line_num}: {error}; comma-separated rows as long as the first "
            'are read, with "quotes" around cells that hold commas or line ends. Mend or remove that row.'
        ) from error


def read_parquet(file: IO[bytes], fields: list[str], where: str, encoding: str = "") -> Rows:
    try:
        table = pq.ParquetFile(file)
        require_fields(fields, table.schema_arrow.names, readable(where))
        _refuse_twice((name for name in table.schema_arrow.names if not fields or name in fields), readable(where))
        _refuse_growth(table.metadata, fields, where)
        batches = table.iter_batches(batch_size=1024, columns=fields or None)
        yield from enumerate((row for batch in batches for row in batch.to_pylist()), 1)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadInput(
            f"reading {readable(where)}: {readable(str(error))}; a whole Parquet file is allowed. "
            "Write it again or leave it out."
        ) from error


TABLES = {".jsonl": read_jsonl, ".csv": read_csv, ".parquet": read_parquet}
"""The reader of each kind of file that holds rows."""


def require_fields(fields: list[str], found: Iterable[str], where: str) -> None:
    """Check that rows have every field.

    Raises:
        BadInput: A field is missing; the message lists those that are there.
    """
    for field in fields:
        if field not in found:
            listed = readable(", ".join(found))[:2000] or "none"
            raise BadInput(
                f"reading {where}: field {field!r} not found; fields there are {listed}. "
                "Set text_field, title_field and id_field to fields that are there; the last two may be empty."
            )


def _refuse_twice(names: Iterable[str], where: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadInput(
            f"reading {where}: {readable(twice[0])!r} is the name of several fields; a name is allowed once, since "
            "nobody can tell which of them is meant. Rename one."
        )


def _refuse_growth(about: Any, fields: list[str], where: str) -> None:
    """Refuse what is made to fill a memory: a part of the file that is far larger than what it is stored in."""
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        columns = [group.column(one) for one in range(group.num_columns)]
        read = [one for one in columns if not fields or one.path_in_schema.split(".")[0] in fields]
        size, stored = sum(one.total_uncompressed_size for one in read), sum(one.total_compressed_size for one in read)
        if size > FREE_BYTES + MAX_GROWTH * stored:
            raise BadInput(
                f"reading {readable(where)}: {stored:,} bytes of it grow to {size:,}; {MAX_GROWTH} times and "
                f"{FREE_BYTES:,} bytes beyond that are allowed. Look whether it is what it should be."
            )


class _Twice(dict[str, Any]):
    """An object in which a name stands several times."""


def _parse_object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise _no_object(f"{error.msg} at column {error.colno}", where) from error
    except ValueError as error:
        raise _no_object("a number of thousands of digits", where) from error
    except RecursionError as error:
        raise _no_object("lists or objects in each other, too deep to follow", where) from error
    if isinstance(row, _Twice):
        raise _no_object("a name stands twice", where)
    if not isinstance(row, dict):
        raise _no_object(f"found a {type(row).__name__}", where)
    return row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    return row if len(row) == len(pairs) else _Twice(row)


def _no_object(found: str, where: str) -> BadInput:
    return BadInput(
        f"reading {where}: {found}; every line must be one JSON object, with each name once. Mend or remove that line."
    )

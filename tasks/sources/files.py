"""Text, Markdown, JSON lines, CSV and Parquet files, in folders here or in object storage."""

import posixpath
from collections.abc import Iterator
from typing import IO, Annotated, Literal

import fsspec
from pydantic import Field

from schemas.rows import Document
from tasks.sources.formats import TABLES, decompressed, read_lines, read_text, split_suffix
from tasks.sources.listing import list_parts, reaching
from tasks.sources.source import Part
from tasks.sources.tabular import TabularSource


class Files(TabularSource):
    """Files of text or of rows: .txt .md .jsonl .csv (also with .gz or .zst) and .parquet.

    A part is a file; it is read again when its size or time, or its checksum in object storage, is
    another. Part names are relative to the folder that all paths share, so no machine's path
    reaches an anchor.
    """

    kind: Literal["files"] = "files"
    paths: Annotated[list[str], Field(min_length=1, description="folders, files or globs; any fsspec url")]
    one_per_line: Annotated[bool, Field(description=".txt files hold one document a line")] = False

    def parts(self) -> Iterator[Part]:
        yield from list_parts(self.paths)

    def read(self, part: Part) -> Iterator[Document]:
        suffix, compression = split_suffix(part.url)
        with reaching(part.url), fsspec.open(part.url, "rb") as raw:
            file = decompressed(raw, compression)
            if suffix in TABLES:
                for number, row in TABLES[suffix](file, self.fields, part.url):
                    yield self.to_document(row, number, part.name)
            elif suffix == ".txt" and self.one_per_line:
                yield from self._read_documents(file, part)
            else:
                yield self._read_document(file, part)

    def _read_document(self, file: IO[bytes], part: Part) -> Document:
        title, _ = posixpath.splitext(posixpath.basename(part.name).removesuffix(".gz").removesuffix(".zst"))
        return Document(read_text(file, part.url), title, part.name, self.licence)

    def _read_documents(self, file: IO[bytes], part: Part) -> Iterator[Document]:
        for number, line in enumerate(read_lines(file, part.url), 1):
            if line.strip():
                yield Document(line, "", f"{part.name}#{number}", self.licence)

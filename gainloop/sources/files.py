"""Text, Markdown, HTML, PDF, Word, JSON lines, CSV and Parquet files, in folders here or in object storage."""

import logging
import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import takewhile
from typing import IO, Annotated, Literal

from pydantic import Field, field_validator

from gainloop.sources.formats import TABLES, split_suffix
from gainloop.sources.names import matcher, printable, readable
from gainloop.sources.pages import PAGES, Page
from gainloop.sources.places import File, Listing, Place, open_place
from gainloop.sources.source import Part, TabularSource
from gainloop.sources.texts import Growing, read_bytes, read_lines
from schemas.errors import BadInput
from schemas.recipe import BASIC
from schemas.rows import Document

logger = logging.getLogger("gainloop.sources")

KINDS = ".txt .md .html .pdf .docx .jsonl .csv, each also with .gz or .zst, and .parquet"

_NUM_NAMED = 10


def is_readable(name: str) -> bool:
    """Tell whether a file is of a kind that can be read.

    >>> is_readable("a.md.zst"), is_readable("a.parquet"), is_readable("a.parquet.gz"), is_readable("a.doc")
    (True, True, False, False)
    """
    suffix, compression = split_suffix(name)
    return suffix in PAGES or (suffix in TABLES and not (suffix == ".parquet" and compression))


def list_parts(
    paths: list[str],
    exclude: list[str],
    follow_links: bool,
    is_wanted: Callable[[str], bool] = is_readable,
    kinds: str = KINDS,
) -> list[Part]:
    """Return the readable files in the order of their names, which are relative to the folder that all share.

    Args:
        paths: Folders (with all below them), files or globs; as paths or fsspec urls.
        exclude: Globs of files and folders that are left out, by their names below each path.
        follow_links: True if links are followed that lead out of a folder.
        is_wanted: Function that tells whether a file of this name is of a kind that is read.
        kinds: Words for these kinds.

    Raises:
        BadInput: A path has nothing that can be read.
        SourceError: A place cannot be reached now.
    """
    roots: list[str] = []
    parts: dict[str, tuple[Place, File]] = {}
    for path in paths:
        place = open_place(path, follow_links)
        listing = place.find()
        roots.append(listing.root)
        chosen = _choose(path, listing, exclude, is_wanted, kinds)
        parts |= {posixpath.join(listing.root, name): (place, file) for name, file in chosen.items()}
    shared = _shared_folder(roots)
    return [
        Part(printable(url.removeprefix(shared)), parts[url][1].fingerprint, url, parts[url]) for url in sorted(parts)
    ]


def _choose(
    path: str, listing: Listing, exclude: list[str], is_wanted: Callable[[str], bool], kinds: str
) -> dict[str, File]:
    """Return the files that are read, and say what is not, and why."""
    is_excluded = matcher(exclude)
    why = dict(listing.skipped)
    for name in listing.files:
        if is_excluded(name):
            why[name] = "excluded"
        elif not is_wanted(name):
            why[name] = f"not {kinds}"
    chosen = {name: file for name, file in listing.files.items() if name not in why}
    if not chosen:
        raise _nothing(path, why, kinds)
    _tell_skipped(path, len(chosen), why)
    return chosen


def _nothing(path: str, why: dict[str, str], kinds: str) -> BadInput:
    if not why and os.path.isdir(os.path.expanduser(path)):
        return BadInput(
            f"reading source files: no file is in the folder {path!r}; allowed are {kinds}. "
            "Put files there, or correct paths."
        )
    attempt = f"reading source files: {len(why) or 'nothing'} found at {path!r}"
    if not why:
        advice = "a folder, a file or a glob is allowed. Correct paths, or put files there."
        return BadInput(f"{attempt}; {advice}")
    reasons = "; ".join(f"{reason} ({count})" for reason, count in Counter(why.values()).most_common(5))
    return BadInput(f"{attempt}, none that is read: {reasons}; allowed are {kinds}. Convert them, or correct paths.")


def _tell_skipped(path: str, num_read: int, why: dict[str, str]) -> None:
    """Count what is left out by reason; what no person chose to hide, exclude or keep in another kind is named."""
    if why:
        counts = "; ".join(f"{reason} ({count})" for reason, count in Counter(why.values()).most_common())
        logger.info("Skipped %d of %d files at %s: %s", len(why), num_read + len(why), readable(path), counts)
    odd = [f"{readable(name)}: {reason}" for name, reason in sorted(why.items()) if not _is_chosen(reason)]
    if odd:
        shown = "; ".join(odd[:_NUM_NAMED]) + (f"; and {len(odd) - _NUM_NAMED} more" if odd[_NUM_NAMED:] else "")
        advice = "Mend them, exclude them, or set follow_links for links out of a folder."
        logger.warning("Not read at %s: %s. %s", readable(path), shown, advice)


def _is_chosen(reason: str) -> bool:
    return reason in ("hidden", "excluded") or reason.startswith("not ")


def _shared_folder(roots: list[str]) -> str:
    """Return the innermost folder that holds all the folders.

    >>> _shared_folder(["/x/a", "/x/b/c"]), _shared_folder(["/x/a"]), _shared_folder(["/x", "s3://y"])
    ('/x/', '/x/a/', '')
    """
    steps = zip(*(root.rstrip("/").split("/") for root in roots), strict=False)
    return "".join(f"{names[0]}/" for names in takewhile(lambda names: len(set(names)) == 1, steps))


class Files(TabularSource):
    """Folders and globs of .txt .md .html .pdf .docx .jsonl .csv .parquet, also .gz and .zst, local or any fsspec url.

    A part is a file; it is read again when its size or time, or its checksum in object storage, is another. Part names
    are relative to the folder that all paths share, so no machine's path reaches an anchor.
    """

    kind: Literal["files"] = "files"
    paths: Annotated[
        list[str], BASIC, Field(min_length=1, description="Folders, files or globs, local or any fsspec url.")
    ]
    exclude: Annotated[
        list[str],
        Field(
            default_factory=list,
            description="Globs of files and folders below paths to leave out: drafts, *.log, a/**/b.md.",
        ),
    ]
    text_fields: Annotated[
        list[str],
        Field(
            default_factory=list,
            description="Fields that hold the text, by globs of files: *.csv=body. Default: text_field in all.",
        ),
    ]
    name: Annotated[
        str, Field(description="Name before those of the files, which tells them from files of other sources, if any.")
    ] = ""
    one_per_line: Annotated[bool, Field(description="Lines of .txt files as documents of their own.")] = False
    encoding: Annotated[
        str, Field(description="Encoding of text that is not UTF-8. Default: what each file looks like.")
    ] = ""
    follow_links: Annotated[bool, Field(description="Links that lead out of a folder are followed.")] = False

    @field_validator("encoding")
    @classmethod
    def _know(cls, encoding: str) -> str:
        try:
            "".encode(encoding or "utf-8")
        except LookupError as error:
            raise ValueError("an encoding that Python knows is allowed, for example cp1252 or shift_jis") from error
        return encoding

    @field_validator("exclude")
    @classmethod
    def _read_globs(cls, globs: list[str]) -> list[str]:
        matcher(globs)
        return globs

    @field_validator("text_fields")
    @classmethod
    def _read_fields(cls, fields: list[str]) -> list[str]:
        for one in fields:
            glob, _, field = one.rpartition("=")
            if not glob or not field:
                raise ValueError("a glob of files and a field is allowed, for example *.csv=body")
            matcher([glob])
        return fields

    def parts(self) -> Iterator[Part]:
        for part in list_parts(self.paths, self.exclude, self.follow_links):
            yield replace(part, name=f"{printable(self.name)}/{part.name}") if self.name else part

    def read(self, part: Part) -> Iterator[Document]:
        place, file = part.found
        suffix, compression = split_suffix(part.url)
        with place.reaching(), place.open(file) as raw:
            content = raw if suffix == ".parquet" else Growing(raw, compression, file.stored_bytes, part.url).buffered()
            yield from self._read(content, part)
        place.require_same(file)

    def _read(self, file: IO[bytes], part: Part) -> Iterator[Document]:
        suffix, _ = split_suffix(part.url)
        if suffix in TABLES:
            text_field = self._text_field(part.name)
            for number, row in TABLES[suffix](file, self.fields_with(text_field), part.url, self.encoding):
                yield self.to_document(row, number, part.name, text_field)
        elif suffix == ".txt" and self.one_per_line:
            for number, line in enumerate(read_lines(file, part.url, self.encoding), 1):
                if line.strip():
                    yield Document(line, "", f"{part.name}#{number}", self.licence)
        else:
            yield self._document(PAGES[suffix](read_bytes(file, part.url), part.url, self.encoding), part)

    def _document(self, page: Page, part: Part) -> Document:
        title, _ = posixpath.splitext(posixpath.basename(part.url).removesuffix(".gz").removesuffix(".zst"))
        return Document(page.text, page.title or readable(title), part.name, self.licence or page.licence)

    def _text_field(self, name: str) -> str:
        pairs = (one.rpartition("=") for one in self.text_fields)
        return next((field for glob, _, field in pairs if matcher([glob])(name)), self.text_field)

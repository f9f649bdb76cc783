"""Files of rows that a person names beside the corpus: probes and exams."""

import io
import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec

from gainloop.sources.formats import TABLES, read_text
from schemas.errors import BadInput

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")

Row = tuple[int, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Tables:
    """Files of rows as a setting names them.

    Attributes:
        what: Words for what the rows are, as messages say it.
        setting: Name of the setting that lists the paths.
    """

    what: str
    setting: str

    def find(self, paths: list[str]) -> list[str]:
        """Return the files that paths and globs name, each once.

        Raises:
            BadInput: A path names none.
        """
        found: list[str] = []
        for path in paths:
            system, place = fsspec.url_to_fs(path)
            names = sorted(system.glob(place)) if any(mark in place for mark in "*?[") else [place]
            files = [name for name in names if system.isfile(name)]
            if not files:
                raise self.refusal(path, "no file is there", "a file or a glob is allowed", f"Correct {self.setting}")
            found += [str(system.unstrip_protocol(name)) if "://" in path else name for name in files]
        return list(dict.fromkeys(found))

    def read(self, url: str) -> Iterator[Row]:
        """Yield numbered rows; a .json file holds a list of them, or, as some benchmarks have it, one a line.

        Raises:
            BadInput: The file is none of the kinds that are read, or damaged.
        """
        _, suffix = posixpath.splitext(url.lower())
        if suffix not in SUFFIXES:
            kinds = f"allowed are {' '.join(SUFFIXES)}"
            raise self.refusal(url, f"it ends in {suffix or 'nothing'}", kinds, "Convert it, or leave it out")
        with fsspec.open(url, "rb") as file:
            content = file.read()
        if suffix == ".json":
            try:
                whole = json.loads(read_text(io.BytesIO(content), url))
            except json.JSONDecodeError:
                suffix = ".jsonl"
            else:
                rows = whole if isinstance(whole, list) else [whole]
                if not all(isinstance(row, dict) for row in rows):
                    allowed = "a list of objects is allowed"
                    raise self.refusal(url, "it holds other things than objects", allowed, "Mend it")
                yield from enumerate(rows, 1)
                return
        yield from TABLES[suffix](io.BytesIO(content), [], url)

    def refusal(self, url: str, found: str, allowed: str, advice: str) -> BadInput:
        """Return the error about a file."""
        return BadInput(f"reading the {self.what} {url}: {found}; {allowed}. {advice}.")

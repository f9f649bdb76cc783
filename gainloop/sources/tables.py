"""Files of rows that a person names beside the corpus: probes and exams."""

import io
import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gainloop.sources.formats import TABLES
from gainloop.sources.names import has_wildcards
from gainloop.sources.places import File, Place, open_place
from gainloop.sources.texts import Growing, decoded, read_bytes
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
            place = open_place(path)
            files = [place.url(file) for _, file in sorted(place.find().files.items())]
            if not files or (len(files) > 1 and not has_wildcards(path)):
                raise self._missing(path)
            found += files
        return list(dict.fromkeys(found))

    def read(self, url: str) -> Iterator[Row]:
        """Yield numbered rows; a .json file holds a list of them, or, as some benchmarks have it, one a line.

        Raises:
            BadInput: The file is none of the kinds that are read, or damaged.
        """
        place = open_place(url)
        file = next(iter(place.find().files.values()), None)
        if file is None:
            raise self._missing(url)
        _, suffix = posixpath.splitext(file.path.lower())
        if suffix not in SUFFIXES:
            kinds = f"allowed are {' '.join(SUFFIXES)}"
            raise self.refusal(url, f"it ends in {suffix or 'nothing'}", kinds, "Convert it, or leave it out")
        content = _read_bytes(place, file, url)
        if suffix == ".json":
            try:
                whole = json.loads(decoded(content, url))
            except (ValueError, RecursionError):
                suffix = ".jsonl"
            else:
                rows = whole if isinstance(whole, list) else [whole]
                if not all(isinstance(row, dict) for row in rows):
                    allowed = "a list of objects is allowed"
                    raise self.refusal(url, "it holds other things than objects", allowed, "Mend it")
                yield from enumerate(rows, 1)
                return
        yield from TABLES[suffix](io.BytesIO(content), [], url)

    def _missing(self, path: str) -> BadInput:
        return self.refusal(path, "no file is there", "a file or a glob is allowed", f"Correct {self.setting}")

    def refusal(self, url: str, found: str, allowed: str, advice: str) -> BadInput:
        """Return the error about a file."""
        return BadInput(f"reading the {self.what} {url}: {found}; {allowed}. {advice}.")


def _read_bytes(place: Place, file: File, url: str) -> bytes:
    with place.reaching(), place.open(file) as raw:
        content = read_bytes(Growing(raw, None, file.stored_bytes, url).buffered(), url)
    place.require_same(file)
    return content

"""The documents of a snapshot, found by what a row of questions calls them."""

import posixpath
from collections import defaultdict
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from typing import Final

from gainloop.store.snapshots import WholeDocument
from schemas.characters import folded

BEGINNING: Final = 160
"""Characters by which a text is known where it is not the document's to the last one."""

NAMED_ROWS: Final = 2
"""Rows of a file that are named where only the file is, at most."""


class DocumentIndex:
    """Finds a document by uri, the end of one, text or title."""

    def __init__(self, sources: Iterable[WholeDocument]) -> None:
        self._by_name: dict[str, list[WholeDocument]] = defaultdict(list)
        self._by_text: dict[str, list[WholeDocument]] = defaultdict(list)
        self._by_title: dict[str, list[WholeDocument]] = defaultdict(list)
        for source in sources:
            for name in names_of(source.document_id):
                self._by_name[name].append(source)
            text = matchable(source.text)
            for key in {text, text[:BEGINNING]}:
                self._by_text[key].append(source)
            self._by_title[matchable(source.title)].append(source)

    def find(self, name: str, text: str, title: str) -> tuple[WholeDocument | None, str]:
        """Return the one document that a row means, or None and the reason: a key that drops are counted by."""
        text = matchable(text)
        asked = [
            (self._by_name, [name.strip()]),
            (self._by_text, [text, text[:BEGINNING]]),
            (self._by_title, [matchable(title)]),
        ]
        reason = "no_document"
        for index, keys in asked:
            for key in filter(None, keys):
                match index.get(key, []):
                    case [source]:
                        return source, ""
                    case [_, *_]:
                        reason = "ambiguous_document"
        return None, reason

    def near(self, name: str) -> str:
        """Return what may be meant by a name that no document has: rows of that file, or names like it; or nothing."""
        file = f"{posixpath.basename(name)}#"
        ids = dict.fromkeys(source.document_id for sources in self._by_name.values() for source in sources)
        if found := list(islice((one for one in ids if posixpath.basename(one).startswith(file)), NAMED_ROWS)):
            return f"documents of that file are {', '.join(found)}"
        alike = get_close_matches(name, list(self._by_name), 1, cutoff=0.8)
        return f"near it is {alike[0]}" if alike else ""


def names_of(uri: str) -> list[str]:
    """Return what a document may be called: its uri, the end of it, and both without the file's suffix.

    >>> names_of("guides/mill.md"), names_of("squad.jsonl#12")
    (['guides/mill.md', 'mill.md', 'guides/mill', 'mill'], ['squad.jsonl#12', '12'])
    """
    path, _, row = uri.partition("#")
    if row:
        return list(dict.fromkeys([uri, f"{posixpath.basename(path)}#{row}", row]))
    stems = [posixpath.splitext(one)[0] for one in (path, posixpath.basename(path))]
    return list(dict.fromkeys([path, posixpath.basename(path), *stems]))


def matchable(text: str) -> str:
    """Return a text without what normalising and cutting change: one form of characters, white space, case.

    >>> matchable(" The\\n mill ")
    'the mill'
    """
    return folded(text)

"""All kept records of a batch beside their anchors, as a page that is browsed and searched without a network.

A page from a disk may load scripts that lie beside it and nothing else. So the records are scripts of some megabytes,
which the page loads one by one, as far as a reader goes.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import polars as pl

from gainloop.store import Store
from gainloop.store.batches import batch_folder, kept_records, used_anchors
from gainloop.store.files import exists, read_file, write_file
from schemas.rows import content_hash

PART_CHARS: Final = 2_000_000
"""Characters of a part, about: it is read in a tenth of a second."""

ROWS_AT_ONCE: Final = 4096
"""Rows that are Python's at a time."""

Group = dict[str, Any]
"""An anchor, its title, and its records as lists of id, facet and text."""


def save_records_page(store: Store, batch_id: str) -> str:
    """Write the page of a validated batch's kept records, last, unless it is there; return its path."""
    from gainloop.reports.page import open_template  # matplotlib comes with it: half a second

    folder = batch_folder(store, batch_id)
    page, kept = f"{folder}/records.html", kept_records(store, batch_id)
    facets = sorted(set(kept["facet"]) - {""})
    groups = group_records(kept, used_anchors(store, batch_id))
    parts = list(split_groups(groups))
    counts = [sum(len(group["records"]) for group in part) for part in parts]
    template = open_template("records.html.j2")
    mark = content_hash("records", *sorted(kept["record_id"]))  # a batch that was opened again has others
    about = {"batch_id": batch_id, "counts": counts, "num_records": kept.height, "facets": facets, "mark": mark}
    content = template.render(**about).encode()
    if exists(page) and read_file(page) == content:
        return page
    for number, part in enumerate(parts):
        write_file(f"{folder}/records/{number:05d}.js", as_script(number, part))
    write_file(page, content)
    return page


def group_records(kept: pl.DataFrame, anchors: pl.DataFrame) -> Iterator[Group]:
    """Yield each anchor that has records with them, in the order of titles."""
    whole = kept.select("anchor_id", "record_id", "facet", "text").join(
        anchors.select("anchor_id", "title", anchor="text"), on="anchor_id", how="left"
    )
    ordered = whole.sort("title", "anchor_id", "facet", "record_id").select(
        "anchor_id", "title", "anchor", "record_id", "facet", "text"
    )
    for _, rows in groupby(ordered.iter_rows(buffer_size=ROWS_AT_ONCE), key=itemgetter(0)):
        (_, title, anchor, *first), *others = rows
        yield {"title": title or "", "anchor": anchor or "", "records": [first, *(row[3:] for row in others)]}


def split_groups(groups: Iterator[Group], chars: int = PART_CHARS) -> Iterator[list[Group]]:
    """Yield groups in parts of about so many characters."""
    part: list[Group] = []
    size = 0
    for group in groups:
        part.append(group)
        size += len(group["anchor"]) + sum(len(text) for *_, text in group["records"])
        if size >= chars:
            yield part
            part, size = [], 0
    if part:
        yield part


def as_script(number: int, part: list[Group]) -> bytes:
    """Return the script that hands a part to the page."""
    return f"landed({number}, {json.dumps(part, ensure_ascii=False)});\n".encode()

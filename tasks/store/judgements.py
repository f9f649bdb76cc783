"""Verdicts on a batch: what a judge replied, and one Parquet file for each judging that is complete."""

from collections.abc import Iterable
from dataclasses import astuple

import polars as pl

from schemas.errors import StoreError
from schemas.judging import Verdict
from tasks.store.files import exists, read_frame, write_frame

SCHEMA = dict.fromkeys(("text_id", "anchor_id", "question", "verdict", "reason", "request_id"), pl.String)
"""One row per text and question; see ``Verdict``."""


def judgements_folder(folder: str, batch_id: str) -> str:
    """Return where verdicts on a batch lie below a profile's folder.

    The replies of all judges lie below it together: a larger sample asks only about what a smaller one left out.
    """
    return f"{folder}/batches/{batch_id}/judgements"


def write_verdicts(url: str, verdicts: Iterable[Verdict]) -> pl.DataFrame:
    """Write verdicts as one file, in the order of question and text, and return them as it has them."""
    frame = as_frame(verdicts)
    write_frame(url, frame)
    return frame


def as_frame(verdicts: Iterable[Verdict]) -> pl.DataFrame:
    """Return verdicts as a frame, in the order of question and text."""
    rows = [astuple(verdict) for verdict in verdicts]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("question", "text_id")


def read_verdicts(url: str) -> pl.DataFrame:
    """Return the verdicts of a judging.

    Raises:
        StoreError: The file is gone.
    """
    if not exists(url):
        raise StoreError(
            f"reading verdicts: there is no file {url}; what a completed judging found must be there. "
            "Put it back, or run the flow judge with another sample."
        )
    return read_frame(url)

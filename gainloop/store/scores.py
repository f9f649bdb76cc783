"""Scores on disk, as Parquet files: of outputs under prompts, of texts under checkpoints, and a judge's verdicts."""

from collections.abc import Iterable
from dataclasses import astuple

import polars as pl

from gainloop.store.batches import batch_folder
from gainloop.store.duck import Store
from gainloop.store.files import exists, list_files, read_frame, write_frame
from schemas.errors import StoreError
from schemas.rows import Verdict, content_hash

CONTRAST_SCHEMA = {
    "request_id": pl.String,
    "kind": pl.String,
    "prompt_id": pl.String,
    "low": pl.Float64,
    "high": pl.Float64,
}
"""One row per output and prompt: log q(output | prompt) in nats, between two ends; NaN where the two do not fit."""

Row = tuple[str, str, str, float, float]

VERDICT_SCHEMA = dict.fromkeys(("text_id", "anchor_id", "question", "verdict", "reason", "request_id"), pl.String)
"""One row per text and question; see ``Verdict``."""


def contrasts_folder(store: Store, batch_id: str, plan_id: str) -> str:
    """Return the folder of the scores of a batch's outputs by one plan."""
    return f"{batch_folder(store, batch_id)}/contrasts/{plan_id}"


def write_contrasts(folder: str, outputs: list[list[Row]]) -> None:
    """Write the scores of some outputs as one part, named by what was scored: a rerun writes no second one."""
    rows = [row for output in outputs for row in output]
    url = f"{folder}/part-{content_hash([row[:3] for row in rows])}.parquet"
    write_frame(url, pl.DataFrame(rows, schema=CONTRAST_SCHEMA, orient="row"))


def read_contrasts(folder: str) -> pl.DataFrame:
    """Return the scores that landed, once each, in the order of request, kind and prompt."""
    parts = [read_frame(url) for url in list_files(folder, ".parquet")]
    rows = pl.concat([pl.DataFrame(schema=CONTRAST_SCHEMA), *parts])
    keys = ["request_id", "kind", "prompt_id"]
    return rows.unique(keys, keep="first", maintain_order=True).sort(keys)


def judgements_folder(store: Store, batch_id: str) -> str:
    """Return the folder of judges' verdicts on a batch, and of the replies that they come from.

    All judges share it: a larger sample sends only the requests that a smaller one left out.
    """
    return f"{batch_folder(store, batch_id)}/judgements"


def write_verdicts(url: str, verdicts: Iterable[Verdict]) -> pl.DataFrame:
    """Write verdicts as one file, in the order of question and text, and return them as it has them."""
    frame = as_frame(verdicts)
    write_frame(url, frame)
    return frame


def as_frame(verdicts: Iterable[Verdict]) -> pl.DataFrame:
    """Return verdicts as a frame, in the order of question and text."""
    rows = [astuple(verdict) for verdict in verdicts]
    return pl.DataFrame(rows, schema=VERDICT_SCHEMA, orient="row").sort("question", "text_id")


def read_verdicts(url: str) -> pl.DataFrame:
    """Return the verdicts of a judging.

    Raises:
        StoreError: The file is gone.
    """
    if not exists(url):
        raise StoreError(
            f"reading verdicts: there is no file {url}; the verdicts of a completed judging must be there. "
            "Put it back, or run the flow judge with another sample."
        )
    return read_frame(url)


def find_scores(store: Store, batch_id: str, kept: dict[str, str]) -> dict[str, pl.DataFrame]:
    """Return the scores that a training of a batch recorded, by the keys of ``kept``.

    Raises:
        StoreError: A file of them is gone.
    """
    urls = {key: store.locate(one) for key, one in kept.items()}
    gone = [url for url in urls.values() if not exists(url)]
    if gone:
        raise StoreError(
            f"reading the scores of batch {batch_id}: there is no file {', '.join(gone)}; every score that was "
            "recorded must be there. Put them back, or run the flow train with another plan.scored_texts."
        )
    return {key: read_frame(url) for key, url in urls.items()}

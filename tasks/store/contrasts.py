"""Scores of outputs under prompts, as Parquet parts: each whole, and none scored twice after a crash."""

import polars as pl

from schemas.identity import content_hash
from tasks.store.files import list_files, read_frame, write_frame

SCHEMA = {
    "request_id": pl.String,
    "kind": pl.String,
    "prompt_id": pl.String,
    "low": pl.Float64,
    "high": pl.Float64,
}
"""One row per output and prompt: log q(output | prompt) in nats, between two ends; NaN where the two do not fit."""

Row = tuple[str, str, str, float, float]


def contrasts_folder(folder: str, batch_id: str, plan_id: str) -> str:
    """Return where a batch's scores by one plan lie below a profile's folder."""
    return f"{folder}/batches/{batch_id}/contrasts/{plan_id}"


def write_contrasts(folder: str, outputs: list[list[Row]]) -> None:
    """Write the scores of some outputs as one part."""
    rows = [row for output in outputs for row in output]
    url = f"{folder}/part-{content_hash([row[:3] for row in rows])}.parquet"
    write_frame(url, pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def read_contrasts(folder: str) -> pl.DataFrame:
    """Return the scores that landed, once each, in the order of request, kind and prompt."""
    parts = [read_frame(url) for url in list_files(folder, ".parquet")]
    rows = pl.concat([pl.DataFrame(schema=SCHEMA), *parts])
    keys = ["request_id", "kind", "prompt_id"]
    return rows.unique(keys, keep="first", maintain_order=True).sort(keys)

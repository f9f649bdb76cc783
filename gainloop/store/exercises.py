"""Answers of models to exercises, each marked, as Parquet files in the store's folder."""

from typing import Final

import polars as pl

from gainloop.store.duck import Store
from gainloop.store.files import exists, read_frame, read_recorded, write_recorded

_COLUMNS: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "exercise_id": pl.String,
    "skill": pl.String,
    "question": pl.String,
    "draw": pl.Int64,
    "answer": pl.String,
    "right": pl.Boolean,
    "reasons": pl.List(pl.String),
    "detail": pl.String,
    "num_met": pl.Int64,
    "num_checks": pl.Int64,
    "skipped": pl.String,
}

MARKED: Final = pl.Schema(_COLUMNS)
"""One row per exercise and draw: what was asked last, the answer, whether it is right, why not and where, how many of
its checks it meets; ``skipped`` says why there is no answer, and is empty where there is one. Null: not marked."""


def marked_url(store: Store, model_id: str, name: str) -> str:
    """Return where a model's marked answers lie that were asked for in one way."""
    return f"{store.folder}/exams/exercises/{model_id}-{name}.parquet"


def find_marked(store: Store, model_id: str, name: str) -> str | None:
    """Return the url of a model's marked answers if all of them are there; None if one never came."""
    url = marked_url(store, model_id, name)
    return url if exists(url) and (read_frame(url)["skipped"] == "").all() else None


def write_marked(url: str, marked: pl.DataFrame) -> None:
    """Write marked answers as one file, whole or not at all."""
    write_recorded(url, marked, MARKED)


def read_marked(url: str) -> pl.DataFrame:
    """Return marked answers, one row an exercise and draw.

    Raises:
        StoreError: The file is gone.
    """
    return read_recorded(url, "marked answers", "the flow assess with the same exercises")

"""The columns that suites judge, one row per anchor or record."""

import polars as pl

from schemas.suites import LEAKS
from tasks.measures import text as measure

RECORD_SCHEMA = pl.Schema(
    {
        "num_words": pl.Int64,
        "opening": pl.String,
        "printable_share": pl.Float64,
        "letter_share": pl.Float64,
        "repeated_share": pl.Float64,
        "copied_share": pl.Float64,
        "longest_copy": pl.Int64,
        "foreign_share": pl.Float64,
        "refuses": pl.Boolean,
        "leaks": pl.Boolean,
        "cites_source": pl.Boolean,
        "least_on_subject": pl.Float64,
    }
)


def anchor_columns(anchors: pl.DataFrame) -> pl.DataFrame:
    """Return anchor_id, text and what is measured of the text."""
    texts = anchors["text"].to_list()
    return anchors.select("anchor_id", "text").with_columns(
        pl.Series("num_words", [len(measure.words(text)) for text in texts], pl.Int64),
        pl.Series("printable_share", [measure.printable_share(text) for text in texts], pl.Float64),
        pl.Series("letter_share", [measure.letter_share(text) for text in texts], pl.Float64),
        pl.Series("repeated_share", [measure.repeated_share(text) for text in texts], pl.Float64),
    )


def record_columns(records: pl.DataFrame, anchors: pl.DataFrame) -> pl.DataFrame:
    """Return record_id and what is measured of each record beside its anchor.

    Args:
        records: Columns record_id, anchor_id, text.
        anchors: Columns anchor_id, text, heldout; a record whose anchor is missing is measured alone.
    """
    beside = anchors.select("anchor_id", "heldout", anchor="text")
    rows = records.join(beside, on="anchor_id", how="left").sort("anchor_id", "record_id")
    pairs = zip(rows["text"], rows["anchor"].fill_null(""), strict=True)
    measured = pl.DataFrame([_measure_record(text, anchor) for text, anchor in pairs], RECORD_SCHEMA, orient="row")
    return rows.select(
        "record_id",
        anchor_known=pl.col("anchor").is_not_null(),
        anchor_heldout=pl.col("heldout").fill_null(False),
        num_earlier_copies=pl.col("record_id").rank("ordinal").over("text").cast(pl.Int64) - 1,
    ).hstack(measured)


def _measure_record(text: str, anchor: str) -> tuple[object, ...]:
    """Return the values of ``RECORD_SCHEMA``, in its order."""
    return (
        len(measure.words(text)),
        measure.opening(text),
        measure.printable_share(text),
        measure.letter_share(text),
        measure.repeated_share(text),
        measure.copied_share(text, anchor),
        measure.longest_copy(text, anchor),
        # Beside a missing anchor every script would be foreign.
        measure.foreign_share(text, anchor or text),
        measure.refuses(text),
        measure.leaks(text, LEAKS, anchor),
        measure.cites_source(text, anchor),
        measure.least_on_subject(text, anchor),
    )

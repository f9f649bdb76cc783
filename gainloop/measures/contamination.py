"""Texts that hold a probe, which a model is to be tested on: by words in a row, or by the share of its sequences."""

import numpy as np
import polars as pl

from gainloop.measures.ngrams import HashedTexts, Hashes, HashSet
from schemas.curation import Probes

FOUND = pl.Schema({"text": pl.Int64, "probe": pl.Int64, "at": pl.Int64, "num_words": pl.Int64, "overlap": pl.Float64})


def find_probes(texts: HashedTexts, probes: HashedTexts, rules: Probes) -> pl.DataFrame:
    """Return which texts hold which probes, one row a pair, in order.

    A text holds a probe that it shares ``words_in_a_row`` words in a row with, or all words if the probe has fewer (but
    at least ``least_words``); and one of whose different sequences of ``overlap_words`` words it has the share
    ``overlap``. Time grows with the words, and with the pairs found.

    Returns:
        text, probe; at, the text's word where the first shared sequence begins; num_words, that sequence's length;
        overlap, the share of the probe's sequences if that is what was found, null if it was words in a row.

    Source: Brown et al. 2020 (GPT-3), appendix C, for 13 words; Chowdhery et al. 2022 (PaLM), section 8, for the share
    of 8-grams, 0.7. Differs: GPT-3 leaves probes of fewer than eight words out, and cuts 200 characters around.
    """
    lengths = np.minimum(probes.lengths, rules.words_in_a_row)
    looked_for = lengths >= rules.least_words
    sizes = [int(size) for size in np.unique(lengths[looked_for])]
    in_a_row = [_in_a_row(texts, probes, size, size < rules.words_in_a_row) for size in sizes]
    overlapping = [_overlapping(texts, probes, rules.overlap_words, rules.overlap)] if rules.overlap else []
    found = pl.concat([FOUND.to_frame(), *in_a_row, *overlapping])
    return found.unique(["text", "probe"], keep="first", maintain_order=True).sort("text", "probe")


def _in_a_row(texts: HashedTexts, probes: HashedTexts, size: int, is_whole: bool) -> pl.DataFrame:
    """Return the pairs that share a sequence of words; a short probe is one sequence, whole."""
    of_probes = _grams(probes, size)
    if is_whole:
        (short,) = np.nonzero(probes.lengths == size)
        of_probes = of_probes.filter(pl.col("row").is_in(short.tolist()))
    shared = _shared(texts, of_probes, size).group_by("text", "probe").agg(pl.col("at").min())
    return shared.with_columns(num_words=pl.lit(size, pl.Int64), overlap=pl.lit(None, pl.Float64))


def _overlapping(texts: HashedTexts, probes: HashedTexts, size: int, least: float) -> pl.DataFrame:
    """Return the pairs of which the text has at least a share of the probe's sequences."""
    of_probes = _grams(probes, size)
    totals = of_probes.group_by(probe="row").agg(total=pl.len())
    return (
        _shared(texts, of_probes, size)
        .group_by("text", "probe")
        .agg(pl.col("at").min(), shared=pl.col("gram").n_unique())
        .join(totals, on="probe")
        .with_columns(num_words=pl.lit(size, pl.Int64), overlap=pl.col("shared") / pl.col("total"))
        .filter(pl.col("overlap") >= least)
        .select(FOUND.names())
    )


def _grams(probes: HashedTexts, size: int) -> pl.DataFrame:
    """Return each probe's different sequences: gram, row."""
    whole = probes.whole(size)
    grams = pl.DataFrame({"gram": probes.grams(size)[whole], "row": probes.owners[whole]})
    return grams.unique(maintain_order=True)


def _shared(texts: HashedTexts, of_probes: pl.DataFrame, size: int) -> pl.DataFrame:
    """Return where texts have sequences of probes: gram, text, at, probe; a probe's number may come many times."""
    parts = []
    known = HashSet(of_probes["gram"].to_numpy())
    for where, piece in texts.pieces():
        grams: Hashes = piece.grams(size)
        (places,) = np.nonzero(piece.whole(size) & known.holds(grams))
        owners = piece.owners[places]
        parts.append(
            pl.DataFrame({"gram": grams[places], "text": owners + where.start, "at": places - piece.starts[owners]})
        )
    empty = pl.DataFrame(schema={"gram": pl.UInt64, "text": pl.Int64, "at": pl.Int64})
    return pl.concat([empty, *parts]).join(of_probes.rename({"row": "probe"}), on="gram")
